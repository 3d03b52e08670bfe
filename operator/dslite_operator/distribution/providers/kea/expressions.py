"""Kea's expressions for "this client is in one of these buckets".  Kea has neither hash nor modulo: a bucket is what stands in the DUID."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dslite_operator.distribution.buckets import Cut

DUID = "option[1].hex"
DIGITS = f"hexstring({DUID}, '')"
NEAREST_RELAY = "relay6[-1].option[18].hex"  # of the relay that the client's own message reached first

# Subject of the comparison, and how bucket i is written on its right side.
SUBJECTS: Mapping[Cut, tuple[str, str]] = {
    "last": (f"substring({DUID}, -1, 1)", "0x{:02x}"),
    "lastNibble": (f"substring({DIGITS}, -1, 1)", "'{:x}'"),
    "lastTwoLowNibbles": (f"concat(substring({DIGITS}, -3, 1), substring({DIGITS}, -1, 1))", "'{:02x}'"),
}


def in_buckets(buckets: Iterable[int], cut: Cut) -> str:
    """True for a client whose DUID is in one of the buckets."""
    subject, value = SUBJECTS[cut]
    return " or ".join(f"({subject} == {value.format(bucket)})" for bucket in sorted(buckets))


def behind(interface_id: str) -> str:
    """True for a client behind a relay's interface, whose Interface-ID may end in * ."""
    if interface_id.endswith("*"):
        start = interface_id[:-1].encode()
        return f"substring({NEAREST_RELAY}, 0, {len(start)}) == 0x{start.hex()}"
    return f"{NEAREST_RELAY} == 0x{interface_id.encode().hex()}"
