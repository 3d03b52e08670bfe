"""Engine and reference agree on mutated neighbour discovery and ARP, frame by frame and counter by counter."""

from __future__ import annotations

import pytest

import packets
from packets import ENGINE_MAC, ETHERTYPE_ARP, ICMPV6, SENDER_MAC, Side, arp, eth, link_option
from properties.duel import Duel
from properties.mutants import Numbers
from rig import slot_address

ROUTER = "2001:db8:ffff::1"
SPEC = {"slots": 2, "nat": {"pools": [{"name": "default", "prefixes": ["192.0.2.0/28"]}]}, "routing": {"layer2": {}}}
STATION, OURS = link_option(1, SENDER_MAC), link_option(2, ENGINE_MAC)


def seeds() -> list[tuple[Side, bytes]]:
    found: list[tuple[Side, bytes]] = []
    for slot in (0, 1):
        target, external, other = slot_address(slot), f"192.0.2.{8 * slot + 1}", f"192.0.2.{8 * slot + 2}"
        messages = [
            packets.solicitation(target, src=ROUTER, options=STATION),
            packets.solicitation(target, src=ROUTER, dst=target, options=bytes([14, 1]) + bytes(6) + STATION),
            packets.solicitation(target, src="::"),
            packets.advertisement(target, src=ROUTER, options=link_option(2, SENDER_MAC)),
            packets.advertisement(target, src=ROUTER, options=OURS),
        ]
        found += [("access", eth(message)) for message in messages]
        questions = [
            arp(1, SENDER_MAC, "203.0.113.1", "00:00:00:00:00:00", external),
            arp(1, SENDER_MAC, external, "00:00:00:00:00:00", external),
            arp(2, SENDER_MAC, external, "ff:ff:ff:ff:ff:ff", external),
            arp(1, ENGINE_MAC, external, "00:00:00:00:00:00", other),
        ]
        found += [("internet", eth(question, ethertype=ETHERTYPE_ARP) + bytes(18)) for question in questions]
    return found


def mutate(frame: bytes, numbers: Numbers) -> bytes:
    """A few bytes behind the Ethernet header changed, or the end cut off; most checksums are right again."""
    data = bytearray(frame)
    if numbers.below(8) == 0:
        return bytes(data[: 14 + numbers.below(len(data) - 14)])
    for _ in range(numbers.below(3)):
        at = (6, 14 + numbers.below(len(data) - 14))[numbers.below(8) > 0]
        data[at] = (data[at] ^ 1 << numbers.below(8), 0, 1, numbers.below(256))[numbers.below(4)]
    if numbers.below(4) > 0 and data[20] == ICMPV6 and len(data) >= 78:
        length = int.from_bytes(data[18:20])
        data[56:58] = bytes(2)
        message = bytes(data[54 : 54 + length])
        pseudo = packets.pseudo6(bytes_to_v6(data[22:38]), bytes_to_v6(data[38:54]), ICMPV6, length)
        data[56:58] = packets.checksum(message, packets.ones_sum(pseudo)).to_bytes(2)
    return bytes(data)


def bytes_to_v6(data: bytearray) -> packets.IPv6Address:
    return packets.IPv6Address(bytes(data))


@pytest.mark.parametrize(
    ("workers", "number"), [(1, 20_000), (2, 20_000), pytest.param(2, 300, marks=pytest.mark.nojit)]
)
def test_engine_and_reference_agree_on_neighbours(workers: int, number: int) -> None:
    duel = Duel(SPEC, workers=workers)
    numbers, good = Numbers(workers), seeds()
    for _ in range(number // 20):
        duel.step(
            [(side, mutate(frame, numbers)) for side, frame in (good[numbers.below(len(good))] for _ in range(20))]
        )
        duel.now += numbers.below(30) * 1_000_000
    events = duel.engine.counters()["events"]
    assert events["neighbours-answered"] > number // 20
    assert events["neighbour-conflicts"] > number // 20
    drops = duel.engine.counters()["drops"]
    dropped = {name for name in drops if name.startswith(("drop-neighbour-", "drop-arp-")) and drops[name]}
    expected = {"drop-neighbour-hop-limit", "drop-neighbour-header", "drop-neighbour-option", "drop-arp-header"}
    assert dropped == expected if number > 1000 else dropped <= expected
    duel.close()
