"""The bucket maps in force: as their ConfigMaps have them, else found again; and those of groups that are gone.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from dslite_contract.schema import B4Group
from dslite_operator.distribution.config_maps import text_in
from dslite_operator.distribution.decision import Decision
from dslite_operator.distribution.ground import Ground, Survey
from dslite_operator.distribution.maps import UNPLACED, BucketMap, MapError, map_of
from dslite_operator.distribution.observed import Observed
from dslite_operator.distribution.recovery import recovered
from dslite_operator.distribution.wishes import name_of, wish_of

SILENT = (
    "an AFTR that is ready does not say which B4s it serves, or the DHCPv6 server which leases it gave: "
    "the group is placed once all have said so"
)


@dataclass(frozen=True)
class Result:
    """What is known of one group, and what was decided: `map` is in force until now, None: the group is nowhere yet.

    `known` says whether that is so; `lost` how a map that was lost was found again; `trouble` what keeps the group from going on;
    `seen` is None while not all of its AFTRs have said which B4s they serve.
    """

    known: bool
    map: BucketMap | None = None
    lost: str = ""
    trouble: str = ""
    seen: Observed | None = None
    decided: Decision | None = None

    def stopped(self, why: str) -> Result:
        """All stays as it is.  What that is, is not known of a map that was lost and found in part, or not at all."""
        trouble = self.trouble or why
        whole = self.map is not None and not any(UNPLACED in slots for slots in self.map.areas.values())
        if not self.known or (self.lost and not whole):
            return replace(self, known=False, trouble=trouble, decided=None)
        counts = self.seen.counts_by(self.map) if self.seen and self.map else {}
        return replace(self, trouble=trouble, decided=Decision(self.map, counts))


def in_force(
    found: Survey, ground: Ground, group: B4Group, copies: Mapping[str, str] | None, seen: Observed | None
) -> Result:
    """The map of a group until now; `copies` None: its server has not answered; `seen` None: not all of its AFTRs have.

    What the ConfigMap does not say, in a text that can be read, those may: nothing is known before they have answered.
    """
    name, votes = name_of(group), seen.seen if seen else {}
    text, copy = found.text(name), (copies or {}).get(name)
    try:
        back = recovered(wish_of(ground.pool, group, {}), text, copy, votes)
    except MapError as error:
        return Result(known=False, trouble=str(error), seen=seen)
    if back.source != "kept" and copies is None:
        return Result(known=False, seen=seen)
    own = back.map if back.map and back.map.pool == ground.pool.metadata.name else None
    if own is None and seen is None:
        return Result(known=False, trouble=SILENT)
    lost = "" if own is not back.map or back.source in ("kept", "new") else back.sentence
    return Result(True, own, lost, seen=seen)


def former(found: Survey, ground: Ground, copies: Mapping[str, str]) -> dict[str, BucketMap]:
    """Maps of groups of this pool that are gone: their areas are remembered.  One that cannot be read is no use."""
    texts = {**copies, **{name: text_in(body) for name, body in found.config_maps.items()}}
    gone = {name: text for name, text in texts.items() if name not in found.objects}
    maps = dict[str, BucketMap]()
    for name, text in gone.items():
        try:
            maps[name] = map_of(text, name)
        except MapError:
            continue
    in_pool = (ground.key.namespace, ground.pool.metadata.name)
    return {name: one for name, one in maps.items() if (name.split("/")[0], one.pool) == in_pool}
