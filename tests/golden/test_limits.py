"""Limits, port blocks, refusals (D19, C01, C02, C05, C08; full tables and exhausted pools)."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

import packets
from packets import SYN, echo, ipv4, tcp, udp
from rig import HOST, SERVER, Boot, Endpoint, Rig, b4, one, refused

pytestmark = pytest.mark.nojit


def nat(**fields: Any) -> dict[str, Any]:
    return {"nat": fields}


ONE_ADDRESS = [{"name": "default", "prefixes": ["192.0.2.5/32"]}]


def open_many(rig: Rig, number: int, *, first: int = 5000, subscriber: int = 1) -> list[Endpoint]:
    return [rig.open(udp(first + n, 53), b4=b4(subscriber)) for n in range(number)]


def is_refused(
    rig: Rig, name: str, body: packets.Segment | None = None, *, subscriber: int = 1, code: int = 1, src: str = HOST
) -> None:
    packet = ipv4(body or udp(60000, 53), src=src, dst=SERVER)
    outputs = rig.up(packet, b4=b4(subscriber))
    refused(rig, outputs, 3, code, packet, b4=b4(subscriber))
    rig.was_dropped("access", name, answered=1, events={"icmp-sent": 1, "mappings-created": 0, "sessions-created": 0})


# ------------------------------------------------------------------------------------------------ D19, C01
def test_d19_ports_per_subscriber_are_limited(boot: Boot) -> None:
    rig = boot(nat(portBlock={"size": 64, "maxPerSubscriber": 2}))
    endpoints = open_many(rig, 128)
    assert len({endpoint.port // 64 for endpoint in endpoints}) == 2
    rig.since()
    is_refused(rig, "drop-port-limit")
    assert open_many(rig, 128) == endpoints, "existing mappings go on"
    open_many(rig, 1, subscriber=2)


def test_d19_new_sessions_are_rate_limited(boot: Boot) -> None:
    rig = boot(nat(limits={"newSessionsPerSecond": 10, "newSessionBurst": 20}))
    open_many(rig, 20)
    rig.since()
    is_refused(rig, "drop-session-rate")
    rig.wait(0.5)
    open_many(rig, 5, first=7000)
    rig.since()
    is_refused(rig, "drop-session-rate")
    open_many(rig, 20, subscriber=2)
    rig.wait(60)
    open_many(rig, 20, first=8000)
    rig.since()
    is_refused(rig, "drop-session-rate")


def test_d19_packets_of_known_sessions_are_not_rate_limited(boot: Boot) -> None:
    rig = boot(nat(limits={"newSessionsPerSecond": 10, "newSessionBurst": 10}))
    for _ in range(5):
        open_many(rig, 10)
    rig.was_forwarded("access", 50, events={"mappings-created": 10})


def test_c01_sessions_per_subscriber_are_limited(boot: Boot) -> None:
    rig = boot(nat(limits={"sessionsPerSubscriber": 8}))
    open_many(rig, 4)
    for number in range(4):
        rig.open(tcp(5000, 80 + number, SYN))
    rig.since()
    is_refused(rig, "drop-session-limit")
    is_refused(rig, "drop-session-limit", tcp(5000, 90, SYN))
    is_refused(rig, "drop-session-limit", echo(9))
    open_many(rig, 4)
    open_many(rig, 8, subscriber=2)
    rig.wait(302)  # all are gone
    open_many(rig, 8)


def test_c01_a_sessions_end_makes_room(boot: Boot) -> None:
    rig = boot(nat(limits={"sessionsPerSubscriber": 2}))
    rig.open(echo(1))
    rig.open(udp(5000, 53))
    rig.since()
    is_refused(rig, "drop-session-limit")
    rig.wait(62)
    rig.open(udp(5001, 53))
    rig.since()
    is_refused(rig, "drop-session-limit")


def test_c01_memory_per_subscriber_is_limited(boot: Boot) -> None:
    rig = boot(nat(limits={"memoryBytesPerSubscriber": "4Ki"}))
    created = 0
    while (
        len(outputs := rig.up(ipv4(udp(5000 + created, 53), src=HOST, dst=SERVER))) == 1 and outputs[0][0] == "internet"
    ):
        created += 1
        assert created < 128, "4 KiB are at most 128 mappings of 32 bytes"
    assert created >= 16, "and at least 16 of 256"
    rig.counted(
        access={"rx": created + 1, "forwarded": created, "dropped": 1, "originated": 1, "tx": 1},
        internet={"tx": created},
        drops={"drop-memory-limit": 1},
    )
    open_many(rig, created, subscriber=2)


@pytest.mark.parametrize(("name", "answered"), [("mappingsPerSlot", True), ("subscribersPerSlot", False)])
def test_c01_full_tables_refuse_and_recover(boot: Boot, name: str, answered: bool) -> None:
    """Capacity is fixed: the newest is refused, nothing is evicted, and what ends makes room.

    A refused mapping is answered; a B4 that found no place as a subscriber has no rate limit and so gets no answer.
    """
    rig = boot({"capacity": {name: 64}})
    served = []
    for number in range(1, 400):
        packet = ipv4(udp(5000, 53), src=HOST, dst=SERVER)
        outputs = rig.up(packet, b4=b4(number))
        if not outputs or outputs[0][0] == "access":
            break
        served.append(rig.endpoint(outputs))
    if answered:
        refused(rig, outputs, 3, 1, packet, b4=b4(number))
    else:
        assert outputs == []
    assert 64 <= len(served) < 399
    assert rig.since()["drops"] == {"drop-table-full": 1}
    for number, endpoint in enumerate(served, 1):
        outputs = rig.down(ipv4(udp(53, endpoint.port), src=SERVER, dst=endpoint.address))
        assert one(outputs, "access").dport == 5000
        assert packets.IPv6(outputs[0][1][14:]).dst == packets.v6(b4(number))
    rig.wait(302)
    rig.wait(3600)
    open_many(rig, 1, subscriber=999)


def test_c01_full_session_table_refuses(boot: Boot) -> None:
    rig = boot({"capacity": {"extraSessionsPerSlot": 64}})
    refusals = 0
    for number in range(150):
        outputs = rig.up(ipv4(tcp(5000, 80, SYN), src=HOST, dst=f"203.0.113.{number}"))
        assert len(outputs) == 1
        refusals += outputs[0][0] == "access"
    found = rig.since()
    assert refusals >= 1
    assert found["drops"] == {"drop-table-full": found["access"]["dropped"]}
    open_many(rig, 1)


# ------------------------------------------------------------------------------------------------ C02
def test_c02_a_freed_block_rests_120_seconds(boot: Boot) -> None:
    rig = boot(nat(pools=ONE_ADDRESS, portBlock={"size": 4096, "maxPerSubscriber": 1}))
    for subscriber in range(1, 16):
        open_many(rig, 1, subscriber=subscriber)
    rig.since()
    is_refused(rig, "drop-no-port-block", subscriber=16)
    rig.wait(150)
    for subscriber in range(2, 16):
        open_many(rig, 1, subscriber=subscriber)  # refreshed, all but the first
    rig.since()
    rig.wait(152)
    rig.counted(events={"mappings-removed": 1, "port-blocks-released": 1})
    is_refused(rig, "drop-no-port-block", subscriber=16)
    rig.wait(119)
    is_refused(rig, "drop-no-port-block", subscriber=16)
    rig.wait(1)
    open_many(rig, 1, subscriber=16)
    rig.was_forwarded("access", events={"port-blocks-allocated": 1})


def test_c02_hold_down_is_configurable(boot: Boot) -> None:
    rig = boot(nat(pools=ONE_ADDRESS, portBlock={"size": 4096, "maxPerSubscriber": 1, "holdDownSeconds": 10}))
    for subscriber in range(1, 16):
        open_many(rig, 1, subscriber=subscriber)
    rig.wait(301)
    rig.since()
    is_refused(rig, "drop-no-port-block", subscriber=16)
    rig.wait(10)
    open_many(rig, 1, subscriber=16)


# ------------------------------------------------------------------------------------------------ C05
@pytest.mark.parametrize("size", [64, 128, 256, 512, 1024, 2048, 4096])
def test_c05_ports_come_in_aligned_blocks(boot: Boot, size: int) -> None:
    rig = boot(nat(portBlock={"size": size, "maxPerSubscriber": 2}))
    number = min(size, 300)
    endpoints = open_many(rig, number)
    assert len({(endpoint.address, endpoint.port // size) for endpoint in endpoints}) == 1
    assert len(set(endpoints)) == number
    rig.was_forwarded("access", number, events={"port-blocks-allocated": 1})


def test_c05_ports_are_random_inside_a_block(boot: Boot) -> None:
    """RFC 6056: neither in order nor at a constant step."""
    rig = boot()
    ports = [endpoint.port for endpoint in open_many(rig, 32)]
    steps = {b - a for a, b in itertools.pairwise(ports)}
    assert len(steps) > 16


def test_c05_a_block_covers_the_same_range_for_all_protocols(boot: Boot) -> None:
    rig = boot(nat(portBlock={"size": 64, "maxPerSubscriber": 1}))
    used: dict[str, set[Endpoint]] = {"udp": set(), "tcp": set(), "icmp": set()}
    for number in range(64):
        used["udp"].add(rig.open(udp(5000 + number, 53)))
        used["tcp"].add(rig.open(tcp(5000 + number, 53, SYN)))
        used["icmp"].add(rig.open(echo(5000 + number)))
    assert used["udp"] == used["tcp"] == used["icmp"]
    assert len(used["udp"]) == 64
    rig.was_forwarded("access", 192, events={"port-blocks-allocated": 1, "mappings-created": 192})
    for body in (udp(9, 53), tcp(9, 53, SYN), echo(9)):
        is_refused(rig, "drop-port-limit", body)


def test_c05_a_block_is_freed_when_its_last_mapping_ends(boot: Boot) -> None:
    rig = boot(nat(portBlock={"size": 64, "maxPerSubscriber": 4}))
    rig.open(echo(1))
    rig.open(udp(5000, 53))
    rig.since()
    rig.wait(62)
    rig.counted(events={"mappings-removed": 1, "port-blocks-released": 0})
    rig.wait(240)
    rig.counted(events={"mappings-removed": 1, "port-blocks-released": 1})


def test_c05_blocks_of_two_subscribers_differ(boot: Boot) -> None:
    rig = boot(nat(pools=ONE_ADDRESS, portBlock={"size": 64, "maxPerSubscriber": 4}))
    owner: dict[int, int] = {}
    for subscriber in range(1, 41):
        for endpoint in open_many(rig, 70, subscriber=subscriber):
            assert owner.setdefault(endpoint.port // 64, subscriber) == subscriber
    assert len(owner) == 80


# ------------------------------------------------------------------------------------------------ C08
@pytest.mark.parametrize("code", [1, 13])
def test_c08_refusals_are_answered_with_the_configured_code(boot: Boot, code: int) -> None:
    rig = boot(nat(icmpRefusalCode=code, limits={"sessionsPerSubscriber": 1}))
    open_many(rig, 1)
    rig.since()
    is_refused(rig, "drop-session-limit", code=code)


def test_c08_refusals_are_rate_limited(boot: Boot) -> None:
    rig = boot(nat(limits={"sessionsPerSubscriber": 1}))
    open_many(rig, 1)
    rig.since()
    packet = packets.eth(packets.ipv6(ipv4(udp(7, 53), src=HOST, dst=SERVER), src=b4(1), dst="2001:db8:64::1"))
    outputs = rig.step([("access", packet)] * 128)
    assert sum(len(output) for output in outputs) == 100
    rig.was_dropped(
        "access", "drop-session-limit", 128, answered=100, events={"icmp-sent": 100, "icmp-rate-limited": 28}
    )


def test_c08_an_exhausted_pool_evicts_nothing(boot: Boot) -> None:
    rig = boot(nat(pools=ONE_ADDRESS, portBlock={"size": 4096, "maxPerSubscriber": 1}))
    endpoints = [open_many(rig, 1, subscriber=subscriber)[0] for subscriber in range(1, 16)]
    rig.since()
    for subscriber in range(16, 40):
        is_refused(rig, "drop-no-port-block", subscriber=subscriber)
    for subscriber, endpoint in enumerate(endpoints, 1):
        assert open_many(rig, 1, subscriber=subscriber) == [endpoint]
        outputs = rig.down(ipv4(udp(53, endpoint.port), src=SERVER, dst=endpoint.address))
        expected = ipv4(udp(53, 5000), src=SERVER, dst=HOST, ttl=63)
        assert outputs == [rig.to_softwire(expected, outputs, b4=b4(subscriber))]


def test_c08_later_fragments_of_a_refused_datagram_do_not_pass(boot: Boot) -> None:
    rig = boot(nat(limits={"sessionsPerSubscriber": 1}))
    open_many(rig, 1)
    rig.since()
    first, second = packets.fragment4(ipv4(udp(7, 53, bytes(1000)), src=HOST, dst=SERVER, df=False), [504])
    refused(rig, rig.up(first), 3, 1, first)
    assert rig.up(second) == []
    rig.wait(3)
    found = rig.since()
    assert found["access"] == {"rx": 2, "dropped": 2, "originated": 1, "tx": 1}
