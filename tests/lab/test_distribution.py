"""Groups changed by YAML, and their B4s, with real DHCPv6 clients, where the map says (proof 1 of docs/distribution.md).

Everything is judged from outside: Kea's leases, its bucket maps, the wire, a server on the internet, the engines' counters.
"""

from __future__ import annotations

import csv
import http.client
import json
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import IPv6Network
from pathlib import Path
from typing import Any

import pytest
import yaml

from aftr_lab.chaos.routes import read_table
from aftr_lab.provider import RENEW_S
from dslite_operator.distribution.buckets import bucket_of
from dslite_operator.distribution.maps import map_of
from dslite_operator.distribution.providers.kea.patching import copies
from learning_b4s import (
    WITH_CLIENTS,
    ZONE,
    external_address,
    followed,
    frames_at,
    global_addresses,
    host_of,
    is_of_slot,
    kea,
    option_64,
    talks,
    until,
)
from running_lab import FAILOVER, HOMES, HOMES_DIVIDED, Lab, aftr_lab, lab_up, until_settled

short = pytest.mark.lab
long = pytest.mark.distribution

SUBNETS = ["2001:db8:1000::/36", "2001:db8:2000::/36"]
PREFIX_DELEGATED = "2"  # lease_type of an IA_PD in Kea's lease file
MOVED_S = 2 * RENEW_S + 5  # T1, what is left of a renewal that was under way, and a busy machine

Object = dict[str, Any]


# ---------------------------------------------------------------- what is seen
def leases(lab: Lab) -> list[tuple[str, str, str]]:
    """DUID, address or prefix, and type of every lease that Kea has given or renewed so far."""
    with Path("/run/dslite-lab", lab.name, "dhcp.run", "leases.csv").open(newline="") as file:
        return [(row["duid"], row["address"], row["lease_type"]) for row in csv.DictReader(file)]


def slots_by_map(lab: Lab) -> dict[str, int]:
    """Where the bucket maps that Kea keeps say that each B4 is, by the DUID of its lease."""
    document = kea(lab, "config-get")["arguments"]
    maps = [map_of(text, group) for group, text in copies(document, "lab").items()]
    duids = {
        prefix: bytes.fromhex(duid.replace(":", "")) for duid, prefix, kind in leases(lab) if kind == PREFIX_DELEGATED
    }
    found = {}
    for b4 in lab.state["b4s"]:
        prefix = IPv6Network(b4["prefix"])
        duid = duids[str(prefix.network_address)]
        (found[b4["name"]],) = [
            slots[bucket_of(duid, one.cut)]
            for one in maps
            for area, slots in one.areas.items()
            if prefix.subnet_of(area.subnet)
        ]
    return found


def sessions_of(lab: Lab, b4: str, slot: int) -> int:
    """Sessions of a B4's home on one slot, as its AFTR shows them."""
    prefix = next(one["prefix"] for one in lab.state["b4s"] if one["name"] == b4)
    return sum(
        one["sessions"]
        for one in lab.aftr_json("show", "subscribers", "--slot", str(slot))
        if one["subscriber"] == prefix
    )


# ---------------------------------------------------------------- what is done
def groups(file: Path, source: Path, *wanted: Object) -> Path:
    """The pool of a sample with other groups, written to `file`."""
    pool = next(yaml.safe_load_all(source.read_text()))
    made = [
        {"apiVersion": pool["apiVersion"], "kind": "B4Group", "metadata": {"name": one.pop("name")}, "spec": one}
        for one in wanted
    ]
    file.write_text(yaml.safe_dump_all([pool, *made]))
    return file


def group(name: str, *subnets: str, **spec: Any) -> Object:
    dhcp = {"server": "lab", "subnets": list(subnets)}
    return {"name": name, "poolRef": {"name": "east"}, "prefixes": list(subnets), "dhcp": dhcp, **spec}


def distributed(lab: Lab, file: Path) -> Object:
    """What `aftr-lab distribute` reports; fails the test if it fails."""
    done = aftr_lab(lab.name, "distribute", str(file), "-o", "json")
    print(done.stderr)
    assert done.returncode == 0, done.stderr
    report: Object = json.loads(done.stdout)
    return report


def moved(lab: Lab, file: Path) -> dict[str, tuple[int, int]]:
    """Brings the lab to `file` while every host has a connection, and checks all that is promised; who has moved, from and to."""
    b4s = [one["name"] for one in lab.state["b4s"]]
    before, given = slots_by_map(lab), set(leases(lab))
    addresses = {b4: global_addresses(lab, b4) for b4 in b4s}
    with talks(lab) as by:
        endpoints = {b4: talk.endpoint() for b4, talk in by.items()}
        sessions = {b4: sessions_of(lab, b4, before[b4]) for b4 in b4s}
        report = distributed(lab, file)
        after = slots_by_map(lab)
        found = {one["b4"]: (one["from"], one["to"]) for one in report["moved"]}
        assert found == {b4: (before[b4], after[b4]) for b4 in b4s if before[b4] != after[b4]}
        stayed = [b4 for b4 in b4s if b4 not in found]
        assert {b4: by[b4].endpoint() for b4 in stayed} == {b4: endpoints[b4] for b4 in stayed}
        for b4 in list(found)[:1]:
            with pytest.raises((OSError, http.client.HTTPException)):
                by[b4].endpoint()
    for b4 in b4s:
        assert is_of_slot(lab, external_address(lab, host_of(b4)), after[b4])
    assert {b4: global_addresses(lab, b4) for b4 in b4s} == addresses
    assert set(leases(lab)) == given, "no other address or prefix was ever given"
    check_report(report, sessions)
    return found


def check_report(report: Object, sessions: dict[str, int]) -> None:
    """Sessions are those that the engine had, and nobody needed longer than a renewal."""
    for one in report["moved"]:
        assert one["sessionsForecast"] == one["sessionsLost"] == sessions[one["b4"]] > 0
        assert one["seconds"] < MOVED_S
    assert all(one["sessions"] > 0 for one in report["stayed"])
    assert report["sessionsLost"] == sum(one["sessionsLost"] for one in report["moved"])


# ---------------------------------------------------------------- two B4s, one of each client
@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_up("divide", HOMES, *WITH_CLIENTS) as lab:
        yield lab


@short
def test_d21_b02_o01_o03_a_group_is_divided_and_merged_and_its_b4s_follow(lab: Lab) -> None:
    """One B4 moves at its renewal and keeps its addresses; the other one's connection goes on."""
    with frames_at(lab, "dhcp", "access") as frames:
        assert moved(lab, HOMES_DIVIDED) == {"b4-1": (0, 1)}
        assert any(option_64(f"s1.east.{ZONE}") in frame for frame in frames())
    assert moved(lab, HOMES_DIVIDED) == {}, "nothing is left to be done"
    assert moved(lab, HOMES) == {"b4-1": (1, 0)}
    lab.check_books()


@short
def test_o02_no_name_is_handed_out_while_it_cannot_be_verified(lab: Lab) -> None:
    """The DNS server is gone: Kea is left as it is, B4s stay; a moment later the same file brings them where it says."""
    distributed(lab, HOMES)
    document, before = kea(lab, "config-get")["arguments"], slots_by_map(lab)
    assert aftr_lab(lab.name, "kill", "dns").returncode == 0
    refused = aftr_lab(lab.name, "distribute", str(HOMES_DIVIDED))
    assert refused.returncode == 1
    assert "no B4 is told anything new" in refused.stderr
    assert "2001:db8:ffff::53" in refused.stderr
    assert kea(lab, "config-get")["arguments"] == document
    assert slots_by_map(lab) == before
    started = aftr_lab(lab.name, "start", "dns")
    assert started.returncode == 0, started.stderr
    assert moved(lab, HOMES_DIVIDED) == {"b4-1": (0, 1)}


@short
def test_what_the_aftr_refuses_moves_nobody(lab: Lab, tmp_path: Path) -> None:
    document, config = kea(lab, "config-get")["arguments"], Path(lab.state["config"])
    before = config.read_text()
    other = tmp_path / "other.yaml"
    other.write_text(HOMES.read_text().replace("2001:db8:64::/64", "2001:db8:65::/64"))
    refused = aftr_lab(lab.name, "distribute", str(other))
    assert refused.returncode == 1
    assert f"aftr-1 refuses {other}, and nothing was changed:" in refused.stderr
    assert "spec.softwire.prefix" in refused.stderr
    assert (config.read_text(), kea(lab, "config-get")["arguments"]) == (before, document)


# ---------------------------------------------------------------- eight B4s, groups that are spread
@long
def test_d21_o03_eight_b4s_merged_divided_and_resized(tmp_path: Path) -> None:
    """2 → 3 → 2 slots, then a group for each subnet, then one again: each step moves those that the map says, and no other."""
    spread = [groups(tmp_path / f"{slots}.yaml", HOMES, group("homes", *SUBNETS, slots=slots)) for slots in (1, 2, 3)]
    divided = groups(tmp_path / "divided.yaml", HOMES, *(group(f"g{at}", SUBNETS[at]) for at in (0, 1)))
    one, two, three = spread
    with lab_up("eight", two, "--b4s", "8", *WITH_CLIENTS) as lab:
        assert set(slots_by_map(lab).values()) == {0, 1}
        more = moved(lab, three)
        assert more
        assert {new for _, new in more.values()} == {2}
        assert moved(lab, two) == {b4: (new, old) for b4, (old, new) in more.items()}
        apart = moved(lab, divided)
        assert 0 < len(apart) < 8
        by_subnet = [{slots_by_map(lab)[f"b4-{number}"] for number in range(first, 9, 2)} for first in (1, 2)]
        assert sorted(by_subnet, key=min) == [{0}, {1}]
        together = moved(lab, one)
        assert 0 < len(together) < 8
        assert len(set(slots_by_map(lab).values())) == 1
        lab.check_books()


# ---------------------------------------------------------------- pods that are lost
@long
def test_d21_o03_a_slot_that_loses_its_pod_moves_no_b4(tmp_path: Path) -> None:
    """Slots go to other AFTRs, names stay: renewals go on with the same option 64, and connections with the same endpoint."""
    file = groups(tmp_path / "failover.yaml", FAILOVER, group("north", SUBNETS[0]), group("south", SUBNETS[1]))
    with lab_up("podless", file, *WITH_CLIENTS) as lab, ExitStack() as stack:
        until_settled(lab)
        before, document = slots_by_map(lab), kea(lab, "config-get")["arguments"]
        by = stack.enter_context(talks(lab))
        endpoints = {b4: talk.endpoint() for b4, talk in by.items()}
        names = {b4: followed(lab, b4) for b4 in before}
        owner = read_table(lab.state).owners[before["b4-1"]]
        frames = stack.enter_context(frames_at(lab, "dhcp", "access"))
        assert aftr_lab(lab.name, "kill", owner).returncode == 0
        renewals = {b4: renewed(lab, b4) for b4 in before}
        until("all have renewed twice", lambda: all(renewed(lab, b4) >= renewals[b4] + 2 for b4 in before))
        assert read_table(lab.state).owners[before["b4-1"]] not in ("", owner)
        assert {b4: talk.endpoint() for b4, talk in by.items()} == endpoints
        told = [slot for slot in range(8) if any(option_64(f"s{slot}.east.{ZONE}") in frame for frame in frames())]
        assert told == sorted(before.values())
        assert {b4: followed(lab, b4) for b4 in before} == names, "no B4 has followed anything"
        assert distributed(lab, file)["moved"] == []
        assert kea(lab, "config-get")["arguments"] == document


def renewed(lab: Lab, b4: str) -> int:
    """How often a B4's prefix was given and renewed."""
    prefix = next(one["prefix"] for one in lab.state["b4s"] if one["name"] == b4)
    return [address for _, address, _ in leases(lab)].count(str(IPv6Network(prefix).network_address))
