"""A small lab for tests of the store: two AFTRs, two slots, and a crowd that talks when it is told to."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from aftr_lab.chaos.crowd import Crowd
from running_lab import AFTR, FAILOVER, Lab, lab_up, until_settled

STORE = "10.64.0.1"
CLI = f"redis-cli -h {STORE}"
B4S = 64  # of the crowd; B4 n uses slot n modulo 2
TURN_S = 0.3


@contextmanager
def two_aftrs(name: str, directory: Path, sample: Path = FAILOVER, **store: Any) -> Iterator[Lab]:
    """The sample for failover, smaller, with other values in `spec.store`."""
    documents = list(yaml.safe_load_all(sample.read_text()))
    documents[0]["spec"] |= {"replicas": 2, "slots": 2}
    documents[0]["spec"]["store"] |= store
    file = directory / "pool.yaml"
    file.write_text(yaml.safe_dump_all(documents))
    with lab_up(name, file, "--b4s", "0") as made:
        until_settled(made)  # each serves one slot: a test asks the owner it has found
        yield made


def talk(crowd: Crowd, flows: set[int], seconds: float = 5.0) -> set[int]:
    """Those of these flows that are answered in this time."""
    heard: set[int] = set()
    deadline = time.monotonic() + seconds
    while flows - heard and time.monotonic() < deadline:
        for flow in flows - heard:
            crowd.send(flow)
        pause = time.monotonic() + TURN_S
        while flows - heard and time.monotonic() < pause:
            crowd.serve()
            heard |= flows & {flow for _, flow in crowd.collect()}
            time.sleep(0.002)
        crowd.give_up()
    return heard


def redis(lab: Lab, *words: str) -> str:
    """What redis-cli prints."""
    return lab.run("store", "redis-cli", "-h", STORE, *words).rstrip("\n")


def aftr(lab: Lab, name: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `aftr WORDS` for one of the AFTRs."""
    path = next(aftr["socket"] for aftr in lab.state["aftrs"] if aftr["name"] == name)
    return subprocess.run(
        [str(AFTR), *words, "--socket", path], capture_output=True, text=True, timeout=60, check=False
    )


def until_healed(lab: Lab, slot: int) -> None:
    """Until what was damaged in a slot is kept apart no more: who has all of it has stored it once more."""
    deadline = time.monotonic() + 10
    while redis(lab, "KEYS", "*:quarantine") or not redis(lab, "KEYS", f"{{default/east/{slot}}}:accepted"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
