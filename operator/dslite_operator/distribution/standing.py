"""Where the B4s of a pool's groups are now, whichever groups they belonged to before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from dslite_operator.distribution.buckets import BUCKETS
from dslite_operator.distribution.maps import UNPLACED, Area, BucketMap, MapError, Slots, by_subnet, slots_in
from dslite_operator.distribution.wishes import Wish


class Homes:
    """Which map has each area, in force or remembered."""

    def __init__(self, maps: Mapping[str, BucketMap]) -> None:
        ordered = [old for _, old in sorted(maps.items(), reverse=True)]
        self.of = {area: old for old in ordered for area in old.former} | {
            area: old for old in ordered for area in old.areas
        }
        self._at = by_subnet(self.of)
        self._lengths = sorted({subnet.prefixlen for subnet in self._at}, reverse=True)

    def nearest(self, area: Area, own: BucketMap) -> Area | None:
        """Where the B4s of an area that a group does not have yet were most likely, all of them; None where nobody had them.

        In the smallest subnet around it: what is in force comes before what is remembered, for B4s may have moved since; then the
        area itself, one with all of its Interface-IDs, and of several that have some of them the group's own.
        """
        lengths = (length for length in self._lengths if length <= area.subnet.prefixlen)
        around = (self._at.get(area.subnet.supernet(new_prefix=length), ()) for length in lengths)
        met = next((found for its in around if (found := [one for one in its if one.meets(area)])), ())

        def rank(one: Area) -> tuple[bool, bool, bool, bool, Area]:
            had = self.of[one]
            return one in had.areas, one == area, one.holds(area), had is own, one

        return max(met, key=rank, default=None)


def standing(wishes: Sequence[Wish], maps: Mapping[str, BucketMap]) -> dict[str, BucketMap]:
    """Where the B4s of a pool's groups are, whichever group they belonged to before, by the maps in force.

    So groups merge and divide: areas bring their slots along.  An area that leaves a group is remembered until another has it in
    its map in force: one may never be written down, or ask for it later.  Raises MapError where buckets would have two slots each.
    """
    homes = Homes(maps)
    found = {wish.group: stand_of(wish, maps.get(wish.group), homes) for wish in wishes}
    arrived = by_subnet(
        area for wish in wishes if wish.group in maps for area in wish.areas if area in maps[wish.group].areas
    )
    for name, old in maps.items() if wishes else ():
        heir = found.get(name) or found[min(found)]  # of a group that is gone, another remembers
        mine = (area for area in old.all_areas if homes.of[area] is old and area not in heir.areas)
        left = [area for area in mine if not any(one.holds(area) for one in arrived.get(area.subnet, ()))]
        found[heir.group] = remembering(heir, old, left)
    return found


def remembering(heir: BucketMap, old: BucketMap, left: Sequence[Area]) -> BucketMap:
    """With areas that `old` had or remembered, by the cut that they had: by another some buckets might have two slots."""
    every = old.all_areas
    former = {area: every[area] for area in left}
    cuts = {area: cut for area in left if (cut := old.cut_of(area)) != heir.cut}
    return replace(heir, former={**heir.former, **former}, cuts={**heir.cuts, **cuts})


def stand_of(wish: Wish, own: BucketMap | None, homes: Homes) -> BucketMap:
    """Where one group's B4s are.  Areas that nobody had join those of the group that are spread widest."""
    own = own or BucketMap(wish.group, wish.pool, wish.cut, {})
    found = {area: slots for area in wish.areas if (slots := slots_before(wish, area, own, homes))}
    new = max(found.values(), key=lambda slots: (len(set(slots)), slots), default=(UNPLACED,) * BUCKETS[wish.cut])
    areas = {area: found.get(area, new) for area in wish.areas}
    stand = replace(own, cut=wish.cut, areas=areas, former={}, cuts={})
    if all(area in own.areas for area in found):
        return stand
    asked = own.areas and own.levelled == 0  # and not yet done
    return replace(stand, chosen=(), levelled=0 if asked else len(slots_in(found.values())))


def slots_before(wish: Wish, area: Area, own: BucketMap, homes: Homes) -> Slots | None:
    """The slots of an area's buckets until now: as the group has it, else as whoever had its B4s."""
    had, around = (own, area) if area in own.areas else (None, homes.nearest(area, own))
    if around is None:
        return None
    had = had or homes.of[around]
    slots = had.slots_of(around, wish.cut)
    if slots is None:
        raise MapError(
            f"B4Group {wish.group}: bucketBytes {wish.cut} is not allowed for {area}: its B4s are divided among several slots by "
            f"{had.cut_of(around)}: bring them to one slot first (slots: 1), or keep {had.cut_of(around)}"
        )
    return slots
