"""Which B4s move, when, and what it costs: at most so many in an hour, in the window, and nothing twice."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract_objects import full
from dslite_contract.schema import MoveWindow
from dslite_operator.distribution.maps import UNPLACED, BucketMap
from dslite_operator.distribution.moves import (
    HOUR,
    Batch,
    Move,
    Pace,
    advance,
    forecast,
    moves_between,
    opening,
    pace_of,
    schedule,
)
from dslite_operator.distribution.placement import place
from dslite_operator.distribution.standing import standing
from dslite_operator.distribution.wishes import Count, Wish
from placement_histories import area

A, B = area(1), area(2)
NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
NIGHT = MoveWindow(start="23:00", end="05:00")
T1 = timedelta(minutes=30)


def moves(*b4s: int) -> list[Move]:
    return [Move((A,), bucket, 0, 1, number, 3 * number) for bucket, number in enumerate(b4s)]


def pace(per_hour: int = 100, window: MoveWindow | None = None, renewal: timedelta = T1) -> Pace:
    return Pace(per_hour, window, renewal)


def resting(moved_at: datetime | None = None, moved_b4s: int = 0) -> BucketMap:
    return BucketMap("a", "east", "whole", {A: (0,)}, (0,), 1, moved_at, moved_b4s)


# ---------------------------------------------------------------- which
def test_d21_moves_are_counted_with_the_sessions_they_end() -> None:
    stand = BucketMap("a", "east", "lastNibble", {A: (0,) * 16, B: (0,) * 16}, (0,), 1)
    target = replace(stand, areas=dict.fromkeys((A, B), (*(0,) * 14, 1, 1)))
    counts = {A: [Count(number, 10 * number) for number in range(16)], B: [Count(1, 1)] * 16}
    assert moves_between(stand, target, counts) == (
        Move((A, B), 14, 0, 1, 15, 141),
        Move((A, B), 15, 0, 1, 16, 151),
    )
    assert moves_between(stand, stand, counts) == ()
    assert [move.b4s for move in moves_between(stand, target, {})] == [0, 0]


def test_who_has_no_slot_yet_does_not_move() -> None:
    stand = BucketMap("a", "east", "whole", {A: (UNPLACED,)})
    target = replace(stand, areas={A: (2,)}, levelled=1)
    assert moves_between(stand, target, {A: [Count(50)]}) == ()
    assert advance(stand, target, None) == target


# ---------------------------------------------------------------- when
def test_d21_at_most_so_many_move_in_an_hour() -> None:
    batches = schedule(moves(60, 50, 40, 30, 0), pace(), resting(), NOON)
    assert [(batch.at, [move.b4s for move in batch.moves]) for batch in batches] == [
        (NOON, [60, 40, 0]),
        (NOON + HOUR, [50, 30]),
    ]
    assert [(batch.b4s, batch.sessions, batch.done) for batch in batches] == [
        (100, 300, NOON + T1),
        (80, 240, NOON + HOUR + T1),
    ]


def test_a_bucket_with_more_goes_alone_and_the_next_waits() -> None:
    batches = schedule(moves(250, 10), pace(), resting(), NOON)
    assert [(batch.at, batch.b4s) for batch in batches] == [(NOON, 250), (NOON + 2.5 * HOUR, 10)]


@pytest.mark.parametrize(
    ("moved_at", "moved_b4s", "at"),
    [
        (NOON - timedelta(minutes=20), 80, NOON + timedelta(minutes=40)),
        (NOON - HOUR, 80, NOON),
        (NOON - HOUR, 250, NOON + 1.5 * HOUR),
    ],
)
def test_an_operator_that_starts_again_remembers_what_moved(moved_at: datetime, moved_b4s: int, at: datetime) -> None:
    assert schedule(moves(10), pace(), resting(moved_at, moved_b4s), NOON)[0].at == at


@pytest.mark.parametrize(
    ("window", "renewal", "now", "at"),
    [
        (("02:00", "05:00"), 30, "12:00", "27 02:00"),
        (("02:00", "05:00"), 30, "02:10", "26 02:10"),
        (("02:00", "05:00"), 30, "04:30", "26 04:30"),
        (("02:00", "05:00"), 30, "04:31", "27 02:00"),  # the last would move after the window
        (("02:00", "05:00"), 600, "03:30", "26 03:30"),  # no window is long enough: its first half
        (("02:00", "05:00"), 600, "03:31", "27 02:00"),
        (("23:00", "05:00"), 30, "12:00", "26 23:00"),
        (("23:00", "05:00"), 30, "23:30", "26 23:30"),
        (("23:00", "05:00"), 30, "01:00", "26 01:00"),
        (("23:00", "05:00"), 30, "04:45", "26 23:00"),
        (("00:00", "23:59"), 30, "23:40", "27 00:00"),
    ],
)
def test_batches_begin_so_that_all_move_in_the_window(window: tuple[str, str], renewal: int, now: str, at: str) -> None:
    given_pace = pace(window=MoveWindow(start=window[0], end=window[1]), renewal=timedelta(minutes=renewal))
    found = opening(datetime.fromisoformat(f"2026-11-26T{now}:00+00:00"), given_pace)
    assert found.strftime("%d %H:%M") == at


@settings(deadline=None)
@given(
    st.integers(0, 2 * 86400),
    st.integers(1, 1440),
    st.sampled_from(["00:00", "02:30", "23:59"]),
    st.sampled_from(["00:01", "05:00", "22:00"]),
)
def test_a_window_opens_once_a_day(seconds: int, renewal: int, start: str, end: str) -> None:
    now = NOON + timedelta(seconds=seconds)
    given_pace = pace(window=MoveWindow(start=start, end=end), renewal=timedelta(minutes=renewal))
    at = opening(now, given_pace)
    assert now <= at <= now + timedelta(days=1)
    assert opening(at, given_pace) == at
    inside = start <= at.strftime("%H:%M") < end if start < end else not end <= at.strftime("%H:%M") < start
    assert inside or at.strftime("%H:%M") == end


@settings(deadline=None)
@given(st.lists(st.integers(0, 300), max_size=40), st.integers(1, 400), st.booleans())
def test_every_move_is_made_once_and_no_hour_has_too_many(b4s: list[int], per_hour: int, at_night: bool) -> None:
    given_pace = pace(per_hour, NIGHT if at_night else None)
    batches = schedule(moves(*b4s), given_pace, resting(), NOON)
    assert sorted(move.bucket for batch in batches for move in batch.moves) == list(range(len(b4s)))
    for batch, after in pairwise(batches):
        assert batch.b4s <= per_hour or sum(move.b4s > 0 for move in batch.moves) == 1
        assert after.at - batch.at >= max(HOUR, HOUR * (batch.b4s / per_hour))
    assert all(opening(batch.at, given_pace) == batch.at for batch in batches)


# ---------------------------------------------------------------- what comes of it
@pytest.mark.parametrize(("old", "new"), [(1, 2), (2, 3), (3, 2), (4, 1), (2, 8)])
def test_d21_hour_by_hour_a_group_comes_to_its_new_size(old: int, new: int) -> None:
    """Each hour is planned anew from what is in force: as much moves as was foreseen, but for a bucket or two, and then nothing more."""
    counts = {A: [Count(7 + bucket % 5) for bucket in range(256)], B: [Count(bucket % 3) for bucket in range(256)]}
    wish = Wish("a", "east", "last", (A, B), old, tuple(range(8)), counts)
    empty = standing([wish], {})
    stand = advance(empty["a"], place([wish], empty)["a"], None)
    wish, now, moved, hours = replace(wish, spread=new), NOON, 0, 0
    foreseen = sum(move.b4s for move in moves_between(stand, place([wish], {"a": stand})["a"], counts))
    while batches := schedule(
        moves_between(stand, target := place([wish], {"a": stand})["a"], counts), pace(), stand, now
    ):
        now, moved, hours = batches[0].at, moved + batches[0].b4s, hours + 1
        stand = advance(stand, target, batches[0])
        stand = standing([wish], {"a": stand})["a"]
    assert abs(moved - foreseen) <= 20
    assert foreseen / 100 <= hours <= foreseen / 80 + 1
    assert (len(set(stand.areas[A])), advance(stand, target, None).levelled) == (new, new)


def test_a_batch_is_remembered_with_its_time() -> None:
    stand = BucketMap("a", "east", "lastNibble", {A: (0,) * 16}, (0,), 1)
    target = replace(stand, areas={A: (*(0,) * 14, 1, 1)}, chosen=(0, 1), levelled=2)
    first, second = moves_between(stand, target, {A: [Count(70)] * 16})
    half = advance(stand, target, Batch(NOON, NOON + T1, (first,)))
    assert (half.areas[A].count(1), half.chosen, half.levelled) == (1, (0, 1), 1)
    assert (half.moved_at, half.moved_b4s) == (NOON, 70)
    whole = advance(half, target, Batch(NOON + HOUR, NOON + HOUR + T1, (second,)))
    assert (whole.areas, whole.levelled, whole.moved_at) == (target.areas, 2, NOON + HOUR)


def test_buckets_without_b4s_move_without_being_remembered() -> None:
    stand = BucketMap("a", "east", "lastNibble", {A: (0,) * 16}, (0,), 1)
    target = replace(stand, areas={A: (1,) * 16})
    (batch,) = schedule(moves_between(stand, target, {}), pace(), stand, NOON)
    assert advance(stand, target, batch) == target


# ---------------------------------------------------------------- in words
def test_the_cost_is_said_beforehand() -> None:
    assert forecast(()) == "no B4 moves"
    assert forecast(schedule(moves(60), pace(), resting(), NOON)) == (
        "60 B4s are told another slot at 2026-11-26 12:00 UTC, and have moved by 2026-11-26 12:30 UTC; each gets another "
        "external address and loses its established sessions once: 180 in all"
    )
    assert forecast(schedule(moves(*[1000] * 12), pace(4000, NIGHT), resting(), NOON)) == (
        "12,000 B4s are told another slot in 3 steps from 2026-11-26 23:00 to 2026-11-27 01:00 UTC, and have moved by "
        "2026-11-27 01:30 UTC; each gets another external address and loses its established sessions once: 36,000 in all"
    )


def test_pace_is_the_groups() -> None:
    north, south = full().groups
    assert pace_of(north, T1) == Pace(10_000, MoveWindow(start="02:00", end="05:00"), T1)
    assert pace_of(south, T1) == Pace(10_000, None, T1)
