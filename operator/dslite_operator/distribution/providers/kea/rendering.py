"""From groups to what Kea should have of ours: options of subnets, or classes that some subnets ask for.  Pure.

A group that goes to one slot, alone on its subnets, is an option of those subnets.  Any other is one class for each of its slots,
which only its subnets have evaluated: a class for every packet costs 10 ms a packet at 1,000 classes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv6Network
from typing import Any

from dslite_operator.distribution.providers import option64
from dslite_operator.distribution.providers.errors import ForeignError, OptionError
from dslite_operator.distribution.providers.kea.dialect import Dialect
from dslite_operator.distribution.providers.kea.expressions import behind, in_buckets
from dslite_operator.distribution.providers.kea.marks import marked
from dslite_operator.distribution.providers.provider import BUCKETS, Assignment

Object = dict[str, Any]
Subnets = dict[IPv6Network, Any]


@dataclass(frozen=True)
class Rendering:
    """All that is ours: an option for a subnet; classes by name, and who asks for them; a T1 in seconds."""

    owner: str
    options: dict[IPv6Network, Object] = field(default_factory=dict)
    classes: dict[str, Object] = field(default_factory=dict)
    asked: dict[IPv6Network, list[str]] = field(default_factory=dict)
    renew_s: dict[IPv6Network, int] = field(default_factory=dict)

    @property
    def subnets(self) -> set[IPv6Network]:
        """All that we have something on."""
        return set(self.options) | set(self.asked) | set(self.renew_s)


def render(assignments: Sequence[Assignment], owner: str, dialect: Dialect) -> Rendering:
    """Raises OptionError for a name or a number of names, ForeignError for groups that cannot be told apart."""
    check(assignments)
    made = Rendering(owner)
    for one in sorted(assignments, key=lambda one: one.group):
        by_subnet = one.whole and one.interface_id is None
        classes = [] if by_subnet else [(name, _class(one, name, owner, dialect)) for name in _names(one)]
        made.classes.update((body["name"], body) for _, body in classes)
        for subnet in one.subnets:
            if by_subnet:
                made.options[subnet] = marked(_option(one.names[0]), owner, group=one.group)
            else:
                made.asked.setdefault(subnet, []).extend(body["name"] for _, body in classes)
            if one.renew_s is not None:
                made.renew_s[subnet] = min(one.renew_s, made.renew_s.get(subnet, one.renew_s))
    return made


def check(assignments: Sequence[Assignment]) -> None:
    """What no server could carry out."""
    on: dict[IPv6Network, list[Assignment]] = defaultdict(list)
    for one in assignments:
        if len(one.names) not in (1, BUCKETS[one.bucket_bytes]):
            raise OptionError(
                f"group {one.group}: {len(one.names)} names for {BUCKETS[one.bucket_bytes]} buckets of {one.bucket_bytes}: "
                "give each bucket its name, or one for all"
            )
        for name in set(one.names):
            option64.checked(name)
        for subnet in one.subnets:
            on[subnet].append(one)
    for subnet, here in on.items():
        open_to_all = sorted(one.group for one in here if one.interface_id is None)
        if len(here) > 1 and open_to_all:
            raise ForeignError(
                f"subnet {subnet} is asked for by groups {', '.join(sorted(one.group for one in here))}, and nothing tells the clients "
                f"of {open_to_all[0]} from the others: give each its own subnets, or each a match.relayInterfaceId"
            )


def class_name(group: str, name: str) -> str:
    """dslite/NAMESPACE/GROUP/FQDN"""
    return f"dslite/{group}/{name}"


def _names(one: Assignment) -> Iterator[str]:
    yield from sorted(set(one.names))


def _class(one: Assignment, name: str, owner: str, dialect: Dialect) -> Object:
    buckets = [bucket for bucket, its in enumerate(one.names) if its == name]
    tests = [] if one.interface_id is None else [f"({behind(one.interface_id)})"]
    if not one.whole:
        tests.append(f"({in_buckets(buckets, one.bucket_bytes)})")
    body = {
        "name": class_name(one.group, name), "test": " and ".join(tests),
        dialect.only_if_asked: True, "option-data": [_option(name)],
    }  # fmt: skip
    return marked(body, owner, group=one.group, name=name, buckets=buckets, of=len(one.names))


def _option(name: str) -> Object:
    """Sent to clients that do not ask for it too: some forget, and would never learn it."""
    return {"name": "aftr-name", "data": f"{option64.checked(name)}.", "always-send": True}
