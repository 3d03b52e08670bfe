"""Random histories of a pool's B4Groups: made, deleted, merged, divided, resized, their B4s more or fewer, slots drained and back."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Network

from dslite_operator.distribution.buckets import BUCKETS, Cut
from dslite_operator.distribution.maps import Area, BucketMap
from dslite_operator.distribution.placement import place
from dslite_operator.distribution.standing import standing
from dslite_operator.distribution.wishes import Count, Wish

Placing = Callable[[Sequence[Wish], Mapping[str, BucketMap]], dict[str, BucketMap]]

CUTS: tuple[Cut, ...] = ("last", "lastNibble", "lastTwoLowNibbles")


def area(number: int) -> Area:
    """One of many areas."""
    return Area(IPv6Network((0x20010DB8 << 96 | number << 64, 64)))


@dataclass
class Pool:
    """Groups as they are asked for, and the maps in force.  A group has `most_buckets` over all its areas at most."""

    rng: random.Random
    slots: int
    cut: Cut
    most_buckets: int = 256
    wishes: dict[str, Wish] = field(default_factory=dict)
    maps: dict[str, BucketMap] = field(default_factory=dict)
    closed: set[int] = field(default_factory=set)
    named: int = 0
    placing: Placing = place

    @property
    def most_areas(self) -> int:
        """Areas of a group."""
        return self.most_buckets // BUCKETS[self.cut]

    def count(self) -> list[Count]:
        """B4s of an area's buckets: alike, any, or few that have most."""
        size, mean = BUCKETS[self.cut], self.rng.choice((1, 20, 400))
        shape: Callable[[], float] = self.rng.choice(
            (lambda: mean, lambda: self.rng.uniform(0, 2 * mean), lambda: self.rng.expovariate(1 / mean) ** 2 / mean)
        )
        return [Count(round(shape())) for _ in range(size)]

    def make(self) -> None:
        """A new group, of areas that nobody had."""
        number = self.rng.randint(1, max(1, self.most_areas // 2))
        areas = [area(self.named + place) for place in range(number)]
        self.named += number
        counts = {one: self.count() for one in areas}
        name = f"g{self.named}"
        spread = self.rng.randint(1, min(6, self.slots))
        self.wishes[name] = Wish(name, "east", self.cut, tuple(areas), spread, (), counts)

    def delete(self) -> None:
        """A group and its B4s are gone."""
        if len(self.wishes) > 1:
            self.wishes.pop(self.any())

    def merge(self) -> None:
        """One group takes the areas of another, and sometimes its slots too."""
        one, other = self.wishes[self.any()], self.wishes[self.any()]
        if one is other or len(one.areas) + len(other.areas) > self.most_areas:
            return
        spread = self.rng.choice((one.spread, min(one.spread + other.spread, self.slots)))
        areas, counts = one.areas + other.areas, {**one.counts, **other.counts}
        self.wishes[one.group] = replace(one, areas=areas, counts=counts, spread=spread)
        del self.wishes[other.group]

    def divide(self) -> None:
        """A part of a group's areas becomes a group of its own."""
        one = self.wishes[self.any()]
        if len(one.areas) < 2:
            return
        at = self.rng.randrange(1, len(one.areas))
        name, spread = f"g{self.named}d{len(self.wishes)}", self.rng.randint(1, max(1, one.spread))
        self.wishes[one.group] = with_areas(one, one.areas[:at], self.rng.choice((one.spread, spread)))
        self.wishes[name] = replace(with_areas(one, one.areas[at:], spread), group=name)

    def resize(self) -> None:
        """A group is spread over one slot more or less."""
        one = self.wishes[self.any()]
        spread = min(max(one.spread + self.rng.choice((-1, 1)), 1), self.slots)
        self.wishes[one.group] = replace(one, spread=spread)

    def drift(self) -> None:
        """B4s come and go."""
        one = self.wishes[self.any()]
        counts = {
            area: [Count(round(count.b4s * self.rng.uniform(0.7, 1.3))) for count in counted]
            for area, counted in one.counts.items()
        }
        self.wishes[one.group] = replace(one, counts=counts)

    def drain(self) -> None:
        """A slot is drained, or comes back."""
        slot = self.rng.randrange(self.slots)
        if slot in self.closed:
            self.closed.remove(slot)
        elif len(self.closed) < self.slots - 1:
            self.closed.add(slot)

    def any(self) -> str:
        """One of the groups."""
        return self.rng.choice(sorted(self.wishes))

    def step(self) -> None:
        """Something happens."""
        events = (self.make, self.delete, self.merge, self.divide, self.resize, self.resize, self.drift, self.drain)
        self.rng.choice(events if self.wishes else (self.make,))()

    def asked(self) -> list[Wish]:
        """What the groups ask for now."""
        usable = tuple(slot for slot in range(self.slots) if slot not in self.closed)
        return [replace(wish, slots=usable) for wish in self.wishes.values()]

    def place(self) -> tuple[Mapping[str, BucketMap], Mapping[str, BucketMap]]:
        """The maps before and after, which are in force from now on: each group is levelled, as if it had another size before."""
        wishes = self.asked()
        stand = {name: replace(one, levelled=99) for name, one in standing(wishes, self.maps).items()}
        self.maps = self.placing(wishes, stand)
        return stand, self.maps


def with_areas(wish: Wish, areas: tuple[Area, ...], spread: int) -> Wish:
    """A group with some of its areas."""
    return replace(wish, areas=areas, counts={one: wish.counts[one] for one in areas}, spread=spread)


def rows(wish: Wish, bucket_map: BucketMap) -> tuple[list[int], list[int]]:
    """Weights and slots of a group's buckets, areas with the same slots as one: counted here anew."""
    weights, slots = list[int](), list[int]()
    for part in bucket_map.parts:
        for bucket, slot in enumerate(part.slots):
            weights.append(max(1, sum(wish.counts[one][bucket].b4s for one in part.areas if one in wish.counts)))
            slots.append(slot)
    return weights, slots
