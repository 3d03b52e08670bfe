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
    kea-dhcp6-server knot                                  # the lab's provider, from whom B4s learn their AFTR
    isc-dhcp-client dhcpcd-base                            # a B4's DHCPv6 client
)
CLUSTER_PACKAGES=(
    containerd runc nftables                               # a node
    tini jq                                                # its first process, its CNI plugin for devices
    haproxy                                                # the API server's port on this machine
    buildah mmdebstrap                                     # images
)
SERVICES=(bird redis-server redis-sentinel kea-dhcp6-server knot containerd haproxy)  # which these packages start: nobody here uses them

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
        [[ " ${missing[*]/bird2/bird} " != *" $service "* ]] || systemctl disable --quiet --now "$service"
    done
fi
