"""Areas between two groups: each is told by one of them at every moment, whatever could be written down."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cluster_objects import configured, group, pool
from dslite_contract.schema import B4Group
from dslite_operator.distribution.maps import Area, BucketMap
from dslite_operator.distribution.transit import told_maps
from dslite_operator.distribution.wishes import areas_of

NORTH, SOUTH = "edge/north", "edge/south"


def asking(name: str, number: int) -> Any:
    """A group with one subnet."""
    dhcp = {"server": "metro", "subnets": [f"2001:db8:1{number}00::/48"]}
    return group(name, f"2001:db8:1{number}00::/40", dhcp=dhcp)


GROUPS = configured(pool(), asking("north", 0), asking("south", 1)).groups
(KEPT,), (PASSED,) = (areas_of(one) for one in GROUPS)
OTHER = areas_of(configured(pool(), asking("x", 2)).groups[0])[0]


def on(name: str, *areas: Area, slot: int = 0, former: tuple[Area, ...] = ()) -> BucketMap:
    slots = (slot,) * 256
    return BucketMap(name, "east", "last", dict.fromkeys(areas, slots), former=dict.fromkeys(former, slots))


def told(*maps: BucketMap, gone: tuple[BucketMap, ...] = (), groups: tuple[B4Group, ...] = GROUPS) -> list[BucketMap]:
    return list(told_maps(groups, {one.group: one for one in maps}, gone).values())


def test_what_both_have_written_down_is_told_and_nothing_is_remembered_at_the_server() -> None:
    """So a server is not told again when the first group's map forgets it."""
    south = on(SOUTH, PASSED)
    assert told(on(NORTH, KEPT, former=(PASSED,)), south) == told(on(NORTH, KEPT), south) == [on(NORTH, KEPT), south]


def test_until_the_other_has_it_in_a_map_who_had_it_tells_it() -> None:
    assert told(on(NORTH, KEPT, former=(PASSED, OTHER))) == [on(NORTH, KEPT, PASSED, former=(OTHER,))]
    assert told(on(NORTH, KEPT, former=(PASSED,)), groups=GROUPS[:1]) == [on(NORTH, KEPT, former=(PASSED,))], (
        "nobody asks"
    )


def test_what_has_arrived_is_told_no_more_by_a_group_whose_map_could_not_be_written() -> None:
    south = on(SOUTH, PASSED, slot=1)
    assert told(on(NORTH, KEPT, PASSED), south) == [on(NORTH, KEPT), south]
    assert told(on(NORTH, PASSED), south) == [south]


def test_two_that_exchange_areas_and_one_that_cannot_be_written() -> None:
    """North has both then, and tells what south ought to have until it can."""
    exchanged = configured(pool(), asking("north", 1), asking("south", 0)).groups
    north, south = on(NORTH, PASSED, former=(KEPT,), slot=1), on(SOUTH, PASSED)
    assert told(north, south, groups=exchanged) == [on(NORTH, PASSED, KEPT, slot=1)]


def test_a_group_that_is_gone_is_told_until_another_has_what_is_asked_for() -> None:
    gone = on("edge/flats", PASSED, OTHER)
    north = on(NORTH, KEPT)
    assert told(north, gone=(gone,)) == [north, on("edge/flats", PASSED, former=(OTHER,))]
    assert told(north, on(SOUTH, PASSED), gone=(gone,)) == [north, on(SOUTH, PASSED)]


def test_of_two_that_remember_an_area_one_tells_it() -> None:
    first, gone = on(NORTH, KEPT, former=(PASSED,)), on("edge/flats", PASSED)
    assert told(first, gone=(gone,)) == [on(NORTH, KEPT, PASSED)]


def test_what_is_remembered_by_another_cut_is_told_by_the_groups_own_where_it_can() -> None:
    halves = tuple(bucket // 8 for bucket in range(16))
    north = replace(on(NORTH, KEPT), former={PASSED: halves}, cuts={PASSED: "lastNibble"})
    (both,) = told(north)
    assert (both.areas[PASSED], both.former, both.cuts) == (halves * 16, {}, {})
    apart = replace(north, former={PASSED: halves * 16}, cuts={PASSED: "lastTwoLowNibbles"})
    assert told(apart) == [apart]
    assert told(apart, on(SOUTH, PASSED)) == [on(NORTH, KEPT), on(SOUTH, PASSED)]
