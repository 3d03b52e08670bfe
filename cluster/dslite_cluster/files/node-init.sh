#!/bin/sh
# The first process of a node: its own folders in place of the machine's, then reaping whatever its containers leave behind.
# When it ends, the kernel ends every process of the node and takes all its mounts away.
set -eu
disk=$1
shared=$2 # with the other nodes
mkdir -p "$disk/lib/cni/shared"
mount --bind "$shared" "$disk/lib/cni/shared"
mount --bind "$disk/log" /var/log
mount --rbind "$disk/lib" /var/lib
mount -t tmpfs -o mode=755 tmpfs /run
touch /var/lib/ready
exec tini -s -- sleep infinity
