"""What B4Groups ask for, with their B4s as counted: what placement goes by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import NamedTuple

from dslite_contract.rules import DEFAULT_NAMESPACE
from dslite_contract.schema import AftrPool, B4Group
from dslite_contract.slots import group_slots
from dslite_operator.distribution.buckets import Cut
from dslite_operator.distribution.maps import Area, Part


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
    carriers = group_slots(pool, group)
    return Wish(
        group=name_of(group),
        pool=pool.metadata.name,
        cut=spec.dhcp.bucket_bytes if spec.dhcp else "whole",
        areas=areas_of(group),
        spread=spec.slots,
        slots=tuple(slot for slot in range(carriers.first, carriers.last + 1) if slot not in closed),
        counts=counts,
        level=spec.rebalance == "automatic",
    )


def name_of(group: B4Group) -> str:
    """NAMESPACE/NAME."""
    return f"{group.metadata.namespace or DEFAULT_NAMESPACE}/{group.metadata.name}"


def areas_of(group: B4Group) -> tuple[Area, ...]:
    """Where a group's B4s ask from: its subnets, or, without a DHCPv6 server, its prefixes."""
    spec = group.spec
    interface_id = spec.match.relay_interface_id if spec.match else ""
    return tuple(Area(subnet, interface_id) for subnet in (spec.dhcp.subnets if spec.dhcp else spec.prefixes))


def size_of(wish: Wish) -> int:
    """B4s of a group."""
    return sum(count.b4s for counts in wish.counts.values() for count in counts)


def weights_of(part: Part, wish: Wish) -> list[int]:
    """B4s of each bucket; one without any counts as one, for somebody will come."""
    columns = zip(*(wish.counts[area] for area in part.areas if area in wish.counts), strict=True)
    sums = [sum(count.b4s for count in column) for column in columns]
    return [max(1, weight) for weight in sums] or [1] * len(part.slots)
