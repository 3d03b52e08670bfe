"""Our part of Kea's configuration made what it should be, and nothing else of it touched.  Pure.

Kept as they are: every id, every subnet, pool and reservation, the order of everything, whatever bears another's mark or none,
or that of a group which is left as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv6Network
from typing import Any

from dslite_operator.distribution.providers import option64
from dslite_operator.distribution.providers.errors import ForeignError
from dslite_operator.distribution.providers.kea.dialect import Dialect
from dslite_operator.distribution.providers.kea.marks import KEY, holds, mark_of, owner_of
from dslite_operator.distribution.providers.kea.rendering import Rendering
from dslite_operator.distribution.providers.kea.subnets import subnets_of
from dslite_operator.distribution.providers.kea.surroundings import left_out
from dslite_operator.distribution.providers.kea.timers import RENEW, timers, with_old_renew

Object = dict[str, Any]
Ours = Mapping[str, str]  # the group of each class of ours, by name

NAMED = 5  # problems that one sentence names


def patch(document: Object, wanted: Rendering, dialect: Dialect) -> Object:
    """`document` (an answer of config-get, without its hash) with our part as it should be.  Raises ForeignError."""
    problems = list(obstacles(document, wanted, dialect))
    if problems:
        more = f"; and {len(problems) - NAMED} more" if len(problems) > NAMED else ""
        raise ForeignError("; ".join(problems[:NAMED]) + more)
    whole, wanted = document["Dhcp6"], replace(wanted, renew_s=_never_longer(document, wanted.renew_s))
    ours = _ours(whole, wanted)
    made = {**whole, "subnet6": [_subnet(one, wanted, dialect, ours) for one in whole.get("subnet6", ())]}
    if "shared-networks" in whole:
        made["shared-networks"] = [_network(one, wanted, dialect, ours) for one in whole["shared-networks"]]
    made.pop("client-classes", None)  # Kea writes out no empty list of them
    if classes := list(_classes(whole.get("client-classes", ()), wanted)):
        made["client-classes"] = classes
    return {**document, "Dhcp6": made}


def copies(document: Object, owner: str) -> dict[str, str]:
    """The copies of bucket maps that we left there, by group."""
    options = [option for subnet, _ in subnets_of(document) for option in subnet.get("option-data", ())]
    marks = [mark_of(thing) for thing in (*options, *document["Dhcp6"].get("client-classes", ()))]
    return {mark["group"]: mark["map"] for mark in marks if mark.get("owner") == owner and "map" in mark}


def _network(network: Object, wanted: Rendering, dialect: Dialect, ours: Ours) -> Object:
    return {**network, "subnet6": [_subnet(one, wanted, dialect, ours) for one in network.get("subnet6", ())]}


# ---------------------------------------------------------------- groups that are left as they are
def _ours(whole: Object, wanted: Rendering) -> Ours:
    return {one["name"]: _group(one) for one in whole.get("client-classes", ()) if owner_of(one) == wanted.owner}


def _group(thing: Object) -> str:
    """The group of something of ours."""
    return str(mark_of(thing).get("group", ""))


def _stays(thing: Object, wanted: Rendering) -> bool:
    """Whether an option or a class is another's, or of a group that is left as it is."""
    return owner_of(thing) != wanted.owner or _group(thing) in wanted.as_is


def _left_by_option(subnet: Object, wanted: Rendering) -> set[str]:
    options = (one for one in subnet.get("option-data", ()) if owner_of(one) == wanted.owner)
    return {_group(one) for one in options} & wanted.as_is


def _left_by_class(subnet: Object, wanted: Rendering, dialect: Dialect, ours: Ours) -> set[str]:
    return {ours[name] for name in subnet.get(dialect.asks_for, ()) if name in ours} & wanted.as_is


# ---------------------------------------------------------------- one subnet
def _subnet(subnet: Object, wanted: Rendering, dialect: Dialect, ours: Ours) -> Object:
    """The same object when nothing of ours is on it, or all is as it should be."""
    prefix = IPv6Network(subnet["subnet"])
    made = _with_option(subnet, wanted.options.get(prefix), wanted)
    made = _with_asked(made, wanted, dialect, ours)
    renew_s = wanted.renew_s.get(prefix)
    if renew_s is None and (_left_by_option(subnet, wanted) or _left_by_class(subnet, wanted, dialect, ours)):
        return made
    return _with_renew(made, renew_s, wanted.owner)


def _with_option(subnet: Object, option: Object | None, wanted: Rendering) -> Object:
    before = subnet.get("option-data", [])
    ours = [one for one in before if not _stays(one, wanted)]
    if ([option] if option else []) == ours or (option and len(ours) == 1 and holds(ours[0], option)):
        return subnet
    kept = [one for one in before if _stays(one, wanted)]
    return {**subnet, "option-data": [*kept, option] if option else kept}


def _with_asked(subnet: Object, wanted: Rendering, dialect: Dialect, ours: Ours) -> Object:
    before, asked = subnet.get(dialect.asks_for, []), wanted.asked.get(IPv6Network(subnet["subnet"]), [])
    after = [name for name in before if name not in ours or ours[name] in wanted.as_is or name in asked]
    after += [name for name in asked if name not in after]
    if after == before:
        return subnet
    made = {key: value for key, value in subnet.items() if key != dialect.asks_for}
    return {**made, dialect.asks_for: after} if after else made


def _never_longer(document: Object, renew_s: Mapping[IPv6Network, int]) -> dict[IPv6Network, int]:
    """T1 of a drain, or the subnet's own if that is shorter, wherever it comes from."""
    before = timers(document) if renew_s else {}
    return {subnet: min(its, before[subnet].renew_s) for subnet, its in renew_s.items()}


def _with_renew(subnet: Object, renew_s: int | None, owner: str) -> Object:
    """During a drain a T1 of ours, with the old one in our mark; afterwards the old one."""
    mark = mark_of(subnet)
    ours = mark.get("owner") == owner
    if renew_s is None:
        return with_old_renew(subnet, mark) if ours else subnet
    old = mark[RENEW] if ours else subnet.get(RENEW)
    made = {**subnet, RENEW: renew_s}
    made["user-context"] = {**(subnet.get("user-context") or {}), KEY: {"owner": owner, RENEW: old}}
    return made


# ---------------------------------------------------------------- classes
def _classes(before: list[Object], wanted: Rendering) -> Iterator[Object]:
    """Others' where they were, ours where they were, new ones at the end."""
    known = set()
    for one in before:
        known.add(one["name"])
        if _stays(one, wanted):
            yield one
        elif one["name"] in wanted.classes:
            body = wanted.classes[one["name"]]
            yield one if holds(one, body) else body
    yield from (body for name, body in wanted.classes.items() if name not in known)


def changed_classes(before: Object, after: Object) -> list[tuple[Object, Object]] | None:
    """(before, after) of each class, if nothing else is changed and none is added or gone; else None."""
    old, new = ({**one["Dhcp6"]} for one in (before, after))
    olds, news = old.pop("client-classes", []), new.pop("client-classes", [])
    if old != new or [one["name"] for one in olds] != [one["name"] for one in news]:
        return None
    return [pair for pair in zip(olds, news, strict=True) if pair[0] != pair[1]]


def stages(classes: list[tuple[Object, Object]]) -> list[Object]:
    """The classes to set one after another: a bucket on its way from one to another is in both for a moment, and never in none."""
    joint = [{**new, "test": f"({old['test']}) or ({new['test']})"} for old, new in classes]
    return [*(joint if len(classes) > 1 else ()), *(new for _, new in classes)]


# ---------------------------------------------------------------- what stands in the way
def obstacles(document: Object, wanted: Rendering, dialect: Dialect) -> Iterator[str]:
    """Sentences: what is not there, and what is somebody else's."""
    found = {IPv6Network(one["subnet"]): (one, network) for one, network in subnets_of(document)}
    ours = _ours(document["Dhcp6"], wanted)
    for prefix in sorted(wanted.subnets):
        if prefix not in found:
            yield f"there is no subnet {prefix}: add it to Kea, or correct dhcp.subnets of the group"
        else:
            yield from _in_the_way(prefix, *found[prefix], wanted)
            yield from _told_already(prefix, found[prefix][0], wanted, dialect, ours)
    if gone := left_out(document):
        yield (
            f"it serves without {', '.join(gone)}, which it could not find: bring that back or take it out of its file, "
            "then config-reload"
        )
    for one in document["Dhcp6"].get("client-classes", ()):
        if one["name"] in wanted.classes and owner_of(one) != wanted.owner:
            yield f"class {one['name']} is {_whose(one)}: rename or remove it"


def _in_the_way(prefix: IPv6Network, subnet: Object, network: Object | None, wanted: Rendering) -> Iterator[str]:
    places = [(f"pool {one['pool']}", one) for one in subnet.get("pools", ())]
    places += [(f"PD pool {one['prefix']}/{one['prefix-len']}", one) for one in subnet.get("pd-pools", ())]
    places.append(("it", subnet))
    if network is not None and prefix in wanted.asked:  # comes before classes, after subnets
        places.append((f"its shared network {network['name']}", network))
    if prefix in wanted.options or prefix in wanted.asked:
        for name, place in places:
            for option in place.get("option-data", ()):
                if is_aftr_name(option) and owner_of(option) != wanted.owner:
                    yield f"subnet {prefix}: {name} has an aftr-name {option['data']!r} that is {_whose(option)}: remove that"
    if prefix in wanted.renew_s and owner_of(subnet) not in (None, wanted.owner):
        yield f"subnet {prefix}: its renew-timer is {_whose(subnet)}: wait for the end of its drain"


def _told_already(
    prefix: IPv6Network, subnet: Object, wanted: Rendering, dialect: Dialect, ours: Ours
) -> Iterator[str]:
    """By a group that is left as it is: only classes go beside classes."""
    left = _left_by_option(subnet, wanted) if prefix in wanted.options or prefix in wanted.asked else set()
    left |= _left_by_class(subnet, wanted, dialect, ours) if prefix in wanted.options else set()
    for group in sorted(left):
        yield f"subnet {prefix}: its B4s are told by group {group} as before, until what stands in that group's way is gone"


def is_aftr_name(option: Object) -> bool:
    """Whether this is option 64."""
    named = option.get("name") == "aftr-name" or option.get("code") == option64.CODE
    return named and option.get("space", "dhcp6") == "dhcp6"


def _whose(thing: Object) -> str:
    owner = owner_of(thing)
    return "not ours" if owner is None else f"of another operator, {owner}"
