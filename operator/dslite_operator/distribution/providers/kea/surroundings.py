"""A Kea whose surroundings changed under it: an interface or address that it listens on is gone.  Pure.

`config-test` does not look at interfaces.  `config-set` does, after it has closed all sockets: it refuses, and Kea is deaf, though
`status-get` says ready, and though the same configuration was in force a moment before.  It serves again with what is still there.
"""

from __future__ import annotations

import re
from typing import Any

from dslite_operator.distribution.providers.kea.marks import KEY, mark_of

Object = dict[str, Any]

NO_INTERFACE = re.compile(r"interface '([^']+)' doesn't exist")
NO_ADDRESS = re.compile(r"interface '([^']+)' doesn't have address '([^']+)'")
LEFT_OUT = "left-out"


def without_missing(document: Object, words: str) -> Object | None:
    """`document` without the interface or address that Kea misses by its own words, and our note of it; None if nothing helps."""
    whole = document["Dhcp6"]
    before = whole["interfaces-config"]["interfaces"]
    after = [entry for entry in before if not _is_missing(entry, words)]
    if not after or after == before:
        return None
    mark = mark_of(whole)
    note = {**mark, LEFT_OUT: [*mark.get(LEFT_OUT, ()), *(entry for entry in before if entry not in after)]}
    made = {
        **whole, "interfaces-config": {**whole["interfaces-config"], "interfaces": after},
        "user-context": {**(whole.get("user-context") or {}), KEY: note},
    }  # fmt: skip
    return {**document, "Dhcp6": made}


def _is_missing(entry: str, words: str) -> bool:
    """An entry is `eth0` or `eth0/2001:db8::1`."""
    interface, _, address = entry.partition("/")
    lost = NO_ADDRESS.search(words)
    if lost is not None:
        return (interface, address) == lost.groups()
    gone = NO_INTERFACE.search(words)
    return gone is not None and interface == gone[1]


def left_out(document: Object) -> list[str]:
    """What Kea serves without since we changed it last; no more once it has read its file again."""
    return list(mark_of(document["Dhcp6"]).get(LEFT_OUT, ()))
