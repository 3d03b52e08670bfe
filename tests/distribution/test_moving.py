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
from dslite_operator.plugin.moving import (
    MovingError,
    Share,
    beforehand,
    check,
    not_counted,
    place_of,
    progress,
    refusal,
    shares_of,
    staying,
    unattended,
    used,
)

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


# ---------------------------------------------------------------- what is not known is not nothing
def body(**changed: Any) -> dict[str, Any]:
    return {**group("homes", "2001:db8:1000::/36", dhcp=DHCP), **changed}


def test_o03_a_slot_is_not_drained_unasked_while_nobody_says_who_uses_it() -> None:
    """The operator is away, or waits for an AFTR: no numbers, and so no B4s that would be in the way."""
    (line,) = not_counted([body()])
    assert line == "B4Group homes: on which slots its B4s are is not known (the operator has not seen it)"
    said = {
        "conditions": [{"type": "Provisioned", "status": "True", "message": "no B4 moves before"}],
        "renewSeconds": 1800,
    }
    (line,) = not_counted([body(status=said)])
    assert line.endswith("is not known (no B4 moves before)")
    assert refusal("east/3", [], [line]) == (
        "who uses slot east/3 is not known: see to that first; with --yes T1 is shortened now all the same, and B4s move "
        "once they are counted"
    )
    assert list(progress(3, NOW, [], NOW, [line]))[1:] == [line]


def test_o03_numbers_of_what_a_group_asked_for_before_are_no_numbers() -> None:
    """A subnet was added since, and the operator has not seen it."""
    slots = [{"slot": 1, "fqdn": "s1", "told": 5, "sessions": 60, "softwires": 4}]
    one = body(status={"observedGeneration": 1, "slots": slots})
    assert list(not_counted([one])) == []
    one["metadata"]["generation"] = 2
    (line,) = not_counted([one])
    assert line.startswith("B4Group homes: on which slots its B4s are is not known")


def test_o03_numbers_without_an_operator_are_old() -> None:
    def lease(renewed: datetime, holder: str = "one") -> dict[str, Any]:
        return {"spec": {"holderIdentity": holder, "renewTime": f"{renewed:%Y-%m-%dT%H:%M:%S.%fZ}"}}

    at_work, away = lease(NOW - timedelta(seconds=20)), lease(NOW - timedelta(hours=3))
    assert list(unattended([away, at_work], NOW)) == []
    assert list(unattended([away], NOW)) == [
        "no operator is at work since 2026-11-26 09:00 UTC: who uses the slot was counted before that"
    ]
    for none in ([], [lease(NOW, "")]):
        assert list(unattended(none, NOW)) == ["no operator is at work: nobody has counted who uses the slot"]


def test_a_slot_that_nobody_uses_is_drained_and_one_that_is_used_is_not() -> None:
    counted = {"observedGeneration": 1, "slots": [{"slot": 1, "fqdn": "s1", "told": 5, "sessions": 60, "softwires": 4}]}
    assert list(not_counted([body(status=counted), group("shops", "2001:db8:2000::/36")])) == []
    assert refusal("east/3", [], []) == ""
    assert refusal("east/3", [share(told=5, softwires=7)], []) == (
        "slot east/3 is used by 7 B4s: give --yes to move them"
    )


def test_a_group_that_asks_for_what_is_wrong_has_b4s_all_the_same() -> None:
    counted = {"observedGeneration": 1, "slots": [{"slot": 3, "fqdn": "s3", "told": 5, "sessions": 60, "softwires": 4}]}
    wrong = body(status=counted, spec={**body()["spec"], "slots": 0})
    (line,) = not_counted([wrong])
    assert line.startswith("B4Group homes: what it asks for is wrong")


@pytest.mark.parametrize(("subscribers", "many"), [(40, "40"), (None, "an unknown number of")])
def test_b4s_of_groups_that_no_server_tells_are_said_to_stay(subscribers: int | None, many: str) -> None:
    slots = [{"slot": 3} if subscribers is None else {"slot": 3, "subscribers": subscribers}]
    (line,) = staying(3, {"status": {"slots": slots}}, [body(), group("shops", "2001:db8:2000::/36")])
    assert line == (
        f"no DHCPv6 server tells the B4s of shops a slot: they stay where they are; slot 3 has {many} subscribers in all"
    )
    assert list(progress(3, NOW, [], NOW, others=[line]))[1:] == [
        line,
        "no B4 of any other group is told slot 3 or on it",
    ]
    assert list(staying(3, {"status": {"slots": slots}}, [body()])) == []
    assert (
        list(staying(3, {"status": {"slots": [{"slot": 3, "subscribers": 0}]}}, [group("shops", "2001:db8::/36")]))
        == []
    )


def test_drains_stand_in_an_annotation() -> None:
    drains = {3: NOW, 12: NOW + timedelta(hours=1)}
    body = {"metadata": {"annotations": {DRAIN_SLOTS: spelled(drains)}}}
    assert drains_of(body) == drains
    assert spelled({}) is None
    for text in ("3=soon x=1 4=2026-11-26T12:00:00", "0=9999-12-31T23:59:59+00:00", "0=9000-01-01T00:00:00+00:00"):
        assert drains_of({"metadata": {"annotations": {DRAIN_SLOTS: text}}}) == {}
