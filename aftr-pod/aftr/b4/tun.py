"""The TUN device that carries the LAN's IPv4 packets to the B4 (rows B01 and B03)."""

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from aftr.b4.errors import TunError

TUNSETIFF = 0x400454CA  # linux/if_tun.h
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000
INNER_MTU = 1500  # row B01: whatever the WAN's MTU is; larger outer packets become IPv6 fragments
QUEUE_PACKETS = 2000  # the kernel's 500 overflow at once when two TCP flows of 1 MiB window start together
B4_NETWORK = IPv4Network("192.0.0.0/29")  # RFC 6333 §5.7


@contextmanager
def open_tun(name: str, inner: IPv4Address) -> Iterator[int]:
    """A non-blocking TUN device `name` with address `inner`/29 and the IPv4 default route; gone when the block ends.

    Yields its file descriptor. Raises `TunError` where the kernel refuses (no /dev/net/tun, no CAP_NET_ADMIN, name in use).
    """
    try:
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise TunError(
            f"/dev/net/tun cannot be opened ({error.strerror}): a B4 needs root and the tun driver"
        ) from error
    try:
        _attach(descriptor, name)
        _configure(name, inner)
        yield descriptor
    finally:
        os.close(descriptor)


def _attach(descriptor: int, name: str) -> None:
    request = struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI)
    try:
        fcntl.ioctl(descriptor, TUNSETIFF, request)
    except OSError as error:
        raise TunError(
            f"TUN device {name!r} cannot be made ({error.strerror}): choose another --tun, run as root"
        ) from error


def _configure(name: str, inner: IPv4Address) -> None:
    """Row B03: an address of 192.0.0.0/29, and the default route; IPv4 only, so no router solicitations enter the softwire."""
    _disable_ipv6(name)
    try:
        with IPRoute() as netlink:
            index = netlink.link_lookup(ifname=name)[0]
            netlink.link("set", index=index, mtu=INNER_MTU, txqlen=QUEUE_PACKETS, state="up")
            netlink.addr("add", index=index, address=str(inner), prefixlen=B4_NETWORK.prefixlen)
            netlink.route("replace", dst="0.0.0.0/0", oif=index)
    except NetlinkError as error:
        raise TunError(
            f"TUN device {name!r} cannot be configured with {inner} ({error}): is another B4 running?"
        ) from error


def _disable_ipv6(name: str) -> None:
    switch = Path("/proc/sys/net/ipv6/conf", name, "disable_ipv6")
    if switch.exists():
        switch.write_text("1")
