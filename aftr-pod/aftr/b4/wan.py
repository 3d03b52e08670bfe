"""The provider's side of a B4: the WAN interface's addresses, and the AFTR's address behind its name."""

import ipaddress
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from pyroute2 import IPRoute

from aftr.b4.errors import AftrNameError, WanError


@dataclass(frozen=True)
class Wan:
    """A WAN interface as the kernel describes it: name, MTU in bytes, and its addresses of global scope."""

    device: str
    mtu: int
    ipv4: tuple[IPv4Address, ...]
    ipv6: tuple[IPv6Address, ...]


def read_wan(device: str) -> Wan:
    """Ask the kernel about `device`. Raises `WanError` when there is none."""
    with IPRoute() as netlink:
        found = netlink.link_lookup(ifname=device)
        if not found:
            raise WanError(f"WAN interface {device!r} does not exist: name an existing one with --wan")
        link = netlink.get_links(found[0])[0]
        ipv4 = [address for address in _addresses(netlink, found[0]) if isinstance(address, IPv4Address)]
        ipv6 = [address for address in _addresses(netlink, found[0]) if isinstance(address, IPv6Address)]
    return Wan(device, link.get_attr("IFLA_MTU"), tuple(ipv4), tuple(ipv6))


def _addresses(netlink: IPRoute, index: int) -> Iterator[IPv4Address | IPv6Address]:
    """The interface's addresses without link-local ones, in the kernel's order."""
    for message in netlink.get_addr(index=index):
        local = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
        address = ipaddress.ip_address(local)
        if not address.is_link_local:
            yield address


def refuse_ipv4(wan: Wan) -> None:
    """Row B05 (RFC 6333 §5.1): with native IPv4 on the WAN, DS-Lite must stay off. Raises `WanError`."""
    if wan.ipv4:
        raise WanError(
            f"WAN interface {wan.device} has the IPv4 address {wan.ipv4[0]}: DS-Lite is for IPv6-only access; "
            "remove the address or do not run a B4"
        )


def softwire_source(wan: Wan, wanted: IPv6Address | None) -> IPv6Address:
    """The address that our end of the softwire uses: the wanted one, else the WAN's first global one."""
    if wanted is not None:
        return wanted
    if not wan.ipv6:
        raise WanError(f"WAN interface {wan.device} has no global IPv6 address: wait for one, or give --address")
    return wan.ipv6[0]


def resolve_aftr(name: str) -> IPv6Address:
    """The AFTR's address: `name` itself if it is one, else its first AAAA record (RFC 6334 §5: one address, IPv6 only)."""
    try:
        return IPv6Address(name)
    except ipaddress.AddressValueError:
        pass
    try:
        answers = socket.getaddrinfo(name, None, socket.AF_INET6, socket.SOCK_RAW)
    except (socket.gaierror, UnicodeError) as error:
        raise AftrNameError(
            f"the AFTR's name {name!r} has no IPv6 address ({error}): check --aftr and the resolver"
        ) from error
    return IPv6Address(answers[0][4][0])
