"""A bucket map that is lost comes back from the DHCPv6 server, else from the engines, so that no B4 moves (proof 5)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from dslite_operator.distribution.maps import UNPLACED, Area, BucketMap, NewerMapError, hash_of, text_of
from dslite_operator.distribution.placement import place
from dslite_operator.distribution.recovery import Recovered, Seen, Votes, sighted, written
from dslite_operator.distribution.wishes import Count, Wish
from placement_histories import area

A, B = area(1), area(2)
RNG = random.Random(6)
MAP = BucketMap("a", "east", "last", {one: tuple(RNG.randrange(3) for _ in range(256)) for one in (A, B)}, levelled=3)
TEXT = text_of(MAP)
WISH = Wish("a", "east", "last", (A, B), 3, tuple(range(8)), {one: [Count(20)] * 256 for one in (A, B)})
NAME = hash_of(TEXT)


def recovered(wish: Wish, config_map: str | None, copy: str | None, seen: Seen) -> Recovered:
    """By the two texts, else by what is seen."""
    back = written(wish.group, config_map, copy)
    return back if back.map else sighted(wish, back.lost, seen)


def softwires(bucket_map: BucketMap, strays: int = 0, seen: float = 1.0) -> Seen:
    """What engines see of B4s that are where a map says: five a bucket, some of them elsewhere, some buckets not at all."""

    def votes(slot: int) -> Votes:
        return {slot: 5, slot + 1: strays} if RNG.random() < seen else {}

    return {one: [votes(slot) for slot in slots] for one, slots in bucket_map.areas.items()}


def moved(found: BucketMap | None) -> int:
    """Buckets that the group's next placement would move away from where MAP has them."""
    assert found is not None
    target = place([WISH], {"a": found})["a"]
    return sum(old != new for one in MAP.areas for old, new in zip(MAP.areas[one], target.areas[one], strict=True))


def test_what_is_kept_is_in_force() -> None:
    other = text_of(replace(MAP, levelled=2))
    for copy in (TEXT, other, None):
        assert recovered(WISH, TEXT, copy, softwires(replace(MAP, areas={A: (7,) * 256}))) == Recovered(MAP)


@pytest.mark.parametrize(("lost", "how"), [(None, "gone"), (TEXT[:100], "damaged"), ("", "gone")])
def test_d21_a_lost_map_is_taken_from_the_dhcpv6_server(lost: str | None, how: str) -> None:
    found = recovered(WISH, lost, TEXT, softwires(replace(MAP, areas={A: (7,) * 256})))
    assert found.map == MAP
    assert found.lost.startswith(f"the ConfigMap is {how}")
    assert found.lost.endswith(f": the bucket map is the DHCPv6 server's copy {NAME}")
    assert moved(found.map) == 0


@pytest.mark.parametrize("copy", ["{}", TEXT.replace('"group":"a"', '"group":"b"')])
def test_d21_a_lost_map_without_a_copy_is_where_engines_see_b4s(copy: str) -> None:
    found = recovered(WISH, None, copy, softwires(MAP, strays=4))
    assert found.map == MAP
    assert "512 of 512 buckets are where engines see their B4s" in found.lost
    assert moved(found.map) == 0


def test_b4s_that_are_there_before_their_group_has_a_map_stay_and_nothing_was_lost() -> None:
    """They had the name by hand, or `dhcp` is new to their group."""
    assert recovered(WISH, None, None, softwires(MAP, strays=4)) == Recovered(MAP)


def test_buckets_that_nobody_sees_have_no_slot_and_move_nobody() -> None:
    found = recovered(WISH, None, None, softwires(MAP, seen=0.6)).map
    assert found is not None
    for one in (A, B):
        others = MAP.areas[B if one == A else A]
        for bucket, slot in enumerate(found.areas[one]):
            assert slot in (MAP.areas[one][bucket], others[bucket], UNPLACED)
    target = place([WISH], {"a": found})["a"]
    kept = [(old, new) for one in (A, B) for old, new in zip(found.areas[one], target.areas[one], strict=True)]
    assert all(old in (new, UNPLACED) for old, new in kept)


@pytest.mark.parametrize(
    ("spread", "votes", "slot"),
    [
        (1, [{4: 9, 2: 1}], 4),
        (1, [{4: 5, 2: 5}], 2),
        (3, [{4: 9}], 4),
        (3, [{4: 9, 2: 1}], UNPLACED),
        (1, [], UNPLACED),
    ],
)
def test_softwires_of_a_prefix_say_where_a_whole_group_is(spread: int, votes: Sequence[Votes], slot: int) -> None:
    seen: dict[Area, Sequence[Votes]] = {A: votes, B: [{4: 1}] * 256}
    found = recovered(replace(WISH, spread=spread), None, None, seen).map
    assert found is not None
    assert found.areas[A] == ((slot if slot != UNPLACED else 4),) * 256


def test_with_nothing_left_a_group_is_placed_anew() -> None:
    assert recovered(WISH, None, None, {}) == Recovered(None)
    found = recovered(WISH, "{", None, {A: [{}] * 256})
    assert found.map is None
    assert found.lost.startswith(
        "the ConfigMap is damaged (B4Group a: its bucket map cannot be read (JSONDecodeError: "
    )
    assert found.lost.endswith("), and no engine sees these B4s: the group is placed anew")


@pytest.mark.parametrize(
    ("config_map", "copy"),
    [(TEXT.replace('"version":1', '"version":3'), TEXT), (None, TEXT.replace('"version":1', '"version":3'))],
)
def test_nothing_takes_the_place_of_a_newer_map(config_map: str | None, copy: str) -> None:
    with pytest.raises(NewerMapError):
        recovered(WISH, config_map, copy, softwires(MAP))
