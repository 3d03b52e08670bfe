"""A store that refuses: said in one sentence with what to do, nothing lost, and over without a restart (issue State, proof 6)."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from aftr_lab.chaos.crowd import Crowd, crowd_of
from aftr_lab.chaos.served import owners_of, slots_of
from dslite_contract.store_keys import head_key, members_key
from running_lab import AFTR_LAB, Lab, aftr_lab, until
from two_aftrs import B4S, CLI, STORE, redis, talk, two_aftrs

pytestmark = pytest.mark.chaos

KNOWN = 16  # subscribers that talk from the beginning
PATIENCE_S = 10.0
PREFIX = "default/east"


@dataclass(frozen=True)
class Trouble:
    """What is done to the Redis and undone, as shell commands, and what people must be told."""

    begin: str
    end: str
    sentence: str


IN_ITS_FOLDER = f"cd $({CLI} config get dir | tail -1)"
FAILED = f"until {CLI} info persistence | grep -q rdb_last_bgsave_status:err; do {CLI} bgsave; sleep 0.05; done"
TROUBLES = {
    "full": Trouble(
        f"{CLI} config set maxmemory 1",
        f"{CLI} config set maxmemory 0",
        "OOM .*; its maxmemory is used up: raise maxmemory",
    ),
    "wrong password": Trouble(
        f"{CLI} config set requirepass right; {CLI} -a right client kill type normal",
        f"{CLI} -a right config set requirepass ''",
        "NOAUTH .*; it wants a password: put username and password into the store's secret",
    ),
    "too few replicas": Trouble(
        f"{CLI} config set min-replicas-to-write 1",
        f"{CLI} config set min-replicas-to-write 0",
        "NOREPLICAS .*; fewer replicas are connected than its min-replicas-to-write: start them, or lower it",
    ),
    "read-only replica": Trouble(
        f"{CLI} replicaof 10.64.0.99 6379",
        f"{CLI} replicaof no one",
        "READONLY .*; it is a replica: give the address of the primary",
    ),
    "disk": Trouble(
        f"{IN_ITS_FOLDER}; mkdir dump.rdb; {CLI} config set save '1 1'; {FAILED}",
        f"{IN_ITS_FOLDER}; rmdir dump.rdb; {CLI} config set save ''",
        "MISCONF .*; it cannot write its snapshot to disk: look at its log and its disk",
    ),
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with two_aftrs("trouble", tmp_path_factory.mktemp("trouble")) as made:
        yield made


@pytest.fixture(scope="module")
def crowd(lab: Lab) -> Iterator[Crowd]:
    with crowd_of(lab.state, B4S, 299, 120) as made:
        assert talk(made, set(range(KNOWN))) == set(range(KNOWN))
        yield made


def pages(lab: Lab, name: str) -> tuple[str, str, str]:
    """What /status says of the store, what /readyz says, and its status code."""
    url = next(aftr["status"] for aftr in lab.state["aftrs"] if aftr["name"] == name)
    store = json.loads(lab.run(name, "curl", "-sg", f"{url}/status"))["store"]
    ready, _, code = lab.run(name, "curl", "-sg", "-w", "\n%{http_code}", f"{url}/readyz").rpartition("\n")
    return store["trouble"], ready, code


def tells(lab: Lab, name: str, sentence: str) -> bool:
    """Whether both pages of an AFTR say so, of this very Redis; it is ready all the same."""
    text, ready, code = pages(lab, name)
    said = re.fullmatch(f"store {STORE}:6379 answered .*{sentence}.*", text)
    return said is not None and (ready, code) == (f"ready\nbut {text}\n", "200")


def log_of(lab: Lab, name: str) -> str:
    """All that an AFTR has logged."""
    found = json.loads(aftr_lab(lab.name, "status", "-o", "json").stdout)["processes"]
    return Path(next(process["log"] for process in found if process["node"] == name)).read_text()


@contextmanager
def refusing(lab: Lab, trouble: Trouble) -> Iterator[None]:
    """The Redis, for the time of the block."""
    lab.shell("store", trouble.begin)
    try:
        yield
    finally:
        lab.shell("store", trouble.end)


@pytest.mark.parametrize("name", TROUBLES)
def test_a_store_that_refuses_is_named_and_nothing_is_lost(lab: Lab, crowd: Crowd, name: str) -> None:
    trouble, number = TROUBLES[name], list(TROUBLES).index(name)
    established = set(range(KNOWN))
    newcomers = {KNOWN + 2 * number, KNOWN + 2 * number + 1}  # one in each slot
    with refusing(lab, trouble):
        deadline = time.monotonic() + PATIENCE_S
        while not all(tells(lab, aftr["name"], trouble.sentence) for aftr in lab.state["aftrs"]):
            assert time.monotonic() < deadline, [pages(lab, aftr["name"]) for aftr in lab.state["aftrs"]]
            assert talk(crowd, established) == established
        assert talk(crowd, newcomers, 1.0) == set()
        assert talk(crowd, established) == established
        more = {flow + B4S * (number + 1) for flow in established}  # in blocks that they have
        assert talk(crowd, more) == more

    assert talk(crowd, newcomers, PATIENCE_S) == newcomers
    assert talk(crowd, established | more) == established | more
    assert crowd.outcome.moved == crowd.outcome.doubled == crowd.outcome.misdelivered == []
    deadline = time.monotonic() + PATIENCE_S
    while any(pages(lab, aftr["name"])[:2] != ("", "ready\n") for aftr in lab.state["aftrs"]):
        assert time.monotonic() < deadline
    for aftr in lab.state["aftrs"]:
        assert re.search(trouble.sentence, log_of(lab, aftr["name"]))
    assert owners_of(lab.state), slots_of(lab.state)


def test_what_was_made_meanwhile_outlives_its_aftr(lab: Lab, crowd: Crowd) -> None:
    victim = next(name for name, slots in slots_of(lab.state).items() if slots)
    everyone = set(crowd.endpoints)
    assert len(everyone) > KNOWN * len(TROUBLES)
    assert aftr_lab(lab.name, "kill", victim).returncode == 0
    assert talk(crowd, everyone) == everyone
    assert crowd.outcome.moved == crowd.outcome.doubled == []
    assert aftr_lab(lab.name, "start", victim).returncode == 0


def test_what_is_no_heartbeat_and_no_head_ends_nobody(lab: Lab, crowd: Crowd) -> None:
    """Both are named; a head is stored anew by who serves the slot, once a person has removed it."""
    everyone, aftrs = set(crowd.endpoints), [aftr["name"] for aftr in lab.state["aftrs"]]
    before = processes(lab)
    redis(lab, "HSET", members_key(PREFIX), "stray", "nothing")
    until(
        lambda: all("the field b'stray' is no heartbeat: b'nothing'" in log_of(lab, name) for name in aftrs),
        "both have named the heartbeat",
        PATIENCE_S,
    )
    redis(lab, "HDEL", members_key(PREFIX), "stray")
    head = head_key(PREFIX, 0)
    redis(lab, "HSET", head, "epoch", "seven")
    until(lambda: all(f"DEL {head}" in pages(lab, name)[0] for name in aftrs), "both name the head", PATIENCE_S)
    assert talk(crowd, everyone) == everyone
    redis(lab, "DEL", head)
    until(lambda: all(pages(lab, name)[:2] == ("", "ready\n") for name in aftrs), "both are well again", PATIENCE_S)
    assert talk(crowd, everyone) == everyone
    assert crowd.outcome.moved == crowd.outcome.doubled == []
    until(lambda: bool(owners_of(lab.state)), "every slot is served", PATIENCE_S)
    assert processes(lab) == before


def processes(lab: Lab) -> dict[str, int]:
    """Of each node, its program's process."""
    found = json.loads(aftr_lab(lab.name, "status", "-o", "json").stdout)["processes"]
    return {process["node"]: process["pid"] for process in found}


def test_a_store_of_another_pool_is_not_touched(lab: Lab, crowd: Crowd) -> None:
    """An AFTR that starts says whose the store is; it goes on by itself once that is put right."""
    name, key = lab.state["aftrs"][0]["name"], "default/east:ids"
    mine = redis(lab, "GET", key)
    assert mine == f"{lab.name} east"
    assert aftr_lab(lab.name, "kill", name).returncode == 0
    redis(lab, "SET", key, "c1 p1")
    with subprocess.Popen([str(AFTR_LAB), "--lab", lab.name, "start", name]) as starting:
        deadline = time.monotonic() + 3 * PATIENCE_S
        while f"store '{key}' belongs to pool 'p1' of cluster 'c1'" not in (answer := readiness(lab, name)):
            assert time.monotonic() < deadline, answer
            time.sleep(0.2)
        assert answer.endswith("503")
        assert f"not to 'east' of '{lab.name}': give it a Redis of its own, or store.adopt: true" in answer
        assert redis(lab, "GET", key) == "c1 p1"
        everyone = set(crowd.endpoints)
        assert talk(crowd, everyone) == everyone
        redis(lab, "SET", key, mine)
    assert starting.returncode == 0


def readiness(lab: Lab, name: str) -> str:
    """Text and status code of /readyz; 000 before it answers."""
    url = next(aftr["status"] for aftr in lab.state["aftrs"] if aftr["name"] == name)
    return lab.shell(name, f"curl -sg -w '%{{http_code}}' '{url}/readyz' || true")
