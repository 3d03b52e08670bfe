"""Leases as `lease6-get-page` shows them.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv6Network
from typing import Any, NamedTuple

from dslite_operator.distribution.providers.provider import Given

Object = dict[str, Any]

HELD = 0  # state of a lease that a client has; others are declined, or given back


class Held(NamedTuple):
    """A lease, and when the client was last given it (seconds since 1970, by Kea's clock)."""

    given: Given
    at: int


def held(leases: Iterable[Object], subnets: Mapping[int, IPv6Network]) -> Iterator[Held]:
    """Those that clients have, or had until they ended, on subnets by their ids."""
    for one in leases:
        if one["state"] == HELD and one["subnet-id"] in subnets:
            length = one["prefix-len"] if one["type"] == "IA_PD" else 128
            duid = bytes.fromhex(one["duid"].replace(":", ""))
            prefix = IPv6Network((one["ip-address"], length), strict=False)
            yield Held(Given(subnets[one["subnet-id"]], duid, prefix, one["valid-lft"]), one["cltt"])


def live(leases: Sequence[Held]) -> list[Given]:
    """Those that had not ended when the newest was given: our own clock may be another than Kea's, which takes ended ones away soon."""
    now = max((one.at for one in leases), default=0)
    return [one.given for one in leases if one.at + one.given.valid_s > now]
