"""Neighbours on a shared link (`routing.layer2`): who is answered for which address, as RFC 4861, RFC 826 and RFC 5227 say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import packets
from packets import ICMPV6, IPv4Address, IPv6, IPv6Address, Side, mac, ones_sum, pseudo6
from reference.policy import Policy
from reference.state import Bucket

RATE = 1000  # answers a second of a slot, and at once
SOLICITATION, ADVERTISEMENT = 135, 136
ALL_NODES, ALL_NODES_MAC = "ff02::1", "33:33:00:00:00:01"
SOLICITED, OVERRIDE = 1 << 30, 1 << 29
OURS = packets.ENGINE_MAC


@dataclass(frozen=True)
class Verdict:
    """What becomes of a frame: dropped by name, a conflict (or our own word come back), or this answer."""

    drop: str = ""
    conflict: bool = False
    answer: tuple[Side, bytes] | None = None


class WrongOptionsError(Exception):
    pass


def is_discovery(packet: IPv6) -> bool:
    return packet.next_header == ICMPV6 and packet.raw[40:41] in (b"\x87", b"\x88")


class Neighbours:
    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.rates = [Bucket(RATE, RATE) for _ in policy.addresses]

    def discovery(self, frame: bytes, packet: IPv6, now: int) -> Verdict:
        message = packet.raw[40 : 40 + packet.payload_length]
        if packet.payload_length < 24 or len(message) < packet.payload_length:
            return Verdict("drop-truncated")
        target = IPv6Address(message[8:24])
        if target not in self.policy.addresses:
            return Verdict("drop-not-local")
        reason = self.wrong(packet, message, target)
        if reason:
            return Verdict(reason)
        try:
            station = stated_station(frame[6:12], packet.src, message)
        except WrongOptionsError:
            return Verdict("drop-neighbour-option")
        if message[0] == ADVERTISEMENT:
            return Verdict(conflict=station != mac(OURS))
        if not self.rates[self.policy.addresses.index(target)].take(now):
            return Verdict("drop-rate-limited")
        if packet.src.is_unspecified:
            return Verdict(answer=advertised(target, ALL_NODES, ALL_NODES_MAC, OVERRIDE))
        return Verdict(answer=advertised(target, str(packet.src), station.hex(":"), SOLICITED | OVERRIDE))

    def wrong(self, packet: IPv6, message: bytes, target: IPv6Address) -> str:
        """RFC 4861 7.1."""
        if packet.raw[7] != 255:
            return "drop-neighbour-hop-limit"
        if ones_sum(message, ones_sum(pseudo6(packet.src, packet.dst, ICMPV6, len(message)))) != 0xFFFF:
            return "drop-icmp-checksum"
        if packet.src.is_multicast or packet.src.is_loopback or packet.src in self.policy.addresses:
            return "drop-ipv6-header"
        answers_nobody = message[0] == ADVERTISEMENT and packet.dst.is_multicast and message[4] & 0x40
        from_nowhere = packet.src.is_unspecified and packet.dst != packets.solicited_node(target)
        return "drop-neighbour-header" if message[1] or answers_nobody or from_nowhere else ""

    def arp(self, packet: bytes, slot_of: Callable[[IPv4Address], int | None], now: int) -> Verdict:
        if len(packet) < 28:
            return Verdict("drop-truncated")
        station, sender, target = packet[8:14], IPv4Address(packet[14:18]), IPv4Address(packet[24:28])
        if packet[:7] != bytes.fromhex("00010800060400") or packet[7] not in (1, 2) or station[0] & 1:
            return Verdict("drop-arp-header")
        if slot_of(sender) is not None:
            return Verdict(conflict=station != mac(OURS))
        slot = slot_of(target) if packet[7] == 1 else None
        if slot is None:
            return Verdict("drop-not-local")
        if not self.rates[slot].take(now):
            return Verdict("drop-rate-limited")
        answer = packets.arp(2, OURS, target, station.hex(":"), sender)
        return Verdict(answer=("internet", to_station(answer, station.hex(":"), packets.ETHERTYPE_ARP)))


def options(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        size = 8 * data[1] if len(data) >= 8 else 0
        if size == 0 or size > len(data):
            raise WrongOptionsError
        yield data[0], data[2:size]
        data = data[size:]


def stated_station(sender: bytes, source: IPv6Address, message: bytes) -> bytes:
    """Who asks (option 1) or claims (option 2): the last one that is stated."""
    station = sender
    for kind, value in options(message[24:]):
        if kind == (1 if message[0] == SOLICITATION else 2):
            if len(value) != 6 or source.is_unspecified:
                raise WrongOptionsError
            station = value
    if station[0] & 1:
        raise WrongOptionsError
    return station


def advertised(target: IPv6Address, dst: str, station: str, flags: int) -> tuple[Side, bytes]:
    answer = packets.advertisement(target, dst=dst, flags=flags, options=packets.link_option(2, OURS))
    return "access", to_station(answer, station, packets.ETHERTYPE_IPV6)


def to_station(packet: bytes, station: str, ethertype: int) -> bytes:
    return packets.eth(packet, dst=station, src=OURS, ethertype=ethertype)
