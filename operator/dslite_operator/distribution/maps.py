"""The bucket map of a B4Group: which slot each bucket of its B4s has.  As data: canonical text, and a hash that names it.

It is kept in a ConfigMap that the B4Group owns, with a copy at the DHCPv6 server.  Equal maps have equal texts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv6Network
from typing import Any, NamedTuple

from dslite_contract.errors import DsliteError
from dslite_contract.rules import begins_with, overlap
from dslite_operator.distribution.buckets import BUCKETS, Cut, cut_anew, read, spell

VERSION = 2  # of a map with `cuts`; without, it is 1, and older operators read it
LARGEST_TEXT = 900 << 10  # bytes; a ConfigMap holds 1 MiB
UNPLACED = -1  # a bucket that has no slot yet

Slots = tuple[int, ...]  # the slot of each bucket


class MapError(DsliteError):
    """A bucket map that cannot be read, or cannot be followed."""


class NewerMapError(MapError):
    """A bucket map that a newer operator wrote: nothing else may take its place."""


class Area(NamedTuple):
    """Where B4s ask from: a subnet of the DHCPv6 server, and, where groups share it, the Interface-ID that matches them."""

    subnet: IPv6Network
    interface_id: str = ""

    def __str__(self) -> str:
        return f"{self.subnet} {self.interface_id}" if self.interface_id else str(self.subnet)

    def holds(self, other: Area) -> bool:
        """Whether each Interface-ID that matches `other` matches here."""
        mine, its = self.interface_id, other.interface_id
        return not mine or (its != "" and begins_with(its, mine))

    def meets(self, other: Area) -> bool:
        """Whether an Interface-ID may match both."""
        return overlap(self.interface_id, other.interface_id)


class Part(NamedTuple):
    """Areas of a group whose buckets have the same slots."""

    areas: tuple[Area, ...]
    slots: Slots

    @property
    def whole(self) -> int | None:
        """The one slot of all its B4s, None where buckets tell them apart."""
        return self.slots[0] if len(set(self.slots)) == 1 else None

    def buckets(self) -> dict[int, list[int]]:
        """The buckets of each slot, both ascending."""
        found: dict[int, list[int]] = {slot: [] for slot in sorted(set(self.slots))}
        for bucket, slot in enumerate(self.slots):
            found[slot].append(bucket)
        return found


@dataclass(frozen=True)
class BucketMap:
    """Which slot of `pool` the B4s of `group` (NAMESPACE/NAME) are told.

    `chosen` are the slots that it is to be on, none when they are to be chosen anew; `levelled` is the number of slots over which
    its load was last levelled, 0 while that is to be done: without both, a map asks for its load to be levelled.  At `moved_at`
    (UTC) `moved_b4s` were last told another slot.  `former` are areas that no group has now, but whose B4s are where they were;
    `cuts` are the cuts of those of them whose buckets are not by `cut`.
    """

    group: str
    pool: str
    cut: Cut
    areas: Mapping[Area, Slots]
    chosen: Slots = ()
    levelled: int = 0
    moved_at: datetime | None = None
    moved_b4s: int = 0
    former: Mapping[Area, Slots] = field(default_factory=dict)
    cuts: Mapping[Area, Cut] = field(default_factory=dict)

    @property
    def parts(self) -> tuple[Part, ...]:
        """Areas with the same slots, together."""
        return parts_of(self.areas)

    @property
    def all_areas(self) -> Mapping[Area, Slots]:
        """Those that it remembers too."""
        return {**self.former, **self.areas}

    def slots_of(self, area: Area, cut: Cut) -> Slots | None:
        """The slots of one of its areas, by another cut; None where one bucket would have two."""
        return cut_anew(self.areas.get(area) or self.former[area], self.cut_of(area), cut)

    def cut_of(self, area: Area) -> Cut:
        """By which the buckets of one of its areas are told apart."""
        return self.cut if area in self.areas else self.cuts.get(area, self.cut)


def parts_of(areas: Mapping[Area, Slots]) -> tuple[Part, ...]:
    """Areas with the same slots, together, in the order of their first areas."""
    together: dict[Slots, list[Area]] = {}
    for area in sorted(areas):
        together.setdefault(areas[area], []).append(area)
    return tuple(Part(tuple(found), slots) for slots, found in together.items())


def text_of(bucket_map: BucketMap) -> str:
    """Canonical text: JSON with sorted keys.  Raises MapError where no ConfigMap would hold it."""
    moved = {"at": bucket_map.moved_at.isoformat(), "b4s": bucket_map.moved_b4s} if bucket_map.moved_at else None
    whole = {
        "version": VERSION if bucket_map.cuts else 1,
        "group": bucket_map.group,
        "pool": bucket_map.pool,
        "bucketBytes": bucket_map.cut,
    }
    whole |= {"chosen": bucket_map.chosen, "levelled": bucket_map.levelled, "moved": moved}
    whole |= {"areas": spelled(bucket_map.areas, bucket_map.cut), "former": remembered(bucket_map)}
    text = json.dumps(whole, sort_keys=True, separators=(",", ":"))
    if len(text) > LARGEST_TEXT:
        raise MapError(
            f"B4Group {bucket_map.group}: its bucket map has {len(text)} bytes, and {LARGEST_TEXT} at most are kept: "
            "divide the group"
        )
    return text


def spelled(areas: Mapping[Area, Slots], cut: Cut) -> list[dict[str, Any]]:
    """Areas with the buckets of each slot."""
    return [
        {
            "at": [str(area) for area in part.areas],
            "slots": {str(slot): spell(buckets, cut) for slot, buckets in part.buckets().items()},
        }
        for part in parts_of(areas)
    ]


def remembered(bucket_map: BucketMap) -> list[dict[str, Any]]:
    """Former areas; a cut is said where it is another."""
    by_cut: dict[Cut, dict[Area, Slots]] = {bucket_map.cut: {}}
    for area, slots in bucket_map.former.items():
        by_cut.setdefault(bucket_map.cut_of(area), {})[area] = slots
    alike = spelled(by_cut.pop(bucket_map.cut), bucket_map.cut)
    return [*alike, *({**part, "bucketBytes": cut} for cut in sorted(by_cut) for part in spelled(by_cut[cut], cut))]


def hash_of(text: str) -> str:
    """The name of a map, by its text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def map_of(text: str, group: str) -> BucketMap:
    """The map of `group` from its text.  Raises MapError, or NewerMapError, with what is wrong."""
    try:
        whole = json.loads(text)
        if whole["version"] > VERSION:
            raise NewerMapError(
                f"B4Group {group}: its bucket map has version {whole['version']}, and this operator reads {VERSION}: run the newer operator"
            )
        found = read_map(whole)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MapError(f"B4Group {group}: its bucket map cannot be read ({type(error).__name__}: {error})") from error
    if found.group != group:
        raise MapError(f"B4Group {group}: the bucket map is that of B4Group {found.group}")
    return found


def moved_in(text: str) -> Any:
    """What a text says of the last moves, to be compared; None where it says nothing."""
    try:
        return json.loads(text)["moved"]
    except (KeyError, TypeError, ValueError):
        return None


def read_map(whole: Mapping[str, Any]) -> BucketMap:
    """The map of parsed JSON.  Raises KeyError, TypeError, ValueError, AttributeError."""
    cut, moved = whole["bucketBytes"], whole["moved"]
    areas, former = areas_of(whole["areas"], cut), areas_of(whole["former"], cut)
    at, b4s = (datetime.fromisoformat(moved["at"]), int(moved["b4s"])) if moved else (None, 0)
    if at and not at.tzinfo:
        raise ValueError(f"{at} has no time zone")
    chosen, levelled = tuple(map(int, whole["chosen"])), int(whole["levelled"])
    cuts = {
        area_of(area): part["bucketBytes"] for part in whole["former"] if "bucketBytes" in part for area in part["at"]
    }
    return BucketMap(str(whole["group"]), str(whole["pool"]), cut, areas, chosen, levelled, at, b4s, former, cuts)


def areas_of(parts: Sequence[Mapping[str, Any]], cut: Cut) -> dict[Area, Slots]:
    """Areas from what `spelled` made.  Raises KeyError, TypeError, ValueError, AttributeError."""
    areas = {
        area_of(area): read_slots(part["slots"], part.get("bucketBytes", cut)) for part in parts for area in part["at"]
    }
    if len(areas) != sum(len(part["at"]) for part in parts):
        raise ValueError("an area stands there twice")
    return areas


def area_of(text: str) -> Area:
    """An area from its text.  Raises ValueError."""
    subnet, _, interface_id = text.partition(" ")
    return Area(IPv6Network(subnet), interface_id)


def read_slots(spelled: Mapping[str, str], cut: Cut) -> Slots:
    """The slot of each bucket, from the buckets of each slot.  Raises ValueError unless each bucket is there once."""
    pairs = [(bucket, int(slot)) for slot, buckets in spelled.items() for bucket in read(buckets)]
    if sorted(bucket for bucket, _ in pairs) != list(range(BUCKETS[cut])):
        raise ValueError(f"not each of {BUCKETS[cut]} buckets once")
    if any(slot < 0 for _, slot in pairs):
        raise ValueError(f"{min(slot for _, slot in pairs)} is no slot")
    return tuple(slot for _, slot in sorted(pairs))


def by_subnet(areas: Iterable[Area]) -> dict[IPv6Network, list[Area]]:
    """The areas of each subnet."""
    found: dict[IPv6Network, list[Area]] = {}
    for area in areas:
        found.setdefault(area.subnet, []).append(area)
    return found


def slots_in(areas: Iterable[Slots]) -> set[int]:
    """The slots that buckets have."""
    return {slot for slots in areas for slot in slots} - {UNPLACED}
