"""What a drained slot costs, said beforehand by the groups' statuses, and how far the drain is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cluster_objects import configured, group, pool
from dslite_contract.schema import B4Group
from dslite_contract.slots import SlotError
from dslite_operator.distribution.ground import drains_of, spelled
from dslite_operator.names import DRAIN_SLOTS
from dslite_operator.plugin.moving import MovingError, Share, beforehand, check, place_of, progress, shares_of, used

DOCUMENT = (Path(__file__).parents[2] / "docs/distribution.md").read_text()
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
DHCP = {"server": "metro", "subnets": ["2001:db8:1000::/48"]}


def homes(**spec: Any) -> B4Group:
    (found,) = configured(pool(), group("homes", "2001:db8:1000::/36", **{"dhcp": DHCP, **spec})).groups
    return found


def share(told: int = 1000, softwires: int = 1000, **spec: Any) -> Share:
    return Share(homes(**spec), told, 12 * told, softwires, timedelta(minutes=30))


def test_a_place_is_a_pool_and_a_slot() -> None:
    assert place_of("east/3") == ("east", 3)
    for text in ("east", "east/x", "east/3/4", "/3"):
        with pytest.raises(MovingError, match=f"{text} is not a slot: give POOL/SLOT"):
            place_of(text)


def test_o03_the_cost_is_said_beforehand() -> None:
    (line,) = beforehand(3, [share()], NOW)
    assert line == (
        "B4Group homes: T1 is 5 min from now on, and 30 min later, when all leases have that, 1,000 B4s are told another slot at "
        "2026-11-26 12:30 UTC, and have moved by 2026-11-26 12:35 UTC; each gets another external address and loses its "
        "established sessions once: 12,000 in all"
    )
    assert f"> {line}\n" in DOCUMENT


def test_d21_at_most_so_many_go_in_an_hour_and_in_the_window() -> None:
    (line,) = beforehand(3, [share(maxMovesPerHour=400)], NOW)
    assert "in 3 steps from 2026-11-26 12:30 to 2026-11-26 14:30 UTC, and have moved by 2026-11-26 14:35" in line
    assert line.endswith("12,000 in all")
    (line,) = beforehand(3, [share(moveWindow={"start": "02:00", "end": "05:00"})], NOW)
    assert "told another slot at 2026-11-27 02:00 UTC" in line


def test_b05_who_is_there_by_a_name_of_his_own_is_counted() -> None:
    lines = list(beforehand(3, [share(told=10, softwires=13)], NOW))
    assert lines[-1].startswith("3 B4s are on slot 3 without being told it")
    assert used([share(told=10, softwires=13), share(told=5, softwires=2)]) == 18


def test_the_last_slot_of_a_nat_pool_is_not_drained() -> None:
    two = configured(pool(slots=2, nat={"pools": [{"name": "default", "prefixes": ["20.0.0.0/24"]}]})).pool
    check(two, 0, {}, [homes()])
    with pytest.raises(MovingError, match=r"slot 0 is the last that carries NAT pool default of B4Group homes"):
        check(two, 0, {1: NOW}, [homes()])
    with pytest.raises(SlotError, match=r"slot 7 does not exist"):
        check(two, 7, {}, [homes()])


def test_progress_is_by_what_b4s_are_told_and_where_they_are() -> None:
    soon, _, later = (NOW + timedelta(minutes=number) for number in (10, 20, 40))
    assert list(progress(3, NOW, [share()], soon))[1:] == [
        "B4Group homes: 1,000 B4s are told another slot from 2026-11-26 12:30 UTC on"
    ]
    assert list(progress(3, NOW, [share(told=0, softwires=7)], later))[1:] == [
        "B4Group homes: 0 B4s are still told slot 3, 7 are still on it"
    ]
    assert list(progress(3, NOW, [share(0, 0)], later))[1:] == ["no B4 of any group is told slot 3 or on it"]


def test_shares_are_read_from_statuses() -> None:
    numbers = {"slot": 3, "fqdn": "s3", "told": 5, "sessions": 60, "softwires": 4}
    status = {"renewSeconds": 1800, "slots": [numbers]}
    assert shares_of(3, [(homes(), status), (homes(), {})]) == [Share(homes(), 5, 60, 4, timedelta(minutes=30))]
    assert shares_of(2, [(homes(), status)]) == []


def test_drains_stand_in_an_annotation() -> None:
    drains = {3: NOW, 12: NOW + timedelta(hours=1)}
    body = {"metadata": {"annotations": {DRAIN_SLOTS: spelled(drains)}}}
    assert drains_of(body) == drains
    assert spelled({}) is None
    assert drains_of({"metadata": {"annotations": {DRAIN_SLOTS: "3=soon x=1 4=2026-11-26T12:00:00"}}}) == {}
