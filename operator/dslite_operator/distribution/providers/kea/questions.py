"""What to ask a Kea after a change, to see that it serves and tells what it should.  Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from itertools import islice
from typing import Any

from dslite_operator.distribution.buckets import duid_in
from dslite_operator.distribution.providers.asking import QUESTIONS, Rule, rules
from dslite_operator.distribution.providers.dhcpv6 import Question
from dslite_operator.distribution.providers.kea.patching import subnets_of
from dslite_operator.distribution.providers.provider import Assignment

Object = dict[str, Any]
Found = tuple[Object, Object | None]  # a subnet and its shared network


@dataclass(frozen=True)
class Check:
    """A question and the name that should be the answer; `name` None: any answer will do."""

    question: Question
    name: str | None = None


def checks(before: Object, after: Object, assignments: Sequence[Assignment]) -> list[Check]:
    """One for each name of each group, first on what is changed; at least one that shows whether the server is alive."""
    old = {one["subnet"]: one for one, _ in subnets_of(before)}
    found = {IPv6Network(one["subnet"]): (one, network) for one, network in subnets_of(after)}
    touched = {prefix for prefix, (one, _) in found.items() if old.get(one["subnet"]) != one}
    by_touch = sorted(assignments, key=lambda one: (touched.isdisjoint(area.subnet for area in one.areas), one.group))
    every = (rule for one in by_touch for rule in rules(one) if rule.name is not None)
    asked = [_check(rule, found, touched) for rule in islice(every, QUESTIONS)]
    if not asked and found:
        asked.append(Check(question(*found[min(touched or found)], duid_in(0, "last"))))
    return asked


def _check(rule: Rule, found: Mapping[IPv6Network, Found], touched: set[IPv6Network]) -> Check:
    """On a subnet that is changed, where the rule has one."""
    b4 = rule.b4(min(rule.part.areas, key=lambda area: (area.subnet not in touched, area)))
    return Check(question(*found[b4.subnet], b4.duid, b4.interface_id), rule.name)


def question(subnet: Object, network: Object | None, duid: bytes, interface_id: str = "") -> Question:
    """As it comes from a relay on this subnet's link: Kea knows a link by its relay's address, else by an address in the subnet."""
    places = [subnet] if network is None else [subnet, network]
    relays = [address for place in places for address in place.get("relay", {}).get("ip-addresses", ())]
    link = IPv6Address(relays[0]) if relays else IPv6Network(subnet["subnet"])[1]
    interface = interface_id or next((place["interface-id"] for place in places if "interface-id" in place), None)
    return Question(duid, link, None if interface is None else interface.encode())
