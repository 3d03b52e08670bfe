"""The bucket maps in force: as their ConfigMaps have them, else found again; and those of groups that are gone.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from dslite_contract.schema import AftrPool, B4Group
from dslite_operator.distribution.decision import Decision
from dslite_operator.distribution.ground import Ground, Survey, server_of
from dslite_operator.distribution.maps import UNPLACED, BucketMap, MapError, by_subnet, map_of, slots_in
from dslite_operator.distribution.observed import Observed
from dslite_operator.distribution.recovery import sighted, written
from dslite_operator.distribution.wishes import Wish, name_of, wish_of

SILENT = (
    "not every slot is served by an AFTR that says which B4s it serves, or the DHCPv6 server does not say which leases it gave: "
    "the group is placed once both are known"
)


@dataclass(frozen=True)
class Result:
    """What is known of one group, and what was decided: `map` is in force until now, None: it has none yet.

    `known` says whether that is so; `lost` how a map that was lost was found again; `trouble` what keeps the group from going on;
    `seen` is None while not all slots' AFTRs have said which B4s they serve; of a map by which B4s were never `told` it is only known
    that they are there.
    """

    known: bool
    map: BucketMap | None = None
    lost: str = ""
    trouble: str = ""
    seen: Observed | None = None
    told: bool = True
    decided: Decision | None = None

    def stopped(self, why: str, renewal: timedelta | None = None) -> Result:
        """All stays as it is, a shorter T1 too: B4s that are only seen are told nothing.  What that is, is not known of a map that was lost
        and found in part, or not at all.
        """
        trouble, kept = self.trouble or why, self.map if self.told else None
        in_part = any(UNPLACED in slots for slots in kept.areas.values()) if kept else bool(self.lost)
        if not self.known or in_part:
            return replace(self, known=False, trouble=trouble, decided=None)
        counts = self.seen.counts_by(kept) if self.seen and kept else {}
        return replace(self, trouble=trouble, decided=Decision(kept, counts, renewal=renewal))


def in_force(
    found: Survey,
    ground: Ground,
    copies: Mapping[str, Mapping[str, str] | None],
    gone: Iterable[BucketMap],
    seen: Mapping[str, Observed],
) -> dict[str, Result]:
    """The maps of a pool's groups until now; `copies` of each server, None: it has not answered; `seen` has no group of which not all
    slots' AFTRs, or not its server, have said who its B4s are.

    What the ConfigMap does not say, in a text that can be read, those may: nothing is known before they have answered.  But areas
    that another group has, or had (`gone`), are where that has them: a group that is made by dividing was never lost.
    """
    results = {name_of(group): as_written(found, ground, group, copies.get(server_of(group))) for group in ground.told}
    maps = (*gone, *(one.map for one in results.values() if one.map))
    placed = by_subnet(area for one in maps for area in one.all_areas)
    for group in ground.told:
        name, wish = name_of(group), wish_of(ground.pool, group, {})
        left = tuple(area for area in wish.areas if not any(map(area.meets, placed.get(area.subnet, ()))))
        one = replace(results[name], seen=seen.get(name))
        nowhere = one.known and one.map is None and left
        results[name] = as_sighted(one, replace(wish, areas=left)) if nowhere else one
    return results


def as_written(found: Survey, ground: Ground, group: B4Group, copies: Mapping[str, str] | None) -> Result:
    """What the texts say of a group."""
    name = name_of(group)
    try:
        back = written(name, found.text(name), (copies or {}).get(name))
    except MapError as error:
        return Result(known=False, trouble=str(error))
    if back.map is None and copies is None:
        return Result(known=False)
    of_another = back.map is not None and not is_of(ground.pool, back.map)
    return Result(True) if of_another else Result(True, back.map, back.lost)


def is_of(pool: AftrPool, one: BucketMap) -> bool:
    """Whether a map is one of this pool: of one of that name that was deleted it is not, which may have had more slots."""
    return one.pool == pool.metadata.name and max(slots_in(one.all_areas.values()), default=0) < pool.spec.slots


def as_sighted(one: Result, wish: Wish) -> Result:
    """The same of one that no text says anything of, by where its B4s are seen."""
    if one.seen is None:
        return replace(one, known=False, trouble=SILENT)
    back = sighted(wish, one.lost, one.seen.seen)
    return replace(one, map=back.map, lost=back.lost, told=bool(back.lost))


def former(ground: Ground, left: Mapping[str, str]) -> dict[str, BucketMap]:
    """Maps of groups of this pool that are gone, of what is `left`: their areas are remembered.  One that cannot be read is no use."""
    maps = dict[str, BucketMap]()
    for name, text in left.items():
        try:
            maps[name] = map_of(text, name)
        except MapError:
            continue
    near = (name for name in maps if name.split("/")[0] == ground.key.namespace)
    return {name: maps[name] for name in near if is_of(ground.pool, maps[name])}
