"""What a group's B4s are told now: names that do not resolve held back, moves one batch at a time, a slot drained with T1 shortened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Address, IPv6Network
from typing import Any

from cluster_objects import configured, group, pool
from dslite_contract.slots import slot_fqdn
from dslite_operator.distribution.counting import Leases, Softwire
from dslite_operator.distribution.decision import Circumstances, Decision, assignment_of, decide
from dslite_operator.distribution.maps import Area, BucketMap, Slots, map_of, slots_in
from dslite_operator.distribution.moves import Batch
from dslite_operator.distribution.observed import Observed
from dslite_operator.distribution.wishes import Count

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
T1 = timedelta(minutes=30)
SUBNET = "2001:db8:1000::/48"
DHCP = {"server": "metro", "subnets": [SUBNET], "bucketBytes": "lastNibble"}
HOMES = "edge/homes"
B4S = 100  # of each bucket
AREA = Area(IPv6Network(SUBNET))
COUNTED = Observed({AREA: [Count(B4S, 3 * B4S)] * 16}, leases=Leases(()))


def on_slots(b4s: Mapping[int, int]) -> Observed:
    """B4s on slots, with three sessions each, and no lease that tells them apart."""
    seen = [Softwire(IPv6Address(number), slot, 3) for slot, many in b4s.items() for number in range(many)]
    return Observed(softwires=tuple(seen))


def given(resolved: int = 4, *, settled: bool = True, now: datetime = NOW, **more: Any) -> Circumstances:
    """With the names of the first slots, and leases of 30 minutes."""
    pool_of = configured(pool()).pool
    names = {slot_fqdn(pool_of, slot) for slot in range(resolved)}
    return Circumstances(now, names, {HOMES} if settled else set(), {HOMES: T1}, **more)


def decided(there: Circumstances, *maps: BucketMap | None, seen: Observed | None = COUNTED, **spec: Any) -> Decision:
    """Of a group that is to be on two slots, from the map that it has; `seen` None: not all of its AFTRs have answered."""
    found = configured(pool(), group("homes", "2001:db8:1000::/36", **{"slots": 2, "dhcp": DHCP, **spec}))
    before = {one.group: one for one in maps if one}
    return decide(found.pool, found.groups, before, replace(there, seen={HOMES: seen} if seen else {}))[HOMES]


def areas(made: Decision) -> Mapping[Area, Slots]:
    assert made.map is not None
    return made.map.areas


def slots(made: Decision) -> set[int]:
    return slots_in(areas(made).values())


# ---------------------------------------------------------------- names
def test_o02_a_group_that_is_nowhere_waits_for_all_of_its_names() -> None:
    assert slots(decided(given(2))) == {0, 1}
    waiting = decided(given(1))
    assert waiting.map is None
    assert waiting.missing == ("s1.east.aftr.example.net",)


def test_o02_b4s_stay_while_the_name_of_another_slot_does_not_resolve() -> None:
    before = decided(given(2))
    held = decided(given(2), before.map, slots=4)
    assert areas(held) == areas(before)
    assert held.missing == ("s2.east.aftr.example.net", "s3.east.aftr.example.net")
    assert slots(decided(given(4), held.map, slots=4)) == {0, 1, 2, 3}


def test_o02_who_is_told_a_name_is_told_it_whatever_dns_says() -> None:
    before = decided(given(2))
    after = decided(given(0), before.map)
    assert (after.map, after.missing) == (before.map, ())


def test_o02_b4s_that_are_seen_are_told_no_name_that_does_not_resolve() -> None:
    """They have the AFTR's address in their settings, and their group has just been given `dhcp`.  One on a slot that is drained too."""
    stand = BucketMap(HOMES, "east", "lastNibble", {AREA: (2,) * 16}, levelled=1)
    for there, missing in (
        (given(2), "s2.east.aftr.example.net"),
        (given(2, drains={2: NOW}), "s2.east.aftr.example.net"),
        (given(0), "s2.east.aftr.example.net"),
    ):
        waiting = decided(replace(there, untold={HOMES}), stand, slots=1)
        assert waiting.map is None
        assert missing in waiting.missing
        assert decided(there, stand, slots=1).map is not None, "who was told it, as by a map that was lost, is told it"
    assert areas(decided(replace(given(3), untold={HOMES}), stand, slots=1)) == stand.areas


# ---------------------------------------------------------------- moves
def test_d21_moves_go_on_batch_by_batch() -> None:
    """800 of 1,600 B4s move, 400 in an hour: the first at once, the second an hour later."""
    before = decided(given())
    first = decided(given(), before.map, slots=1, maxMovesPerHour=400)
    assert (first.due and first.due.b4s, [batch.b4s for batch in first.batches]) == (400, [400])
    assert first.map is not None
    assert (first.map.moved_at, first.map.moved_b4s) == (NOW, 400)
    soon = decided(given(now=NOW + timedelta(minutes=59)), first.map, slots=1, maxMovesPerHour=400)
    assert (soon.map, [batch.sessions for batch in soon.batches]) == (first.map, [1200])
    last = decided(given(now=NOW + timedelta(hours=1)), first.map, slots=1, maxMovesPerHour=400)
    assert (slots(last), last.batches) == ({0}, ())


def test_d21_nobody_moves_while_the_server_does_not_tell_what_was_decided_before() -> None:
    before = decided(given())
    waiting = decided(given(settled=False), before.map, slots=1)
    assert areas(waiting) == areas(before)
    assert len(waiting.batches) == 1


def test_d21_the_hour_begins_when_the_server_was_told() -> None:
    """It refused for two hours: the next step is an hour after it took the first one."""
    first = decided(given(), decided(given()).map, slots=1, maxMovesPerHour=400)
    late = NOW + timedelta(hours=2)
    soon = decided(given(now=late, told_at={HOMES: late}), first.map, slots=1, maxMovesPerHour=400)
    assert (soon.due, [batch.at for batch in soon.batches]) == (None, [late + timedelta(hours=1)])
    after = late + timedelta(hours=1)
    last = decided(given(now=after, told_at={HOMES: late}), first.map, slots=1, maxMovesPerHour=400)
    assert slots(last) == {0}


def test_d21_a_clock_that_was_ahead_stops_a_group_for_an_hour_and_no_longer() -> None:
    """The operator's node was a year ahead when it made the first step."""
    first = decided(given(), decided(given()).map, slots=1, maxMovesPerHour=400).map
    assert first is not None
    ahead = replace(first, moved_at=NOW + timedelta(days=365))
    noticed = decided(given(), ahead, slots=1, maxMovesPerHour=400)
    assert (noticed.map, noticed.due) == (first, None)
    last = decided(given(now=NOW + timedelta(hours=1)), noticed.map, slots=1, maxMovesPerHour=400)
    assert slots(last) == {0}


def test_d21_what_is_taken_back_before_its_window_opens_moves_nobody() -> None:
    """Its cost was read, and was too much."""
    window, before = {"start": "02:00", "end": "05:00"}, decided(given())
    planned = decided(given(), before.map, slots=1, moveWindow=window)
    assert (planned.due, [batch.sessions for batch in planned.batches]) == (None, [2400])
    back = decided(given(), planned.map, moveWindow=window)
    assert (areas(back), back.batches) == (areas(before), ())


def test_d21_what_is_taken_back_half_way_moves_nobody_any_more() -> None:
    half = decided(given(), decided(given()).map, slots=1, maxMovesPerHour=400)
    back = decided(given(), half.map)
    assert (areas(back), back.batches) == (areas(half), ())


# ---------------------------------------------------------------- nobody uncounted
def b4s_of(batches: Sequence[Batch]) -> list[tuple[int, int]]:
    return [(batch.b4s, batch.sessions) for batch in batches]


def test_d21_nobody_moves_before_b4s_are_counted() -> None:
    """An AFTR that has not answered since the operator started: 800 B4s would move at once, and as though they were none."""
    before = decided(given()).map
    waiting = decided(given(), before, seen=None, slots=1, maxMovesPerHour=400)
    assert (waiting.map, waiting.due, waiting.batches, waiting.counted) == (before, None, (), False)
    first = decided(given(), waiting.map, slots=1, maxMovesPerHour=400)
    assert (first.due and first.due.b4s, b4s_of(first.batches), first.counted) == (400, [(400, 1200)], True)


def test_d21_load_is_not_levelled_before_b4s_are_counted() -> None:
    """By buckets it would be level already, or become so: who has asked for it goes on asking."""
    before = decided(given()).map
    assert before is not None
    asked = replace(before, chosen=(), levelled=0)
    assert decided(given(), asked, seen=None).map == asked
    full = replace(COUNTED, counts={AREA: [Count(1000 if slot == 0 else 10) for slot in before.areas[AREA]]})
    assert decided(given(), asked, seen=full).due is not None
    uneven = replace(before, areas={AREA: (0,) * 12 + (1,) * 4})
    even = replace(COUNTED, counts={AREA: [Count(10)] * 12 + [Count(30)] * 4})
    for seen in (None, even):
        made = decided(given(), uneven, seen=seen, rebalance="automatic")
        assert (areas(made), made.batches) == (uneven.areas, ())


def test_an_area_that_nobody_had_is_told_a_name_although_nobody_is_counted() -> None:
    before = decided(given())
    assert before.map is not None
    more = {**DHCP, "subnets": [SUBNET, "2001:db8:1001::/48"]}
    made = decided(given(), before.map, seen=None, dhcp=more)
    assert set(areas(made).values()) == set(areas(before).values())
    assert len(areas(made)) == 2


def test_d21_b4s_that_no_lease_tells_apart_are_moved_by_the_hour_too() -> None:
    """Groups that share a subnet, or a server that shows no leases: by the softwires of each slot, shared out over its buckets."""
    before = decided(given(), seen=on_slots({}))
    resized: dict[str, Any] = {"slots": 1, "maxMovesPerHour": 400}
    first = decided(given(), before.map, seen=on_slots({0: 800, 1: 800}), **resized)
    assert (b4s_of([first.due] if first.due else []), b4s_of(first.batches)) == ([(400, 1200)], [(400, 1200)])
    assert first.map is not None
    assert (first.map.moved_at, first.map.moved_b4s) == (NOW, 400)
    soon = decided(given(now=NOW + timedelta(minutes=59)), first.map, seen=on_slots({0: 1200, 1: 400}), **resized)
    assert (soon.map, b4s_of(soon.batches)) == (first.map, [(400, 1200)])
    late = given(now=NOW + timedelta(hours=1))
    last = decided(late, soon.map, seen=on_slots({0: 1200, 1: 400}), **resized)
    assert (slots(last), last.batches) == ({0}, ())


# ---------------------------------------------------------------- a drain
def test_o03_a_drained_slot_is_left_one_renewal_later_with_t1_shortened_until_all_have_heard() -> None:
    before = decided(given())
    drains = {0: NOW}
    ahead = decided(given(drains=drains), before.map)
    assert (slots(ahead), ahead.renewal) == ({0, 1}, timedelta(minutes=5))
    assert [(batch.at, batch.done) for batch in ahead.batches] == [(NOW + T1, NOW + timedelta(minutes=35))]
    moved = decided(given(now=NOW + T1, drains=drains), ahead.map)
    assert 0 not in slots(moved)
    heard = decided(given(now=NOW + timedelta(minutes=34), drains=drains), moved.map)
    assert heard.renewal == timedelta(minutes=5)
    done = decided(given(now=NOW + timedelta(minutes=35), drains=drains), heard.map)
    assert (done.renewal, done.batches, done.map) == (None, (), moved.map)


# ---------------------------------------------------------------- told
def test_what_a_server_is_told_has_the_map_itself() -> None:
    made = decided(given(drains={0: NOW}), decided(given()).map)
    assert made.map is not None
    told = assignment_of(configured(pool()).pool, made.map, made.renewal)
    assert (told.group, told.cut, told.renew_s) == (HOMES, "lastNibble", 300)
    assert map_of(told.copy, HOMES) == made.map
    (part,) = told.parts
    assert [str(area) for area in part.areas] == [SUBNET]
    assert set(part.names) == {"s0.east.aftr.example.net", "s1.east.aftr.example.net"}
