"""D21: which slots a group is on, and what of it moves when it merges, is divided or resized, or slots come and go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv6Network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract_objects import NORTH, full
from dslite_operator.distribution.buckets import BUCKETS, Cut
from dslite_operator.distribution.maps import UNPLACED, Area, BucketMap, MapError, Slots, map_of, text_of
from dslite_operator.distribution.placement import PlacementError, place
from dslite_operator.distribution.standing import standing
from dslite_operator.distribution.wishes import Count, Wish, areas_of, wish_of
from placement_histories import area

A, B, C = area(1), area(2), area(3)
ALL = (0, 1, 2, 3)


def wish(name: str, *areas: Area, spread: int = 1, slots: tuple[int, ...] = ALL, b4s: int = 10, **more: Any) -> Wish:
    """A group with `b4s` in each bucket."""
    made = Wish(name, "east", "last", areas, spread, slots, {one: [Count(b4s)] * 256 for one in areas})
    return replace(made, **more)


def brought(wishes: list[Wish], maps: Mapping[str, BucketMap]) -> dict[str, BucketMap]:
    """The maps that groups should have, from those in force."""
    return place(wishes, standing(wishes, maps))


def moved(before: Mapping[Area, Slots], after: Mapping[Area, Slots]) -> int:
    """Buckets that have another slot than they had."""
    return sum(
        old not in (new, UNPLACED)
        for one in after
        if one in before
        for old, new in zip(before[one], after[one], strict=True)
    )


def shares(slots: Slots) -> dict[int, int]:
    return dict(sorted(Counter(slots).items()))


# ---------------------------------------------------------------- what is asked for
def test_d21_a_group_asks_for_slots_that_carry_its_nat_pool() -> None:
    loaded = full()
    north, south = (wish_of(loaded.pool, group, {}, closed={2}) for group in loaded.groups)
    assert (north.cut, north.spread, north.slots) == ("last", 4, (0, 1, *range(3, 16)))
    assert north.areas == (Area(IPv6Network("2001:db8:1000::/48"), "dslam-7*"),)
    assert (south.cut, south.spread, south.slots) == ("whole", 1, (0, 1, 3))
    assert south.areas == (Area(IPv6Network("2001:db8:1800::/40")),)
    assert not north.level
    automatic = full({"spec.rebalance": "automatic"}, NORTH)
    assert wish_of(automatic.pool, automatic.groups[0], {}).level


def test_areas_without_a_dhcpv6_server_are_the_prefixes() -> None:
    assert areas_of(full().groups[1]) == (Area(IPv6Network("2001:db8:1800::/40")),)


# ---------------------------------------------------------------- the first time
def test_d21_small_groups_are_placed_whole_on_the_emptiest_slots() -> None:
    maps = brought([wish("a", A, b4s=30), wish("b", B, b4s=20), wish("c", C, b4s=10)], {})
    assert {name: part.whole for name, one in maps.items() for part in one.parts} == {"a": 0, "b": 1, "c": 2}
    more = brought([*(wish(name, one) for name, one in (("a", A), ("b", B), ("c", C))), wish("d", area(4))], maps)
    assert more["d"].parts[0].whole == 3
    assert {name: more[name] for name in maps} == maps


def test_d21_a_group_is_spread_evenly_over_as_many_slots_as_it_asks_for() -> None:
    made = brought([wish("a", A, B, spread=3)], {})["a"]
    assert [part.areas for part in made.parts] == [(A, B)]
    assert shares(made.areas[A]) == {0: 86, 1: 85, 2: 85}
    assert made.levelled == 3


def test_load_counts_b4s_and_not_buckets() -> None:
    counts = {A: [Count(1000)] + [Count(0)] * 255}
    made = brought([wish("a", A, spread=2, counts=counts)], {})["a"]
    assert shares(made.areas[A]) == {0: 1, 1: 255}


def test_nobody_counted_yet_is_spread_all_the_same() -> None:
    assert shares(brought([wish("a", A, spread=4, counts={})], {})["a"].areas[A]) == dict.fromkeys(ALL, 64)


# ---------------------------------------------------------------- changes
def test_d21_merged_groups_stay_where_they_are() -> None:
    maps = brought([wish("a", A, spread=2), wish("b", B, spread=2)], {})
    merged = brought([wish("a", A, B, spread=4)], maps)["a"]
    assert merged.areas == {A: maps["a"].areas[A], B: maps["b"].areas[B]}
    assert merged.levelled == 4


def test_d21_a_divided_group_stays_where_it_is() -> None:
    maps = brought([wish("a", A, B, C, spread=4)], {})
    divided = brought([wish("a", A, B, spread=4), wish("d", C, spread=4)], maps)
    assert {**divided["a"].areas, **divided["d"].areas} == maps["a"].areas


def test_d21_halves_of_a_divided_group_end_on_different_slots() -> None:
    maps = brought([wish("a", A, B, spread=2, slots=(0, 1))], {})
    divided = brought([wish("a", A, slots=(0, 1)), wish("d", B, slots=(0, 1))], maps)
    assert {divided["a"].parts[0].whole, divided["d"].parts[0].whole} == {0, 1}
    assert moved(maps["a"].areas, {**divided["a"].areas, **divided["d"].areas}) == 256


def test_d21_an_area_between_two_groups_is_remembered() -> None:
    """`kubectl apply` brings one object after the other: an area may belong to nobody for a moment, or longer."""
    maps = brought([wish("a", A, B, spread=3), wish("c", C)], {})
    between = brought([wish("a", A, spread=3), wish("c", C)], maps)
    assert between["a"].areas == {A: maps["a"].areas[A]}
    assert between["a"].former == {B: maps["a"].areas[B]}
    taken = brought([wish("a", A, spread=3), wish("c", C), wish("d", B, spread=3)], between)
    assert taken["d"].areas == {B: maps["a"].areas[B]}
    assert taken["a"].former == between["a"].former, "until the other's map is in force: it may never be written"
    assert brought([wish("a", A, spread=3), wish("c", C), wish("d", B, spread=3)], taken)["a"].former == {}


def test_d21_an_area_that_leaves_is_remembered_until_its_new_group_has_a_map() -> None:
    """An operator that ends between the two writes, in either order, leaves one map that has it."""
    maps = brought([wish("a", A, B, spread=3)], {})
    asked = [wish("a", A, spread=3), wish("d", B, spread=3)]
    divided = brought(asked, maps)
    for written in (divided, maps | {"a": divided["a"]}, maps | {"d": divided["d"]}):
        after = brought(asked, written)
        assert {**after["a"].areas, **after["d"].areas} == maps["a"].areas
    assert brought(asked, divided)["a"].former == {}


def test_d21_where_an_area_is_counts_for_more_than_where_it_was() -> None:
    """It was remembered for a group that has moved it since, and passes it on."""
    maps = brought([wish("a", A, slots=(0,)), wish("d", B, slots=(1,))], {})
    maps["a"] = replace(maps["a"], former={B: (0,) * 256})
    passed = brought([wish("a", A, slots=(0, 1)), wish("c", B, slots=(0, 1)), wish("d", C)], maps)
    assert passed["c"].areas == {B: (1,) * 256}
    between = brought([wish("a", A, slots=(0, 1)), wish("d", C)], maps)
    assert (between["a"].former, between["d"].former) == ({}, {B: (1,) * 256})


def test_d21_areas_of_a_deleted_group_are_remembered_by_another() -> None:
    maps = brought([wish("a", A), wish("b", B, spread=2), wish("c", C)], {})
    without = brought([wish("a", A), wish("c", C)], maps)
    assert without["a"].former == {B: maps["b"].areas[B]}
    del maps["b"]
    again = brought([wish("a", A), wish("c", B, C, spread=3)], without)
    assert again["c"].areas[B] == without["a"].former[B]
    assert brought([wish("a", A), wish("c", B, C, spread=3)], again)["a"].former == {}
    assert brought([], without) == {}


@pytest.mark.parametrize("cut", sorted(BUCKETS.keys() - {"whole"}))
def test_d21_an_area_is_remembered_by_a_group_that_is_cut_otherwise(cut: Cut) -> None:
    """No other group is left: its buckets are remembered by its own cut, also in the text."""
    apart = wish("apart", A, C, spread=2, slots=(0, 1), cut="lastTwoLowNibbles")
    maps = brought([apart, wish("homes", B, spread=2, slots=(2, 3), cut=cut, counts={})], {})
    between = brought([apart], maps)["apart"]
    assert map_of(text_of(between), "apart") == between
    flats = wish("flats", B, spread=2, cut=cut, counts={})
    passed = brought([apart], {"apart": between})
    assert passed["apart"].former[B] == between.former[B]
    taken = brought([apart, flats], passed)
    assert taken["flats"].areas == {B: maps["homes"].areas[B]}
    assert brought([apart, flats], taken)["apart"] == maps["apart"]


# ---------------------------------------------------------------- groups that share a subnet
def lines(begins: str) -> Area:
    """The B4s of one subnet behind relays whose Interface-ID is this, or begins with it."""
    return A._replace(interface_id=begins)


@settings(deadline=None)
@given(
    st.integers(1, 4),
    st.sets(st.sampled_from(["a", "b", "c1*", "c2*", "d*"]), min_size=1),
    st.booleans(),
    st.booleans(),
)
def test_d21_a_group_that_is_divided_by_match_moves_nobody(
    spread: int, begins: set[str], together: bool, narrow: bool
) -> None:
    """All parts at once or one after another, by way of c* and of groups that nobody had before, and merged into one that has them all."""
    whole = lines("" if begins & {"a", "b", "d*"} or not narrow else "c*")
    maps = brought([wish("g", whole, spread=spread), wish("x", B, spread=2)], {})
    parts = [wish(f"g{number or ''}", lines(text), spread=spread) for number, text in enumerate(sorted(begins))]
    after = maps
    for number in (len(parts),) if together else range(1, len(parts) + 1):
        after = brought([*parts[:number], wish("x", B, spread=2)], after)
    assert {area: one.areas[area] for name, one in after.items() if name != "x" for area in one.areas} == dict.fromkeys(
        (lines(text) for text in begins), maps["g"].areas[whole]
    )
    merged = brought([wish("g", whole, spread=spread), wish("x", B, spread=2)], after)
    assert merged["g"].areas == maps["g"].areas


def test_d21_groups_that_are_merged_by_match_are_where_the_remaining_one_was() -> None:
    maps = brought([wish("b", lines("b*")), wish("a", lines("a*"))], {})
    assert [part.whole for name in "ab" for part in maps[name].parts] == [0, 1]
    for name in "ab":
        stand = standing([wish(name, lines(""), spread=2)], maps)[name]
        assert stand.areas[lines("")] == maps[name].areas[lines(f"{name}*")]
        assert stand.levelled == 1, "they move on as after a resize, counted"


def test_d21_b4s_that_have_moved_since_are_not_where_they_are_remembered() -> None:
    """Merged and divided again: by the map in force, and what that has is not remembered any more."""
    maps = brought([wish("a", lines("a*"), slots=(0,)), wish("b", lines("b*"), slots=(1,))], {})
    whole = [wish("a", lines(""), slots=(0, 1, 2))]
    merged = brought(whole, brought(whole, maps))
    assert merged["a"].former == {}
    divided = brought([wish("a", lines("a*")), wish("b", lines("b*"))], merged)
    assert {slots for one in divided.values() for slots in one.areas.values()} == {(0,) * 256}
    moved_since = brought([wish("a", lines("a*"), slots=(2,)), wish("b", lines("b*"), slots=(2,))], divided)
    assert brought([wish("a", lines(""))], moved_since)["a"].areas == {lines(""): (2,) * 256}


def test_d21_subnets_that_one_subnet_is_divided_into_stay_where_that_was() -> None:
    """Also in another group."""
    maps = brought([wish("a", Area(IPv6Network("2001:db8::/48")), spread=2)], {})
    divided = brought([wish("b", A, spread=2), wish("c", B, spread=2)], maps)
    assert {slots for one in divided.values() for slots in one.areas.values()} == set(maps["a"].areas.values())


@pytest.mark.parametrize(("old", "new", "least"), [(2, 3, 70), (3, 2, 85), (4, 5, 32), (1, 2, 116), (2, 1, 128)])
def test_d21_a_resized_group_moves_what_it_must(old: int, new: int, least: int) -> None:
    """Growing, a slot keeps a tenth above the mean: 93 of 128 buckets, where the mean of three is 85.3."""
    slots = (0, 1, 2, 3, 4)
    maps = brought([wish("a", A, spread=old, slots=slots)], {})
    resized = brought([wish("a", A, spread=new, slots=slots)], maps)["a"]
    assert moved(maps["a"].areas, resized.areas) == least
    assert (len(set(resized.areas[A])), resized.levelled) == (new, new)


def test_a_drained_slot_is_left_and_filled_again() -> None:
    maps = brought([wish("a", A, spread=3, slots=(0, 1, 2))], {})
    drained = brought([wish("a", A, spread=3, slots=(0, 2))], maps)
    assert moved(maps["a"].areas, drained["a"].areas) == 85
    assert set(drained["a"].areas[A]) == {0, 2}
    back = brought([wish("a", A, spread=3, slots=(0, 1, 2))], drained)
    assert set(back["a"].areas[A]) == {0, 1, 2}


def test_another_nat_pool_takes_the_group_along() -> None:
    maps = brought([wish("a", A, spread=2, slots=(0, 1))], {})
    assert set(brought([wish("a", A, spread=2, slots=(2, 3))], maps)["a"].areas[A]) == {2, 3}


def test_b4s_that_are_more_or_fewer_move_nobody() -> None:
    maps = brought([wish("a", A, spread=2), wish("b", B, spread=2)], {})
    busy = {A: [Count(900 if slot == 0 else 1) for slot in maps["a"].areas[A]]}
    assert brought([wish("a", A, spread=2, counts=busy), wish("b", B, spread=2)], maps) == maps


@pytest.mark.parametrize("how", ["asked", "automatic"])
def test_load_is_levelled_when_asked_for_or_always(how: str) -> None:
    maps = brought([wish("a", A, spread=2)], {})
    busy = wish("a", A, spread=2, counts={A: [Count(30 if slot == 0 else 10) for slot in maps["a"].areas[A]]})
    if how == "asked":
        maps = {"a": replace(maps["a"], levelled=0)}
    levelled = brought([replace(busy, level=how == "automatic")], maps)["a"]
    assert moved(maps["a"].areas, levelled.areas) == 35  # 128 × 30 are above 2,816 by 1,024
    assert levelled.levelled == 2


def test_new_areas_join_those_that_are_spread_widest() -> None:
    maps = brought([wish("a", A, spread=2), wish("b", B)], {})
    joined = brought([wish("a", A, B, C, spread=3)], maps)["a"]
    assert joined.areas[C] == joined.areas[A] != joined.areas[B]


def test_areas_within_an_area_are_where_that_is() -> None:
    maps = brought([wish("a", Area(IPv6Network("2001:db8:1000::/48")), spread=2)], {})
    narrow = Area(IPv6Network("2001:db8:1000:7::/64"), "dslam-7*")
    assert brought([wish("a", narrow, spread=2)], maps)["a"].areas[narrow] == next(iter(maps["a"].areas.values()))


def test_a_whole_group_is_divided_among_slots_once_a_server_tells_its_b4s_apart() -> None:
    maps = brought([wish("a", A, cut="whole", counts={A: [Count(2560)]})], {})
    spread = brought([wish("a", A, spread=2)], maps)["a"]
    assert (shares(spread.areas[A]), spread.cut) == ({0: 140, 1: 116}, "last")


# ---------------------------------------------------------------- refusals
def test_buckets_cut_otherwise_are_refused() -> None:
    maps = brought([wish("a", A, spread=2)], {})
    with pytest.raises(MapError) as refused:
        standing([wish("a", A, spread=2, cut="lastTwoLowNibbles", counts={})], maps)
    assert str(refused.value) == (
        "B4Group a: bucketBytes lastTwoLowNibbles is not allowed for 2001:db8:0:1::/64: its B4s are divided among several "
        "slots by last: bring them to one slot first (slots: 1), or keep last"
    )


def test_a_group_without_any_slot_is_refused() -> None:
    with pytest.raises(PlacementError, match=r"^B4Group a: no slot is left: .* end the drain of one$"):
        brought([wish("a", A, slots=())], {})


# ---------------------------------------------------------------- always
@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 50)), min_size=1, max_size=6), st.integers(0, 3))
def test_the_same_is_placed_the_same_in_any_order(groups: list[tuple[int, int]], first: int) -> None:
    wishes = [wish(f"g{number}", area(number), spread=spread, b4s=b4s) for number, (spread, b4s) in enumerate(groups)]
    placed = brought(wishes, {})
    assert brought(wishes[first:] + wishes[:first], {}) == placed
    assert brought(wishes, placed) == placed


def test_every_bucket_has_a_slot() -> None:
    for cut, size in BUCKETS.items():
        made = brought([wish("a", A, B, cut=cut, counts={})], {})["a"]
        assert [len(slots) for slots in made.areas.values()] == [size, size]
        assert UNPLACED not in made.areas[A]
