"""Buckets: how the B4s of a group are told apart by their DUIDs (RFC 8415 section 11), in terms that a DHCPv6 server can test.

A *cut* is `dhcp.bucketBytes`, or "whole" where nothing tells these B4s apart: then there is one bucket.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Literal, TypeVar

Cut = Literal["whole", "last", "lastNibble", "lastTwoLowNibbles"]
Kind = TypeVar("Kind")

BUCKETS: Mapping[Cut, int] = {"whole": 1, "lastNibble": 16, "last": 256, "lastTwoLowNibbles": 256}

SHORTEST_DUID = 3  # bytes (RFC 8415 section 11.1): Kea answers nobody with a shorter one


def bucket_of(duid: bytes, cut: Cut) -> int:
    """The bucket of a DUID, which has SHORTEST_DUID bytes or more."""
    match cut:
        case "whole":
            return 0
        case "last":
            return duid[-1]
        case "lastNibble":
            return duid[-1] & 15
        case "lastTwoLowNibbles":
            return (duid[-2] & 15) << 4 | duid[-1] & 15


def duid_in(bucket: int, cut: Cut) -> bytes:
    """A DUID-LL (RFC 8415 section 11.4) of a locally administered address that nobody has, and that is in the bucket."""
    assert bucket < BUCKETS[cut]
    low = bytes([bucket >> 4, bucket & 15]) if cut == "lastTwoLowNibbles" else bytes([0, bucket])
    return bytes.fromhex("000300010264736c") + low


def cut_anew(values: tuple[Kind, ...], old: Cut, new: Cut) -> tuple[Kind, ...] | None:
    """What each bucket of the cut `new` has, when those of `old` have `values`; None where one bucket would have two.

    Exact when all values are the same, and from one nibble to more, for the last nibble is the low half of every bucket.
    """
    if old == new:
        return values
    if len(set(values)) == 1:
        return values[:1] * BUCKETS[new]
    finer = old == "lastNibble" and new != "whole"
    return tuple(values[bucket & 15] for bucket in range(BUCKETS[new])) if finer else None


def spell(buckets: Iterable[int], cut: Cut) -> str:
    """Buckets in ascending order as people write them, in hexadecimal: 00-3f,80."""
    digits = (BUCKETS[cut] - 1).bit_length() // 4 or 1
    return ",".join(
        f"{first:0{digits}x}" + (f"-{last:0{digits}x}" if last > first else "") for first, last in runs(buckets)
    )


def runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Ascending numbers as runs without gaps: first and last."""
    found = list(numbers)
    firsts = found[:1] + [number for before, number in pairwise(found) if number != before + 1]
    lasts = [before for before, number in pairwise(found) if number != before + 1] + found[-1:]
    return zip(firsts, lasts, strict=True)


def read(text: str) -> list[int]:
    """The buckets of what `spell` wrote.  Raises ValueError."""
    ends = [part.split("-") for part in text.split(",")]
    return [bucket for end in ends for bucket in range(int(end[0], 16), int(end[-1], 16) + 1)]
