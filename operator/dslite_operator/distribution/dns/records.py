"""What should be in a zone, what it holds, and the TXT record beside each AAAA that says whose a name is.  Pure.

    s0.east.aftr.example.net.  300 AAAA 2001:db8:64::1
    s0.east.aftr.example.net.  300 TXT  "dslite owner=metro pool=edge/east"

Names are text in lower case without the last dot, as `slot_fqdn` gives them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv6Address
from typing import NamedTuple

from dslite_contract.rules import DEFAULT_NAMESPACE
from dslite_contract.schema import AftrPool
from dslite_contract.slots import slot_address, slot_fqdn

FIRST_WORD = "dslite"
INSTANT = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Mark:
    """Whose a name is: of the installation `owner`, for `pool` (NAMESPACE/NAME); `until` (UTC): it goes then."""

    owner: str
    pool: str
    until: datetime | None = None

    def __str__(self) -> str:
        going = f" until={self.until.strftime(INSTANT)}" if self.until else ""
        return f"{FIRST_WORD} owner={self.owner} pool={self.pool}{going}"


class Wanted(NamedTuple):
    """What a name should have: one AAAA."""

    address: IPv6Address
    pool: str  # NAMESPACE/NAME


@dataclass(frozen=True)
class Held:
    """What a zone has at a name: its AAAA, its TXT, and the types of everything else but signatures."""

    addresses: frozenset[IPv6Address] = frozenset()
    texts: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def mark(self) -> Mark | None:
        """Whose it is, by its only TXT; None where that is not one of ours."""
        return mark_of(self.texts[0]) if len(self.texts) == 1 else None

    def __str__(self) -> str:
        texts = [f'TXT "{text}"' for text in self.texts]
        return ", ".join([*self.others, *(f"AAAA {one}" for one in sorted(self.addresses)), *texts])


def mark_of(text: str) -> Mark | None:
    """The mark that a TXT is, None if it is something else."""
    first, *rest = text.split(" ")
    fields = dict(pair for word in rest if len(pair := word.split("=", 1)) == 2)
    if first != FIRST_WORD or not {"owner", "pool"} <= fields.keys():
        return None
    try:
        until = datetime.strptime(fields["until"], INSTANT).replace(tzinfo=UTC) if "until" in fields else None
    except ValueError:
        return None
    return Mark(fields["owner"], fields["pool"], until)


def wanted_of(pool: AftrPool) -> dict[str, Wanted]:
    """The names of a pool's slots, in their order."""
    owner = f"{pool.metadata.namespace or DEFAULT_NAMESPACE}/{pool.metadata.name}"
    return {slot_fqdn(pool, slot): Wanted(slot_address(pool, slot), owner) for slot in range(pool.spec.slots)}


def inside(name: str, zone: str) -> bool:
    """Whether a name is below the top of a zone."""
    return name.endswith(f".{zone}")


def by_zone(wanted: Mapping[str, Wanted], zones: Iterable[str]) -> dict[str, dict[str, Wanted]]:
    """Names by the zone that has them, which is the longest one; those that no zone has are left out."""
    longest_first = sorted(zones, key=len, reverse=True)
    found: dict[str, dict[str, Wanted]] = {zone: {} for zone in longest_first}
    for name, one in wanted.items():
        zone = next((zone for zone in longest_first if inside(name, zone)), None)
        if zone is not None:
            found[zone][name] = one
    return found
