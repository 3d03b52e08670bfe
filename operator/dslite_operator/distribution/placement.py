"""Which slot each bucket of each B4Group of a pool should have, with as few B4s moved as can be.

A group is on `slots` of the slots that carry its NAT pool: those where most of its B4s are, else those with the least load.
B4s keep their slot, unless it is none of these, or load is to be levelled: after `slots` changed, when a person asks, or
always, with `rebalance: automatic`.  Then a slot has a tenth above the group's mean at most, or one bucket if that is more, and
groups go to other slots where that brings the load of all nearer together (`exchange.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import NamedTuple

from dslite_contract.errors import DsliteError
from dslite_contract.rules import DEFAULT_NAMESPACE
from dslite_contract.schema import AftrPool, B4Group
from dslite_contract.slots import carrying_slots
from dslite_operator.distribution import balance
from dslite_operator.distribution.buckets import BUCKETS, Cut
from dslite_operator.distribution.exchange import Exchange, exchanges
from dslite_operator.distribution.maps import UNPLACED, Area, BucketMap, MapError, Part, Slots, slots_in


class PlacementError(DsliteError):
    """A group that can be on no slot."""


class Count(NamedTuple):
    """Of one bucket: its B4s, by their leases, and their established sessions."""

    b4s: int
    sessions: int = 0


Counts = Mapping[Area, Sequence[Count]]  # of each bucket; an area without B4s need not be there


@dataclass(frozen=True)
class Wish:
    """What a B4Group asks for: to be on `spread` of `slots` (ascending), with its B4s as counted."""

    group: str
    pool: str
    cut: Cut
    areas: tuple[Area, ...]
    spread: int
    slots: tuple[int, ...]
    counts: Counts
    level: bool = False


def wish_of(pool: AftrPool, group: B4Group, counts: Counts, closed: Set[int] = frozenset()) -> Wish:
    """What a group asks for; `closed` are slots that are being drained."""
    spec = group.spec
    nat_pool = next(one for one in pool.spec.nat.pools if one.name == spec.nat_pool)
    carriers = carrying_slots(pool, nat_pool)
    return Wish(
        group=f"{group.metadata.namespace or DEFAULT_NAMESPACE}/{group.metadata.name}",
        pool=pool.metadata.name,
        cut=spec.dhcp.bucket_bytes if spec.dhcp else "whole",
        areas=areas_of(group),
        spread=spec.slots,
        slots=tuple(slot for slot in range(carriers.first, carriers.last + 1) if slot not in closed),
        counts=counts,
        level=spec.rebalance == "automatic",
    )


def areas_of(group: B4Group) -> tuple[Area, ...]:
    """Where a group's B4s ask from: its subnets, or, without a DHCPv6 server, its prefixes."""
    spec = group.spec
    interface_id = spec.match.relay_interface_id if spec.match else ""
    return tuple(Area(subnet, interface_id) for subnet in (spec.dhcp.subnets if spec.dhcp else spec.prefixes))


# ---------------------------------------------------------------- where B4s are
def standing(wishes: Sequence[Wish], maps: Mapping[str, BucketMap]) -> dict[str, BucketMap]:
    """Where the B4s of a pool's groups are, whichever group they belonged to before, by the maps in force.

    So groups merge and divide: areas bring their slots along.  What no group has now is remembered until one has it again, for
    an area may leave one group before another may take it.  Raises MapError where buckets would have two slots each.
    """
    homes = {area: old for _, old in sorted(maps.items(), reverse=True) for area in (*old.former, *old.areas)}
    taken, names = {area for wish in wishes for area in wish.areas}, sorted(wish.group for wish in wishes)
    found = {wish.group: stand_of(wish, maps.get(wish.group), homes) for wish in wishes}
    for name, old in maps.items() if wishes else ():
        heir = found.get(name) or found[names[0]]  # of a group that is gone, another remembers
        left = [area for area in (*old.former, *old.areas) if area not in taken]
        former = {area: slots for area in left if (slots := old.slots_of(area, heir.cut))}
        found[heir.group] = replace(heir, former={**heir.former, **former})
    return found


def stand_of(wish: Wish, own: BucketMap | None, homes: Mapping[Area, BucketMap]) -> BucketMap:
    """Where one group's B4s are.  Areas that nobody had join those of the group that are spread widest."""
    own = own or BucketMap(wish.group, wish.pool, wish.cut, {})
    found = {area: slots for area in wish.areas if (slots := slots_before(wish, area, own, homes))}
    new = max(found.values(), key=lambda slots: (len(set(slots)), slots), default=(UNPLACED,) * BUCKETS[wish.cut])
    areas = {area: found.get(area, new) for area in wish.areas}
    stand = replace(own, cut=wish.cut, areas=areas, former={})
    if all(area in own.areas for area in found):
        return stand
    asked = own.areas and own.levelled == 0
    return replace(stand, chosen=(), levelled=0 if asked else len(slots_in(found.values())))


def slots_before(wish: Wish, area: Area, own: BucketMap, homes: Mapping[Area, BucketMap]) -> Slots | None:
    """The slots of an area's buckets until now: as the group has it, else another, else as the group has what it lies in."""
    had, around = own if area in own.areas else homes.get(area), area
    if had is None:
        within = [other for other in own.areas if area.subnet.subnet_of(other.subnet)]
        if not within:
            return None
        had, around = own, max(within, key=lambda other: (other.subnet.prefixlen, other))
    slots = had.slots_of(around, wish.cut)
    if slots is None:
        raise MapError(
            f"B4Group {wish.group}: bucketBytes {wish.cut} is not allowed for {area}: its B4s are divided among several slots by "
            f"{had.cut}: bring them to one slot first (slots: 1), or keep {had.cut}"
        )
    return slots


# ---------------------------------------------------------------- where they should be
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


def size_of(wish: Wish) -> int:
    """B4s of a group."""
    return sum(count.b4s for counts in wish.counts.values() for count in counts)


def weights_of(part: Part, wish: Wish) -> list[int]:
    """B4s of each bucket; one without any counts as one, for somebody will come."""
    columns = zip(*(wish.counts[area] for area in part.areas if area in wish.counts), strict=True)
    sums = [sum(count.b4s for count in column) for column in columns]
    return [max(1, weight) for weight in sums] or [1] * len(part.slots)


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
