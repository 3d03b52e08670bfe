"""Rolling upgrade and downgrade by one format version of records, under load (issue State, proof 7)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aftr_lab.build import plan_of
from aftr_lab.chaos.crowd import crowd_of
from aftr_lab.chaos.faults import crash, leave
from aftr_lab.chaos.load import verify
from aftr_lab.chaos.report import Strike
from aftr_lab.chaos.scene import Scene, scene_of
from aftr_lab.chaos.served import owners_of, slots_of
from aftr_lab.chaos.strike import settle
from aftr_lab.record import Record
from dslite_contract.journal import FORMATS, Part, split, unpack, version_of
from next_version.next_format import NEXT, NEXT_VERSION
from running_lab import FAILOVER, ROOT, Lab, lab_up

TESTS = ROOT / "tests"
SLOTS = range(8)
REWRITTEN_S = 20.0
UDP_S, HOLD_DOWN_S = 299, 120


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_up("versions", FAILOVER, "--b4s", "1") as made:
        yield made


class Pool:
    """The AFTRs of a lab under load, each of one version or the next."""

    def __init__(self, lab: Lab, scene: Scene, patch: pytest.MonkeyPatch) -> None:
        self.lab, self.scene, self.load, self.patch = lab, scene, scene.load, patch
        self.names = [aftr["name"] for aftr in lab.state["aftrs"]]

    def strike(self, fault: Callable[..., None], name: str, version: int) -> None:
        """It ends, and comes again as a program of this version; every flow keeps its binding."""
        path = os.pathsep.join([str(TESTS / "next_version"), str(TESTS)]) if version == NEXT_VERSION else ""
        self.patch.setenv("PYTHONPATH", path)
        fault(self.scene, Strike(name, "whole", slots_of(self.lab.state)[name]))
        settle(self.scene)
        assert verify(self.load) == 0
        outcome = self.load.crowd.outcome
        assert (outcome.moved, outcome.doubled, outcome.misdelivered) == ([], [], [])
        assert owners_of(self.lab.state)

    def reads(self) -> list[str]:
        """The version that each member announces."""
        found = self.redis("HVALS", "default/east:members").splitlines()
        return sorted(json.loads(record)["info"]["reads"] for record in found)

    def stored(self) -> set[tuple[str, ...]]:
        """The oldest and newest version in the store, of any slot."""
        heads = (f"{{default/east/{slot}}}:head" for slot in SLOTS)
        return {tuple(self.redis("HMGET", head, "oldest", "newest").split()) for head in heads}

    def becomes(self, version: int) -> None:
        """All slots are stored in this version, and nothing was found damaged on the way."""
        deadline = time.monotonic() + REWRITTEN_S
        while (stored := self.stored()) != {(str(version), str(version))}:
            assert time.monotonic() < deadline, stored
            self.load.last(0.2)
        for slot in SLOTS:
            assert self.redis("KEYS", f"{{default/east/{slot}}}:quarantine") == ""

    def redis(self, *words: str) -> str:
        return self.lab.run("store", "redis-cli", "-h", "10.64.0.1", *words).strip()

    def tail(self, name: str, slot: int, reads: int | None) -> list[bytes]:
        """Chunks, as a member that reads this version gets them from another."""
        question: dict[str, Any] = {"slot": slot, "from": name} | ({} if reads is None else {"reads": reads})
        body = json.dumps(question)
        key = self.redis("GET", "default/east:secret").encode()
        signature = hmac.new(key, body.encode(), hashlib.sha256).hexdigest()
        url = next(aftr["status"] for aftr in self.lab.state["aftrs"] if aftr["name"] == name)
        script = f"curl -sgf -H 'X-Dslite-Signature: {signature}' -d '{body}' '{url}/v1/peer/tail' | base64 -w0"
        return list(split(base64.b64decode(self.lab.shell(name, script))))

    def check_tails(self, version: dict[str, int]) -> None:
        """Each member's tail, for members of either version."""
        for name, slots in slots_of(self.lab.state).items():
            for reads in (None, 1, NEXT_VERSION):
                chunks = self.tail(name, slots[0], reads)
                assert sum(len(unpack(chunk, Part.CHUNK)) for chunk in chunks) > 10
                assert {version_of(chunk) for chunk in chunks} == {min(reads or 1, version[name])}


@pytest.mark.chaos
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")  # AFTRs that were started again
def test_d22_upgrade_and_downgrade_by_one_format_version_lose_nothing(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FORMATS, NEXT_VERSION, NEXT)
    record = Record(lab.name)
    with (
        crowd_of(lab.state, 64, UDP_S, HOLD_DOWN_S) as crowd,
        scene_of(plan_of(record), record, lab.state, crowd, rate=100, flows=6000, seed=0) as scene,
    ):
        scene.load.begin()
        scene.load.last(2.0)
        pool = Pool(lab, scene, monkeypatch)
        first, second, third = pool.names
        pool.becomes(1)
        pool.strike(leave, first, NEXT_VERSION)
        assert pool.reads() == ["1", "1", "2"]
        pool.becomes(1)
        pool.check_tails({first: 2, second: 1, third: 1})
        pool.strike(crash, second, NEXT_VERSION)
        pool.becomes(1)
        pool.strike(leave, third, NEXT_VERSION)
        assert pool.reads() == ["2", "2", "2"]
        pool.becomes(2)
        pool.strike(leave, first, 1)  # it cannot read what is stored, until the others see it and write it anew
        assert pool.reads() == ["1", "2", "2"]
        pool.becomes(1)
        pool.check_tails({first: 1, second: 2, third: 2})
        pool.strike(crash, second, 1)
        pool.strike(leave, third, 1)
        pool.becomes(1)
        assert scene.load.crowd.flow > 1000
