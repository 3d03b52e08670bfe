#!/usr/bin/env bash
# Installs the Debian packages that are missing: system.sh [--cluster | PACKAGE...], by default all that build, lab and tests use;
# --cluster: those that the Kubernetes of `make cluster` needs besides.
# Tried on Debian 12 (bookworm) and 13 (trixie). Does nothing, and needs no root, when all are there.
set -euo pipefail

PACKAGES=(
    python3-venv                                           # the environment that uv comes in
    clang libbpf-dev libbpf1 linux-libc-dev                # compile and load steer.bpf.c
    iproute2 ethtool procps                                # the lab
    iputils-ping traceroute curl iperf3 bind9-dnsutils     # what hosts behind a B4 run
    dnsmasq-base tcpdump ca-certificates
    bird2 redis-server redis-sentinel                      # routes of slots; the store of bindings
    knot bind9                                             # DNS servers that names of slots are written to
    kea-dhcp6-server kea-ctrl-agent kea-admin              # the DHCPv6 server that B4s learn their AFTR from; its perfdhcp
    isc-dhcp-relay isc-dhcp-client dhcpcd-base             # a relay, and B4s' clients in front of it
)
CLUSTER_PACKAGES=(
    containerd runc nftables                               # a node
    tini jq                                                # its first process, its CNI plugin for devices
    haproxy                                                # the API server's port on this machine
    buildah mmdebstrap                                     # images
    prometheus                                             # metrics that a HorizontalPodAutoscaler scales by; promtool
)
SERVICES=(bird redis-server redis-sentinel knot named kea-dhcp6-server kea-ctrl-agent isc-dhcp-relay containerd haproxy prometheus)  # which these packages start: nobody here uses them

[[ ${1:-} != --cluster ]] || set -- "${CLUSTER_PACKAGES[@]}"
wanted=("${@:-${PACKAGES[@]}}")
missing=()
for package in "${wanted[@]}"; do
    dpkg-query --show --showformat='${db:Status-Status}\n' "$package" 2>/dev/null | grep -x installed >/dev/null || missing+=("$package")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

if [[ $(id -u) != 0 ]]; then
    echo "needs root to install ${missing[*]}: run \`sudo make ${MAKE_GOAL:-system}\`" >&2
    exit 1
fi

install() {
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet=2 --no-install-recommends "${missing[@]}" </dev/null >/dev/null
}

echo "installing ${missing[*]}"
# A machine may have no package lists yet, or old ones: fetch them once and try again.
install 2>/dev/null || { apt-get update --quiet=2 >/dev/null || true; install; }

# What was running before, or installed by somebody else, stays as it is.
if [[ -d /run/systemd/system ]]; then
    for service in "${SERVICES[@]}"; do
        started=${missing[*]/bird2/bird}
        [[ " ${started/bind9/named} " != *" $service "* ]] || systemctl disable --quiet --now "$service"
    done
fi
