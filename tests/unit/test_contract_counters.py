"""Names of counters: unique, kebab-case, described; their numbers are their places."""

from __future__ import annotations

import re

import pytest

from dslite_contract.counters import (
    DROP_NAMES,
    DROP_NUMBER,
    DROPS,
    EVENT_NAMES,
    EVENT_NUMBER,
    EVENTS,
    SIDES,
    TRAFFIC,
    TRAFFIC_NUMBER,
)

KEBAB_CASE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def test_names_are_unique() -> None:
    names = [*SIDES, *TRAFFIC, *DROP_NAMES, *EVENT_NAMES]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", [*SIDES, *TRAFFIC, *DROP_NAMES, *EVENT_NAMES])
def test_names_are_kebab_case(name: str) -> None:
    assert KEBAB_CASE.fullmatch(name)


def test_drops_are_called_so_and_nothing_else_is() -> None:
    assert all(name.startswith("drop-") for name in DROP_NAMES)
    assert not any(name.startswith("drop-") for name in (*EVENT_NAMES, *TRAFFIC))


def test_every_name_says_what_it_counts() -> None:
    assert all(sentence and not sentence.endswith(".") for sentence in (DROPS | EVENTS).values())


@pytest.mark.parametrize(
    ("names", "numbers"), [(DROP_NAMES, DROP_NUMBER), (EVENT_NAMES, EVENT_NUMBER), (TRAFFIC, TRAFFIC_NUMBER)]
)
def test_numbers_are_places(names: tuple[str, ...], numbers: dict[str, int]) -> None:
    assert [numbers[name] for name in names] == list(range(len(names)))
