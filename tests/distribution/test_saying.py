"""The conditions and numbers of a B4Group, each with the sentence that explains it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Address, IPv6Network
from typing import Any

from cluster_objects import configured, pool
from dslite_contract.status import B4GroupStatus
from dslite_operator.distribution.counting import Softwire
from dslite_operator.distribution.decision import Decision
from dslite_operator.distribution.in_force import Result
from dslite_operator.distribution.maps import Area, BucketMap, hash_of, text_of
from dslite_operator.distribution.moves import Batch, Move
from dslite_operator.distribution.observed import Observed
from dslite_operator.distribution.saying import LISTED, UNCOUNTED, Server, group_fields, names_of, provisioned
from dslite_operator.distribution.wishes import Count

POOL = configured(pool()).pool
AREA = Area(IPv6Network("2001:db8:40::/64"))
MAP = BucketMap("edge/homes", "east", "lastNibble", {AREA: (0,) * 8 + (1,) * 8}, (0, 1), 2)
COUNTS = {AREA: [Count(10, 30)] * 16}
NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
MOVING = Batch(NOON, NOON + timedelta(minutes=30), (Move((AREA,), 0, 0, 1, 10, 30),))
KEA = Server("metro", reached=True, settled=True, trouble="")
TOLD = Result(True, MAP, decided=Decision(MAP, COUNTS))


def said(server: Server | None = KEA, result: Result = TOLD) -> tuple[str, str, str]:
    verdict = provisioned(server, "metro", result)
    return verdict.status, verdict.reason, verdict.message


def decided(**changed: Any) -> Result:
    assert TOLD.decided is not None
    return replace(TOLD, decided=replace(TOLD.decided, **changed))


# ---------------------------------------------------------------- conditions
def test_what_a_server_tells_is_named_with_its_map() -> None:
    assert said() == (
        "True", "Told", f"DHCPv6 server metro tells slots 0, 1, by bucket map {hash_of(text_of(MAP))}",
    )  # fmt: skip


def test_moves_are_said_with_what_they_cost() -> None:
    status, reason, message = said(result=decided(batches=(MOVING,)))
    assert (status, reason) == ("True", "Moving")
    assert message.endswith("10 B4s are told another slot at 2026-11-26 12:00 UTC, and have moved by 2026-11-26 12:30 UTC; "
                            "each gets another external address and loses its established sessions once: 30 in all")  # fmt: skip


def test_names_that_hold_b4s_back_are_named() -> None:
    assert (
        "B4s stay where they are until these names resolve at every server: s2"
        in said(result=decided(missing=("s2",)))[2]
    )
    assert said(result=decided(map=None, missing=("s0", "s1"))) == (
        "False", "Waiting", "nobody is told yet: s0, s1 must resolve at every DNS server first",
    )  # fmt: skip


def test_that_nobody_moves_uncounted_is_said() -> None:
    assert said(result=decided(counted=False))[2].endswith(f"; {UNCOUNTED}")


def test_trouble_is_said_in_its_own_words() -> None:
    assert said(None)[:2] == ("False", "UnknownServer")
    silent = Server("metro", reached=False, settled=False, trouble="Kea at x does not answer")
    assert said(silent) == ("False", "Unreachable", "Kea at x does not answer; nothing is changed there")
    assert said(replace(silent, trouble="")) == ("Unknown", "Asking", "DHCPv6 server metro was not heard of yet")
    refusing = Server("metro", reached=True, settled=False, trouble="Kea at x refuses config-set: no")
    assert said(refusing) == ("False", "Refused", "Kea at x refuses config-set: no")
    assert said(replace(refusing, trouble=""))[:2] == ("Unknown", "Telling")
    assert said(result=TOLD.stopped("no slot is left"))[:2] == ("False", "Refused")


# ---------------------------------------------------------------- numbers
def test_numbers_of_slots_moves_and_strays_fit_the_definition() -> None:
    softwires = tuple(Softwire(IPv6Address("2001:db8:40::") + number, 3) for number in range(LISTED + 8))
    seen = Observed(softwires=(*softwires, softwires[0]._replace(slot=2)))
    status = group_fields(POOL, replace(decided(batches=(MOVING,)), seen=seen), timedelta(minutes=30))
    assert [(one["slot"], one["told"], one["sessions"], one["softwires"]) for one in status["slots"]] == [
        (0, 80, 240, 0), (1, 80, 240, 0), (2, 0, 0, 1), (3, 0, 0, LISTED + 8),
    ]  # fmt: skip
    assert status["moves"] == {
        "left": 10, "sessions": 30, "steps": 1, "next": "2026-11-26T12:00:00Z", "done": "2026-11-26T12:30:00Z",
    }  # fmt: skip
    assert (status["strays"], len(status["straySoftwires"]), status["renewSeconds"]) == (LISTED + 9, LISTED, 1800)
    assert B4GroupStatus.model_validate(status).moves is not None


def test_numbers_that_are_not_known_are_left_out() -> None:
    """Not all AFTRs have answered, or the server has not: 0 would be taken for nobody."""
    for unknown in (TOLD, replace(decided(counted=False), seen=Observed())):
        assert group_fields(POOL, unknown, timedelta(minutes=30)) == {"renewSeconds": 1800}


def test_a_group_that_is_nowhere_has_no_numbers() -> None:
    assert group_fields(POOL, Result(True), None) == {}
    assert (names_of(POOL, None), names_of(POOL, TOLD.decided)) == (
        (), ("s0.east.aftr.example.net", "s1.east.aftr.example.net"),
    )  # fmt: skip
