"""Who really uses which slot: softwires as the engines see them, beside leases and bucket maps.  Pure.

Where the DHCPv6 server shows its leases, each softwire has a DUID, so a bucket, so a slot that it was told.  Elsewhere it has the
group whose prefix it lies in, and may be on any of that group's slots.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network

from dslite_contract.schema import B4Group
from dslite_operator.distribution.buckets import SHORTEST_DUID, Cut
from dslite_operator.distribution.counting import Lease, Leases, Softwire, Stray, counted, seen, shared_out, strays
from dslite_operator.distribution.maps import Area, BucketMap, slots_in
from dslite_operator.distribution.providers.provider import Given
from dslite_operator.distribution.recovery import Seen
from dslite_operator.distribution.wishes import Count, Counts, areas_of, name_of

ByServer = Mapping[str, Sequence[Given] | None]  # leases, None where a server does not show them


@dataclass(frozen=True)
class Observed:
    """Of one group: B4s and sessions of its buckets, where they are, softwires on each slot; `leases` None: not shown."""

    counts: Counts = field(default_factory=dict)
    seen: Seen = field(default_factory=dict)
    softwires: tuple[Softwire, ...] = ()
    leases: Leases | None = None

    @property
    def on_slots(self) -> Counter[int]:
        """Softwires on each slot."""
        return Counter(one.slot for one in self.softwires)

    def counts_by(self, bucket_map: BucketMap) -> Counts:
        """B4s and sessions of each bucket: by leases, else each slot's softwires are shared out over the buckets that are told it."""
        if self.leases is not None:
            return self.counts
        sessions = Counter[int]()
        for one in self.softwires:
            sessions[one.slot] += one.sessions
        on_slots = {slot: Count(b4s, sessions[slot]) for slot, b4s in self.on_slots.items()}
        return shared_out(bucket_map.areas, on_slots)

    def strays(self, bucket_map: BucketMap) -> Iterator[Stray]:
        """Softwires that are not where their B4s were told."""
        if self.leases is not None:
            return strays(self.leases, self.softwires, [bucket_map])
        told = slots_in(bucket_map.areas.values())
        return (Stray(one, None) for one in self.softwires if one.slot not in told)


def observed(groups: Sequence[B4Group], leases: ByServer, softwires: Iterable[Softwire]) -> dict[str, Observed]:
    """What is seen of each group that a DHCPv6 server tells."""
    group_at, its = group_finder(groups), defaultdict[str, list[Softwire]](list)
    for softwire in softwires:
        its[group_at(softwire.address)].append(softwire)
    told = [group for group in groups if group.spec.dhcp is not None]
    by_area = leases_by_area(told, leases)
    return {name_of(group): observed_of(group, by_area, its[name_of(group)]) for group in told}


def observed_of(group: B4Group, by_area: Mapping[Area, Sequence[Lease]], softwires: Sequence[Softwire]) -> Observed:
    """One group.  A client whose DUID is too short for a bucket is not counted."""
    assert group.spec.dhcp is not None
    cut: Cut = group.spec.dhcp.bucket_bytes
    areas = areas_of(group)
    if not all(area in by_area for area in areas):
        votes = Counter(one.slot for one in softwires)
        return Observed(seen={area: [votes] for area in areas} if votes else {}, softwires=tuple(softwires))
    leases = Leases(lease for area in areas for lease in by_area[area] if len(lease.duid) >= SHORTEST_DUID)
    return Observed(counted(leases, softwires, cut), seen(leases, softwires, cut), tuple(softwires), leases)


def leases_by_area(groups: Sequence[B4Group], leases: ByServer) -> dict[Area, list[Lease]]:
    """Leases of the areas of which they are known; where an Interface-ID is matched they tell no group, whoever has the others."""
    whole: dict[tuple[str, IPv6Network], Area] = {}
    for group in groups:
        assert group.spec.dhcp is not None
        if leases.get(group.spec.dhcp.server) is not None:
            its = (area for area in areas_of(group) if not area.interface_id)
            whole |= {(group.spec.dhcp.server, area.subnet): area for area in its}
    found: dict[Area, list[Lease]] = {area: [] for area in whole.values()}
    for server, given in leases.items():
        for one in given or ():
            area = whole.get((server, one.subnet))
            if area is not None:
                found[area].append(Lease(area, one.duid, one.prefix))
    return found


def group_finder(groups: Sequence[B4Group]) -> Callable[[IPv6Address], str]:
    """Which group's an address is: that of the longest prefix around it; nothing where there is none."""
    by_length: dict[int, dict[int, str]] = defaultdict(dict)
    for group in groups:
        for prefix in group.spec.prefixes:
            by_length[prefix.prefixlen][int(prefix.network_address)] = name_of(group)
    longest_first = sorted(by_length.items(), reverse=True)

    def find(address: IPv6Address) -> str:
        number = int(address)
        found = (names.get(number >> (128 - length) << (128 - length)) for length, names in longest_first)
        return next((name for name in found if name), "")

    return find
