"""What is to be written: the difference between what a zone should have and what it holds, in order.  Pure.

A name that is wanted is published before anybody is told of it.  One that is not wanted any more, and that nobody is told any more, is
marked with the time at which the last lease with it ends, and goes then: the zone itself remembers, whoever restarts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from ipaddress import IPv6Address
from typing import NamedTuple

from dslite_operator.distribution.dns.records import Held, Mark, Wanted

SECOND = timedelta(seconds=1)


class Change(NamedTuple):
    """What is done at one name, if it is as we saw it.

    `before` is the one TXT that must be there, None: nothing at all may be.  `address` is the one AAAA afterwards, None: as it is.
    `mark` is the TXT afterwards, None: AAAA and TXT are removed.
    """

    name: str
    before: str | None
    address: IPv6Address | None
    mark: Mark | None


@dataclass(frozen=True)
class Plan:
    """Changes in the order in which they are made, and the names that somebody else has, with the sentence that says who."""

    changes: tuple[Change, ...]
    refusals: Mapping[str, str]


@dataclass(frozen=True)
class Use:
    """What keeps a name: `names` are those that a DHCPv6 server hands out; None: not known now, so nothing goes.  `lifetime` is the
    valid lifetime of the leases with which names were handed out.  Nor goes a name of `unread` pools (NAMESPACE/NAME): what they want
    is not known.
    """

    names: Collection[str] | None
    lifetime: timedelta
    unread: Collection[str] = ()


def plan(wanted: Mapping[str, Wanted], found: Mapping[str, Held], owner: str, use: Use, now: datetime) -> Plan:
    """What brings `found`, all that a zone holds, to what is `wanted` in it; `now` is UTC.

    What is published or put right comes first, what is marked next, and what is removed last.
    """
    refusals = {
        name: taken(name, held)
        for name, one in wanted.items()
        if (held := found.get(name)) and not ours(held, owner) and held.addresses != {one.address}
    }
    kept = (published(name, one, found.get(name), owner) for name, one in wanted.items() if name not in refusals)
    going = list(leaving(wanted, found, owner, use, now))
    changes = [*filter(None, kept), *(one for one in going if one.mark), *(one for one in going if not one.mark)]
    return Plan(tuple(changes), refusals)


def ours(held: Held, owner: str) -> bool:
    """Whether we may change a name: its TXT says so, and it has no other."""
    return held.mark is not None and held.mark.owner == owner


def taken(name: str, held: Held) -> str:
    """Who has a name, and what to do."""
    whose = f"belongs to the installation {held.mark.owner}" if held.mark else "is not ours"
    return f"{name} {whose}: it has {held}; remove that, or take another domain"


def published(name: str, one: Wanted, held: Held | None, owner: str) -> Change | None:
    """What makes a name that is free or ours what it should be; None: it is, or another keeps it so."""
    mark = Mark(owner, one.pool)
    if held is None:
        return Change(name, None, one.address, mark)
    right = held.addresses == {one.address}
    if (right and held.mark == mark) or not ours(held, owner):
        return None
    return Change(name, held.texts[0], None if right else one.address, mark)


def leaving(
    wanted: Mapping[str, Wanted], found: Mapping[str, Held], owner: str, use: Use, now: datetime
) -> Iterator[Change]:
    """What happens to names that are ours and not wanted."""
    if use.names is None:
        return
    for name in sorted(found.keys() - wanted.keys()):
        mark = found[name].mark
        if mark is None or mark.owner != owner or mark.pool in use.unread:
            continue
        text = str(found[name].texts[0])
        if name in use.names and mark.until:
            yield Change(name, text, None, replace(mark, until=None))
        elif name not in use.names and not mark.until:
            ends = (now + use.lifetime).replace(microsecond=0) + SECOND
            yield Change(name, text, None, replace(mark, until=ends))
        elif name not in use.names and mark.until and mark.until <= now:
            yield Change(name, text, None, None)
