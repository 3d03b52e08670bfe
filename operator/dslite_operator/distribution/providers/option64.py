"""Option 64, OPTION_AFTR_NAME (RFC 6334): one absolute name, as RFC 8415 section 10 encodes it, uncompressed."""

from __future__ import annotations

import re

from dslite_contract.domain_names import LABEL, LONGEST_LABEL, LONGEST_NAME
from dslite_operator.distribution.providers.errors import OptionError

CODE = 64
ANY_CASE = re.compile(LABEL.pattern, re.ASCII | re.IGNORECASE)


def checked(name: str) -> str:
    """The name without its last dot.  Raises OptionError for what a server would take and a B4 could not use."""
    labels = name.removesuffix(".").split(".")
    right = all(map(ANY_CASE.fullmatch, labels))
    if not right or len(labels) < 2 or labels[-1].isdigit() or len(".".join(labels)) > LONGEST_NAME:
        raise OptionError(
            f"{name!r} cannot be an AFTR's name in DHCPv6 option 64: give one absolute name of two or more labels, such as "
            "s0.east.aftr.example.net; no address, no list (RFC 6334 section 3)"
        )
    return ".".join(labels)


def encode(name: str) -> bytes:
    """The option's data."""
    return b"".join(bytes([len(label)]) + label.encode() for label in checked(name).split(".")) + b"\0"


def decode(data: bytes) -> str:
    """The name in the option's data, without its last dot.  Raises OptionError unless it is one whole name."""
    labels, place = [], 0
    while place < len(data) and 0 < data[place] <= LONGEST_LABEL:
        labels.append(data[place + 1 : place + 1 + data[place]])
        place += 1 + data[place]
    if place != len(data) - 1 or data[place] or not labels:
        raise OptionError(f"{data.hex()} in DHCPv6 option 64 is not one absolute name (RFC 6334 section 3)")
    return b".".join(labels).decode("ascii", "backslashreplace")
