"""Row O07: what the store holds of a slot against what the engine holds.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from aftr.ops.tables import PROTOCOLS
from dslite_contract.journal import Kind, Records

SHOWN = 20  # differences of one kind that are named
Softwire = tuple[int, int]
External = tuple[int, int, int]  # address, port, protocol
Inner = tuple[Softwire, int, int]  # B4, address, port


def replayed(pieces: Iterable[Records]) -> dict[External, Inner]:
    """The mappings that records amount to, in their order."""
    mappings: dict[External, Inner] = {}
    moving: Softwire | None = None
    for records in pieces:
        for record in records.tolist():
            moving = _take(mappings, record, moving)
    return mappings


def _take(mappings: dict[External, Inner], record: tuple[Any, ...], moving: Softwire | None) -> Softwire | None:
    kind, protocol, _, _, outer, inner, outer_port, inner_port, hi, lo = record
    if kind == Kind.MAPPING:
        mappings[outer, outer_port, protocol] = ((hi, lo), inner, inner_port)
    elif kind == Kind.MAPPING_REMOVED:
        mappings.pop((outer, outer_port, protocol), None)
    elif kind == Kind.SOFTWIRE_FROM:
        return hi, lo
    elif kind == Kind.SOFTWIRE_TO and moving is not None:
        for external, (softwire, address, port) in mappings.items():
            if softwire == moving:
                mappings[external] = ((hi, lo), address, port)
        return None
    return moving


def differences(stored: dict[External, Inner], held: dict[External, Inner]) -> Iterator[str]:
    """Each binding that only one side has, or that they give to different hosts, as a sentence."""
    yield from _sentences(sorted(held.keys() - stored.keys()), held, "is not in the store")
    yield from _sentences(sorted(stored.keys() - held.keys()), stored, "is in the store only")
    both = sorted(one for one in held.keys() & stored.keys() if held[one] != stored[one])
    yield from _sentences(both, held, "belongs to another host in the store")


def _sentences(endpoints: list[External], mappings: dict[External, Inner], what: str) -> Iterator[str]:
    for endpoint in endpoints[:SHOWN]:
        (hi, lo), address, port = mappings[endpoint]
        outer, outer_port, protocol = endpoint
        yield (
            f"{PROTOCOLS.get(protocol, protocol)} {IPv4Address(outer)}:{outer_port} of {IPv6Address(hi << 64 | lo)} "
            f"{IPv4Address(address)}:{port} {what}"
        )
    if len(endpoints) > SHOWN:
        yield f"and {len(endpoints) - SHOWN} more: {what}"
