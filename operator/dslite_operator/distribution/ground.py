"""What distribution finds: the pools in force with their groups, and the bucket maps that there are.  Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from dslite_contract.load import Configuration
from dslite_contract.schema import AftrPool, B4Group
from dslite_operator.distribution.config_maps import group_of, is_map, text_in
from dslite_operator.distribution.wishes import name_of
from dslite_operator.names import DRAIN_SLOTS, Key
from dslite_operator.observe import Cache, key_of, place_of

Object = dict[str, Any]

NEVER = datetime(9000, 1, 1, tzinfo=UTC)  # a time to which none could be added
DRAIN_ENTRY = re.compile(r"(\d+)=(\S+)")


@dataclass(frozen=True)
class Ground:
    """One pool in force, with its groups; `told` are those that a DHCPv6 server tells."""

    key: Key
    pool: AftrPool
    groups: tuple[B4Group, ...]
    told: tuple[B4Group, ...]
    drains: Mapping[int, datetime]


@dataclass(frozen=True)
class Survey:
    """The installation: `unread` are pools (NAMESPACE/NAME) of which it is not known what is in force, `unknown` their B4Groups."""

    grounds: tuple[Ground, ...]
    objects: Mapping[str, Object]  # B4Groups, by NAMESPACE/NAME
    config_maps: Mapping[str, Object]  # those with bucket maps, by the group that owns them
    unknown: Set[str] = field(default_factory=frozenset)
    unread: Set[str] = field(default_factory=frozenset)

    def text(self, group: str) -> str | None:
        """The text of a group's bucket map."""
        found = self.config_maps.get(group)
        return text_in(found) if found is not None else None

    def left(self, copies: Mapping[str, str]) -> dict[str, str]:
        """Texts of bucket maps whose groups are gone, by ConfigMaps and by these copies."""
        kept = {name: text_in(body) for name, body in self.config_maps.items() if name not in self.objects}
        return {name: text for name, text in copies.items() if name not in self.objects} | kept


def survey(cache: Cache) -> Survey:
    """All that there is."""
    groups = {"/".join(place_of(body)): body for body in cache.every("B4Group")}
    maps = {group_of(body): body for body in cache.every("ConfigMap") if is_map(body)}
    grounds, unread = list[Ground](), set[Key]()
    for key in sorted(cache.pools()):
        view = cache.view(key)
        rendered = cache.rendered(view)
        if rendered is None or view.pool is None:
            unread.add(key)
        else:
            its = {"/".join(place_of(body)) for body in view.groups}
            grounds.append(ground_of(key, view.pool, rendered.configuration, its))
    unknown = {name for name, body in groups.items() if key_of(body) in unread}
    maps.pop("", None)
    return Survey(tuple(grounds), groups, maps, unknown, {str(key) for key in unread})


def ground_of(key: Key, body: Object, accepted: Configuration, there: Set[str]) -> Ground:
    """One pool with the groups that are `there`.  One that was deleted, or made again for another pool, is told no more, although its
    B4s are served until their mappings end.
    """
    told = tuple(group for group in accepted.groups if group.spec.dhcp is not None and name_of(group) in there)
    return Ground(key, accepted.pool, accepted.groups, told, drains_of(body))


def drain_texts(cache: Cache) -> Iterator[str]:
    """What stands in the pools' annotations."""
    return (drain_text(body) for body in cache.every("AftrPool"))


def drain_text(pool: Object) -> str:
    """The annotation; nothing where there is none."""
    return str((pool["metadata"].get("annotations") or {}).get(DRAIN_SLOTS, ""))


def drains_of(pool: Object) -> dict[int, datetime]:
    """The slots that a person drains, since when: `3=2026-11-26T04:00:00+00:00 …` in an annotation.  What is no such entry is none."""
    found: dict[int, datetime] = {}
    for slot, since in DRAIN_ENTRY.findall(drain_text(pool)):
        try:
            moment = datetime.fromisoformat(since)
        except ValueError:
            continue
        if moment.tzinfo and moment < NEVER:
            found[int(slot)] = moment
    return found


def spelled(drains: Mapping[int, datetime]) -> str | None:
    """The annotation with these; None: there is none."""
    return " ".join(f"{slot}={since.isoformat()}" for slot, since in sorted(drains.items())) or None


def server_of(group: B4Group) -> str:
    """The DHCPv6 server of a group that has one."""
    assert group.spec.dhcp is not None
    return group.spec.dhcp.server
