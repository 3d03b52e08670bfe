"""The judge of faults finds what it is there for: a guard is left out, and losses or duplicates are reported (issue State, controls)."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import closing
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest
import yaml

from aftr.ops.faulthook import VARIABLE, FaultHook
from aftr_lab.chaos.crowd import Crowd, crowd_of
from running_lab import FAILOVER, SAMPLE, aftr_lab, lab_up, reported, until_settled

pytestmark = pytest.mark.chaos
RATE = 2000
UDP_S, HOLD_DOWN_S = 120, 10  # the shortest that there are
FLOWS, BATCH = 6400, 8
STRIKES = 20


def struck(file: Path, fault: str, number: int, *hooks: FaultHook) -> dict[str, Any]:
    """The report of so many faults, of AFTRs that leave these guards out."""
    with closing(reports(file, fault, number, *hooks)) as series:
        return next(series)


def reports(file: Path, fault: str, number: int, *hooks: FaultHook) -> Generator[dict[str, Any], None, None]:
    """The same of one series of faults after the other, in one lab."""
    load = ("--rate", str(RATE), "--flows", "30000", "--b4s", "256")
    with lab_up("control", file, "--b4s", "1") as lab, pytest.MonkeyPatch.context() as patch:
        until_settled(lab)
        leave_out(patch, *hooks)
        for aftr in lab.state["aftrs"]:
            for deed in ("kill", "start"):
                done = aftr_lab(lab.name, deed, aftr["name"])
                assert done.returncode == 0, done.stderr
            until_settled(lab)
        for seed in count(4):
            yield reported(lab, "--fault", fault, "--kills", str(number), "--seed", str(seed), *load)[1]


def leave_out(patch: pytest.MonkeyPatch, *hooks: FaultHook) -> None:
    patch.setenv(VARIABLE, ",".join(hook.value for hook in hooks))


def test_without_the_fence_a_resumed_pod_sends_more_than_a_burst() -> None:
    report = struck(FAILOVER, "stop", 1, FaultHook.FENCE_OFF)
    assert report["lateBurst"] > 256


def test_with_durability_none_a_kill_loses_what_had_left(tmp_path: Path) -> None:
    documents = list(yaml.safe_load_all(FAILOVER.read_text()))
    documents[0]["spec"]["store"]["durability"] = "none"
    file = tmp_path / "none.yaml"
    file.write_text(yaml.safe_dump_all(documents))
    assert struck(file, "stall", 3)["lostBindings"] > 0


def test_checkpoints_alone_lose_nothing() -> None:
    assert struck(FAILOVER, "pair", 1, FaultHook.CHECKPOINT_OFTEN)["lostBindings"] == 0


def test_a_journal_trimmed_too_far_loses_what_was_in_it() -> None:
    """Only what was created after a checkpoint's last chunk and before it counts is in neither: few strikes hit any."""
    hooks = FaultHook.CHECKPOINT_OFTEN, FaultHook.TRIM_TOO_FAR
    with closing(reports(FAILOVER, "pair", 1, *hooks)) as strikes:
        assert any(report["lostBindings"] for report in islice(strikes, STRIKES))


@pytest.mark.parametrize("hooks", [[], [FaultHook.NO_HOLD_DOWN]])
def test_without_hold_down_an_endpoint_goes_to_another_subscriber_too_soon(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, hooks: Sequence[FaultHook]
) -> None:
    """More B4s than there are port blocks: a block that is free goes to the next one that asks."""
    leave_out(monkeypatch, *hooks)
    documents = list(yaml.safe_load_all(SAMPLE.read_text()))
    spec = documents[0]["spec"]
    spec["slots"] = 1
    spec["nat"] |= {
        "pools": [{"name": "default", "prefixes": ["192.0.2.0/32"]}],
        "timeouts": {"udpSeconds": UDP_S},
        "portBlock": {"size": 4096, "maxPerSubscriber": 1, "holdDownSeconds": HOLD_DOWN_S},
    }
    file = tmp_path / "tight.yaml"
    file.write_text(yaml.safe_dump_all(documents))
    with lab_up("holddown", file, "--b4s", "1") as lab, crowd_of(lab.state, 64, UDP_S - 1, HOLD_DOWN_S) as crowd:
        ask(crowd)
        assert 0 < len(crowd.endpoints) < FLOWS
        begun = time.monotonic()
        while time.monotonic() - begun < UDP_S + HOLD_DOWN_S / 2:
            time.sleep(1.0)  # nothing is to happen
        ask(crowd)
    assert bool(crowd.outcome.doubled) == bool(hooks)


def ask(crowd: Crowd) -> None:
    """New flows of all B4s in turn: so many that two B4s which have one block after the other have ports in common."""
    for _ in range(FLOWS // BATCH):
        for _ in range(BATCH):
            crowd.open_flow()
        time.sleep(BATCH / RATE)
        crowd.serve()
        crowd.collect()
