"""A bucket map that is lost is found again before anything is told to a DHCPv6 server: or B4s would move for nothing.

First as the ConfigMap has it; else as the DHCPv6 server's copy has it; else from where the engines see these B4s; only when there
is nothing of it all, the group is placed anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dslite_operator.distribution.buckets import BUCKETS
from dslite_operator.distribution.maps import (
    UNPLACED,
    Area,
    BucketMap,
    MapError,
    NewerMapError,
    Slots,
    hash_of,
    map_of,
    slots_in,
)
from dslite_operator.distribution.wishes import Wish

Votes = Mapping[int, int]  # softwires on each slot
Seen = Mapping[Area, Sequence[Votes]]  # of each bucket, or one for all where leases do not tell them apart


@dataclass(frozen=True)
class Recovered:
    """The map in force, None where there is none; `lost` says what became of the one that there was, and how it was found again."""

    map: BucketMap | None
    lost: str = ""


def written(group: str, config_map: str | None, copy: str | None) -> Recovered:
    """The map of a group by two texts, None where they are not there.

    A server that did not answer has no say: ask again.  Raises NewerMapError.
    """
    own, trouble = tried(config_map, group)
    if own is not None or (config_map is None and copy is None):
        return Recovered(own)
    theirs, more = tried(copy, group)
    lost = f"the ConfigMap is {'damaged' if config_map else 'gone'}" + "".join(
        f" ({one})" for one in (trouble, more) if one
    )
    if theirs is None:
        return Recovered(None, lost)
    return Recovered(theirs, f"{lost}: the bucket map is the DHCPv6 server's copy {hash_of(copy or '')}")


def sighted(wish: Wish, lost: str, seen: Seen) -> Recovered:
    """The map of a group of which no text is left, if it is `lost`, or of a new one whose B4s are there already."""
    found = as_seen(wish, seen)
    if not lost:
        return Recovered(found)
    if found is None:
        return Recovered(None, f"{lost}, and no engine sees these B4s: the group is placed anew")
    known = sum(slot != UNPLACED for slots in found.areas.values() for slot in slots)
    buckets = sum(map(len, found.areas.values()))
    how = f"{known} of {buckets} buckets are where engines see their B4s"
    return Recovered(found, f"{lost}, and the DHCPv6 server has no copy: {how}")


def tried(text: str | None, group: str) -> tuple[BucketMap | None, str]:
    """The map of a text, or why there is none.  Raises NewerMapError."""
    try:
        return (map_of(text, group) if text is not None else None), ""
    except NewerMapError:
        raise
    except MapError as error:
        return None, str(error)


# ---------------------------------------------------------------- what engines see
def as_seen(wish: Wish, seen: Seen) -> BucketMap | None:
    """The map by where softwires are; None where none of the group are anywhere.

    A bucket that nobody sees in one area is where the same bucket is in the group's others, or has no slot.
    """
    size = BUCKETS[wish.cut]
    votes = {area: told_apart(seen.get(area, ()), size, wish.spread) for area in wish.areas}
    together = [added(column) for column in zip(*votes.values(), strict=True)]
    areas = {area: slots_by(own, together) for area, own in votes.items()}
    found = BucketMap(wish.group, wish.pool, wish.cut, areas, levelled=min(wish.spread, len(wish.slots)))
    return found if slots_in(areas.values()) else None


def told_apart(votes: Sequence[Votes], size: int, spread: int) -> list[Votes]:
    """Votes of each bucket.  One for all says something of each where all are on one slot, or ought to be."""
    if len(votes) == size:
        return list(votes)
    all_of_them = votes[0] if len(votes) == 1 and (spread == 1 or len(votes[0]) == 1) else {}
    return [all_of_them] * size


def added(votes: Iterable[Votes]) -> Votes:
    """Sums of votes."""
    return sum((Counter(one) for one in votes), Counter[int]())


def slots_by(votes: Sequence[Votes], others: Sequence[Votes]) -> Slots:
    """The slot that most softwires of each bucket are on."""
    return tuple(most_voted(own) if own else most_voted(rest) for own, rest in zip(votes, others, strict=True))


def most_voted(votes: Votes) -> int:
    """The slot with most votes, of several the first."""
    return min(votes, key=lambda slot: (-votes[slot], slot), default=UNPLACED)
