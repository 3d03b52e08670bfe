"""For how long a subnet's clients have what they were given: T1 and the valid lifetime (RFC 8415 section 7.7).  Pure."""

from __future__ import annotations

from ipaddress import IPv6Network
from typing import Any

from dslite_operator.distribution.providers.kea.marks import KEY, mark_of
from dslite_operator.distribution.providers.kea.subnets import subnets_of
from dslite_operator.distribution.providers.provider import Timers

Object = dict[str, Any]

RENEW = "renew-timer"
PREFERRED, VALID, CALCULATED, SHARE = "preferred-lifetime", "valid-lifetime", "calculate-tee-times", "t1-percent"
DEFAULTS = {VALID: 7200, CALCULATED: True, SHARE: 0.5}  # of Kea
PREFERRED_SHARE = 0.625  # of the valid lifetime, where Kea 2.6 or later is told no preferred one; 2.2 shows its 3600
CLIENTS_SHARE = 0.5  # of the preferred lifetime, where the server leaves T1 to the client (RFC 8415 section 14.2)


def timers(document: Object) -> dict[IPv6Network, Timers]:
    """Of each subnet, as they are when no drain shortens them."""
    whole = {**DEFAULTS, **document["Dhcp6"]}
    return {
        IPv6Network(one["subnet"]): timers_of({**whole, **(network or {}), **undrained(one)})
        for one, network in subnets_of(document)
    }


def undrained(subnet: Object) -> Object:
    """A subnet with the timer that it had before a drain."""
    mark = mark_of(subnet)
    return with_old_renew(subnet, mark) if RENEW in mark else subnet


def with_old_renew(subnet: Object, mark: Object) -> Object:
    """A subnet without our mark, and with the T1 that stands there."""
    made = {key: value for key, value in subnet.items() if key not in (RENEW, "user-context")}
    if mark.get(RENEW) is not None:
        made[RENEW] = mark[RENEW]
    context = {key: value for key, value in subnet["user-context"].items() if key != KEY}
    return {**made, "user-context": context} if context else made


def timers_of(subnet: Object) -> Timers:
    """Of one subnet that has what its network and the whole give it: the longest that Kea gives a client that asks for more."""
    valid = max(subnet[VALID], subnet.get(f"max-{VALID}", 0))
    preferred = max(subnet.get(PREFERRED, round(PREFERRED_SHARE * valid)), subnet.get(f"max-{PREFERRED}", 0))
    calculated = round(subnet[SHARE] * preferred) if subnet[CALCULATED] else 0
    return Timers(subnet.get(RENEW, calculated) or round(CLIENTS_SHARE * preferred), valid)
