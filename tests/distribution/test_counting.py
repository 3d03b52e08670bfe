"""B4s and sessions by leases and softwires: what moves are counted with, what a lost map comes back from, who is astray."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Address, IPv6Network

from hypothesis import given, settings
from hypothesis import strategies as st

from dslite_operator.distribution.counting import Lease, Leases, Softwire, Stray, counted, seen, shared_out, strays
from dslite_operator.distribution.maps import Area, BucketMap
from dslite_operator.distribution.moves import Pace, forecast, moves_between, schedule
from dslite_operator.distribution.placement import place
from dslite_operator.distribution.recovery import sighted
from dslite_operator.distribution.standing import standing
from dslite_operator.distribution.wishes import Count, Wish
from placement_histories import area

A, B = area(1), area(2)


def duid(number: int) -> bytes:
    return bytes.fromhex("00030001") + number.to_bytes(6, "big")


def address(number: int) -> IPv6Address:
    return IPv6Address((0x20010DB8_10000000 << 64) + (number << 64) + 7)


def lease(number: int, where: Area = A, length: int = 64) -> Lease:
    return Lease(where, duid(number), IPv6Network((address(number), length), strict=False))


def softwire(number: int, slot: int, sessions: int = 0) -> Softwire:
    return Softwire(address(number), slot, sessions)


def test_d21_b4s_are_counted_by_leases_and_sessions_by_softwires() -> None:
    leases = Leases([lease(0x0102), lease(0x0102, length=128), lease(0x0202), lease(0x0103, B)])
    counts = counted(leases, [softwire(0x0102, 0, 40), softwire(0x0103, 1, 7), softwire(0x0999, 0, 100)], "last")
    assert {where: {n: one for n, one in enumerate(row) if one != (0, 0)} for where, row in counts.items()} == {
        A: {2: Count(2, 40)},
        B: {3: Count(1, 7)},
    }


def test_an_address_is_of_the_longest_prefix_that_it_lies_in() -> None:
    wide, own = Lease(A, duid(1), IPv6Network("2001:db8:1000::/40")), lease(5)
    leases = Leases([wide, own])
    assert leases.of(address(5)) == own
    assert leases.of(address(6)) == wide
    assert leases.of(IPv6Address("2001:db9::1")) is None


def test_engines_see_buckets_on_slots() -> None:
    leases = Leases([lease(0x0102), lease(0x0202), lease(0x0302)])
    found = seen(leases, [softwire(0x0102, 3), softwire(0x0202, 3), softwire(0x0302, 1), softwire(0x0999, 5)], "last")
    assert found.keys() == {A}
    assert found[A][2] == {3: 2, 1: 1}


@settings(deadline=None)
@given(st.lists(st.integers(-1, 3), min_size=16, max_size=16), st.integers(0, 5000), st.integers(0, 5000))
def test_what_is_on_a_slot_is_shared_out_over_its_buckets_and_nothing_is_left(
    slots: list[int], b4s: int, sessions: int
) -> None:
    counts = shared_out({A: tuple(slots), B: (0,) * 16}, {0: Count(b4s, sessions), 5: Count(7, 7)})
    its = [
        one
        for where, row in ((A, slots), (B, [0] * 16))
        for one, slot in zip(counts[where], row, strict=True)
        if slot == 0
    ]
    assert (sum(one.b4s for one in its), sum(one.sessions for one in its)) == (b4s, sessions)
    assert max(one.b4s for one in its) - min(one.b4s for one in its) <= 1
    others = [one for one, slot in zip(counts[A], slots, strict=True) if slot != 0]
    assert others == [Count(0)] * len(others)


def test_strays_are_listed_with_what_they_were_told() -> None:
    maps = [BucketMap("a", "east", "last", {A: (0,) * 255 + (1,)})]
    leases = Leases([lease(0x01FE), lease(0x01FF), lease(0x02FF), lease(0x03FF, B)])
    found = [softwire(0x01FE, 0), softwire(0x01FF, 1), softwire(0x02FF, 0), softwire(0x03FF, 2), softwire(0x0999, 3)]
    assert list(strays(leases, found, maps)) == [Stray(found[2], 1), Stray(found[3], None), Stray(found[4], None)]


@settings(deadline=None)
@given(st.sets(st.integers(0, 0xFFFF), min_size=1, max_size=300), st.integers(2, 5))
def test_d21_from_leases_to_a_map_to_moves_and_back(numbers: set[int], spread: int) -> None:
    """Everybody is where the map says; the map is lost and found; what a resize costs is counted as it then comes."""
    leases = Leases(lease(number, A if number % 2 else B) for number in numbers)
    wish = Wish("edge/a", "east", "last", (A, B), spread, tuple(range(8)), counted(leases, [], "last"))
    maps = place([wish], standing([wish], {}))
    slot_of = {number: maps["edge/a"].areas[A if number % 2 else B][number & 255] for number in numbers}
    softwires = [softwire(number, slot, 3) for number, slot in slot_of.items()]
    assert not list(strays(leases, softwires, maps.values()))
    found = sighted(wish, "", seen(leases, softwires, "last")).map
    assert found is not None
    after = place([wish], standing([wish], {"edge/a": found}))
    assert not list(strays(leases, softwires, after.values()))
    larger = replace(wish, spread=spread + 1, counts=counted(leases, softwires, "last"))
    target = place([larger], standing([larger], maps))
    moves = moves_between(maps["edge/a"], target["edge/a"], larger.counts)
    moving = list(strays(leases, softwires, target.values()))
    assert sum(move.b4s for move in moves) == len(moving)
    assert sum(move.sessions for move in moves) == sum(stray.softwire.sessions for stray in moving)
    batches = schedule(
        moves, Pace(10_000, None, timedelta(hours=1)), maps["edge/a"], datetime(2026, 11, 26, tzinfo=UTC)
    )
    assert f"{len(moving):,} B4s are told another slot" in forecast(batches) or not moves
