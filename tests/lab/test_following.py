"""B4s followed by what they say. No root needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from aftr_lab.distribution import following
from aftr_lab.distribution.following import Moved, await_moves, followed
from aftr_lab.distribution.placing import Move
from aftr_lab.errors import NotReadyError
from aftr_lab.plan import Options, describe, make_plan
from aftr_lab.provider import CLIENTS
from aftr_lab.record import Record
from dslite_contract.load import load_config
from running_lab import HOMES

PLAN = make_plan("test", load_config(HOMES), Options(clients=CLIENTS))
STATE = {**describe(PLAN), "aftrs": []}
FOLLOWS = "follows s{}.east.aftr.example.net: softwire 2001:db8:1000::1 → 2001:db8:64::{}\n"


@pytest.fixture
def record(tmp_path: Path) -> Record:
    made = Record("test", tmp_path)
    made.create(STATE)
    for b4 in PLAN.b4s:
        made.log_file(b4.name).write_text("dhcpcd-9.4.1 starting\n" + FOLLOWS.format(0, 1))
    return made


def test_the_last_name_is_the_one_that_is_followed(record: Record) -> None:
    assert followed(record, "b4-1") == "s0.east.aftr.example.net"
    with record.log_file("b4-1").open("a") as log:
        log.write("wan: renew in 5\n" + FOLLOWS.format(2, 3) + "follows s3")
    assert followed(record, "b4-1") == "s2.east.aftr.example.net"
    record.log_file("b4-1").write_text("")
    assert followed(record, "b4-1") is None


def test_each_is_told_once_when_it_has_moved(record: Record) -> None:
    moves = [Move(b4, 0, slot, 1) for slot, b4 in enumerate(PLAN.b4s, 1)]
    seen: list[Moved] = []

    def say(one: Moved) -> None:
        """The second moves when the first has."""
        seen.append(one)
        record.log_file("b4-2").write_text(FOLLOWS.format(2, 3))

    record.log_file("b4-1").write_text(FOLLOWS.format(1, 2))
    assert await_moves(record, STATE, moves, say) == seen
    assert [one.move for one in seen] == moves


def test_one_that_does_not_move_is_named_with_its_log(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "PATIENCE_S", 0)
    with pytest.raises(NotReadyError) as refused:
        await_moves(record, STATE, [Move(PLAN.b4s[0], 0, 1, 5)], lambda one: None)
    assert "b4-1 follows s0.east.aftr.example.net 0 s after it was to be told slot 1" in str(refused.value)
    assert str(record.log_file("b4-1")) in str(refused.value)
