"""What a server is asked at each look: how soon a name that is told nowhere shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv6Network

from assignments import OTHER, S0, S1, S2, spread, whole
from dhcp_network import HOMES
from dslite_operator.distribution.buckets import bucket_of
from dslite_operator.distribution.maps import Area
from dslite_operator.distribution.providers.asking import QUESTIONS, questions
from dslite_operator.distribution.providers.provider import B4, Assignment

RARE = (S0,) * 200 + (S1,) * 55 + (S2,)


def looks(told: Sequence[Assignment], number: int) -> Iterator[list[tuple[B4, str | None]]]:
    turn = 0
    for _ in range(number):
        asked = questions(told, turn)
        yield asked
        turn += len(asked)


def test_every_name_is_asked_for_in_the_first_look_however_few_buckets_it_has() -> None:
    (asked,) = looks([spread(RARE)], 1)
    assert len(asked) == QUESTIONS
    assert {name for _, name in asked} == {S0, S1, S2}
    assert all(name == RARE[bucket_of(b4.duid, "last")] for b4, name in asked)


def test_every_bucket_is_asked_for_in_time() -> None:
    """200 of one name, which is every third question."""
    asked = [b4.duid for look in looks([spread(RARE)], 3 * 200 // QUESTIONS + 1) for b4, _ in look]
    assert {bucket_of(duid, "last") for duid in asked} == set(range(256))


def test_names_of_many_groups_are_asked_for_in_as_many_looks_as_they_fill() -> None:
    """A thousand groups with four names each: 4,000 questions, so 125 looks, and none is asked twice before."""
    told = [
        spread(
            (S0, S1, S2, None),
            "lastNibble",
            Area(IPv6Network((0x20010DB88000 << 80 | number << 64, 64))),
            group=f"isp/{number}",
        )
        for number in range(1000)
    ]
    asked = [(b4.subnet, name) for look in looks(told, 4 * 1000 // QUESTIONS) for b4, name in look]
    assert len(set(asked)) == len(asked) == 4000


def test_every_area_of_a_group_is_asked_in_turn_and_none_more_often_than_that() -> None:
    areas = [Area(HOMES), Area(OTHER, "north-*")]
    (asked,) = looks([whole("isp/homes", S0, *areas)], 1)
    assert {(b4.subnet, b4.interface_id) for b4, _ in asked} == {(HOMES, ""), (OTHER, "north-")}
    assert len(asked) == len(areas)
    assert questions([], 7) == []
