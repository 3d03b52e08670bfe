"""Groups as the tests of providers give them out."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv6Network
from typing import Any

from dhcp_network import HOMES
from dslite_operator.distribution.buckets import BUCKETS, Cut, duid_in
from dslite_operator.distribution.maps import Area
from dslite_operator.distribution.providers.provider import B4, Assignment, Part

S0, S1, S2 = (f"s{slot}.east.aftr.example.net" for slot in range(3))
OTHER = IPv6Network("2001:db8:41::/64")  # the second subnet of a test's Kea


def whole(group: str = "isp/homes", name: str = S0, *areas: Area, **more: Any) -> Assignment:
    """A group that goes to one slot."""
    return Assignment(group, "whole", (Part(areas or (Area(HOMES),), (name,)),), **more)


def spread(
    names: Sequence[str | None], cut: Cut = "last", *areas: Area, group: str = "isp/homes", **more: Any
) -> Assignment:
    """A group whose buckets go to these names in turn."""
    told = tuple(names[bucket % len(names)] for bucket in range(BUCKETS[cut]))
    return Assignment(group, cut, (Part(areas or (Area(HOMES),), told),), **more)


def b4(bucket: int, cut: Cut = "last", subnet: IPv6Network = HOMES, interface_id: str = "") -> B4:
    """A client of that bucket."""
    return B4(duid_in(bucket, cut), subnet, interface_id)
