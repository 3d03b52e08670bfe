"""Areas on their way from one group to another: at every moment each is told by one of them.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import replace

from dslite_contract.schema import B4Group
from dslite_operator.distribution.maps import Area, BucketMap
from dslite_operator.distribution.providers.provider import Assignment
from dslite_operator.distribution.recovery import tried
from dslite_operator.distribution.wishes import areas_of, name_of


def told_maps(
    groups: Iterable[B4Group], maps: Mapping[str, BucketMap], gone: Iterable[BucketMap] = ()
) -> dict[str, BucketMap]:
    """The map by which each group of one DHCPv6 server is told; `gone` are those of groups that are no more.

    An area is told by the group that asks for it, once that has a map with it.  Until then (the map cannot be written, or is not
    known) a group that had the area tells it as before, or B4s would lose their AFTR although they move nowhere.  What it
    remembers by another cut it tells by its own, or, where a bucket would have two slots, not.
    """
    asked = {area: name_of(group) for group in groups for area in areas_of(group)}
    by = {area: name for area, name in asked.items() if name in maps and area in maps[name].areas}
    every = (*(maps[name] for name in sorted(maps)), *(replace(one, areas={}, former=one.all_areas) for one in gone))
    for one in every:
        for area in one.areas.keys() | (one.former.keys() & asked.keys()):
            if one.slots_of(area, one.cut):
                by.setdefault(area, one.group)
    found = {one.group: told_of(one, by) for one in every}
    return {name: one for name, one in found.items() if one.areas}


def told_of(one: BucketMap, by: Mapping[Area, str]) -> BucketMap:
    """A map with the areas that its group tells, and without those that others do."""
    return replace(
        one,
        areas={
            area: slots
            for area in one.all_areas
            if by.get(area) == one.group and (slots := one.slots_of(area, one.cut))
        },
        former={area: slots for area, slots in one.former.items() if area not in by},
        cuts={area: cut for area, cut in one.cuts.items() if area not in by},
    )


def is_passing(groups: Set[str], copies: Mapping[str, str], wanted: Mapping[str, Assignment]) -> bool:
    """Whether an area is on its way from or to one of these groups, at a server with these copies: when they alone are told nothing new,
    it would be told twice, or by nobody.  Raises NewerMapError.
    """
    before = {area: name for name, text in copies.items() if (one := tried(text, name)[0]) for area in one.areas}
    after = {area: name for name, one in wanted.items() for area in one.areas}
    moved = (area for area in before.keys() & after.keys() if before[area] != after[area])
    return any(groups & {before[area], after[area]} for area in moved)
