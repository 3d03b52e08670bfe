"""Who is where: leases of the DHCPv6 server, which know a B4's DUID, beside the engines' softwires, which know its slot.

A softwire belongs to the lease that its address lies in, the longest prefix first: an address (IA_NA) or a delegated prefix (IA_PD).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv6Address, IPv6Network
from typing import NamedTuple

from dslite_operator.distribution.buckets import BUCKETS, Cut, bucket_of
from dslite_operator.distribution.maps import Area, BucketMap, Slots
from dslite_operator.distribution.wishes import Count, Counts


class Lease(NamedTuple):
    """What a client was given; one with an address and a prefix has two."""

    area: Area
    duid: bytes
    prefix: IPv6Network


class Softwire(NamedTuple):
    """A B4 as an engine sees it, with its established sessions."""

    address: IPv6Address
    slot: int
    sessions: int = 0


class Stray(NamedTuple):
    """A softwire on another slot than its B4 was told; `told` is None where nobody told it any."""

    softwire: Softwire
    told: int | None


class Leases:
    """Leases by their prefixes."""

    def __init__(self, leases: Iterable[Lease]) -> None:
        by_length: dict[int, dict[int, Lease]] = defaultdict(dict)
        for lease in leases:
            by_length[lease.prefix.prefixlen][int(lease.prefix.network_address)] = lease
        self._by_length = sorted(by_length.items(), reverse=True)

    def of(self, address: IPv6Address) -> Lease | None:
        """The lease that an address lies in."""
        number = int(address)
        found = (leases.get(number >> (128 - length) << (128 - length)) for length, leases in self._by_length)
        return next((lease for lease in found if lease), None)

    def __iter__(self) -> Iterator[Lease]:
        return (lease for _, leases in self._by_length for lease in leases.values())


def counted(leases: Leases, softwires: Iterable[Softwire], cut: Cut) -> Counts:
    """B4s of each bucket of each area, by their leases, and their established sessions, by the engines."""
    b4s: dict[Area, Counter[int]] = defaultdict(Counter)
    sessions: dict[Area, Counter[int]] = defaultdict(Counter)
    for area, duid in {(lease.area, lease.duid) for lease in leases}:
        b4s[area][bucket_of(duid, cut)] += 1
    for softwire in softwires:
        lease = leases.of(softwire.address)
        if lease:
            sessions[lease.area][bucket_of(lease.duid, cut)] += softwire.sessions
    return {
        area: [Count(its[bucket], sessions[area][bucket]) for bucket in range(BUCKETS[cut])]
        for area, its in b4s.items()
    }


def shared_out(areas: Mapping[Area, Slots], on_slots: Mapping[int, Count]) -> Counts:
    """B4s and sessions of each slot, evenly over the buckets that are told it: where no leases tell B4s apart."""
    buckets = Counter(slot for slots in areas.values() for slot in slots)
    left = {slot: portions(on_slots.get(slot, Count(0)), number) for slot, number in buckets.items()}
    return {area: [next(left[slot]) for slot in slots] for area, slots in areas.items()}


def portions(whole: Count, number: int) -> Iterator[Count]:
    """`number` counts that are `whole` together, as even as they can be."""
    for turn in range(number):
        yield Count(*(one * (turn + 1) // number - one * turn // number for one in whole))


def seen(leases: Leases, softwires: Iterable[Softwire], cut: Cut) -> Mapping[Area, Sequence[Mapping[int, int]]]:
    """Of each bucket of each area, how many softwires are on each slot."""
    found: dict[Area, list[Counter[int]]] = defaultdict(lambda: [Counter() for _ in range(BUCKETS[cut])])
    for softwire in softwires:
        lease = leases.of(softwire.address)
        if lease:
            found[lease.area][bucket_of(lease.duid, cut)][softwire.slot] += 1
    return found


def strays(leases: Leases, softwires: Iterable[Softwire], maps: Iterable[BucketMap]) -> Iterator[Stray]:
    """Softwires that are not where their B4s were told: on their way, or with a name or an address of their own."""
    known = {area: (bucket_map.cut, slots) for bucket_map in maps for area, slots in bucket_map.areas.items()}
    for softwire in softwires:
        lease = leases.of(softwire.address)
        cut, slots = known.get(lease.area, (None, ())) if lease else (None, ())
        told = slots[bucket_of(lease.duid, cut)] if lease and cut else None
        if told != softwire.slot:
            yield Stray(softwire, told)
