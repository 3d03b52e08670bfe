"""What the lab's Kea, Knot and resolver are told. No root needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aftr_lab.plan import Options, Plan, describe, make_plan
from aftr_lab.provider import CLIENTS, kea_conf, routes_script, trust_anchors, zone_file
from dslite_contract.load import load_config
from running_lab import SAMPLE


def plan(b4s: int = 4) -> Plan:
    return make_plan("test", load_config(SAMPLE), Options(b4s=b4s, clients=CLIENTS))


def subnets() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = kea_conf(plan(), Path("/x"))["Dhcp6"]["shared-networks"][0]["subnet6"]
    return found


def test_each_group_is_told_one_name_and_its_b4s_are_of_that_slot() -> None:
    names = {subnet["subnet"]: subnet["option-data"][0]["data"] for subnet in subnets()}
    assert names == {"2001:db8:1000::/36": "s0.east.aftr.example.net", "2001:db8:2000::/36": "s1.east.aftr.example.net"}
    assert [(b4.group, b4.slot) for b4 in plan().b4s] == [("north", 0), ("south", 1)] * 2


def test_clients_take_turns_and_nobody_has_one_unasked() -> None:
    assert [b4.client for b4 in plan().b4s] == ["dhclient", "dhcpcd"] * 2
    told = make_plan("test", load_config(SAMPLE), Options())
    assert [b4.client for b4 in told.b4s] == [None, None]
    assert describe(told)["provider"] is None
    assert not {"dhcp", "dns", "resolver"} & set(told.nodes())


def test_a_b4_gets_the_prefix_of_the_plan_and_an_address_that_is_in_nobodys() -> None:
    assert [row for subnet in subnets() for row in subnet["reservations"]][:2] == [
        {"duid": "00:03:00:01:02:00:00:00:00:01", "ip-addresses": ["2001:db8:1fff:ffff::1"], "prefixes": ["2001:db8:1000::/56"]},
        {"duid": "00:03:00:01:02:00:00:00:00:03", "ip-addresses": ["2001:db8:1fff:ffff::3"], "prefixes": ["2001:db8:1000:200::/56"]},
    ]  # fmt: skip


def test_the_zone_has_one_aaaa_for_each_slot() -> None:
    lines = zone_file(plan().pool, "198.18.0.80").splitlines()
    assert [line for line in lines if " AAAA 2001:db8:64:" in line] == [
        f"s{slot}.east.aftr.example.net. AAAA 2001:db8:64::{slot + 1}" for slot in range(4)
    ]


def test_ds_records_become_trust_anchors() -> None:
    records = "aftr.example.net. DS 44509 13 2 98af\naftr.example.net. DS 44509 13 4 48d2\n\n"
    assert trust_anchors(records) == ["aftr.example.net,44509,13,2,98af", "aftr.example.net,44509,13,4,48d2"]


def test_delegated_prefixes_are_routed_in_the_routers_namespace() -> None:
    assert "ip -n dsl-test-router -6 route replace" in routes_script("dsl-test-router")
