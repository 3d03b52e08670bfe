"""Which slot each B4 of a lab is told, and what a changed file moves: decided by the operator's own functions.  Pure.

A lab's B4s have reservations: what the lab's Kea gives them is known before they ask.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from ipaddress import IPv6Network

from aftr_lab.plan import B4
from aftr_lab.provider import RENEW_S
from dslite_contract.load import Configuration
from dslite_contract.schema import B4Group
from dslite_operator.distribution.buckets import bucket_of
from dslite_operator.distribution.counting import Lease, Leases, Softwire, counted
from dslite_operator.distribution.decision import Circumstances, Decision, decide
from dslite_operator.distribution.maps import Area, BucketMap
from dslite_operator.distribution.wishes import areas_of, name_of, wish_of

Maps = Mapping[str, BucketMap]  # by group


@dataclass(frozen=True)
class Move:
    """A B4 that is told another slot, and the sessions that it has on the old one."""

    b4: B4
    old: int
    new: int
    sessions: int


def group_of(configuration: Configuration, b4: B4) -> B4Group | None:
    """Whose customer a B4 is, None: nobody's."""
    found = [(area.subnet.prefixlen, group) for group in configuration.groups if (area := area_with(group, b4.prefix))]
    return max(found, key=lambda one: one[0], default=(0, None))[1]


def area_with(group: B4Group, prefix: IPv6Network) -> Area | None:
    """The area of a group that a prefix is in."""
    around = [area for area in areas_of(group) if prefix.subnet_of(area.subnet)]
    return max(around, key=lambda area: area.subnet.prefixlen, default=None)


def leases_of(configuration: Configuration, group: B4Group, b4s: Iterable[B4]) -> Leases:
    """What Kea gives the B4s of a group."""
    customers = [b4 for b4 in b4s if group_of(configuration, b4) is group]
    return Leases(Lease(area, b4.duid, b4.prefix) for b4 in customers if (area := area_with(group, b4.prefix)))


def circumstances(
    configuration: Configuration,
    b4s: Sequence[B4],
    softwires: Sequence[Softwire],
    resolved: Collection[str],
    now: datetime,
) -> Circumstances:
    """What decides beside the maps: who is told what they say, and the names in `resolved` may be handed out."""
    groups = {name_of(group): group for group in configuration.groups}
    counts = {
        name: counted(
            leases_of(configuration, group, b4s), softwires, wish_of(configuration.pool, group, {}).cut
        )
        for name, group in groups.items()
    }  # fmt: skip
    renewals = dict.fromkeys(groups, timedelta(seconds=RENEW_S))
    return Circumstances(now, frozenset(resolved), groups.keys(), renewals, counts)


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
    """The established sessions of a B4 on one slot."""
    return sum(one.sessions for one in softwires if one.slot == slot and one.address in b4.prefix)


def moves_of(b4s: Iterable[B4], before: Maps, after: Maps, softwires: Sequence[Softwire]) -> list[Move]:
    """The B4s that are told another slot by the maps `after`; who was told none moves from nowhere."""
    pairs = [(b4, slot_told(before, b4), slot_told(after, b4)) for b4 in b4s]
    return [
        Move(b4, old, new, sessions_on(softwires, b4, old))
        for b4, old, new in pairs
        if old is not None and new is not None and old != new
    ]
