"""Mutated frames, made by the thousand in numpy: each is a good frame with a few bytes changed, cut, or grown.

Half of the changes fall on the bytes that say something (lengths, versions, next headers, offsets, flags, ports), and half
of the mutants have their IPv4 checksums made right again, so that they get past the first check.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

import packets
from packets import ACK, FIN, RST, SYN, Side, echo, echo_reply, eth, fragment_header, icmp6, ipv4, ipv6, tcp, udp
from rig import AFTR, B4, HOST, SERVER, Endpoint, b4, slot_address

HEADERS_END = 14 + 40 + 8 + 60 + 20  # Ethernet, IPv6, fragment, the largest IPv4 header, TCP
Seeds = list[tuple[Side, bytes]]


def seeds(endpoints: dict[str, Endpoint]) -> Seeds:
    """Good frames of every kind; `endpoints` of live mappings by protocol, for what comes from the internet."""
    arp: Seeds = [("internet", eth(packet, ethertype=packets.ETHERTYPE_ARP)) for packet in arp_seeds()]
    access: Seeds = [("access", eth(packet)) for packet in access_seeds(endpoints) + discovery_seeds()]
    return [*access, *arp, *(("internet", eth(packet)) for packet in internet_seeds(endpoints))]


def access_seeds(endpoints: dict[str, Endpoint]) -> list[bytes]:
    bodies = [
        udp(5000, 53, b"query"), udp(5001, 53, bytes(200), checksum=0), tcp(5000, 80, SYN, mss=1460), tcp(5000, 80, ACK, b"data"),
        tcp(5000, 80, FIN | ACK), tcp(5000, 80, RST), echo(700, 1, bytes(60)), packets.raw(packets.GRE, bytes(20)),
        udp(5000, endpoints["udp"].port), tcp(5000, endpoints["tcp"].port, SYN),
    ]  # fmt: skip
    inner = [ipv4(body, src=HOST, dst=SERVER, df=number % 2 == 0) for number, body in enumerate(bodies[:8])]
    inner += [ipv4(body, src=HOST, dst=endpoints["udp"].address) for body in bodies[8:]]
    inner.append(ipv4(udp(5000, 53), src=HOST, dst=SERVER, options=b"\x94\x04\0\0\x07\x07\x04\0\0\0\0\0"))
    inner.append(ipv4(echo(7), src=HOST, dst="192.0.0.1"))
    inner += [ipv4(packets.unreachable(3, ipv4(body, src=SERVER, dst=HOST)), src=HOST, dst=SERVER)
              for body in (udp(53, 5000), tcp(80, 5000), echo_reply(700))]  # fmt: skip
    inner += packets.fragment4(ipv4(udp(5000, 53, bytes(900)), src=HOST, dst=SERVER, df=False), [304, 304])
    found = [ipv6(packet, src=b4(1 + n % 4), dst=slot_address(n % 2)) for n, packet in enumerate(inner)]
    found += packets.fragment6(ipv6(inner[1], src=B4, dst=AFTR), [64, 96])
    chain = packets.options_header(packets.DESTINATION) + packets.options_header(packets.FRAGMENT)
    chain += fragment_header(packets.IPIP, 0, False, 9)
    found.append(ipv6(chain + inner[0], src=B4, dst=AFTR, next_header=packets.HOP_BY_HOP))
    found.append(ipv6(icmp6(128, 0, 7, bytes(30)), src=B4, dst=AFTR))
    ours = ipv6(ipv4(udp(53, 5000), src=SERVER, dst=HOST), src=AFTR, dst=B4)
    found += [ipv6(icmp6(kind, 0, 1300, ours), src="2001:db8:ffff::1", dst=AFTR) for kind in (1, 2, 3, 4)]
    return found


def discovery_seeds() -> list[bytes]:
    router, station = "2001:db8:ffff::1", packets.link_option(1, packets.SENDER_MAC)
    return [
        packets.solicitation(slot_address(0), src=router, options=station),
        packets.solicitation(
            slot_address(1), src=router, dst=slot_address(1), options=bytes([14, 1]) + bytes(6) + station
        ),
        packets.solicitation(slot_address(1), src="::"),
        packets.advertisement(slot_address(0), src=router, options=packets.link_option(2, packets.SENDER_MAC)),
    ]


def arp_seeds() -> list[bytes]:
    sender, nobody = packets.SENDER_MAC, "00:00:00:00:00:00"
    return [
        packets.arp(1, sender, SERVER, nobody, "192.0.2.1"),
        packets.arp(1, sender, SERVER, nobody, "192.0.2.200"),
        packets.arp(2, sender, "192.0.2.1", nobody, "192.0.2.1"),
    ]


def internet_seeds(endpoints: dict[str, Endpoint]) -> list[bytes]:
    u, t, i = endpoints["udp"], endpoints["tcp"], endpoints["icmp"]
    found = [
        ipv4(udp(53, u.port, b"answer"), src=SERVER, dst=u.address),
        ipv4(udp(53, u.port, bytes(1600)), src=SERVER, dst=u.address, df=False),
        ipv4(udp(53, u.port, bytes(1600)), src=SERVER, dst=u.address),
        ipv4(tcp(80, t.port, SYN | ACK, mss=1460), src=SERVER, dst=t.address),
        ipv4(tcp(80, t.port, ACK, bytes(500)), src=SERVER, dst=t.address),
        ipv4(tcp(4444, 22, SYN), src=SERVER, dst=t.address),
        ipv4(echo_reply(i.port, 1, bytes(60)), src=SERVER, dst=i.address),
        ipv4(echo(9), src=SERVER, dst=i.address),
    ]
    for endpoint, body in ((u, udp(u.port, 53)), (t, tcp(t.port, 80)), (i, echo(i.port))):
        quote = ipv4(body, src=endpoint.address, dst=SERVER, ttl=1)
        found.append(ipv4(packets.time_exceeded(quote), src="203.0.113.99", dst=endpoint.address))
        found.append(ipv4(packets.unreachable(4, quote, mtu=1280), src="203.0.113.99", dst=endpoint.address))
    found += packets.fragment4(ipv4(udp(53, u.port, bytes(900)), src=SERVER, dst=u.address, df=False), [304, 304])
    return found


class Numbers:
    """Random numbers, drawn from numpy by the hundred thousand: one call a number would cost more than the engine."""

    def __init__(self, seed: int) -> None:
        self.generator = np.random.default_rng(seed)
        self.words: list[int] = []

    def below(self, bound: int) -> int:
        if not self.words:
            self.words = self.generator.integers(0, 1 << 31, 100_000).tolist()
        return self.words.pop() % bound


def mutants(good: Seeds, numbers: Numbers, number: int) -> Iterator[tuple[Side, bytes]]:
    """`number` mutated frames."""
    for _ in range(number):
        side, frame = good[numbers.below(len(good))]
        yield side, mutate(frame, numbers)


def mutate(frame: bytes, numbers: Numbers) -> bytes:
    data = bytearray(frame)
    kind = numbers.below(16)
    if kind < 2:
        return bytes(data[: numbers.below(len(data) + 1)])
    if kind == 2:
        return bytes(data) + bytes([numbers.below(256)]) * numbers.below(400)
    last = min(len(data), HEADERS_END) if kind & 1 else len(data)
    for _ in range(1 + numbers.below(4)):
        at = 12 + numbers.below(last - 12)
        change = numbers.below(4)
        if change == 0:
            data[at] ^= 1 << numbers.below(8)
        elif change == 1:
            data[at] = numbers.below(256)
        elif change == 2:
            data[at] = (0, 1, 0x7F, 0x80, 0xFF)[numbers.below(5)]
        else:
            data[at] = (data[at] + (1, -1, 4, -4)[numbers.below(4)]) & 0xFF
    if kind & 2:
        repair(data)
    return bytes(data)


def repair(data: bytearray) -> None:
    """Make the checksum of the (inner) IPv4 header right, where there still is one."""
    start = 14 if data[12:14] == b"\x08\x00" else 54
    if start == 54 and len(data) > 20 and data[20] == packets.FRAGMENT:
        start = 62
    size = (data[start] & 15) * 4 if len(data) > start else 0
    if size >= 20 and len(data) >= start + size:
        data[start + 10 : start + 12] = b"\0\0"
        data[start + 10 : start + 12] = packets.checksum(bytes(data[start : start + size])).to_bytes(2)
