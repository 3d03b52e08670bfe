"""What to ask a Kea after a change, to see that it serves and tells what it should.  Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from itertools import islice
from typing import Any

from dslite_operator.distribution.buckets import duid_in
from dslite_operator.distribution.providers.asking import QUESTIONS, Rule, rules
from dslite_operator.distribution.providers.dhcpv6 import Question
from dslite_operator.distribution.providers.kea.dialect import Dialect
from dslite_operator.distribution.providers.kea.subnets import subnets_of
from dslite_operator.distribution.providers.provider import Assignment

Object = dict[str, Any]


@dataclass(frozen=True)
class Check:
    """A question and the name that should be the answer; `name` None: any answer will do."""

    question: Question
    name: str | None = None


@dataclass(frozen=True)
class Link:
    """By what a Kea knows that somebody asks from a subnet: the address of a relay, and its Interface-ID if need be."""

    address: IPv6Address
    interface_id: str | None

    def question(self, duid: bytes, interface_id: str = "") -> Question:
        """As it comes from there."""
        interface = interface_id or self.interface_id
        return Question(duid, self.address, None if interface is None else interface.encode())


def checks(before: Object, after: Object, assignments: Sequence[Assignment], dialect: Dialect) -> list[Check]:
    """One for each name of each group, first on what is changed; at least one that shows whether the server is alive."""
    touched, found = _touched(before, after, dialect), links(after)
    by_touch = sorted(assignments, key=lambda one: (touched.isdisjoint(area.subnet for area in one.areas), one.group))
    every = (rule for one in by_touch for rule in rules(one) if rule.name is not None)
    asked = [_check(rule, found, touched) for rule in islice(every, QUESTIONS)]
    if not asked and found:
        asked.append(Check(found[min(touched or found)].question(duid_in(0, "last"))))
    return asked


def _touched(before: Object, after: Object, dialect: Dialect) -> set[IPv6Network]:
    """Subnets that are changed, by themselves or by a class that they ask for."""
    old = {one["subnet"]: one for one, _ in subnets_of(before)}
    bodies = {one["name"]: one for one in before["Dhcp6"].get("client-classes", ())}
    changed = {one["name"] for one in after["Dhcp6"].get("client-classes", ()) if bodies.get(one["name"]) != one}
    return {
        IPv6Network(one["subnet"])
        for one, _ in subnets_of(after)
        if old.get(one["subnet"]) != one or not changed.isdisjoint(one.get(dialect.asks_for, ()))
    }


def _check(rule: Rule, found: Mapping[IPv6Network, Link], touched: set[IPv6Network]) -> Check:
    """On a subnet that is changed, where the rule has one."""
    b4 = rule.b4(min(rule.part.areas, key=lambda area: (area.subnet not in touched, area)))
    return Check(found[b4.subnet].question(b4.duid, b4.interface_id), rule.name)


# ---------------------------------------------------------------- links
def links(document: Object) -> dict[IPv6Network, Link]:
    """Of each subnet: its relay and its Interface-ID, where no other has them: else Kea takes the first that has, as in a shared network.

    Without a relay of its own, an address in the subnet that is no relay's.
    """
    found = list(subnets_of(document))
    relays = Counter(relay for one, network in found for relay in _relays(one, network))
    interfaces = Counter(_interface_id(one, network) for one, network in found)

    def link(one: Object, network: Object | None, subnet: IPv6Network) -> Link:
        own = (relay for relay in _relays(one, network) if relays[relay] == 1)
        free = (address for address in subnet.hosts() if address not in relays)
        interface_id = _interface_id(one, network)
        return Link(next(own, None) or next(free), interface_id if interfaces[interface_id] == 1 else None)

    return {(subnet := IPv6Network(one["subnet"])): link(one, network, subnet) for one, network in found}


def _relays(subnet: Object, network: Object | None) -> list[IPv6Address]:
    """The subnet's own, else its network's."""
    said = (place.get("relay", {}).get("ip-addresses") for place in (subnet, network or {}))
    return [IPv6Address(address) for address in next(filter(None, said), ())]


def _interface_id(subnet: Object, network: Object | None) -> str | None:
    found: str | None = {**(network or {}), **subnet}.get("interface-id")
    return found
