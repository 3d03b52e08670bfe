"""Who holds which addresses and names: no two objects of a cluster may have the same.  Pure.

A claim that was accepted (it stands in a rendered ConfigMap) goes before one that is new, also when the older object is the
one that was edited.  Among new ones the older object goes first, then namespace and name.  What a B4Group lets go of may be
another's of the same pool at once: both come into force together, and the B4s go on.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import NamedTuple

from dslite_contract.rules import refused
from dslite_contract.schema import AftrPool, B4Group
from dslite_operator.distribution.maps import Area
from dslite_operator.distribution.wishes import areas_of

Network = IPv4Network | IPv6Network


class Holder(NamedTuple):
    """An object that claims something."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


class Clients(NamedTuple):
    """Of a DHCPv6 server."""

    server: str
    area: Area

    def __str__(self) -> str:
        return f"{self.server} {self.area}"


@dataclass(frozen=True)
class Claim:
    """A thing that one object may have, with its place there.  `sort`: nat, tunnel, fqdn, b4s or clients.

    `pool`: of a B4Group's, the name of its pool.
    """

    sort: str
    value: Network | str | Clients
    path: str
    pool: str = ""


@dataclass(frozen=True)
class Wanted:
    """What one object asks for."""

    holder: Holder
    created: str  # RFC 3339, so that text sorts by time
    claims: tuple[Claim, ...]
    wrong: bool = False  # in itself: it keeps what it has


class Refused(NamedTuple):
    """A claim that another object's stands against."""

    claim: Claim
    other: Claim
    holder: Holder

    @property
    def line(self) -> str:
        """For the condition of the object that wanted it."""
        what = "is held by" if self.claim.value == self.other.value else f"overlaps {self.other.value} of"
        return f"{self.claim.path}: {refused(self.claim.value, f'it {what} {self.holder}')}"


def pool_claims(pool: AftrPool) -> Iterator[Claim]:
    """A pool's external addresses, tunnel addresses and domain."""
    for number, nat_pool in enumerate(pool.spec.nat.pools):
        for place, prefix in enumerate(nat_pool.prefixes):
            yield Claim("nat", prefix, f"spec.nat.pools[{number}].prefixes[{place}]")
    yield Claim("tunnel", pool.spec.softwire.prefix, "spec.softwire.prefix")
    yield Claim("fqdn", f"{pool.metadata.name}.{pool.spec.softwire.domain}", "spec.softwire.domain")


def group_claims(group: B4Group) -> Iterator[Claim]:
    """A group's B4s, and the clients of a DHCPv6 server.  Nested prefixes are fine, the longest wins: only an equal one is another's."""
    pool = group.spec.pool_ref.name
    for number, prefix in enumerate(group.spec.prefixes):
        yield Claim("b4s", prefix, f"spec.prefixes[{number}]", pool)
    if group.spec.dhcp is not None:
        for number, area in enumerate(areas_of(group)):
            yield Claim("clients", Clients(group.spec.dhcp.server, area), f"spec.dhcp.subnets[{number}]", pool)


@dataclass
class Register:
    """Claims that are granted."""

    _ranges: dict[str, list[tuple[int, int, Holder, Claim]]] = field(default_factory=dict)
    _others: dict[object, list[tuple[Holder, Claim, bool]]] = field(default_factory=dict)  # and whether it is let go

    def against(self, holder: Holder, claim: Claim) -> tuple[Holder, Claim] | None:
        """Whose claim stands against it."""
        if claim.sort in ("nat", "tunnel"):
            return self._overlapping(holder, claim)
        for other, its, let_go in self._others.get(place_of(claim), ()):
            same_pool = (claim.pool, holder.namespace) == (its.pool, other.namespace) and claim.pool != ""
            if other != holder and are_one(claim, its) and not (let_go and same_pool):
                return other, its
        return None

    def _overlapping(self, holder: Holder, claim: Claim) -> tuple[Holder, Claim] | None:
        ranges, (first, last) = self._ranges.get(claim.sort, []), span(claim)
        place = bisect.bisect_right(ranges, last, key=lambda entry: entry[0])
        while place and ranges[place - 1][1] >= first:  # granted ranges of different holders are disjoint
            _, _, other, its = ranges[place - 1]
            if other != holder:
                return other, its
            place -= 1
        return None

    def grant(self, holder: Holder, claim: Claim, let_go: bool = False) -> None:
        """Enter a claim.  One that its holder has `let_go` of is its own until that is in force, but for groups of its pool."""
        if claim.sort in ("nat", "tunnel"):
            bisect.insort(
                self._ranges.setdefault(claim.sort, []), (*span(claim), holder, claim), key=lambda entry: entry[:2]
            )
        else:
            self._others.setdefault(place_of(claim), []).append((holder, claim, let_go))


def place_of(claim: Claim) -> object:
    """What claims have in common that may be one: clients, their subnet."""
    value = claim.value
    return (claim.sort, value.server, value.area.subnet) if isinstance(value, Clients) else (claim.sort, value)


def are_one(mine: Claim, its: Claim) -> bool:
    """Whether nothing tells two claims of one place apart."""
    if isinstance(mine.value, Clients) and isinstance(its.value, Clients):
        return mine.value.area.meets(its.value.area)
    return True


def span(claim: Claim) -> tuple[int, int]:
    """First and last address of a prefix."""
    assert isinstance(claim.value, Network)
    return int(claim.value.network_address), int(claim.value.broadcast_address)


def judge(accepted: Mapping[Holder, Iterable[Claim]], wanted: Iterable[Wanted]) -> dict[Holder, tuple[Refused, ...]]:
    """What each object may not have; objects that may have all they want are not in it.

    An object that is refused anything gets nothing new.
    """
    register, refusals, asked = Register(), dict[Holder, tuple[Refused, ...]](), sorted(wanted, key=rank)
    wrong = {one.holder for one in asked if one.wrong}
    wished = {(one.holder, claim.sort, claim.value) for one in asked for claim in one.claims}
    for holder in sorted(accepted):
        for claim in accepted[holder]:
            let_go = holder not in wrong and (holder, claim.sort, claim.value) not in wished
            register.grant(holder, claim, let_go)
    for one in asked:
        against = [(claim, register.against(one.holder, claim)) for claim in one.claims]
        found = tuple(Refused(claim, other[1], other[0]) for claim, other in against if other)
        if found:
            refusals[one.holder] = found
            continue
        for claim in one.claims:
            register.grant(one.holder, claim)
    return refusals


def rank(one: Wanted) -> tuple[str, Holder]:
    """Which of two that are new goes first."""
    return one.created, one.holder
