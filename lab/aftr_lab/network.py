"""Network namespaces, links, addresses and routes, by netlink.

Both ends of every link are made inside their namespaces: nothing ever appears in the namespace of the machine itself.
"""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface

from pyroute2 import IPRoute, netns

from aftr_lab.errors import LabError

Interface = IPv4Interface | IPv6Interface

# Off on every end: otherwise an AF_XDP or AF_PACKET reader sees frames without checksums and of 64 KiB.
OFFLOADS = ("rx", "tx", "sg", "tso", "gso", "gro")

# No duplicate address detection, router advertisements or redirects: addresses work at once, routes are the ones given.
QUIET = {
    "net.ipv6.conf.{}.accept_dad": 0,
    "net.ipv6.conf.{}.dad_transmits": 0,
    "net.ipv6.conf.{}.accept_ra": 0,
    "net.ipv6.conf.{}.accept_redirects": 0,
    "net.ipv4.conf.{}.accept_redirects": 0,
    "net.ipv4.conf.{}.send_redirects": 0,
    "net.ipv4.conf.{}.rp_filter": 0,
}


@dataclass(frozen=True)
class End:
    """One end of a link: a device in a namespace, either a port of a bridge there or with addresses of its own."""

    namespace: str
    device: str
    addresses: tuple[Interface, ...] = ()
    bridge: str | None = None


def add_namespace(name: str, settings: Mapping[str, int]) -> None:
    """A network namespace with its loopback up, and these kernel settings besides `QUIET`. Raises `LabError` where the kernel refuses."""
    try:
        netns.create(name)
    except OSError as error:
        raise LabError(f"network namespace {name} cannot be made ({error}): are you root?") from error
    quiet = {key.format(scope): value for key, value in QUIET.items() for scope in ("all", "default")}
    set_sysctls(name, {**quiet, **settings})
    with inside(name) as netlink:
        netlink.link("set", index=1, state="up")


def set_sysctls(namespace: str, settings: Mapping[str, int]) -> None:
    """Write kernel settings of one namespace."""
    run(namespace, ["sysctl", "--quiet", "--write", *(f"{key}={value}" for key, value in settings.items())])


def run(namespace: str, command: Sequence[str]) -> str:
    """Run a program in a namespace and return what it printed. Raises `LabError` if it fails."""
    result = subprocess.run(["ip", "netns", "exec", namespace, *command], capture_output=True, text=True, check=False)
    if result.returncode:
        raise LabError(f"`{' '.join(command)}` in {namespace} failed: {result.stderr.strip() or result.stdout.strip()}")
    return result.stdout


@contextmanager
def entered(namespace: str) -> Iterator[None]:
    """This thread is in a namespace for the time of the block: sockets that it makes are that one's."""
    netns.pushns()
    try:
        netns.setns(namespace, flags=0)
        yield
    finally:
        netns.popns()


@contextmanager
def inside(namespace: str) -> Iterator[IPRoute]:
    """A netlink socket of an existing namespace."""
    with IPRoute(netns=namespace, flags=0) as netlink:
        yield netlink


def add_bridge(end: End, mtu: int) -> None:
    """A bridge that forwards at once and floods multicast, so that neighbour discovery never waits."""
    with inside(end.namespace) as netlink:
        netlink.link("add", ifname=end.device, kind="bridge", br_forward_delay=0, br_stp_state=0, br_mcast_snooping=0)
    _bring_up(end, mtu)


def add_link(one: End, other: End, mtu: int, queues: int = 1) -> None:
    """A veth pair between two namespaces, up, without offloads, with so many queues each way."""
    sized = {"num_rx_queues": queues, "num_tx_queues": queues}
    with inside(one.namespace) as netlink:
        peer = {"ifname": other.device, "net_ns_fd": other.namespace, **sized}
        netlink.link("add", ifname=one.device, kind="veth", peer=peer, **sized)
    for end in (one, other):
        _disable_offloads(end)
    for end in (one, other):
        _bring_up(end, mtu)


def _disable_offloads(end: End) -> None:
    run(end.namespace, ["ethtool", "--features", end.device, *(word for name in OFFLOADS for word in (name, "off"))])


def _bring_up(end: End, mtu: int) -> None:
    with inside(end.namespace) as netlink:
        index = netlink.link_lookup(ifname=end.device)[0]
        if end.bridge is not None:
            netlink.link("set", index=index, master=netlink.link_lookup(ifname=end.bridge)[0])
        netlink.link("set", index=index, mtu=mtu, state="up")
        for address in end.addresses:
            netlink.addr("add", index=index, address=str(address.ip), prefixlen=address.network.prefixlen)


def add_route(namespace: str, destination: str, *, gateway: str | None = None, device: str | None = None) -> None:
    """A static route by gateway, device, or both; `default` routes are spelled 0.0.0.0/0 and ::/0."""
    with inside(namespace) as netlink:
        way: dict[str, object] = {"gateway": gateway} if gateway else {}
        if device:
            way["oif"] = netlink.link_lookup(ifname=device)[0]
        netlink.route("add", dst=destination, **way)
