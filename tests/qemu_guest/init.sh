#!/bin/busybox sh
# The guest's first process: modules, then the host's files as its root, with memory where programs write; then the command it is given.
set -e
busybox=/bin/busybox
for module in /modules/*; do
    $busybox insmod "$module"
done
$busybox mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=1048576,cache=loose host /host
$busybox mount -t proc proc /host/proc
$busybox mount -t sysfs sysfs /host/sys
$busybox mount -t devtmpfs devtmpfs /host/dev
$busybox mount -t tmpfs tmpfs /host/run
exec $busybox switch_root /host "$@"
