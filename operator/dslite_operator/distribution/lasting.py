"""For how long clients have what they were given, though the server gives it for a shorter time by now.  Pure.

A lease keeps the T1 and the valid lifetime with which it was given (RFC 8415 section 7.7), until it is renewed or ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv6Network

from dslite_operator.distribution.providers.provider import Timers

BySubnet = Mapping[IPv6Network, Timers]

UNKNOWN = Timers(12 * 3600, 24 * 3600)  # of a subnet of which the server does not say: longer than most


class Lasting:
    """Times of a server's subnets as they were read now and then; `now` is seconds of one clock."""

    def __init__(self) -> None:
        self._current: BySubnet = {}
        self._former: list[tuple[BySubnet, float]] = []  # with the time until which leases were given so, at the latest
        self.longest_s = 0  # the longest valid lifetime of all leases, where the server shows them

    def read(self, timers: BySubnet, now: float) -> None:
        """It gives leases so from now on, if it did not before."""
        former = [*self._former, (self._current, now)]
        self._former = [(one, until) for one, until in former if one != timers and until + longest(one) > now]
        self._current = timers

    def renewal_s(self, subnets: Iterable[IPv6Network], now: float) -> int:
        """The longest T1 that a lease on these subnets has."""
        return max(self._renewal_s(subnet, now) for subnet in subnets)

    def _renewal_s(self, subnet: IPv6Network, now: float) -> int:
        former = [(one[subnet].renew_s, until) for one, until in self._former if subnet in one]
        given = [renew_s for renew_s, until in former if until + renew_s > now]
        return max([self._current.get(subnet, UNKNOWN).renew_s, *given])

    def lifetime_s(self, now: float) -> int:
        """The longest valid lifetime that a lease has."""
        former = [longest(one) for one, until in self._former if until + longest(one) > now]
        return max([longest(self._current) or UNKNOWN.valid_s, self.longest_s, *former])


def longest(timers: BySubnet) -> int:
    """Its longest valid lifetime; 0 where it says none."""
    return max((one.valid_s for one in timers.values()), default=0)
