"""Moves: which B4s are told another slot, when, and what it costs them.

A B4 moves at its first renewal after its bucket got another slot, so within one T1, the one that it was given before.  It gets
another external address, and loses its established sessions once.  Each hour at most `maxMovesPerHour` are told, in the window.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from typing import NamedTuple

from dslite_contract.schema import B4Group, MoveWindow
from dslite_operator.distribution.maps import UNPLACED, Area, BucketMap, Part
from dslite_operator.distribution.wishes import Counts

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class Move(NamedTuple):
    """One bucket of some areas, from a slot to another, with the B4s in it and their established sessions."""

    areas: tuple[Area, ...]
    bucket: int
    old: int
    new: int
    b4s: int
    sessions: int


@dataclass(frozen=True)
class Pace:
    """How fast a group's B4s are moved: `renewal` is the T1 that they were given."""

    per_hour: int
    window: MoveWindow | None
    renewal: timedelta


@dataclass(frozen=True)
class Batch:
    """Moves that are made together at `at`; the last of these B4s has moved at `done`."""

    at: datetime
    done: datetime
    moves: tuple[Move, ...]

    @property
    def b4s(self) -> int:
        """B4s that move."""
        return sum(move.b4s for move in self.moves)

    @property
    def sessions(self) -> int:
        """Established sessions that end."""
        return sum(move.sessions for move in self.moves)


def pace_of(group: B4Group, renewal: timedelta) -> Pace:
    """The pace that a group asks for."""
    return Pace(group.spec.max_moves_per_hour, group.spec.move_window, renewal)


def moves_between(stand: BucketMap, target: BucketMap, counts: Counts) -> tuple[Move, ...]:
    """What must move to come from one map of a group to another; what had no slot moves nobody."""
    return tuple(move for part in stand.parts for move in part_moves(part, target, counts))


def part_moves(part: Part, target: BucketMap, counts: Counts) -> Iterator[Move]:
    """Moves of one part."""
    wanted, known = target.areas[part.areas[0]], [counts[area] for area in part.areas if area in counts]
    for bucket, (old, new) in enumerate(zip(part.slots, wanted, strict=True)):
        if old not in (new, UNPLACED):
            b4s = sum(count[bucket].b4s for count in known)
            yield Move(part.areas, bucket, old, new, b4s, sum(count[bucket].sessions for count in known))


# ---------------------------------------------------------------- when
def schedule(moves: Sequence[Move], pace: Pace, stand: BucketMap, now: datetime) -> tuple[Batch, ...]:
    """The batches in which `moves` are made, from `now` (UTC) on, after the moves that `stand` remembers.

    A bucket with more B4s than may move in an hour goes alone, and the next batch waits for as many hours as it would fill.
    """
    batches, left = list[Batch](), list(moves)
    at = max(now, stand.moved_at + pause(stand.moved_b4s, pace.per_hour)) if stand.moved_at else now
    while left:
        at = opening(at, pace)
        taken, left = fitting(left, pace.per_hour)
        batches.append(Batch(at, at + pace.renewal, tuple(taken)))
        at += pause(batches[-1].b4s, pace.per_hour)
    return tuple(batches)


def fitting(moves: Iterable[Move], most: int) -> tuple[list[Move], list[Move]]:
    """The first of `moves` with those after it that fit beside it into `most` B4s, and the others."""
    taken, left, b4s = list[Move](), list[Move](), 0
    for move in moves:
        fits = not b4s or b4s + move.b4s <= most
        (taken if fits else left).append(move)
        b4s += move.b4s if fits else 0
    return taken, left


def pause(b4s: int, per_hour: int) -> timedelta:
    """Time until the next batch after one of so many B4s."""
    return max(HOUR, HOUR * (b4s / per_hour)) if b4s else timedelta()


def opening(at: datetime, pace: Pace) -> datetime:
    """The first moment from `at` on at which a batch may begin: one renewal before the window ends, or in its first half."""
    if pace.window is None:
        return at
    start, end = (
        datetime.combine(at.date(), time.fromisoformat(text), UTC) for text in (pace.window.start, pace.window.end)
    )
    length = (end - start) % DAY
    latest = max(length - pace.renewal, length / 2)
    opens = next(start + day * DAY for day in (-1, 0, 1) if at <= start + day * DAY + latest)
    return max(at, opens)


# ---------------------------------------------------------------- what comes of it
def advance(stand: BucketMap, target: BucketMap, batch: Batch | None) -> BucketMap:
    """The map after a batch: buckets that had no slot have one, and when nothing is left to move it is `target`'s."""
    areas = {area: list(slots) for area, slots in stand.areas.items()}
    for area, slots in areas.items():
        for bucket, slot in enumerate(slots):
            slots[bucket] = target.areas[area][bucket] if slot == UNPLACED else slot
    for move in batch.moves if batch else ():
        for area in move.areas:
            areas[area][move.bucket] = move.new
    after = {area: tuple(slots) for area, slots in areas.items()}
    levelled = target.levelled if after == target.areas else stand.levelled
    made = replace(stand, areas=after, chosen=target.chosen, levelled=levelled)
    return replace(made, moved_at=batch.at, moved_b4s=batch.b4s) if batch and batch.b4s else made


def placed(stand: BucketMap, target: BucketMap) -> BucketMap:
    """The map in which buckets that had no slot have one, and nothing else is settled: neither slots nor that load was levelled."""
    return replace(advance(stand, target, None), chosen=stand.chosen, levelled=stand.levelled)


def forecast(batches: Sequence[Batch]) -> str:
    """What moving costs, beforehand, as a sentence."""
    if not batches:
        return "no B4 moves"
    b4s, sessions = sum(batch.b4s for batch in batches), sum(batch.sessions for batch in batches)
    first, last = batches[0].at, batches[-1]
    steps = f"in {len(batches)} steps from {first:%Y-%m-%d %H:%M} to {last.at:%Y-%m-%d %H:%M} UTC"
    when = steps if len(batches) > 1 else f"at {first:%Y-%m-%d %H:%M} UTC"
    return (
        f"{b4s:,} B4s are told another slot {when}, and have moved by {last.done:%Y-%m-%d %H:%M} UTC; each gets another external address "
        f"and loses its established sessions once: {sessions:,} in all"
    )
