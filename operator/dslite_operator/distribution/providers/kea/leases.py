"""Leases as `lease6-get-page` shows them.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv6Network
from typing import Any

from dslite_operator.distribution.providers.provider import Given

Object = dict[str, Any]

HELD = 0  # state of a lease that a client has; others are declined, or given back


def given(leases: Iterable[Object], subnets: Mapping[int, IPv6Network], now: float) -> Iterator[Given]:
    """Those that clients have at `now` (seconds since 1970), on subnets by their ids."""
    for one in leases:
        if one["state"] == HELD and one["cltt"] + one["valid-lft"] > now and one["subnet-id"] in subnets:
            length = one["prefix-len"] if one["type"] == "IA_PD" else 128
            duid = bytes.fromhex(one["duid"].replace(":", ""))
            prefix = IPv6Network((one["ip-address"], length), strict=False)
            yield Given(subnets[one["subnet-id"]], duid, prefix, one["valid-lft"])
