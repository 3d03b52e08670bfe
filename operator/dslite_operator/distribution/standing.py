"""Where the B4s of a pool's groups are now, whichever groups they belonged to before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from dslite_operator.distribution.buckets import BUCKETS
from dslite_operator.distribution.maps import UNPLACED, Area, BucketMap, MapError, Slots, slots_in
from dslite_operator.distribution.wishes import Wish


def standing(wishes: Sequence[Wish], maps: Mapping[str, BucketMap]) -> dict[str, BucketMap]:
    """Where the B4s of a pool's groups are, whichever group they belonged to before, by the maps in force.

    So groups merge and divide: areas bring their slots along.  An area that leaves a group is remembered until another has it in
    its map in force: one may never be written down, or ask for it later.  Raises MapError where buckets would have two slots each.
    """
    ordered = [old for _, old in sorted(maps.items(), reverse=True)]
    homes = {area: old for old in ordered for area in old.former} | {area: old for old in ordered for area in old.areas}
    found = {wish.group: stand_of(wish, maps.get(wish.group), homes) for wish in wishes}
    arrived = {area for wish in wishes if wish.group in maps for area in wish.areas if area in maps[wish.group].areas}
    for name, old in maps.items() if wishes else ():
        heir = found.get(name) or found[min(found)]  # of a group that is gone, another remembers
        mine = (area for area in old.all_areas if homes[area] is old)
        left = [area for area in mine if area not in arrived and area not in heir.areas]
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
    asked = own.areas and own.levelled == 0  # and not yet done
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
