"""Records that can be no slot's, or not this slot's: what is wrong with each.  Pure functions of whole arrays.

The CRC of an entry says that it is what was written; this says that what was written makes sense.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address
from typing import Any, NamedTuple

import numpy as np

from dslite_contract.journal import Kind, Records
from dslite_contract.schema import AftrPool
from dslite_contract.slots import blocks_per_address, first_block_port, slot_prefixes

UNTRANSLATED = 2  # flag of a mapping's record: its port is the host's own, in no block
PROTOCOLS = (1, 6, 17)  # ICMP, TCP, UDP
BITS_MAX = 128
MAPPINGS = (Kind.MAPPING, Kind.MAPPING_REMOVED)
BLOCKS = (Kind.BLOCK_TAKEN, Kind.BLOCK_RELEASED)
Mask = np.ndarray[Any, np.dtype[np.bool_]]


def _among(values: Iterable[int]) -> Mask:
    """By value of a byte: journals come record by record, and np.isin costs ten times what a lookup does."""
    return np.isin(np.arange(256), tuple(values))


KNOWN, IS_MAPPING, IS_BLOCK, HAS_MAPPINGS = _among(Kind), _among(MAPPINGS), _among(BLOCKS), _among(PROTOCOLS)


class Bounds(NamedTuple):
    """What a slot has: its external addresses as (first, last), the port at which its blocks begin, and their size in ports."""

    addresses: tuple[tuple[int, int], ...]
    first_port: int
    block_size: int

    @property
    def end(self) -> int:
        """The port after the last block."""
        return self.first_port + blocks_per_address(self.block_size) * self.block_size


def bounds_of(pool: AftrPool, slot: int) -> Bounds:
    """The bounds of one slot."""
    networks = (part.network for part in slot_prefixes(pool, slot))
    size = pool.spec.nat.port_block.size
    addresses = tuple((int(network[0]), int(network[-1])) for network in networks)
    return Bounds(addresses, first_block_port(size), size)


def faults(records: Records, bounds: Bounds | None = None) -> dict[int, str]:
    """What is wrong, by number of the record; without `bounds` only what is wrong in every slot."""
    found: dict[int, str] = {}
    _note(found, ~KNOWN[records["kind"]], records, "kind", "kind {} is unknown")
    _note(found, records["bits"] > BITS_MAX, records, "bits", f"a prefix of {{}} bits, there are {BITS_MAX}")
    if bounds is not None:
        _note_outside(found, records, bounds)
    return found


def _note_outside(found: dict[int, str], records: Records, bounds: Bounds) -> None:
    """Addresses and ports only of what is in a block: a mapping that is not translated, or that ends, hides nobody's."""
    block = IS_BLOCK[records["kind"]]
    translated = (records["kind"] == Kind.MAPPING) & (records["flags"] & UNTRANSLATED == 0)
    address, port = records["external_address"], records["external_port"].astype(np.int64)
    outside = block | translated
    for first, last in bounds.addresses:
        outside &= (address < first) | (address > last)
    for number in outside.nonzero()[0].tolist():
        found.setdefault(number, f"external address {IPv4Address(int(address[number]))} is not the slot's")
    strange = IS_MAPPING[records["kind"]] & ~HAS_MAPPINGS[records["protocol"]]
    _note(found, strange, records, "protocol", "protocol {} has no mappings")
    beyond = (block | translated) & ((port < bounds.first_port) | (port >= bounds.end))
    _note(
        found, beyond, records, "external_port", f"external port {{}} is not in {bounds.first_port} to {bounds.end - 1}"
    )
    oblique = block & ((port - bounds.first_port) % bounds.block_size != 0)
    _note(found, oblique, records, "external_port", f"no block of {bounds.block_size} ports begins at port {{}}")


def _note(found: dict[int, str], wrong: Mask, records: Records, field: str, sentence: str) -> None:
    for number in wrong.nonzero()[0].tolist():
        found.setdefault(number, sentence.format(int(records[field][number])))
