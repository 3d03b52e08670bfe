"""The bucket map as data: one text for one map, and what cannot be read."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv6Network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dslite_operator.distribution.buckets import BUCKETS
from dslite_operator.distribution.maps import (
    LARGEST_TEXT,
    Area,
    BucketMap,
    MapError,
    NewerMapError,
    area_of,
    hash_of,
    map_of,
    text_of,
)
from placement_histories import area

NAME = "edge/north"
ONE, TWO, SHARED = area(1), area(2), Area(IPv6Network("2001:db8:9::/48"), "dslam-7 eth*")
HALVES = (0,) * 128 + (3,) * 128
AREAS = {TWO: HALVES, ONE: HALVES, SHARED: (2,) * 256}
MAP = BucketMap(NAME, "east", "last", AREAS, (0, 2, 3), 2, former={area(3): (1,) * 256})
MOVED = replace(MAP, moved_at=datetime(2026, 11, 26, 2, 30, tzinfo=UTC), moved_b4s=9000)
TEXT = (
    '{"areas":['
    '{"at":["2001:db8:0:1::/64","2001:db8:0:2::/64"],"slots":{"0":"00-7f","3":"80-ff"}},'
    '{"at":["2001:db8:9::/48 dslam-7 eth*"],"slots":{"2":"00-ff"}}],'
    '"bucketBytes":"last","chosen":[0,2,3],"former":[{"at":["2001:db8:0:3::/64"],"slots":{"1":"00-ff"}}],'
    '"group":"edge/north","levelled":2,"moved":null,"pool":"east","version":1}'
)


def test_text_of_a_map() -> None:
    assert text_of(MAP) == TEXT
    assert map_of(TEXT, NAME) == MAP
    assert map_of(text_of(MOVED), NAME) == MOVED
    assert hash_of(TEXT) == hash_of(text_of(replace(MAP, areas=dict(reversed(list(MAP.areas.items()))))))
    assert hash_of(TEXT) != hash_of(text_of(MOVED))


@given(st.text())
def test_an_area_is_read_as_it_was_written(interface_id: str) -> None:
    """Also where its Interface-ID ends in a space: its B4s were taken for those of another area, and placed anew."""
    area = ONE._replace(interface_id=interface_id)
    assert area_of(str(area)) == area


def test_parts_are_areas_whose_buckets_have_the_same_slots() -> None:
    spread, whole = MAP.parts
    assert (spread.areas, spread.whole, {slot: len(buckets) for slot, buckets in spread.buckets().items()}) == (
        (ONE, TWO),
        None,
        {0: 128, 3: 128},
    )
    assert (whole.areas, whole.whole) == ((SHARED,), 2)


@settings(deadline=None)
@given(st.sampled_from(sorted(BUCKETS)), st.integers(0, 1 << 32), st.integers(1, 8), st.integers(1, 5))
def test_every_map_is_read_as_it_was_written(cut: Any, seed: int, slots: int, areas: int) -> None:
    rng = random.Random(seed)
    made = {area(number): tuple(rng.randrange(slots) for _ in range(BUCKETS[cut])) for number in range(areas)}
    bucket_map = BucketMap("g", "east", cut, made, (0,) * rng.randrange(9), rng.randrange(9))
    assert map_of(text_of(bucket_map), "g") == bucket_map


def edited(**changes: Any) -> str:
    return json.dumps({**json.loads(TEXT), **changes})


def part(slots: dict[str, str], *areas: str) -> dict[str, Any]:
    return {"at": list(areas or ["2001:db8::/64"]), "slots": slots}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "JSONDecodeError"),
        (TEXT[:-40], "JSONDecodeError"),
        ("[]", "TypeError"),
        ("{}", "KeyError: 'version'"),
        (edited(bucketBytes="first"), "KeyError: 'first'"),
        (edited(areas=[part({"0": "00-fe"})]), "not each of 256 buckets once"),
        (edited(areas=[part({"0": "00-ff", "1": "80"})]), "not each of 256 buckets once"),
        (edited(areas=[part({"0": "00-100"})]), "not each of 256 buckets once"),
        (edited(areas=[part({"0": "zz"})]), "ValueError"),
        (edited(areas=[part({"a": "00-ff"})]), "ValueError"),
        (edited(areas=[part({"-1": "00-ff"})]), "-1 is no slot"),
        (edited(areas=[part({"0": "00-ff"}, "2001:db8::1/64")]), "host bits"),
        (edited(former=[part({})]), "not each of 256 buckets once"),
        (edited(areas=[part({"0": "00-ff"}), part({"1": "00-ff"})]), "an area stands there twice"),
        (edited(moved={"at": "soon", "b4s": 1}), "Invalid isoformat"),
        (edited(moved={"at": "2026-11-26T02:30:00", "b4s": 1}), "no time zone"),
        (edited(levelled=None), "TypeError"),
        (edited(group="edge/south"), "that of B4Group edge/south"),
    ],
)
def test_a_damaged_map_is_refused(text: str, said: str) -> None:
    with pytest.raises(MapError, match=r"^B4Group edge/north: ") as refused:
        map_of(text, NAME)
    assert said in str(refused.value)
    assert not isinstance(refused.value, NewerMapError)


def test_a_newer_map_says_who_reads_it() -> None:
    with pytest.raises(NewerMapError, match="version 3, and this operator reads 2: run the newer operator"):
        map_of(edited(version=3, areas="otherwise"), NAME)


def test_a_map_that_no_configmap_holds_is_refused() -> None:
    rng = random.Random(0)
    areas = {area(number): tuple(rng.randrange(16) for _ in range(256)) for number in range(1200)}
    with pytest.raises(MapError, match=f"{LARGEST_TEXT} at most are kept: divide the group"):
        text_of(BucketMap("g", "east", "last", areas))
