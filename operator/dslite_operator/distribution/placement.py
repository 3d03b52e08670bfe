"""Which slot each bucket of each B4Group of a pool should have, with as few B4s moved as can be.

A group is on `slots` of the slots that carry its NAT pool: those where most of its B4s are, else those with the least load.
B4s keep their slot, unless it is none of these, or load is to be levelled: after `slots` changed, when a person asks, or
always, with `rebalance: automatic`.  Then a slot has a tenth above the group's mean at most, or one bucket if that is more, and
groups go to other slots where that brings the load of all nearer together (`exchange.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from dslite_contract.errors import DsliteError
from dslite_operator.distribution import balance
from dslite_operator.distribution.exchange import Exchange, exchanges
from dslite_operator.distribution.maps import UNPLACED, Area, BucketMap, Part, Slots, slots_in
from dslite_operator.distribution.wishes import Wish, size_of, weights_of


class PlacementError(DsliteError):
    """A group that can be on no slot."""


def place(wishes: Sequence[Wish], stand: Mapping[str, BucketMap]) -> dict[str, BucketMap]:
    """The map that each group of a pool should have, from where its B4s are.  Raises PlacementError."""
    loads = {wish.group: loads_of(wish, stand[wish.group]) for wish in wishes}
    total, found = sum(loads.values(), Counter[int]()), dict[str, BucketMap]()
    for wish in sorted(wishes, key=lambda wish: (not loads[wish.group], -size_of(wish), wish.group)):
        total.subtract(loads[wish.group])
        found[wish.group] = place_group(wish, stand[wish.group], total)
        loads[wish.group] = loads_of(wish, found[wish.group])
        total.update(loads[wish.group])
    usable = {wish.group: wish.slots for wish in wishes if levelled_with_others(wish, stand[wish.group])}
    for step in exchanges(loads, usable):
        found[step.group] = exchanged(found[step.group], step)
    return found


def levelled_with_others(wish: Wish, stand: BucketMap) -> bool:
    """Whether a group's shares may go to other slots: when that is asked for, or, with rebalance: automatic, once nothing moves."""
    used, chosen = slots_in(stand.areas.values()), set(stand.chosen)
    asked = not chosen and stand.levelled == 0
    return bool(used) and (asked or (wish.level and used <= chosen))


def exchanged(target: BucketMap, step: Exchange) -> BucketMap:
    """The map with all that it has on one slot on another."""
    areas = {
        area: tuple(step.new if slot == step.old else slot for slot in slots) for area, slots in target.areas.items()
    }
    return replace(
        target, areas=areas, chosen=tuple(sorted(step.new if slot == step.old else slot for slot in target.chosen))
    )


def loads_of(wish: Wish, bucket_map: BucketMap) -> Counter[int]:
    """A group's weight on each slot."""
    loads: Counter[int] = Counter()
    for part in bucket_map.parts:
        for slot, weight in zip(part.slots, weights_of(part, wish), strict=True):
            loads[slot] += weight
    del loads[UNPLACED]
    return loads


def place_group(wish: Wish, stand: BucketMap, others: Mapping[int, int]) -> BucketMap:
    """One group's map; `others` is what other groups have on each slot."""
    number = min(wish.spread, len(wish.slots))
    if not number:
        raise PlacementError(
            f"B4Group {wish.group}: no slot is left: all that carry its NAT pool are being drained: end the drain of one"
        )
    weights = [weight for part in stand.parts for weight in weights_of(part, wish)]
    slots = [slot for part in stand.parts for slot in part.slots]
    most = balance.limit(weights, number) if wish.level or stand.levelled != number else None
    usable = stand.chosen if len(stand.chosen) == number and set(stand.chosen) <= set(wish.slots) else wish.slots
    chosen, placed = slot_of_each(weights, slots, usable, number, most, others)
    return replace(stand, areas=dict(areas_with(stand.parts, placed)), chosen=chosen, levelled=number)


def areas_with(parts: Sequence[Part], placed: Sequence[int]) -> Iterator[tuple[Area, Slots]]:
    """The areas with new slots, which stand in the order of the parts' buckets."""
    size = len(parts[0].slots)
    for number, part in enumerate(parts):
        for area in part.areas:
            yield area, tuple(placed[number * size : (number + 1) * size])


def slot_of_each(
    weights: Sequence[int], slots: Sequence[int], usable: Sequence[int], number: int, most: int | None, others: Mapping[int, int]
) -> tuple[Slots, list[int]]:  # fmt: skip
    """`number` of the `usable` slots, and which of them each bucket has: none more than `most`, unless that is None."""
    held: dict[int, list[balance.Item]] = {slot: [] for slot in usable}
    for place, (weight, slot) in enumerate(zip(weights, slots, strict=True)):
        if slot in held:
            held[slot].append((weight, place))
    stay = {slot: without(items, most) for slot, items in held.items()}
    kept = {slot: sum(weight for weight, _ in items) for slot, items in stay.items()}
    movable = sum(weight for weight, slot in zip(weights, slots, strict=True) if slot != UNPLACED)
    used = balance.chosen(kept, movable, others, usable, number)
    staying = {place: slot for slot in used for _, place in stay[slot]}
    rest = [(weight, place) for place, weight in enumerate(weights) if place not in staying]
    staying |= balance.settled(rest, {slot: kept[slot] for slot in used})
    return tuple(sorted(used)), [staying[place] for place in range(len(weights))]


def without(items: Sequence[balance.Item], most: int | None) -> list[balance.Item]:
    """What stays at a slot."""
    gone = set(balance.leaving(items, most)) if most is not None else set()
    return [item for item in items if item not in gone]
