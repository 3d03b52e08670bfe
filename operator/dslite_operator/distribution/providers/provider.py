"""What every DHCPv6 server can be asked, whatever it is.

render ──► plan ──► validate ──► apply        observe
pure                reads        writes       asks as a B4 does
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv6Network
from typing import Literal, Protocol, TypeVar

BucketBytes = Literal["last", "lastNibble", "lastTwoLowNibbles"]
BUCKETS: dict[BucketBytes, int] = {"last": 256, "lastNibble": 16, "lastTwoLowNibbles": 256}

Plan = TypeVar("Plan")


@dataclass(frozen=True)
class Assignment:
    """What the B4s of one group are to be told.

    `names[i]` is the FQDN, without its last dot, for bucket i of the DUID; a group that goes to one slot has one name.
    `interface_id` narrows the subnets to clients behind that relay interface, with * at the end for a beginning.
    `renew_s` is the T1 that is to hold during a drain, in seconds; None: the server's own.
    """

    group: str  # NAMESPACE/NAME
    subnets: tuple[IPv6Network, ...]
    names: tuple[str, ...]
    bucket_bytes: BucketBytes = "last"
    interface_id: str | None = None
    renew_s: int | None = None

    @property
    def whole(self) -> bool:
        """Whether every B4 of the group is told the same."""
        return len(set(self.names)) == 1


@dataclass(frozen=True)
class Capabilities:
    """What a server can do.  `max_propagation_s`: seconds from `apply` until it hands out what is new, at most."""

    per_prefix: bool  # a name for a subnet
    bucket: bool  # a name for a part of a subnet's B4s
    per_b4: bool  # a name for one B4
    live_update: bool  # a change without a moment of silence
    max_propagation_s: float


@dataclass(frozen=True)
class B4:
    """A client as the server sees it: its DUID (RFC 8415 section 11), the subnet that it asks from, its relay's Interface-ID."""

    duid: bytes
    subnet: IPv6Network
    interface_id: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What `apply` did: `changed` names servers, `said` is a sentence for events and conditions."""

    changed: tuple[str, ...]
    said: str


class Provider(Protocol[Plan]):
    """One installation of a DHCPv6 server, with all its peers."""

    @property
    def capabilities(self) -> Capabilities: ...

    def render(self, assignments: Sequence[Assignment]) -> Plan:
        """All that the server should know from us; what is not in it is taken away.  Pure; raises OptionError, ForeignError."""

    async def validate(self, plan: Plan) -> None:
        """Whether the server would take it; changes nothing.  Raises ProviderError."""

    async def apply(self, plan: Plan) -> Outcome:
        """Make it so, and see that it is so.  Raises ProviderError; then the server serves as before unless the error says otherwise."""

    async def observe(self, b4: B4) -> str | None:
        """The name that a B4 is told, by a real question; None: no name.  Raises ProviderError."""
