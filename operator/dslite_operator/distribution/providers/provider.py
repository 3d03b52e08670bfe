"""What every DHCPv6 server can be asked, whatever it is.

render ──► plan ──► validate ──► apply        observe
pure                reads        writes       asks as a B4 does
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from ipaddress import IPv6Network
from typing import NamedTuple, Protocol, TypeVar

from dslite_operator.distribution.buckets import Cut
from dslite_operator.distribution.maps import Area

Plan = TypeVar("Plan")


@dataclass(frozen=True)
class Part:
    """Areas whose B4s are told by the same rule: `names[i]` is the FQDN for bucket i, without its last dot; None: nothing."""

    areas: tuple[Area, ...]
    names: tuple[str | None, ...]

    @property
    def whole(self) -> str | None:
        """The one name for all of them; None where buckets tell them apart, or there is none."""
        return self.names[0] if len(set(self.names)) == 1 else None


@dataclass(frozen=True)
class Assignment:
    """What the B4s of one group are to be told.

    `copy` is the text of the group's bucket map, kept at the server for the day when ours is lost.
    `renew_s` is the T1 that is to hold during a drain, in seconds; None: the server's own.
    """

    group: str  # NAMESPACE/NAME
    cut: Cut
    parts: tuple[Part, ...]
    copy: str = ""
    renew_s: int | None = None

    @property
    def areas(self) -> tuple[Area, ...]:
        """All of them."""
        return tuple(area for part in self.parts for area in part.areas)


@dataclass(frozen=True)
class B4:
    """A client as the server sees it: its DUID (RFC 8415 section 11), the subnet that it asks from, its relay's Interface-ID."""

    duid: bytes
    subnet: IPv6Network
    interface_id: str = ""


class Timers(NamedTuple):
    """What leases on a subnet have, in seconds: T1, and the valid lifetime."""

    renew_s: int
    valid_s: int


class Given(NamedTuple):
    """A lease: what a client on a subnet was given, an address (as a prefix of 128 bits) or a prefix, and its valid lifetime in seconds."""

    subnet: IPv6Network
    duid: bytes
    prefix: IPv6Network
    valid_s: int


@dataclass(frozen=True)
class Outcome:
    """What `apply` did: `changed` names servers, `said` is a sentence for events and conditions."""

    changed: tuple[str, ...]
    said: str


class Provider(Protocol[Plan]):
    """One installation of a DHCPv6 server, with all its peers."""

    @property
    def live_update(self) -> bool:
        """Whether it is changed without a moment of silence."""

    def render(self, assignments: Sequence[Assignment], as_is: Set[str] = frozenset()) -> Plan:
        """All that the server should know from us; what is not in it is taken away, but for what groups `as_is` have there.

        Pure; raises OptionError, ForeignError.
        """

    async def validate(self, plan: Plan) -> None:
        """Whether the server would take it; changes nothing.  Raises ProviderError."""

    async def apply(self, plan: Plan) -> Outcome:
        """Make it so, and see that it is so.  Raises ProviderError; then the server serves as before unless the error says otherwise.

        UnwrittenError says so: it is so, and `keep` tries again to write it down.
        """

    async def keep(self) -> None:
        """Write down what could not be.  Raises ProviderError."""

    async def observe(self, b4: B4) -> str | None:
        """The name that a B4 is told, by a real question to every peer; None: no name.  Raises ProviderError."""

    async def copies(self) -> Mapping[str, str]:
        """The copies of bucket maps that the server keeps, by group, as `leases` or `apply` read them last.  Raises ProviderError."""

    async def timers(self) -> Mapping[IPv6Network, Timers]:
        """Those of each subnet when no drain shortens them, as `leases` or `apply` read them last.  Raises ProviderError."""

    async def leases(self) -> Sequence[Given] | None:
        """All live leases, None for a server that does not show them.  Raises ProviderError."""

    async def obstacles(self, assignments: Sequence[Assignment]) -> Mapping[str, str]:
        """Groups that the server cannot tell as it is now, with what stands in the way; changes nothing.  Raises ProviderError."""

    async def ready(self) -> None:
        """Until it may be changed again: what is wanted by then is what it should be told."""

    async def revision(self) -> str | None:
        """Another text once anybody has changed the server's configuration; None where only reading it all would show that.

        Raises ProviderError.
        """
