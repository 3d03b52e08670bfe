"""What a station tells its neighbours unasked when it has taken addresses over: frames, and which of a slot's addresses go where. Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address

from dslite_contract.schema import AftrPool
from dslite_contract.slots import slot_address, slot_bypass_addresses, slot_prefixes

BROADCAST, NOBODY = b"\xff" * 6, bytes(6)
ALL_NODES, ALL_NODES_STATION = IPv6Address("ff02::1"), bytes.fromhex("333300000001")  # RFC 2464 section 7
ETHERTYPE_ARP, ETHERTYPE_IPV6 = b"\x08\x06", b"\x86\xdd"
ARP_REQUEST = bytes.fromhex("0001080006040001")  # Ethernet, IPv4, their lengths, the operation
NEXT_ICMPV6, HOP_LIMIT = 58, 255
ADVERTISEMENT, OVERRIDE = 136, 1 << 29
TARGET_STATION = bytes([2, 1])  # RFC 4861 section 4.6.1


def advertisement(address: IPv6Address, station: bytes) -> bytes:
    """The frame of an unsolicited neighbour advertisement: neighbours replace what they know (RFC 4861 section 7.2.6)."""
    body = struct.pack("!BBHI", ADVERTISEMENT, 0, 0, OVERRIDE) + address.packed + TARGET_STATION + station
    pseudo = address.packed + ALL_NODES.packed + struct.pack("!II", len(body), NEXT_ICMPV6)
    body = body[:2] + _checksum(pseudo + body).to_bytes(2) + body[4:]
    header = struct.pack("!IHBB", 6 << 28, len(body), NEXT_ICMPV6, HOP_LIMIT) + address.packed + ALL_NODES.packed
    return ALL_NODES_STATION + station + ETHERTYPE_IPV6 + header + body


def _checksum(data: bytes) -> int:
    """RFC 1071, over an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def arp_announcement(address: IPv4Address, station: bytes) -> bytes:
    """The frame of an ARP announcement, a request for one's own address (RFC 5227 section 2.3)."""
    return BROADCAST + station + ETHERTYPE_ARP + ARP_REQUEST + station + address.packed + NOBODY + address.packed


def access_interface(sides: Mapping[str, str]) -> str:
    """The interface of tunnel addresses. `sides`: by name of interface, in their order."""
    return next(name for name, side in sides.items() if side != "internet")


def external_networks(pool: AftrPool, slot: int, sides: Mapping[str, str]) -> Iterator[tuple[str, IPv4Network]]:
    """The slot's parts of the NAT prefixes and its bypassed hosts, each with its interface. Raises SlotError."""
    first = next(name for name, side in sides.items() if side != "access")
    wanted = {nat_pool.name: nat_pool.interface for nat_pool in pool.spec.nat.pools}
    for part in slot_prefixes(pool, slot):
        named = wanted[part.pool_name] or first
        yield named if named in sides else first, part.network
    for address in slot_bypass_addresses(pool, slot):
        yield first, IPv4Network(address)


def frames(
    pool: AftrPool, slot: int, sides: Mapping[str, str], stations: Mapping[str, bytes], *, with_arp: bool
) -> Iterator[tuple[str, bytes]]:
    """All of a slot's frames with the interface of each; the tunnel address, which customers wait for, comes first.

    `sides` and `stations` (6 bytes each): by name of interface.
    """
    access = access_interface(sides)
    yield access, advertisement(slot_address(pool, slot), stations[access])
    if with_arp:
        for name, network in external_networks(pool, slot, sides):
            for address in network:
                yield name, arp_announcement(address, stations[name])
