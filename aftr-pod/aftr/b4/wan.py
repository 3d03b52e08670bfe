"""The interfaces of a B4: their addresses, of which our end of the softwire is one, and the AFTR's address behind a given name."""

import ipaddress
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Address, IPv6Interface, IPv6Network
from operator import attrgetter
from typing import NamedTuple

from pyroute2 import IPRoute

from aftr.b4.errors import AftrNameError, InterfaceError

IFA_F_DEPRECATED, IFA_F_TENTATIVE = 0x20, 0x40  # linux/if_addr.h
ULA = IPv6Network("fc00::/7")  # RFC 4193: no way to the AFTR is for these
SMALLEST_LAN = 32  # addresses


class Address(NamedTuple):
    """An IPv6 address of ours; a deprecated one (RFC 4862 §5.5.4) is for want of another."""

    ip: IPv6Address
    deprecated: bool = False


@dataclass(frozen=True)
class Interface:
    """An interface as the kernel describes it: name, MTU in bytes, and its addresses of global scope that can be used."""

    device: str
    mtu: int
    ipv4: tuple[IPv4Interface, ...]
    ipv6: tuple[Address, ...]


def read_interface(device: str) -> Interface:
    """Ask the kernel about `device`.  Raises `InterfaceError` when there is none."""
    with IPRoute() as netlink:
        found = netlink.link_lookup(ifname=device)
        if not found:
            raise InterfaceError(f"interface {device!r} does not exist: name an existing one with --wan or --lan")
        link = netlink.get_links(found[0])[0]
        addresses = list(_addresses(netlink, found[0]))
    ipv4 = [address for address in addresses if isinstance(address, IPv4Interface)]
    ipv6 = [address for address in addresses if isinstance(address, Address)]
    return Interface(device, link.get_attr("IFLA_MTU"), tuple(ipv4), tuple(ipv6))


def _addresses(netlink: IPRoute, index: int) -> Iterator[IPv4Interface | Address]:
    """The interface's addresses in the kernel's order, without link-local ones, ULAs, and those still looked for as duplicates."""
    for message in netlink.get_addr(index=index):
        local = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
        address, flags = ipaddress.ip_interface(f"{local}/{message['prefixlen']}"), message.get_attr("IFA_FLAGS")
        if address.ip.is_link_local or address.ip in ULA or flags & IFA_F_TENTATIVE:
            continue
        yield Address(address.ip, bool(flags & IFA_F_DEPRECATED)) if isinstance(address, IPv6Interface) else address


def refuse_ipv4(wan: Interface) -> None:
    """Row B05 (RFC 6333 §5.1): with native IPv4 on the WAN, DS-Lite must stay off.  Raises `InterfaceError`."""
    if wan.ipv4:
        raise InterfaceError(
            f"WAN interface {wan.device} has the IPv4 address {wan.ipv4[0].ip}: DS-Lite is for IPv6-only access; "
            "remove the address or do not run a B4"
        )


def softwire_source(interface: Interface, wanted: IPv6Address | None) -> Address:
    """The address that our end of the softwire uses: the wanted one, else the first global one of this interface (RFC 6724)."""
    if wanted is not None:
        return Address(wanted)
    if not interface.ipv6:
        raise InterfaceError(
            f"interface {interface.device} has no global IPv6 address, and a ULA is none: wait for one, or give --address"
        )
    return min(interface.ipv6, key=attrgetter("deprecated"))


def lan_address(lan: Interface) -> IPv4Interface:
    """Our address on the LAN, in whose network hosts get theirs.  Raises `InterfaceError`."""
    if not lan.ipv4:
        raise InterfaceError(f"interface {lan.device} has no IPv4 address: give it one, such as 192.168.1.1/24")
    if lan.ipv4[0].network.num_addresses < SMALLEST_LAN:
        raise InterfaceError(f"interface {lan.device} has {lan.ipv4[0]}: the LAN needs a /27 or larger")
    return lan.ipv4[0]


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
