"""Load between groups: a group's share leaves a slot that has too much for one that has little.  Numbers alone.

A group that is on one slot moves whole, one that is spread over several moves what it has on that slot.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from dslite_operator.distribution.balance import EPSILON

Shares = Mapping[str, Mapping[int, int]]  # weight of each group on each of its slots


class Exchange(NamedTuple):
    """A group's share of `weight` leaves slot `old` for `new`, where the group was not."""

    weight: int
    group: str
    old: int
    new: int


def exchanges(shares: Shares, usable: Mapping[str, Sequence[int]]) -> Iterator[Exchange]:
    """What should move until no slot has more than a tenth above the mean, or no move of one share makes the fullest less full.

    Only groups in `usable`, which gives their slots, are moved.  Each step brings loads nearer together, so there is a last one.
    """
    now = {group: dict(its) for group, its in shares.items()}
    slots = {slot for its in (*usable.values(), *now.values()) for slot in its}
    loads = Counter(dict.fromkeys(slots, 0)) + sum((Counter(its) for its in now.values()), Counter[int]())
    while step := next_exchange(now, usable, loads, sum(loads.values()) / max(1, len(slots))):
        now[step.group][step.new] = now[step.group].pop(step.old)
        loads[step.old] -= step.weight
        loads[step.new] += step.weight
        yield step


def next_exchange(
    now: Shares, usable: Mapping[str, Sequence[int]], loads: Mapping[int, int], mean: float
) -> Exchange | None:
    """The lightest share that leaves the fullest slot from which any should, None if none should."""
    full = [slot for slot in loads if loads[slot] > (1 + EPSILON) * mean]
    for old in sorted(full, key=lambda slot: (-loads[slot], slot)):
        for weight, group in sorted((now[group][old], group) for group in usable if now[group].get(old)):
            free = [slot for slot in usable[group] if slot not in now[group]]
            new = min(free, key=lambda slot: (loads.get(slot, 0), slot), default=old)
            if loads.get(new, 0) + weight < loads[old] and new != old:
                return Exchange(weight, group, old, new)
    return None
