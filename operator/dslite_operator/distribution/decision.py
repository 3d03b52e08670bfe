"""What the B4s of a pool's groups are to be told now: from the maps in force, one step nearer to the maps that should be.

    wish ─► where they are ─► where they should be ─► moves ─► batches ─► the map in force from now on

A name that does not resolve everywhere is not handed out (O02): B4s stay where they are, and a group that is nowhere yet waits.
Nobody moves uncounted: without numbers there is no pace, and load that is levelled by nothing is levelled again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from dslite_contract.schema import AftrPool, B4Group
from dslite_contract.slots import slot_fqdn
from dslite_operator.distribution.maps import UNPLACED, BucketMap, slots_in, text_of
from dslite_operator.distribution.moves import Batch, advance, moves_between, pace_of, placed, schedule
from dslite_operator.distribution.observed import Observed
from dslite_operator.distribution.placement import place
from dslite_operator.distribution.providers.provider import Assignment, Part
from dslite_operator.distribution.standing import standing
from dslite_operator.distribution.wishes import Counts, Wish, name_of, wish_of

DRAIN_RENEWALS = 6  # in the time of one, before a drained slot's B4s are told another
SHORTEST_RENEWAL = timedelta(seconds=60)


@dataclass(frozen=True)
class Circumstances:
    """All that decides beside the maps.

    `resolved` are names that may be handed out; `settled` groups whose B4s are told what the map in force says: only those move;
    `told_at` says since when; `untold` are groups whose map says only where B4s were seen, who have names or addresses of their own;
    `renewals` is the T1 of each group's leases; `seen` what is seen of a group: one that is not there is
    not counted yet; `drains` are slots that a person drains, since when (UTC).
    """

    now: datetime
    resolved: Set[str]
    settled: Set[str]
    renewals: Mapping[str, timedelta]
    seen: Mapping[str, Observed] = field(default_factory=dict)
    drains: Mapping[int, datetime] = field(default_factory=dict)
    told_at: Mapping[str, datetime] = field(default_factory=dict)
    untold: Set[str] = frozenset()


@dataclass(frozen=True)
class Decision:
    """Of one group: `map` is in force from now on, None while it is on no slot; `due` is what moves now, `batches` what is still to.

    `missing` are names that are held back; `renewal` is a shorter T1 while a slot is drained; until it is `counted` nobody moves.
    """

    map: BucketMap | None
    counts: Counts
    due: Batch | None = None
    batches: tuple[Batch, ...] = ()
    missing: tuple[str, ...] = ()
    renewal: timedelta | None = None
    counted: bool = True


def decide(
    pool: AftrPool, groups: Sequence[B4Group], maps: Mapping[str, BucketMap], given: Circumstances
) -> dict[str, Decision]:
    """What holds now for each group that a DHCPv6 server tells; `maps` are those in force, of groups that are gone too.

    Raises MapError, PlacementError.
    """
    wishes = {name_of(group): wish_of(pool, group, counts_of(group, given), given.drains.keys()) for group in groups}
    stand = {name: by_now(one, given.now) for name, one in standing(list(wishes.values()), maps).items()}
    target = place(list(wishes.values()), stand)
    return {
        name: decide_group(pool, group, wishes[name], stand[name], target[name], given)
        for name, group in ((name_of(group), group) for group in groups)
    }


def by_now(stand: BucketMap, now: datetime) -> BucketMap:
    """The map as though its last moves had been made now, if they are yet to come: a clock was ahead, and its hour may be far."""
    return replace(stand, moved_at=now) if stand.moved_at and stand.moved_at > now else stand


def counts_of(group: B4Group, given: Circumstances) -> Counts:
    """The B4s of a group's buckets, as far as they are counted."""
    seen = given.seen.get(name_of(group))
    return seen.counts if seen else {}


def decide_group(
    pool: AftrPool, group: B4Group, wish: Wish, stand: BucketMap, target: BucketMap, given: Circumstances
) -> Decision:
    """One group, from where it is to where it should be."""
    untold = wish.group in given.untold
    held = held_slots(pool, stand, target, given.resolved, untold)
    missing = tuple(slot_fqdn(pool, slot) for slot in sorted(held))
    if (untold and held) or any(slot == UNPLACED and wanted in held for slot, wanted in pairs(stand, target)):
        return Decision(None, wish.counts, missing=missing)
    steady = given.renewals[wish.group]
    short = shortened(stand, given)
    seen = given.seen.get(wish.group)
    if seen is None:
        return Decision(placed(stand, target), {}, renewal=short, counted=False)
    pace, begin = pace_of(group, short or steady), beginning(stand, steady, given)
    counts = seen.counts_by(stand)
    moves = tuple(move for move in moves_between(stand, target, counts) if move.new not in held)
    batches = schedule(moves, pace, since_told(stand, given), begin)
    due = batches[0] if batches and batches[0].at <= given.now and wish.group in given.settled else None
    after = advance(stand, target, due)
    return Decision(after, counts, due, batches[1:] if due else batches, missing, short)


def since_told(stand: BucketMap, given: Circumstances) -> BucketMap:
    """The map as though its last moves had been made when its server was told of them: that may have taken long."""
    told_at = given.told_at.get(stand.group)
    if stand.moved_at is None or told_at is None:
        return stand
    return replace(stand, moved_at=max(stand.moved_at, told_at))


def pairs(stand: BucketMap, target: BucketMap) -> set[tuple[int, int]]:
    """Which slots go with which."""
    return {pair for area, slots in stand.areas.items() for pair in zip(slots, target.areas[area], strict=True)}


def held_slots(pool: AftrPool, stand: BucketMap, target: BucketMap, resolved: Set[str], untold: bool) -> set[int]:
    """Slots that nobody new is told, since their names do not resolve; who is told one already stays (O02)."""
    here, there = slots_in(stand.areas.values()), slots_in(target.areas.values())
    new = here | there if untold else there - here
    return {slot for slot in new if slot_fqdn(pool, slot) not in resolved}


# ---------------------------------------------------------------- a slot is drained
def drained(stand: BucketMap, given: Circumstances) -> dict[int, datetime]:
    """The slots of a group that are being drained."""
    return {slot: since for slot, since in given.drains.items() if slot in slots_in(stand.areas.values())}


def beginning(stand: BucketMap, steady: timedelta, given: Circumstances) -> datetime:
    """When a group's next move may be: one T1 after a drain was asked for, all of its leases have the shorter one."""
    return max([given.now, *(since + steady for since in drained(stand, given).values())])


def shortened(stand: BucketMap, given: Circumstances) -> timedelta | None:
    """The T1 of a group's leases while B4s leave a drained slot, and until the last of them has heard of it."""
    short = short_renewal(given.renewals[stand.group])
    leaving = given.drains and stand.moved_at is not None and given.now < stand.moved_at + short
    return short if drained(stand, given) or leaving else None


def short_renewal(steady: timedelta) -> timedelta:
    """The T1 that leases have ahead of a drain."""
    return min(steady, max(SHORTEST_RENEWAL, steady / DRAIN_RENEWALS))


# ---------------------------------------------------------------- what a server is told
def assignment_of(pool: AftrPool, told: BucketMap, renewal: timedelta | None) -> Assignment:
    """What a DHCPv6 server tells B4s by a map; `renewal` is a shorter T1, None: the server's own.  Raises MapError."""
    names = {slot: slot_fqdn(pool, slot) for slot in slots_in(told.areas.values())}
    parts = tuple(Part(one.areas, tuple(names[slot] for slot in one.slots)) for one in told.parts)
    renew_s = int(renewal.total_seconds()) if renewal else None
    return Assignment(told.group, told.cut, parts, text_of(told), renew_s)
