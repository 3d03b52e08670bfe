"""B4s that learn their AFTR as customers' routers do: real DHCPv6 clients, a real Kea, names changed, names that are none."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from pyroute2 import netns

from aftr_lab.provider import CLIENTS, RENEW_S
from learning_b4s import (
    ZONE,
    external_address,
    follows,
    frames_at,
    global_addresses,
    host_of,
    is_of_slot,
    kea,
    log_of,
    option_64,
    until,
)
from running_lab import SAMPLE, SERVER, URL, Lab, aftr_lab, lab_up

pytestmark = pytest.mark.lab

B4S = {"b4-1": "dhclient", "b4-2": "dhcpcd"}
HOST, PROXY = "192.168.1.10", "192.168.1.1"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_up("b4dhcp", SAMPLE, *(word for client in CLIENTS for word in ("--client", client))) as lab:
        yield lab


def hand_out(lab: Lab, *names: str | None) -> None:
    """Other names for the groups north and south, from the next renewal on; None: no name at all."""
    document = kea(lab, "config-get")["arguments"]
    for subnet, name in zip(document["Dhcp6"]["shared-networks"][0]["subnet6"], names, strict=True):
        option = {"name": "aftr-name", "data": name, "always-send": True}
        subnet["option-data"] = [option] if name else []
    kea(lab, "config-set", document)


def until_said(lab: Lab, node: str, words: str, since: int = 0) -> None:
    """Until a node's program has written these words after so many bytes."""
    until(f"{node} says {words}", lambda: words.encode() in log_of(lab, node).read_bytes()[since:])


def written(lab: Lab, *nodes: str) -> dict[str, int]:
    """How much their programs have written so far."""
    return {node: log_of(lab, node).stat().st_size for node in nodes}


def test_b02_each_client_leads_its_b4_to_the_aftr_and_hosts_download(lab: Lab) -> None:
    for number, b4 in enumerate(B4S):
        state = lab.state["b4s"][number]
        assert (state["name"], state["client"]) == (b4, B4S[b4])
        until_said(lab, b4, f"follows s{number}.east.{ZONE}: softwire {state['address']} → {state['tunnelAddress']}")
        wanted = lab.run(state["host"]["name"], "curl", "--silent", f"{URL}sha256/1M").strip()
        got = lab.shell(state["host"]["name"], f"curl --silent --fail --max-time 20 {URL}bytes/1M | sha256sum")
        assert got.split()[0] in wanted
    lab.check_books()


def test_b03_no_nat_in_the_b4(lab: Lab) -> None:
    """The AFTR sees the hosts' own addresses, the same in both homes, behind our end of each softwire."""
    for number in (1, 2):
        external_address(lab, f"host-{number}")
    seen = {(binding["softwire"], binding["internalAddress"]) for binding in lab.aftr_json("show", "bindings")}
    assert seen == {(state["address"], HOST) for state in lab.state["b4s"]}


@pytest.mark.parametrize("host", ["host-1", "host-2"])
def test_b04_hosts_get_address_router_and_resolver_by_dhcpv4(lab: Lab, host: str) -> None:
    lease = Path("/run/dslite-lab", lab.name, f"{host}.run", "leases").read_text()
    assert f"fixed-address {HOST};" in lease
    assert f"option routers {PROXY};" in lease
    assert f"option domain-name-servers {PROXY};" in lease


@pytest.mark.parametrize("host", ["host-1", "host-2"])
def test_b04_the_proxy_asks_over_ipv6_and_leaves_dnssec_alone(lab: Lab, host: str, tmp_path: Path) -> None:
    question = ["dig", f"@{PROXY}", "+time=5", "+tries=2", f"server.{ZONE}", "A", "+dnssec"]
    with frames_at(lab, "resolver", "access") as frames:
        answer = lab.run(host, *question, "+adflag")
        assert any(b"\x06server\x04aftr" in frame for frame in frames())
    assert re.search(r"flags:[^;]* ad[ ;]", answer), answer
    assert "RRSIG" in answer
    assert SERVER in answer
    unchecked = lab.run(host, *question, "+cdflag", "+tcp")
    assert re.search(r"flags:[^;]* cd[ ;]", unchecked), unchecked
    assert "RRSIG" not in lab.run(host, *question[:-1])


def test_b04_a_host_that_validates_by_itself_can(lab: Lab, tmp_path: Path) -> None:
    configuration = Path("/run/dslite-lab", lab.name, "dns.run", "knot.conf")
    records = lab.run("dns", "keymgr", "-c", str(configuration), ZONE, "ds").splitlines()
    tag, algorithm, kind, digest = next(row.split()[2:] for row in records if row.split()[4] == "2")
    anchors = tmp_path / "anchors"
    anchors.write_text(f'trust-anchors {{ {ZONE}. static-ds {tag} {algorithm} {kind} "{digest}"; }};\n')
    delv = ["delv", f"@{PROXY}", "-a", str(anchors), f"+root={ZONE}"]
    assert "; fully validated" in lab.run("host-1", *delv, f"server.{ZONE}", "A")


def test_b02_a_changed_name_is_followed_and_the_home_keeps_its_addresses(lab: Lab) -> None:
    """Moved at the next renewal, to the other's slot: IA_NA, IA_PD and the host's lease are the same, new connections work."""
    addresses = {b4: global_addresses(lab, b4) for b4 in B4S}
    before = written(lab, *B4S, "host-1", "host-2")
    with (
        frames_at(lab, "dhcp", "access") as frames,
        lab.running("b4-2", "ip", "monitor", "address", "dev", "lan") as monitor,
    ):
        hand_out(lab, f"s1.east.{ZONE}", f"s0.east.{ZONE}")
        began = time.monotonic()
        for b4, slot in (("b4-1", 1), ("b4-2", 0)):
            until(f"{b4} follows slot {slot}", partial(follows, lab, b4, slot))
        took = time.monotonic() - began
        print(f"both followed after {took:.1f} s")
        assert took < 2 * RENEW_S + 5, "T1, what is left of a renewal that was under way, and a busy machine"
        assert all(any(option_64(f"s{slot}.east.{ZONE}") in frame for frame in frames()) for slot in (0, 1))
        monitor.terminate()
        assert "Deleted" not in monitor.communicate()[0]
    assert {b4: global_addresses(lab, b4) for b4 in B4S} == addresses
    assert written(lab, "host-1", "host-2") == {host: before[host] for host in ("host-1", "host-2")}, (
        "no word of DHCPv4"
    )
    for host, slot in (("host-1", 1), ("host-2", 0)):
        assert is_of_slot(lab, external_address(lab, host), slot)


def test_b02_a_name_that_is_none_is_refused_and_the_old_softwire_stays(lab: Lab) -> None:
    hand_out(lab, f"s0.east.{ZONE}", f"s1.east.{ZONE}")
    for number, b4 in enumerate(B4S):
        until(f"{b4} follows slot {number}", partial(follows, lab, b4, number))
    with frames_at(lab, "resolver", "access") as frames:
        for names, reasons in (
            (("2001:db8:64::4", "aftr"), ("it is an address", "it has a single label")),
            ((None, "2001:db8:64::4"), ("it is empty", "it is an address")),
        ):
            before = written(lab, *B4S)
            hand_out(lab, *names)
            for b4, reason in zip(B4S, reasons, strict=True):
                until_said(lab, b4, reason, before[b4])
        hand_out(lab, f"s0.east.{ZONE}", f"s1.east.{ZONE}")
        asked = [frame for frame in frames() if re.search(rb"\x02s\d\x04east", frame)]
    assert asked == [], "renewals resolve nothing: the name is the same"
    for number, host in enumerate(("host-1", "host-2")):
        assert is_of_slot(lab, external_address(lab, host), number)


def test_b02_a_b4_that_starts_again_has_the_same_addresses(lab: Lab) -> None:
    """Killed with all that runs beside it, dhcpcd's own processes too; nothing is left in its way."""
    addresses = global_addresses(lab, "b4-2")
    assert aftr_lab(lab.name, "kill", "b4-2").returncode == 0
    assert netns.ns_pids().get(lab.namespace("b4-2"), []) == []
    started = aftr_lab(lab.name, "start", "b4-2")
    assert started.returncode == 0, started.stderr
    assert global_addresses(lab, "b4-2") == addresses
    external_address(lab, "host-2")


@pytest.mark.parametrize("b4", B4S)
def test_b02_a_b4_that_starts_again_without_a_name_has_no_softwire(lab: Lab, b4: str) -> None:
    """What its last run was told is followed no more; as soon as it is told a name, it is up."""
    assert aftr_lab(lab.name, "kill", b4).returncode == 0
    before = written(lab, b4)
    hand_out(lab, None, None)
    with ThreadPoolExecutor() as beside:
        start = beside.submit(aftr_lab, lab.name, "start", b4)
        until_said(lab, b4, "it is empty", before[b4])
        assert "softwire" not in lab.run(b4, "ip", "link")
        hand_out(lab, f"s0.east.{ZONE}", f"s1.east.{ZONE}")
        assert start.result().returncode == 0, start.result().stderr
    external_address(lab, host_of(b4))
