"""What the store holds is damaged, or wrong: seen, named, kept apart, and repaired (issue State, proof 6; row O07).

Two AFTRs, a Redis whose bytes are changed, and a crowd of B4s whose packets are judged by the server that they reach.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from aftr_lab.chaos.crowd import FIRST_PORT, PREFIX, Crowd, crowd_of
from running_lab import ROOT, Lab, aftr_lab, owner_of, until_settled
from two_aftrs import B4S, STORE, aftr, redis, talk, two_aftrs, until_healed

pytestmark = pytest.mark.lab

KNOWN = 24  # subscribers that talk from the beginning
FLOWS = [turn * B4S + b4 for turn in range(6) for b4 in range(KNOWN)]
WAYS = ("oblique", "truncated", "version", "crc", "length", "stranger", "port", "bits", "kind")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with two_aftrs("quarantine", tmp_path_factory.mktemp("quarantine")) as made:
        yield made


@pytest.fixture(scope="module")
def crowd(lab: Lab) -> Iterator[Crowd]:
    with crowd_of(lab.state, B4S, 299, 120) as made:
        for first in range(0, len(FLOWS), 8):  # many small entries
            flows = set(FLOWS[first : first + 8])
            assert talk(made, flows) == flows
        yield made


def newcomers(slot: int, number: int = 1) -> set[int]:
    """First flows of subscribers of a slot who have not talked before; other ones each time."""
    found = {b4 for b4 in range(KNOWN, B4S) if b4 % 2 == slot and b4 not in ASKED}
    chosen = set(sorted(found)[:number])
    ASKED.update(chosen)
    return chosen


ASKED: set[int] = set()


def damaged(lab: Lab, slot: int, *ways: str) -> set[int]:
    """Damage a journal; the flows whose mappings are lost."""
    script = [sys.executable, str(ROOT / "tests/damaging_store.py"), STORE, str(slot), *ways]
    done = json.loads(lab.run("store", *script))
    lost = [mapping for one in done for mapping in one["lost"]]
    return {(port - FIRST_PORT) * B4S + (address - int(PREFIX[0]) >> 72) for address, port in lost}


def entry_of(lab: Lab, slot: int) -> dict[str, Any]:
    entries = json.loads(aftr(lab, owner_of(lab, slot), "show", "slots", "-o", "json").stdout)
    found: dict[str, Any] = entries[slot]
    return found


# ---------------------------------------------------------------- O07
def test_o07_what_the_store_holds_wrongly_is_found_and_repaired(lab: Lab, crowd: Crowd) -> None:
    owner = owner_of(lab, 1)
    (flow,) = damaged(lab, 1, "other")
    found = aftr(lab, owner, "verify")
    assert found.returncode == 1
    inside = f"192.168.1.10:{FIRST_PORT + flow // B4S}"
    assert f"{inside} belongs to another host in the store" in found.stderr
    repaired = aftr(lab, owner, "verify", "--repair")
    assert (repaired.returncode, repaired.stdout) == (0, "all tables agree\n"), repaired.stderr
    assert repaired.stderr.startswith("repaired: slot 1: udp ")
    assert int(redis(lab, "HGET", "{default/east/1}:head", "generation")) >= 1
    assert talk(crowd, set(FLOWS)) == set(FLOWS)


# ---------------------------------------------------------------- damage
def test_damage_that_an_owner_sees_in_time_is_healed(lab: Lab, crowd: Crowd) -> None:
    """The other AFTR comes anew and reads a damaged chunk; who serves the slot has all of it, and stores it once more."""
    owner = owner_of(lab, 1)
    other = next(aftr["name"] for aftr in lab.state["aftrs"] if aftr["name"] != owner)
    generation = redis(lab, "HGET", "{default/east/1}:head", "generation")
    assert aftr_lab(lab.name, "kill", other).returncode == 0
    redis(lab, "SETRANGE", f"{{default/east/1}}:checkpoint:{generation}:0", "60", "????")
    assert aftr_lab(lab.name, "start", other).returncode == 0
    until_settled(lab)
    until_healed(lab, 1)
    assert talk(crowd, set(FLOWS)) == set(FLOWS)
    assert talk(crowd, new := newcomers(1)) == new
    assert aftr(lab, owner_of(lab, 1), "verify").returncode == 0


def test_what_is_damaged_is_named_and_nothing_that_may_be_owned_is_given_away(lab: Lab, crowd: Crowd) -> None:
    names = [aftr["name"] for aftr in lab.state["aftrs"]]
    for name in names:
        assert aftr_lab(lab.name, "kill", name).returncode == 0
    lost = damaged(lab, 0, *WAYS)
    assert len(lost) >= 7
    for name in names:
        assert aftr_lab(lab.name, "start", name).returncode == 0
    until_settled(lab)

    entry = entry_of(lab, 0)
    assert len(entry["quarantine"]) == len(WAYS), entry["quarantine"]
    assert all(one.startswith("{default/east/0}:journal entry ") for one in entry["quarantine"])
    text = "\n".join(entry["quarantine"])
    for sentence in (
        "at byte 2: format version 9, this program reads 1",
        "at byte 8: CRC32C ",
        "bytes of records",
        ": truncated, ",
        "external address 8.8.8.8 is not the slot's",
        "external port 80 is not in 1024 to 65535",
        "a prefix of 200 bits, there are 128",
        "kind 77 is unknown",
        "no block of 256 ports begins at port 2049",
    ):
        assert sentence in text
    assert 7300 < entry["quarantineSecondsLeft"] <= 7440
    owner = owner_of(lab, 0)
    assert f"{len(WAYS)} unreadable" in aftr(lab, owner, "show", "slots").stdout
    status = next(aftr["status"] for aftr in lab.state["aftrs"] if aftr["name"] == owner)
    assert f'dslite_slot_quarantined{{slot="0"}} {len(WAYS)}.0' in lab.run(owner, "curl", "-sg", f"{status}/metrics")

    intact = set(FLOWS) - lost
    assert talk(crowd, intact) == intact
    assert crowd.outcome.moved == crowd.outcome.doubled == []
    assert talk(crowd, refused := newcomers(0, 3), 1.5) == set()
    assert talk(crowd, new := newcomers(1)) == new  # the other slot is whole
    counters = json.loads(aftr(lab, owner, "show", "counters", "-o", "json").stdout)
    assert counters["drops"]["drop-commit-backlog"] >= len(refused)


def test_a_quarantine_outlives_its_owner_until_it_is_accepted(lab: Lab, crowd: Crowd) -> None:
    first = owner_of(lab, 0)
    assert aftr_lab(lab.name, "kill", first).returncode == 0
    owner = owner_of(lab, 0)
    assert owner != first
    assert len(entry_of(lab, 0)["quarantine"]) == len(WAYS)
    assert talk(crowd, refused := newcomers(0), 1.0) == set()
    accepted = aftr(lab, owner, "verify", "--accept")
    assert accepted.returncode == 0, accepted.stderr
    assert accepted.stderr.count("accepted: {default/east/0}:journal entry ") == len(WAYS)
    assert talk(crowd, refused) == refused
    assert entry_of(lab, 0)["quarantine"] == []
    assert redis(lab, "HLEN", "{default/east/0}:accepted") == str(len(WAYS))  # with their bytes
    assert aftr_lab(lab.name, "start", first).returncode == 0
