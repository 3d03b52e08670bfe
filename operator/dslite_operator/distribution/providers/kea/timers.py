"""For how long a subnet's clients have what they were given: T1 and the valid lifetime (RFC 8415 section 7.7).  Pure."""

from __future__ import annotations

from ipaddress import IPv6Network
from typing import Any

from dslite_operator.distribution.providers.kea.marks import mark_of
from dslite_operator.distribution.providers.kea.patching import RENEW, subnets_of
from dslite_operator.distribution.providers.provider import Timers

Object = dict[str, Any]

PREFERRED, VALID = "preferred-lifetime", "valid-lifetime"
DEFAULTS = {PREFERRED: 3600, VALID: 7200}  # of Kea
T1_SHARE = 0.5  # of the preferred lifetime, where no renew-timer is given (`t1-percent`)


def timers(document: Object) -> dict[IPv6Network, Timers]:
    """Of each subnet, as they are when no drain shortens them."""
    whole = {**DEFAULTS, **document["Dhcp6"]}
    return {
        IPv6Network(one["subnet"]): timers_of({**whole, **(network or {}), **one})
        for one, network in subnets_of(document)
    }


def timers_of(subnet: Object) -> Timers:
    """Of one subnet that has what its network and the whole give it."""
    mark = mark_of(subnet)
    renew = mark[RENEW] if RENEW in mark else subnet.get(RENEW)
    return Timers(renew or int(T1_SHARE * subnet[PREFERRED]), subnet[VALID])
