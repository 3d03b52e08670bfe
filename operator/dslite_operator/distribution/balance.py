"""Weights on slots: how much one slot may have, what leaves it, which slots are used, where things go.  Numbers alone.

With a limit of the mean and one bucket at least, what must move always finds room and drives nothing else away: so the
least movement is what leaves closed slots, and, of each slot above the limit, the lightest buckets that suffice.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence

EPSILON = 0.10  # by which a slot may have more than the mean
TOLERANCE = 0.05  # of the least movement: so much more may move to keep groups off each other's slots

Item = tuple[int, int]  # weight, number


def limit(weights: Sequence[int], slots: int) -> int:
    """Most weight that one of `slots` slots may have: a tenth above the mean, or one bucket if that is more."""
    mean = sum(weights) / slots
    return int(mean + max(EPSILON * mean, *weights))


def leaving(items: Iterable[Item], most: int) -> list[Item]:
    """Items that leave a slot so that `most` weight stays at most: the lightest that suffice, or little more."""
    heaviest_first = sorted(items, reverse=True)
    excess = sum(weight for weight, _ in heaviest_first) - most
    if excess <= 0:
        return []
    found, left, spare = list[Item](), excess, list[Item]()
    for item in heaviest_first:
        fits = item[0] <= left
        (found if fits else spare).append(item)
        left -= item[0] if fits else 0
    found += spare[-1:] if left else []
    alone = next((item for item in reversed(heaviest_first) if item[0] >= excess), None)
    return [alone] if alone and alone[0] <= sum(weight for weight, _ in found) else needed(found, excess)


def needed(items: Sequence[Item], excess: int) -> list[Item]:
    """`items` without those that are not needed for `excess`, the heaviest first."""
    over, found = sum(weight for weight, _ in items) - excess, list[Item]()
    for item in sorted(items, reverse=True):
        if item[0] <= over:
            over -= item[0]
        else:
            found.append(item)
    return found


def chosen(
    kept: Mapping[int, int], movable: int, others: Mapping[int, int], slots: Sequence[int], number: int
) -> list[int]:
    """The `number` of `slots` that a group uses: those where most of it stays, of these the ones with least load of others.

    `kept` is the weight that would stay at each slot, `movable` what has a slot now, `others` the load of other groups.
    """
    least = movable - sum(sorted((kept.get(slot, 0) for slot in slots), reverse=True)[:number])
    slack = TOLERANCE * least / number
    free, found = list(slots), list[int]()
    for _ in range(number):
        most = max(kept.get(slot, 0) for slot in free)
        near = [slot for slot in free if kept.get(slot, 0) >= most - slack]
        found.append(min(near, key=lambda slot: (others.get(slot, 0), slot)))
        free.remove(found[-1])
    return found


def settled(items: Iterable[Item], loads: Mapping[int, int]) -> dict[int, int]:
    """A slot for each item (by number), the heaviest first, always the one with the least load."""
    heap = [(load, slot) for slot, load in loads.items()]
    heapq.heapify(heap)
    found: dict[int, int] = {}
    for weight, number in sorted(items, key=lambda item: (-item[0], item[1])):
        load, slot = heap[0]
        found[number] = slot
        heapq.heapreplace(heap, (load + weight, slot))
    return found
