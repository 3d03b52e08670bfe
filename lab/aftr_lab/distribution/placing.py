"""Which slot each B4 of a lab is told, and what a changed file moves: decided by the operator's own functions.  Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from aftr_lab.plan import B4
from aftr_lab.provider import RENEW_S
from dslite_contract.load import Configuration
from dslite_contract.schema import B4Group, Dhcp
from dslite_operator.distribution.buckets import bucket_of
from dslite_operator.distribution.counting import Softwire
from dslite_operator.distribution.decision import Circumstances, Decision, decide
from dslite_operator.distribution.maps import BucketMap
from dslite_operator.distribution.observed import observed
from dslite_operator.distribution.providers.provider import Given
from dslite_operator.distribution.wishes import areas_of

SERVER = "lab"  # what a group that names no DHCPv6 server is told by; others mean the lab's Kea, too

Maps = Mapping[str, BucketMap]  # by group


@dataclass(frozen=True)
class Move:
    """A B4 that is told another slot, and the sessions that it has on the old one."""

    b4: B4
    old: int
    new: int
    sessions: int


def with_server(configuration: Configuration) -> Configuration:
    """Every group is told: one that names no server by the lab's, which has its prefixes as subnets."""
    return replace(configuration, groups=tuple(map(told_group, configuration.groups)))


def told_group(group: B4Group) -> B4Group:
    """The group with a DHCPv6 server."""
    subnets = [str(area.subnet) for area in areas_of(group)]
    dhcp = group.spec.dhcp or Dhcp.model_validate({"server": SERVER, "subnets": subnets})
    return group.model_copy(update={"spec": group.spec.model_copy(update={"dhcp": dhcp})})


def circumstances(
    configuration: Configuration,
    leases: Sequence[Given],
    softwires: Iterable[Softwire],
    resolved: Collection[str],
    now: datetime,
) -> Circumstances:
    """What decides beside the maps: who is told what they say, and the names in `resolved` may be handed out."""
    servers = {group.spec.dhcp.server for group in configuration.groups if group.spec.dhcp}
    looks = observed(configuration.groups, dict.fromkeys(servers, leases), softwires)
    renewals = dict.fromkeys(looks, timedelta(seconds=RENEW_S))
    return Circumstances(now, frozenset(resolved), looks.keys(), renewals, looks)


def carried_on(configuration: Configuration, maps: Maps, given: Circumstances) -> dict[str, Decision]:
    """What holds for each group when all has been done that may be done within an hour, from the maps in force.

    Nobody waits in a lab: what was moved before was moved in another hour.  Raises MapError, PlacementError.
    """
    maps = {name: replace(one, moved_at=None, moved_b4s=0) for name, one in maps.items()}
    while True:
        decisions = decide(configuration.pool, configuration.groups, maps, given)
        if (after := maps_in(decisions)) == maps:
            return decisions
        maps = after


def maps_in(decisions: Mapping[str, Decision]) -> dict[str, BucketMap]:
    """The maps that are in force from now on."""
    return {name: one.map for name, one in decisions.items() if one.map}


def slot_told(maps: Maps, b4: B4) -> int | None:
    """The slot whose name a B4 is told, None: no name."""
    found = [
        (area.subnet.prefixlen, slots[bucket_of(b4.duid, one.cut)])
        for one in maps.values()
        for area, slots in one.areas.items()
        if b4.prefix.subnet_of(area.subnet)
    ]
    return max(found)[1] if found else None


def sessions_on(softwires: Iterable[Softwire], b4: B4, slot: int | None) -> int:
    """The sessions of a B4 on one slot."""
    return sum(one.sessions for one in softwires if one.slot == slot and one.address in b4.prefix)


def moves_of(b4s: Iterable[B4], before: Maps, after: Maps, softwires: Sequence[Softwire]) -> list[Move]:
    """The B4s that are told another slot by the maps `after`; who was told none moves from nowhere."""
    pairs = [(b4, slot_told(before, b4), slot_told(after, b4)) for b4 in b4s]
    return [
        Move(b4, old, new, sessions_on(softwires, b4, old))
        for b4, old, new in pairs
        if old is not None and new is not None and old != new
    ]
