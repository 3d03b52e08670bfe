"""Binding state at rest: records, journal entries and checkpoint chunks, as docs/design/0003-state.md lays them out.

A record is 32 bytes, little-endian and absolute: applied twice, or late, it changes nothing in the end.  An entry is one flush of
one slot, a chunk a part of a checkpoint; both are a header of 16 bytes and their records, in one of the versions of FORMATS.
Programs know records as RECORD; what is stored is turned into it, and back.  Pure functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import IntEnum
from struct import Struct
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
# magic, version, part, count, CRC32C of the records; unpacked thousands of times, so no dtype
HEADER = Struct("<HBBII4x")
MAGIC = 0xD51E
MAX_ENTRY = 256 * 1024  # bytes of an entry or a chunk, header included


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


# ---------------------------------------------------------------- versions
class Format(NamedTuple):
    """How one version stores records: `read` makes RECORDs of them, `write` the reverse; ValueError for what does not fit."""

    dtype: np.dtype[np.void]
    read: Callable[[Records], Records]
    write: Callable[[Records], Records]


def by_name(dtype: np.dtype[np.void]) -> Format:
    """A version whose fields mean what RECORD's of the same name mean; a field that one of them lacks is 0 in the other."""
    return Format(dtype, lambda stored: _cast(stored, RECORD), lambda records: _cast(records, dtype))


def _cast(records: Records, dtype: np.dtype[np.void]) -> Records:
    if records.dtype == dtype:
        return records
    cast = np.zeros(len(records), dtype)
    for name in set(dtype.names or ()) & set(records.dtype.names or ()):
        cast[name] = records[name]
        if (cast[name] != records[name]).any():
            raise ValueError(f"a value of {name} does not fit {dtype[name].itemsize} bytes")
    return cast


FORMATS: dict[int, Format] = {1: by_name(RECORD)}  # what this program reads: its own version, and the one before
UNANNOUNCED = 1  # what a member reads that announces nothing, and what a head holds that says nothing


def newest() -> int:
    """The version of this program."""
    return max(FORMATS)


def oldest() -> int:
    """The oldest version that this program reads, and writes while others need it."""
    return min(FORMATS)


def most_records(version: int) -> int:
    """How many records an entry or a chunk of a version may have."""
    return (MAX_ENTRY - HEADER.size) // FORMATS[version].dtype.itemsize


# ---------------------------------------------------------------- writing
def pack_entry(records: np.ndarray[Any, Any], version: int) -> bytes:
    """One journal entry. `records`: of dtype RECORD, or their bytes as uint8; at most `most_records`, else ValueError."""
    return _pack(Part.ENTRY, records, version)


def pack_chunk(records: np.ndarray[Any, Any], version: int) -> bytes:
    """The same as a chunk of a checkpoint."""
    return _pack(Part.CHUNK, records, version)


def _pack(part: Part, records: np.ndarray[Any, Any], version: int) -> bytes:
    size = records.size * records.itemsize
    if size % RECORD.itemsize or size // RECORD.itemsize > most_records(version):
        most = most_records(version)
        raise ValueError(f"{size} bytes are not 0 to {most} records of {RECORD.itemsize} bytes")
    body = FORMATS[version].write(records.view(RECORD)).tobytes()
    return HEADER.pack(MAGIC, version, part, size // RECORD.itemsize, google_crc32c.value(body)) + body


# ---------------------------------------------------------------- reading
def unpack(data: bytes, part: Part = Part.ENTRY) -> Records:
    """The records of an entry or a chunk, read-only. Raises DamagedEntryError that says what is wrong at which byte."""
    if len(data) < HEADER.size:
        raise DamagedEntryError(len(data), f"{len(data)} bytes: truncated, the header alone has {HEADER.size}")
    magic, version, kind, count, crc = HEADER.unpack_from(data)
    if magic != MAGIC:
        raise DamagedEntryError(0, f"magic {magic:#06x} instead of {MAGIC:#06x}: not written by dslite")
    stored = FORMATS.get(version)
    if stored is None:
        raise DamagedEntryError(2, f"format version {version}, this program reads {versions_read()}")
    if kind != part:
        raise DamagedEntryError(3, f"part {kind} instead of {part} ({part.name.lower()})")
    body = _checked_body(data, count, crc, stored.dtype.itemsize)
    try:
        return stored.read(np.frombuffer(body, stored.dtype))
    except ValueError as error:
        raise DamagedEntryError(HEADER.size, str(error)) from None


def _checked_body(data: bytes, count: int, crc: int, size: int) -> bytes:
    body, expected = data[HEADER.size :], count * size
    if len(body) < expected:
        raise DamagedEntryError(len(data), f"truncated, {count} records end at byte {HEADER.size + expected}")
    if len(body) > expected:
        raise DamagedEntryError(4, f"count {count}, but there are {len(body)} bytes of records")
    found = google_crc32c.value(body)
    if found != crc:
        raise DamagedEntryError(8, f"CRC32C {crc:#010x}, but that of the records is {found:#010x}")
    return body


def joined(parts: Iterable[Records]) -> Records:
    """All records in one array, read-only.  np.concatenate would look at the fields of each part."""
    return np.frombuffer(b"".join([part.tobytes() for part in parts]), RECORD)


def versions_read() -> str:
    """For sentences."""
    return " and ".join(str(version) for version in sorted(FORMATS))


def version_of(data: bytes) -> int:
    """The format version of an entry or a chunk."""
    return data[2]


def offset_of(data: bytes, number: int) -> int:
    """The byte at which record `number` of an entry or a chunk begins."""
    return HEADER.size + number * FORMATS[version_of(data)].dtype.itemsize


def split(data: bytes) -> Iterator[bytes]:
    """Entries or chunks that stand behind each other; where one cannot be told from the next, all the rest, for `unpack` to judge."""
    while data:
        stored = FORMATS.get(version_of(data)) if len(data) >= HEADER.size else None
        count = HEADER.unpack_from(data)[3] if stored else 0
        end = HEADER.size + count * stored.dtype.itemsize if stored else len(data)
        yield data[:end]
        data = data[end:]
