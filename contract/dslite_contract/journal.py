"""Binding state at rest: records, journal entries and checkpoint chunks, as docs/design/0003-state.md lays them out.

A record is 32 bytes, little-endian and absolute: applied twice, or late, it changes nothing in the end.  An entry is one flush of
one slot, a chunk a part of a checkpoint; both are a header of 16 bytes and their records.  Pure functions.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple

import google_crc32c
import numpy as np

from dslite_contract.errors import DsliteError

Records = np.ndarray[Any, np.dtype[np.void]]

RECORD = np.dtype(
    [
        ("kind", "u1"),
        ("protocol", "u1"),
        ("flags", "u1"),
        ("bits", "u1"),
        ("external_address", "<u4"),
        ("internal_address", "<u4"),
        ("external_port", "<u2"),
        ("internal_port", "<u2"),
        ("hi", "<u8"),
        ("lo", "<u8"),
    ]
)
HEADER = np.dtype(
    [("magic", "<u2"), ("version", "u1"), ("kind", "u1"), ("count", "<u4"), ("crc32c", "<u4"), ("reserved", "<u4")]
)
MAGIC = 0xD51E
VERSION = 1  # what is written
MAX_ENTRY = 256 * 1024  # bytes of an entry or a chunk, header included
MAX_RECORDS = (MAX_ENTRY - HEADER.itemsize) // RECORD.itemsize


class Kind(IntEnum):
    """What a record says."""

    MAPPING = 1
    MAPPING_REMOVED = 2
    BLOCK_TAKEN = 3
    BLOCK_RELEASED = 4
    SOFTWIRE_FROM = 5
    SOFTWIRE_TO = 6


class Part(IntEnum):
    """What a header is of."""

    ENTRY = 1
    CHUNK = 2


class EntryId(NamedTuple):
    """Place of an entry in a slot's journal; ids are ordered, and `seq` has no gaps within an epoch."""

    epoch: int
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq}"

    @classmethod
    def parse(cls, text: str) -> EntryId:
        """From `<epoch>-<seq>`; ValueError if it is anything else."""
        epoch, seq = text.split("-")
        return cls(int(epoch), int(seq))

    @property
    def following(self) -> EntryId:
        """The next one of the same epoch."""
        return EntryId(self.epoch, self.seq + 1)


NOTHING = EntryId(0, 0)  # before the first entry of a slot


class DamagedEntryError(DsliteError):
    """Bytes that are no entry or chunk; `offset` is the byte at which that shows."""

    def __init__(self, offset: int, sentence: str) -> None:
        self.offset, self.sentence = offset, sentence
        super().__init__(f"at byte {offset}: {sentence}")


# ---------------------------------------------------------------- writing
def pack_entry(records: np.ndarray[Any, Any]) -> bytes:
    """One journal entry. `records`: of dtype RECORD, or their bytes as uint8; at most MAX_RECORDS, else ValueError."""
    return _pack(Part.ENTRY, records)


def pack_chunk(records: np.ndarray[Any, Any]) -> bytes:
    """The same as a chunk of a checkpoint."""
    return _pack(Part.CHUNK, records)


def _pack(part: Part, records: np.ndarray[Any, Any]) -> bytes:
    body = records.tobytes()
    count, rest = divmod(len(body), RECORD.itemsize)
    if rest or count > MAX_RECORDS:
        raise ValueError(f"{len(body)} bytes are not 0 to {MAX_RECORDS} records of {RECORD.itemsize} bytes")
    header = np.zeros((), HEADER)
    header["magic"], header["version"], header["kind"] = MAGIC, VERSION, part
    header["count"], header["crc32c"] = count, google_crc32c.value(body)
    return header.tobytes() + body


# ---------------------------------------------------------------- reading
def unpack(data: bytes, part: Part = Part.ENTRY) -> Records:
    """The records of an entry or a chunk, read-only. Raises DamagedEntryError that says what is wrong at which byte."""
    if len(data) < HEADER.itemsize:
        raise DamagedEntryError(len(data), f"{len(data)} bytes: truncated, the header alone has {HEADER.itemsize}")
    header = np.frombuffer(data, HEADER, count=1)[0]
    if header["magic"] != MAGIC:
        raise DamagedEntryError(0, f"magic {header['magic']:#06x} instead of {MAGIC:#06x}: not written by dslite")
    reader = READERS.get(int(header["version"]))
    if reader is None:
        known = " and ".join(str(version) for version in sorted(READERS))
        raise DamagedEntryError(2, f"format version {header['version']}, this program reads {known}: upgrade it first")
    if header["kind"] != part:
        raise DamagedEntryError(3, f"part {header['kind']} instead of {part} ({part.name.lower()})")
    return reader(data, header)


def _read_version_1(data: bytes, header: np.void) -> Records:
    body, expected = data[HEADER.itemsize :], int(header["count"]) * RECORD.itemsize
    if len(body) < expected:
        raise DamagedEntryError(
            len(data), f"truncated, {header['count']} records end at byte {HEADER.itemsize + expected}"
        )
    if len(body) > expected:
        raise DamagedEntryError(4, f"count {header['count']}, but there are {len(body)} bytes of records")
    found = google_crc32c.value(body)
    if found != header["crc32c"]:
        raise DamagedEntryError(8, f"CRC32C {header['crc32c']:#010x}, but that of the records is {found:#010x}")
    records = np.frombuffer(body, RECORD)
    unknown = np.flatnonzero((records["kind"] < min(Kind)) | (records["kind"] > max(Kind)))
    if unknown.size:
        first = int(unknown[0])
        raise DamagedEntryError(HEADER.itemsize + first * RECORD.itemsize, f"kind {records['kind'][first]} is unknown")
    return records


READERS: dict[int, Callable[[bytes, np.void], Records]] = {1: _read_version_1}  # this version and the one before
