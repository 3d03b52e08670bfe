"""The judge of faults finds what it is there for: a guard is left out, and losses or duplicates are reported (issue State, controls)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from aftr.ops.faulthook import VARIABLE, FaultHook
from aftr_lab.chaos.crowd import Crowd, crowd_of
from running_lab import FAILOVER, SAMPLE, lab_up, reported

pytestmark = pytest.mark.chaos
LOAD = ("--rate", "2000", "--flows", "30000", "--b4s", "256", "--seed", "4")
UDP_S, HOLD_DOWN_S = 120, 10  # the shortest that there are


def struck(file: Path, fault: str, number: int) -> dict[str, Any]:
    with lab_up("control", file, "--b4s", "1") as lab:
        return reported(lab, "--fault", fault, "--kills", str(number), *LOAD)[1]


def left_out(monkeypatch: pytest.MonkeyPatch, *hooks: FaultHook) -> None:
    monkeypatch.setenv(VARIABLE, ",".join(hook.value for hook in hooks))


def test_without_the_fence_a_resumed_pod_sends_more_than_a_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    left_out(monkeypatch, FaultHook.FENCE_OFF)
    report = struck(FAILOVER, "stop", 1)
    assert report["lateBurst"] > 256


def test_with_durability_none_a_kill_loses_what_had_left(tmp_path: Path) -> None:
    documents = list(yaml.safe_load_all(FAILOVER.read_text()))
    documents[0]["spec"]["store"]["durability"] = "none"
    file = tmp_path / "none.yaml"
    file.write_text(yaml.safe_dump_all(documents))
    assert struck(file, "stall", 3)["lostBindings"] > 0


def test_checkpoints_alone_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    left_out(monkeypatch, FaultHook.CHECKPOINT_OFTEN)
    assert struck(FAILOVER, "pair", 1)["lostBindings"] == 0


def test_a_journal_trimmed_one_entry_too_far_loses_the_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    left_out(monkeypatch, FaultHook.CHECKPOINT_OFTEN, FaultHook.TRIM_ONE_MORE)
    assert struck(FAILOVER, "pair", 1)["lostBindings"] > 0


@pytest.mark.parametrize("hooks", [[], [FaultHook.NO_HOLD_DOWN]])
def test_without_hold_down_an_endpoint_goes_to_another_subscriber_too_soon(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, hooks: Sequence[FaultHook]
) -> None:
    """More B4s than there are port blocks: a block that is free goes to the next one that asks."""
    left_out(monkeypatch, *hooks)
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
        ask(crowd, 2.0)
        assert 0 < len(crowd.endpoints) < 64
        begun = time.monotonic()
        while time.monotonic() - begun < UDP_S + HOLD_DOWN_S / 2:
            time.sleep(1.0)  # nothing is to happen
        ask(crowd, 4.0)
    assert bool(crowd.outcome.doubled) == bool(hooks)


def ask(crowd: Crowd, seconds: float) -> None:
    """A new flow of every B4, one after the other."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        crowd.open_flow()
        crowd.serve()
        crowd.collect()
        time.sleep(seconds / crowd.number / 2)
