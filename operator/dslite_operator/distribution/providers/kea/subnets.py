"""The subnets of a Kea's configuration.  Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Object = dict[str, Any]


def subnets_of(document: Object) -> Iterator[tuple[Object, Object | None]]:
    """Every subnet, with the shared network that it is in."""
    whole = document["Dhcp6"]
    yield from ((one, None) for one in whole.get("subnet6", ()))
    for network in whole.get("shared-networks", ()):
        yield from ((one, network) for one in network.get("subnet6", ()))
