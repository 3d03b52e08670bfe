"""Which slot a lab's B4s are told, and what a changed file moves: the operator's functions on a lab's plan. No root needed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

import pytest
import yaml

from aftr_lab.distribution.distribute import check
from aftr_lab.distribution.following import Moved
from aftr_lab.distribution.placing import Maps, carried_on, circumstances, maps_in, moves_of, slot_told, with_server
from aftr_lab.distribution.report import announced, arrived, described, put_off, summary
from aftr_lab.distribution.servers import Told, check_names
from aftr_lab.errors import LabError
from aftr_lab.plan import B4, Options, describe, make_plan
from aftr_lab.provider import CLIENTS
from dslite_contract.load import Configuration, load_config
from dslite_contract.slots import slot_fqdn
from dslite_operator.distribution.counting import Softwire
from dslite_operator.distribution.decision import Decision
from dslite_operator.distribution.dns.resolving import Standing
from dslite_operator.distribution.providers.provider import Given
from running_lab import HOMES, HOMES_DIVIDED, SAMPLE

SUBNETS = [IPv6Network("2001:db8:1000::/36"), IPv6Network("2001:db8:2000::/36")]
NOW = datetime(2026, 11, 26, 4, tzinfo=UTC)


def documents(file: Path = HOMES, **spec: Any) -> list[dict[str, Any]]:
    found = list(yaml.safe_load_all(file.read_text()))
    for group in found[1:]:
        group["spec"] |= spec
    return found


def loaded(file: Path = HOMES, **spec: Any) -> Configuration:
    return load_config(yaml.safe_dump_all(documents(file, **spec)))


def homes(b4s: int) -> Sequence[B4]:
    return make_plan("test", loaded(), Options(b4s=b4s, clients=CLIENTS)).b4s


def decided(
    configuration: Configuration, b4s: Sequence[B4], maps: Maps, softwires: Sequence[Softwire] = (), resolved: int = 4
) -> dict[str, Decision]:
    names = [slot_fqdn(configuration.pool, slot) for slot in range(resolved)]
    leases = [
        Given(subnet, b4.duid, b4.prefix, 7200) for b4 in b4s for subnet in SUBNETS if b4.prefix.subnet_of(subnet)
    ]
    return carried_on(configuration, maps, circumstances(configuration, leases, softwires, names, NOW))


def told(decisions: dict[str, Decision], b4s: Sequence[B4]) -> list[int | None]:
    return [slot_told(maps_in(decisions), b4) for b4 in b4s]


def test_b4s_of_a_group_are_in_all_of_its_prefixes() -> None:
    assert [str(b4.prefix) for b4 in homes(3)] == [
        "2001:db8:1000::/56",
        "2001:db8:2000:100::/56",
        "2001:db8:1000:200::/56",
    ]


def test_d21_a_group_that_is_divided_is_levelled_and_the_other_half_stays() -> None:
    b4s = homes(2)
    together = decided(loaded(), b4s, {})
    assert told(together, b4s) == [0, 0]
    divided = decided(loaded(HOMES_DIVIDED), b4s, maps_in(together))
    assert told(divided, b4s) == [1, 0]
    assert told(decided(loaded(HOMES_DIVIDED, rebalance="manual"), b4s, maps_in(together)), b4s) == [0, 0]
    assert told(decided(loaded(), b4s, maps_in(divided)), b4s) == [0, 0], "one slot is asked for"
    assert told(decided(loaded(HOMES_DIVIDED), b4s, maps_in(divided)), b4s) == [1, 0], "nothing is left to be done"


def test_d21_slots_more_and_less_move_a_few_b4s_and_bring_them_back() -> None:
    b4s = homes(8)
    two = decided(loaded(slots=2, rebalance="manual"), b4s, {})
    three = decided(loaded(slots=3, rebalance="manual"), b4s, maps_in(two))
    again = decided(loaded(slots=2, rebalance="manual"), b4s, maps_in(three))
    assert told(two, b4s) == [0, 0, 0, 0, 1, 1, 1, 1]
    assert told(three, b4s) == [0, 0, 2, 0, 1, 1, 1, 2]
    assert told(again, b4s) == told(two, b4s)


def test_a_group_that_names_no_server_is_told_by_the_labs() -> None:
    configuration = with_server(load_config(SAMPLE))
    assert [group.spec.dhcp and group.spec.dhcp.server for group in configuration.groups] == ["lab", "lab"]
    assert [group.spec.dhcp and group.spec.dhcp.subnets for group in configuration.groups] == [
        (one,) for one in SUBNETS
    ]
    b4s = make_plan("test", load_config(SAMPLE), Options(clients=CLIENTS)).b4s
    assert told(decided(configuration, b4s, {}), b4s) == [0, 1]
    assert with_server(loaded()) == loaded()


def test_moves_have_the_sessions_of_the_slot_that_is_left() -> None:
    b4s = homes(2)
    softwires = [
        Softwire(IPv6Address("2001:db8:1000::1"), 0, 3),
        Softwire(IPv6Address("2001:db8:1000::1"), 2, 5),
        Softwire(IPv6Address("2001:db8:2000:100::1"), 0, 7),
    ]
    before = maps_in(decided(loaded(), b4s, {}))
    divided = decided(loaded(HOMES_DIVIDED), b4s, before, softwires)
    (move,) = moves = moves_of(b4s, before, maps_in(divided), softwires)
    assert (move.b4.name, move.old, move.new, move.sessions) == ("b4-1", 0, 1, 3)
    first, *rows = announced(moves, 2, divided)
    assert first == (
        "B4s that are told another slot: 1 of 2; each moves at its next renewal, within 5 s, gets another external address and "
        "loses its sessions once: 3 in all"
    )
    assert rows == ["  b4-1: slot 0 → 1, 3 sessions"]
    moved = Moved(move, 4.21, 2)
    assert arrived(moved, ["s0", "s1"]) == "  4.2 s: b4-1 follows s1; 2 sessions on slot 0 ended"
    assert summary(b4s, Told(before, divided), [moved], softwires) == {
        "moved": [described(moved)],
        "stayed": [{"b4": "b4-2", "slot": 0, "sessions": 7}],
        "sessionsLost": 2,
        "seconds": 4.2,
        "later": {},
    }
    assert moves_of(b4s, {}, before, softwires) == [], "who was told nothing does not move"


def test_more_moves_than_an_hour_may_have_are_put_off_and_said() -> None:
    b4s = homes(8)
    before = maps_in(decided(loaded(slots=2, rebalance="manual"), b4s, {}))
    paced = decided(loaded(slots=3, rebalance="manual", maxMovesPerHour=1), b4s, before)
    assert len(moves_of(b4s, before, maps_in(paced), ())) == 1
    assert "B4s are told another slot at 2026-11-26 05:00 UTC" in put_off(paced)["default/homes"]
    assert list(announced([], 8, paced))[1].startswith("B4Group default/homes, later: ")


def test_o02_a_name_that_does_not_resolve_is_not_handed_out() -> None:
    b4s = homes(2)
    before = maps_in(decided(loaded(), b4s, {}))
    held = decided(loaded(HOMES_DIVIDED), b4s, before, resolved=1)
    assert told(held, b4s) == [0, 0]
    with pytest.raises(
        LabError, match=r"no B4 is told anything new: it is silent; s1\.east\.aftr\.example\.net is not known"
    ):
        check_names(held, Standing(trouble=("it is silent",)))
    check_names(decided(loaded(HOMES_DIVIDED), b4s, before), Standing())


def test_a_lab_is_brought_to_other_groups_in_its_own_prefixes_alone() -> None:
    plan = make_plan("test", loaded(), Options(clients=CLIENTS))
    check(plan, describe(plan), loaded(HOMES_DIVIDED))
    elsewhere = documents(prefixes=["2001:db8:3000::/36"], dhcp=None)
    with pytest.raises(LabError, match="B4Group homes has 2001:db8:3000::/36: this lab was built with"):
        check(plan, describe(plan), load_config(yaml.safe_dump_all(elsewhere)))
    other = documents()
    other[0]["metadata"]["name"] = other[1]["spec"]["poolRef"]["name"] = "west"
    with pytest.raises(LabError, match="the lab's pool is east, not west"):
        check(plan, describe(plan), load_config(yaml.safe_dump_all(other)))
    asked_for = make_plan("test", loaded(), Options())
    with pytest.raises(LabError, match="bring it up with --client"):
        check(asked_for, describe(asked_for), loaded())
