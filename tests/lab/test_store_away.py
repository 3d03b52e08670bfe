"""A store that does not answer, answers late, or comes back: what goes on meanwhile, what stops, and that nothing is lost.

Rows of docs/failure-modes.md, each under traffic of B4s that is judged by the server that they reach.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aftr_lab.chaos.crowd import Crowd, crowd_of
from aftr_lab.chaos.served import slots_of
from dslite_contract.journal import NOTHING, EntryId
from running_lab import REPLICATED, Lab, aftr_lab, owner_of, until_settled
from two_aftrs import B4S, CLI, aftr, redis, talk, two_aftrs, until_healed

KNOWN = set(range(16))  # subscribers that talk from the beginning, half of them in each slot
LEASE_S = 0.4  # ended, surely
TRIES = 3  # a lease may lapse where all cores are busy; with another key none would hold
STAYS_S = 3.0  # how long a store is away


@contextmanager
def talking(lab: Lab) -> Iterator[Crowd]:
    """A crowd whose known subscribers have talked; no flow may have moved in the end, and all tables agree."""
    with crowd_of(lab.state, B4S, 299, 120) as crowd:
        assert talk(crowd, KNOWN) == KNOWN
        yield crowd
        assert crowd.outcome.moved == crowd.outcome.doubled == crowd.outcome.misdelivered == []
    for one in lab.state["aftrs"]:
        done = aftr(lab, one["name"], "verify")
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with two_aftrs("away", tmp_path_factory.mktemp("away")) as made:
        yield made


@pytest.fixture(scope="module")
def crowd(lab: Lab) -> Iterator[Crowd]:
    with talking(lab) as made:
        yield made


@contextmanager
def standing_still(lab: Lab, node: str = "store") -> Iterator[None]:
    """A node's Redis, for the time of the block."""
    assert aftr_lab(lab.name, "kill", node, "--signal", "STOP").returncode == 0
    try:
        yield
    finally:
        assert aftr_lab(lab.name, "kill", node, "--signal", "CONT").returncode == 0


def more(flows: set[int], turn: int) -> set[int]:
    """The next flow of the same subscribers: in blocks that they have."""
    return {flow + B4S * turn for flow in flows}


def newcomers(turn: int) -> set[int]:
    """Two subscribers, one of each slot, who have not talked before."""
    first = len(KNOWN) + 2 * turn
    return {first, first + 1}


def not_stored(lab: Lab) -> int:
    """How many mappings the AFTRs have used without a store."""
    counters = (aftr(lab, one["name"], "show", "counters", "-o", "json") for one in lab.state["aftrs"])
    return sum(json.loads(one.stdout)["events"]["mappings-not-stored"] for one in counters)


# ── out of reach ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.lab
def test_established_traffic_and_new_flows_in_owned_blocks_go_on_without_the_store(lab: Lab, crowd: Crowd) -> None:
    """All members promise each other not to take slots while none of them reaches the store."""
    owners, before = slots_of(lab.state), not_stored(lab)
    with standing_still(lab):
        until = time.monotonic() + STAYS_S
        while time.monotonic() < until:
            assert talk(crowd, KNOWN, 1.0) == KNOWN
        flows = more(KNOWN, 1)
        assert talk(crowd, flows, 1.0) == flows
        assert talk(crowd, newcomers(0), 1.0) == set()
    assert not_stored(lab) >= before + len(flows)
    everyone = KNOWN | flows | newcomers(0)
    assert talk(crowd, everyone) == everyone
    assert slots_of(lab.state) == owners


@pytest.mark.lab
def test_members_believe_each_other_after_the_store_lost_their_key(lab: Lab, crowd: Crowd) -> None:
    """Who starts then would make another one, and no promise of the others be believed."""
    assert redis(lab, "FLUSHALL") == "OK"
    assert talk(crowd, KNOWN) == KNOWN
    until_settled(lab)
    newcomer = owner_of(lab, 0)
    assert aftr_lab(lab.name, "kill", newcomer).returncode == 0
    assert talk(crowd, KNOWN) == KNOWN
    assert aftr_lab(lab.name, "start", newcomer).returncode == 0
    assert any(serve_without_it(lab, crowd) for _ in range(TRIES))
    assert talk(crowd, KNOWN) == KNOWN


def serve_without_it(lab: Lab, crowd: Crowd) -> bool:
    """Whether all who had mappings are served for longer than a lease."""
    until_settled(lab)
    with standing_still(lab):
        time.sleep(LEASE_S)
        return talk(crowd, KNOWN, 1.0) == KNOWN


@pytest.mark.chaos
def test_a_store_that_answers_late_but_in_time_stops_nothing(lab: Lab, crowd: Crowd) -> None:
    owners = slots_of(lab.state)
    with busy(lab, 0.02):
        for turn in range(2, 6):
            flows = more(KNOWN, turn)
            assert talk(crowd, flows) == flows
        assert talk(crowd, newcomers(1)) == newcomers(1)
    assert slots_of(lab.state) == owners


@pytest.mark.chaos
def test_a_store_that_answers_later_than_that_is_out_of_reach(lab: Lab, crowd: Crowd) -> None:
    with busy(lab, 0.5):
        until = time.monotonic() + STAYS_S
        while time.monotonic() < until:
            assert talk(crowd, KNOWN, 1.0) == KNOWN
    assert talk(crowd, everyone := KNOWN | newcomers(2)) == everyone
    until_settled(lab)


@contextmanager
def busy(lab: Lab, seconds: float) -> Iterator[None]:
    """The Redis is, for so long each time: what comes meanwhile waits."""
    script = (
        "local t = redis.call('TIME'); local begun, now = t[1] * 1000000 + t[2]; "
        f"repeat t = redis.call('TIME'); now = t[1] * 1000000 + t[2] until now - begun > {round(seconds * 1e6)}"
    )
    with lab.running("store", "bash", "-c", f'while :; do {CLI} eval "{script}" 0 > /dev/null; done'):
        yield


@pytest.mark.chaos
def test_nobody_serves_without_the_store_while_one_who_was_killed_has_not_promised(lab: Lab, crowd: Crowd) -> None:
    """Nobody can know that it is dead: the store, which would say so, is away.  All goes on when it is back."""
    victim, survivor = owner_of(lab, 0), owner_of(lab, 1)
    assert victim != survivor
    assert aftr_lab(lab.name, "kill", victim).returncode == 0
    assert talk(crowd, KNOWN) == KNOWN
    assert owner_of(lab, 0) == survivor
    with standing_still(lab):
        time.sleep(LEASE_S)
        assert talk(crowd, KNOWN, 1.0) == set()
    assert talk(crowd, KNOWN) == KNOWN
    assert aftr_lab(lab.name, "start", victim).returncode == 0
    until_settled(lab)


# ── less than there was ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.chaos
def test_an_entry_that_is_missing_is_stored_anew_by_who_has_it(lab: Lab, crowd: Crowd) -> None:
    owner = owner_of(lab, 1)
    other = next(aftr["name"] for aftr in lab.state["aftrs"] if aftr["name"] != owner)
    assert aftr_lab(lab.name, "kill", other).returncode == 0
    for turn in range(10, 16):  # some entries
        assert talk(crowd, more(KNOWN, turn)) == more(KNOWN, turn)
    missing = entries_of(lab, 1)[-2]
    assert redis(lab, "XDEL", "{default/east/1}:journal", missing) == "1"
    assert aftr_lab(lab.name, "start", other).returncode == 0
    until_settled(lab)
    until_healed(lab, 1)
    victim = owner_of(lab, 1)
    assert aftr_lab(lab.name, "kill", victim).returncode == 0
    assert talk(crowd, everyone := KNOWN | more(KNOWN, 15)) == everyone
    assert aftr_lab(lab.name, "start", victim).returncode == 0
    until_settled(lab)


def entries_of(lab: Lab, slot: int) -> list[str]:
    """Ids of the entries of a slot's journal that a reader needs: those with records, after its checkpoint."""
    script = "local ids = {} for _, row in ipairs(redis.call('XRANGE', KEYS[1], '-', '+')) do ids[#ids + 1] = row[1] end return ids"
    ids = map(EntryId.parse, redis(lab, "EVAL", script, "1", f"{{default/east/{slot}}}:journal").split())
    covers = EntryId.parse(redis(lab, "HGET", f"{{default/east/{slot}}}:head", "covers") or str(NOTHING))
    return [str(entry) for entry in ids if entry > covers and entry.seq > 0]


# ── other settings ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.chaos
def test_on_loss_refuse_makes_no_mapping_that_is_not_stored(tmp_path: Path) -> None:
    with two_aftrs("refuse", tmp_path, onLoss="refuse") as lab, talking(lab) as crowd:
        with standing_still(lab):
            assert talk(crowd, KNOWN, 1.0) == KNOWN
            time.sleep(LEASE_S)
            assert talk(crowd, more(KNOWN, 1), 1.0) == set()
            assert talk(crowd, KNOWN, 1.0) == KNOWN
        assert not_stored(lab) == 0
        assert talk(crowd, everyone := KNOWN | more(KNOWN, 1)) == everyone


@pytest.mark.chaos
def test_a_replica_that_hangs_stops_new_mappings_and_nothing_else(tmp_path: Path) -> None:
    with two_aftrs("replica", tmp_path, REPLICATED) as lab, talking(lab) as crowd:
        owners = slots_of(lab.state)
        with standing_still(lab, "store-2"):
            assert talk(crowd, newcomers(0), 1.0) == set()
            assert talk(crowd, KNOWN, 1.0) == KNOWN
        assert talk(crowd, everyone := KNOWN | newcomers(0)) == everyone
        assert slots_of(lab.state) == owners


@pytest.mark.chaos
def test_what_is_on_disk_outlives_the_store_and_all_aftrs_at_once(tmp_path: Path) -> None:
    with two_aftrs("disk", tmp_path, durability="disk") as lab, talking(lab) as crowd:
        flows = KNOWN | more(KNOWN, 1) | more(KNOWN, 2)
        assert talk(crowd, flows) == flows
        nodes = ["store", *(aftr["name"] for aftr in lab.state["aftrs"])]
        for node in nodes:
            assert aftr_lab(lab.name, "kill", node).returncode == 0
        for node in nodes:
            assert aftr_lab(lab.name, "start", node).returncode == 0
        until_settled(lab)
        assert talk(crowd, flows) == flows
