"""From groups to what Kea should have of ours: options of subnets, or classes that some subnets ask for.  Pure.

Where all B4s of a subnet are told the same, that is an option of the subnet.  Elsewhere it is one class for each slot, which only
the group's subnets have evaluated: a class for every packet costs 10 ms a packet at 1,000 classes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field
from ipaddress import IPv6Network
from itertools import combinations
from typing import Any

from dslite_operator.distribution.buckets import BUCKETS
from dslite_operator.distribution.maps import Area
from dslite_operator.distribution.providers import option64
from dslite_operator.distribution.providers.errors import ForeignError, OptionError
from dslite_operator.distribution.providers.kea.dialect import Dialect
from dslite_operator.distribution.providers.kea.expressions import behind, in_buckets
from dslite_operator.distribution.providers.kea.marks import marked
from dslite_operator.distribution.providers.provider import Assignment, Part

Object = dict[str, Any]


@dataclass(frozen=True)
class Rendering:
    """All that is ours: an option for a subnet; classes by name, and who asks for them; a T1 in seconds.

    What groups `as_is` have at the server stays there, whatever it is.
    """

    owner: str
    as_is: Set[str] = frozenset()
    options: dict[IPv6Network, Object] = field(default_factory=dict)
    classes: dict[str, Object] = field(default_factory=dict)
    asked: dict[IPv6Network, list[str]] = field(default_factory=dict)
    renew_s: dict[IPv6Network, int] = field(default_factory=dict)

    @property
    def subnets(self) -> set[IPv6Network]:
        """All that we have something on."""
        return set(self.options) | set(self.asked) | set(self.renew_s)


def render(assignments: Sequence[Assignment], owner: str, dialect: Dialect, as_is: Set[str] = frozenset()) -> Rendering:
    """Raises OptionError for a name or a number of names, ForeignError for groups that cannot be told apart."""
    check(assignments)
    made = Rendering(owner, as_is)
    for one in sorted(assignments, key=lambda one: one.group):
        mark = {"group": one.group, "map": one.copy} if one.copy else {"group": one.group}
        for subnet, option in _options(one):
            made.options[subnet] = marked(option, owner, **mark)
            mark.pop("map", None)  # stands once, at the first thing of the group
        for subnets, body in _classes(one, dialect):
            made.classes[body["name"]] = marked(body, owner, **mark)
            mark.pop("map", None)
            for subnet in subnets:
                made.asked.setdefault(subnet, []).append(body["name"])
        for area in one.areas if one.renew_s is not None else ():
            made.renew_s[area.subnet] = min(one.renew_s or 0, made.renew_s.get(area.subnet, one.renew_s or 0))
    return made


def _options(one: Assignment) -> Iterator[tuple[IPv6Network, Object]]:
    for part in one.parts:
        if part.whole is not None:
            yield from ((area.subnet, _option(part.whole)) for area in part.areas if not area.interface_id)


def _classes(one: Assignment, dialect: Dialect) -> Iterator[tuple[list[IPv6Network], Object]]:
    """Each class, and the subnets that ask for it."""
    for number, (interface_id, subnets, names) in enumerate(_told_apart(one.parts)):
        for name in sorted({name for name in names if name is not None}):
            tests = [f"({behind(interface_id)})"] if interface_id else []
            if len(set(names)) > 1:
                tests.append(f"({in_buckets((i for i, its in enumerate(names) if its == name), one.cut)})")
            yield subnets, {
                "name": class_name(one.group, name, number), "test": " and ".join(tests),
                dialect.only_if_asked: True, "option-data": [_option(name)],
            }  # fmt: skip


def _told_apart(parts: Sequence[Part]) -> Iterator[tuple[str, list[IPv6Network], tuple[str | None, ...]]]:
    """Interface-ID, subnets and names of those areas that an option of the subnet does not do for."""
    for part in parts:
        by_interface: dict[str, list[IPv6Network]] = defaultdict(list)
        for area in sorted(part.areas):
            if area.interface_id or part.whole is None:
                by_interface[area.interface_id].append(area.subnet)
        yield from ((interface_id, subnets, part.names) for interface_id, subnets in by_interface.items())


def class_name(group: str, name: str, number: int) -> str:
    """dslite/NAMESPACE/GROUP/FQDN; from a group's second rule on with its number."""
    return f"dslite/{group}/{name}" + (f"/{number + 1}" if number else "")


def _option(name: str) -> Object:
    """Sent to clients that do not ask for it too: some forget, and would never learn it."""
    return {"name": "aftr-name", "data": f"{option64.checked(name)}.", "always-send": True}


# ---------------------------------------------------------------- what no server could carry out
def check(assignments: Sequence[Assignment]) -> None:
    """Raises OptionError, ForeignError."""
    for one in assignments:
        for part in one.parts:
            _check_names(one, part)
    for _, sentence in conflicts(assignments):
        raise ForeignError(sentence)


def conflicts(assignments: Sequence[Assignment]) -> Iterator[tuple[tuple[str, str], str]]:
    """Two groups with clients that nothing tells apart, and what to do about it."""
    on: dict[IPv6Network, list[tuple[str, Area]]] = defaultdict(list)
    for one in assignments:
        for area in one.areas:
            on[area.subnet].append((one.group, area))
    for subnet, here in sorted(on.items()):
        for (group, area), (other, its) in combinations(here, 2):
            if area.meets(its):
                sentence = (
                    f"subnet {subnet} is asked for by groups {group} and {other}, and nothing tells their clients apart: "
                    "give each its own subnets, or each a match.relayInterfaceId of its own"
                )
                yield (group, other), sentence


def _check_names(one: Assignment, part: Part) -> None:
    if len(part.names) != BUCKETS[one.cut]:
        raise OptionError(
            f"group {one.group}: {len(part.names)} names for the {BUCKETS[one.cut]} buckets of {one.cut}: give each bucket one"
        )
    for name in set(part.names) - {None}:
        option64.checked(str(name))
