"""Damages entries of a slot's journal in a Redis, each in another way: `damaging_store.py HOST SLOT WAY…`; prints what is lost.

A stream's entries cannot be changed in place, so all of them are written again, with their ids.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import redis

from dslite_contract.journal import Kind, Records, pack_entry, unpack
from dslite_contract.store_keys import journal_key

PREFIX = "default/east"


def with_field(kind: Kind, name: str, value: int) -> Callable[[bytes], tuple[bytes, list[int]] | None]:
    """The first record of this kind gets another value."""

    def change(data: bytes) -> tuple[bytes, list[int]] | None:
        records = unpack(data).copy()
        found = np.flatnonzero(records["kind"] == kind)
        if not found.size:
            return None
        records[name][found[0]] = value
        return pack_entry(records, 1), [int(found[0])]

    return change


def with_bytes(change: Callable[[bytes], bytes]) -> Callable[[bytes], tuple[bytes, list[int]] | None]:
    """The whole entry is lost."""
    return lambda data: (change(data), list(range(len(unpack(data))))) if len(unpack(data)) else None


WAYS = {
    "truncated": with_bytes(lambda data: data[:-5]),
    "version": with_bytes(lambda data: data[:2] + b"\x09" + data[3:]),
    "crc": with_bytes(lambda data: data[:8] + bytes([data[8] ^ 1]) + data[9:]),
    "length": with_bytes(lambda data: data + bytes(32)),
    "stranger": with_field(Kind.MAPPING, "external_address", 0x08080808),
    "port": with_field(Kind.MAPPING, "external_port", 80),
    "bits": with_field(Kind.MAPPING, "bits", 200),
    "kind": with_field(Kind.MAPPING, "kind", 77),
    "oblique": with_field(Kind.BLOCK_TAKEN, "external_port", 2049),
    "other": with_field(Kind.MAPPING, "internal_port", 7),  # readable, and wrong
}


def mappings(records: Records, numbers: list[int]) -> Iterator[tuple[int, int]]:
    """B4 and inner port of those that are mappings."""
    for record in records[numbers]:
        if record["kind"] == Kind.MAPPING:
            yield int(record["hi"]) << 64 | int(record["lo"]), int(record["internal_port"])


def damage(rows: list[tuple[bytes, dict[bytes, bytes]]], ways: list[str]) -> Iterator[dict[str, Any]]:
    """One entry in each way."""
    left = list(ways)
    for entry, fields in rows:
        data = fields[b"entry"]
        for way in left:
            if found := WAYS[way](data):
                fields[b"entry"], lost = found
                left.remove(way)
                yield {"way": way, "entry": entry.decode(), "lost": list(mappings(unpack(data), lost))}
                break
    assert not left, f"no entry for {left}"


def main(host: str, slot: str, *ways: str) -> None:
    server: Any = redis.Redis(host)
    key = journal_key(PREFIX, int(slot))
    rows = server.xrange(key)
    done = list(damage(rows, list(ways)))
    with server.pipeline() as pipe:
        pipe.delete(key)
        for entry, fields in rows:
            pipe.xadd(key, fields, id=entry)
        pipe.execute()
    print(json.dumps(done))


if __name__ == "__main__":
    main(*sys.argv[1:])
