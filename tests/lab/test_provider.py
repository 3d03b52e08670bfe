"""What the lab's Kea, Knot and resolver are started with. No root needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from aftr_lab.errors import LabError
from aftr_lab.plan import Options, Plan, describe, make_plan
from aftr_lab.provider import CLIENTS, LOGIN, agent_conf, kea_conf, knot_conf, trust_anchors, zone_file
from dns_servers import snippet
from dslite_contract.load import load_config
from running_lab import FAILOVER, SAMPLE


def plan(b4s: int = 4) -> Plan:
    return make_plan("test", load_config(SAMPLE), Options(b4s=b4s, clients=CLIENTS))


def subnets() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = kea_conf(plan(), Path("/x"))["Dhcp6"]["shared-networks"][0]["subnet6"]
    return found


def test_kea_has_the_groups_subnets_and_no_names_yet() -> None:
    assert [subnet["subnet"] for subnet in subnets()] == ["2001:db8:1000::/36", "2001:db8:2000::/36"]
    assert not any("option-data" in subnet for subnet in subnets())


def test_clients_take_turns_and_nobody_has_one_unasked() -> None:
    assert [b4.client for b4 in plan().b4s] == ["dhclient", "dhcpcd"] * 2
    told = make_plan("test", load_config(SAMPLE), Options())
    assert [b4.client for b4 in told.b4s] == [None, None]
    assert describe(told)["provider"] is None
    assert not {"dhcp", "dns", "resolver", "agent"} & set(told.nodes())
    assert plan().provider == ("dhcp", "dns", "resolver")


def test_outside_kea_has_an_agent_that_asks_for_a_login_and_nobody_says_what_b4s_are_told() -> None:
    outside = make_plan("test", load_config(FAILOVER), Options(clients=CLIENTS, outside=True))
    assert outside.provider == ("dhcp", "dns", "resolver", "agent")
    assert [(b4["client"], b4["slot"], b4["tunnelAddress"]) for b4 in describe(outside)["b4s"]] == [
        ("dhclient", None, None),
        ("dhcpcd", None, None),
    ]
    agent, kea = agent_conf(Path("/x"), "s3cret")["Control-agent"], kea_conf(outside, Path("/x"))["Dhcp6"]
    assert agent["control-sockets"]["dhcp6"] == kea["control-socket"]
    assert agent["authentication"]["clients"] == [{"user": LOGIN, "password": "s3cret"}]


def test_a_b4_gets_the_prefix_of_the_plan_and_an_address_that_is_in_nobodys() -> None:
    assert [row for subnet in subnets() for row in subnet["reservations"]][:2] == [
        {"duid": "00:03:00:01:02:00:00:00:01:9e", "ip-addresses": ["2001:db8:1fff:ffff::1"], "prefixes": ["2001:db8:1000::/56"]},
        {"duid": "00:03:00:01:02:00:00:00:03:da", "ip-addresses": ["2001:db8:1fff:ffff::3"], "prefixes": ["2001:db8:1000:200::/56"]},
    ]  # fmt: skip


def test_the_zone_has_no_slot_yet_and_lets_one_key_write_them() -> None:
    assert "s0.east" not in zone_file("aftr.example.net", "198.18.0.80")
    grants = knot_conf("aftr.example.net", Path("/x"), "c2VjcmV0").split("acl:\n")[1].split("log:")[0]
    granted = snippet("knot").split("acl:\n")[1].split("\nzone:")[0]
    for line in (
        "action: update",
        "update-type: [AAAA, TXT]",
        "update-owner: zone",
        "update-owner-match: sub",
        "action: transfer",
    ):
        assert line in grants
        assert line in granted, "as the document tells providers"


def test_a_lab_without_relays_and_with_b4s_in_all_prefixes_is_built() -> None:
    documents = list(yaml.safe_load_all(SAMPLE.read_text()))
    documents[1]["spec"] |= {"dhcp": {"server": "lab", "subnets": ["2001:db8:1000::/40"]}}
    with pytest.raises(LabError, match="B4Group north: its B4s in 2001:db8:1000::/36 ask from no subnet"):
        make_plan("test", load_config(yaml.safe_dump_all(documents)), Options(clients=CLIENTS))
    documents[1]["spec"] |= {
        "dhcp": {"server": "lab", "subnets": ["2001:db8:1000::/36"]},
        "match": {"relayInterfaceId": "x*"},
    }
    with pytest.raises(LabError, match="B4Group north has a match"):
        make_plan("test", load_config(yaml.safe_dump_all(documents)), Options(clients=CLIENTS))


def test_ds_records_become_trust_anchors() -> None:
    records = "aftr.example.net. DS 44509 13 2 98af\naftr.example.net. DS 44509 13 4 48d2\n\n"
    assert trust_anchors(records) == ["aftr.example.net,44509,13,2,98af", "aftr.example.net,44509,13,4,48d2"]
