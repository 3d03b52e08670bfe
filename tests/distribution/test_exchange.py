"""D21: load between groups is levelled by moving whole shares: when asked for, or always, and never for nothing."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dslite_operator.distribution.balance import EPSILON
from dslite_operator.distribution.exchange import Exchange, exchanges
from dslite_operator.distribution.maps import BucketMap, slots_in
from dslite_operator.distribution.moves import Pace, advance, moves_between, schedule
from dslite_operator.distribution.placement import place
from dslite_operator.distribution.standing import standing
from dslite_operator.distribution.wishes import Count, Wish
from placement_histories import area

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


def loads_of(shares: Mapping[str, Mapping[int, int]]) -> Counter[int]:
    return sum((Counter(its) for its in shares.values()), Counter())


def test_the_lightest_share_leaves_the_fullest_slot_for_the_emptiest() -> None:
    shares = {"a": {0: 50}, "b": {0: 30}, "c": {1: 60}, "d": {2: 10}}
    assert list(exchanges(shares, dict.fromkeys(shares, (0, 1, 2)))) == [Exchange(30, "b", 0, 2)]


def test_who_may_not_move_stays() -> None:
    shares = {"a": {0: 50}, "b": {0: 30}, "c": {1: 60}, "d": {2: 10}}
    assert list(exchanges(shares, {"a": (0, 1, 2), "c": (0, 1, 2)})) == [Exchange(50, "a", 0, 2)]
    assert list(exchanges(shares, {"b": (0, 1)})) == []
    assert list(exchanges(shares, {})) == []
    assert list(exchanges({}, {})) == []


def test_two_shares_of_one_group_are_never_on_one_slot() -> None:
    shares = {"a": {0: 50, 1: 50}, "b": {0: 40}, "c": {1: 5}, "d": {2: 10}}
    assert list(exchanges(shares, {"a": (0, 1, 2)})) == [Exchange(50, "a", 0, 2)]


@settings(deadline=None)
@given(st.integers(0, 1 << 32))
def test_loads_come_nearer_together_until_no_share_helps(seed: int) -> None:
    rng = random.Random(seed)
    slots = rng.randint(1, 8)
    shares = {f"g{number}": {slot: rng.randint(1, 100) for slot in rng.sample(range(slots), rng.randint(1, min(3, slots)))}
              for number in range(rng.randint(1, 12))}  # fmt: skip
    before, now = loads_of(shares), {group: dict(its) for group, its in shares.items()}
    for step in exchanges(shares, dict.fromkeys(shares, tuple(range(slots)))):
        assert now[step.group].pop(step.old) == step.weight
        assert step.new not in now[step.group]
        now[step.group][step.new] = step.weight
    after = loads_of(now)
    assert after.total() == before.total()
    assert max(after.values()) <= max(before.values())
    for old in (slot for slot in after if after[slot] > (1 + EPSILON) * after.total() / slots):
        for its in (its for its in now.values() if old in its):
            assert all(after[new] + its[old] >= after[old] for new in range(slots) if new not in its)


# ---------------------------------------------------------------- in a pool
def crowded(asked: bool, level: bool = False) -> tuple[list[Wish], dict[str, BucketMap]]:
    """Five groups of 2,560 B4s on slot 0, and three empty slots."""
    wishes = [
        Wish(f"g{n}", "east", "last", (area(n),), 1, (0, 1, 2, 3), {area(n): [Count(10)] * 256}, level)
        for n in range(5)
    ]
    maps = {wish.group: BucketMap(wish.group, "east", "last", {wish.areas[0]: (0,) * 256}, (0,), 1) for wish in wishes}
    return wishes, {name: replace(one, chosen=(), levelled=0) for name, one in maps.items()} if asked else maps


def slots_of(maps: Mapping[str, BucketMap]) -> list[int]:
    return sorted(slot for one in maps.values() for slot in slots_in(one.areas.values()))


@pytest.mark.parametrize(("asked", "level"), [(True, False), (False, True)])
def test_d21_groups_are_levelled_when_asked_for_or_always(asked: bool, level: bool) -> None:
    wishes, maps = crowded(asked, level)
    assert slots_of(place(wishes, standing(wishes, maps))) == [0, 0, 1, 2, 3]


def test_d21_groups_that_nobody_asks_to_level_stay() -> None:
    wishes, maps = crowded(asked=False)
    assert place(wishes, standing(wishes, maps)) == maps


def test_d21_a_group_that_is_moved_hour_by_hour_does_not_turn_back() -> None:
    """While some of it has moved, loads ask for something else than before: what was chosen holds."""
    wishes, maps = crowded(asked=True)
    now, moved = NOON, 0
    for _ in range(100):
        stand = standing(wishes, maps)
        target, plans = place(wishes, stand), {}
        for wish in wishes:
            moves = moves_between(stand[wish.group], target[wish.group], wish.counts)
            plans[wish.group] = schedule(moves, Pace(700, None, timedelta(hours=1)), stand[wish.group], now)
        due = {name: plan[0] for name, plan in plans.items() if plan and plan[0].at <= now}
        moved += sum(batch.b4s for batch in due.values())
        maps = {name: advance(stand[name], target[name], due.get(name)) for name in stand}
        now += timedelta(minutes=30)
        if not any(plans.values()):
            break
    assert slots_of(maps) == [0, 0, 1, 2, 3]
    assert moved == 3 * 2560
    assert {one.levelled for one in maps.values()} == {1}
