"""What a lab will consist of: the arithmetic of B4s, slots and routes. No root needed."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Address
from pathlib import Path
from typing import Any

import pytest
import yaml

from aftr.store.settings import parse_url
from aftr_lab.errors import LabError
from aftr_lab.plan import Aftr, Options, Plan, bgp_sessions, describe, make_plan
from aftr_lab.routing import router_conf
from aftr_lab.stores import StoreKind
from dslite_contract.errors import ConfigurationError
from dslite_contract.load import load_config
from running_lab import FAILOVER, REPLICATED, SAMPLE


def documents() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(SAMPLE.read_text()))


def plan_of(objects: list[dict[str, Any]], b4s: int = 2) -> Plan:
    return make_plan("test", load_config(yaml.safe_dump_all(objects)), Options(b4s=b4s))


def test_groups_take_b4s_in_turn_and_b4_n_has_the_nth_prefix_and_slot() -> None:
    b4s = plan_of(documents(), b4s=6).b4s
    assert [b4.group for b4 in b4s] == ["north", "south"] * 3
    assert [b4.slot for b4 in b4s] == [0, 1, 2, 3, 0, 1]
    assert [str(b4.address) for b4 in b4s[:4]] == [
        "2001:db8:1000::1",
        "2001:db8:2000:100::1",
        "2001:db8:1000:200::1",
        "2001:db8:2000:300::1",
    ]
    assert b4s[3].tunnel_address == IPv6Address("2001:db8:64::4")


def test_a_group_may_count_subscribers_by_another_mask() -> None:
    objects = documents()
    objects[2]["spec"]["subscriberMaskV6"] = 64
    assert str(plan_of(objects).b4s[1].address) == "2001:db8:2000:1::1"


def test_a_b4_gets_a_slot_that_carries_its_nat_pool() -> None:
    objects = documents()
    objects[0]["spec"]["nat"]["pools"].append({"name": "extra", "prefixes": ["203.0.113.0/24"], "slots": "2-3"})
    objects[1]["spec"]["natPool"] = "extra"
    assert [b4.slot for b4 in plan_of(objects, b4s=4).b4s] == [2, 1, 2, 3]


def test_a_group_that_is_too_small_is_refused() -> None:
    objects = documents()
    objects[1]["spec"]["prefixes"] = ["2001:db8:1000::/56"]
    with pytest.raises(LabError, match="B4 3 finds no /56 in 2001:db8:1000::/56 of B4Group north"):
        plan_of(objects, b4s=3)


def test_the_internet_routes_nat_prefixes_and_bypassed_hosts_to_the_aftr() -> None:
    objects = documents()
    bypass = {"b4": "2001:db8:1000:7::/64", "address": "203.0.113.10", "port": 5060, "protocol": "udp", "slot": 3}
    objects[0]["spec"]["nat"]["bypass"] = [bypass]
    assert plan_of(objects).internet_prefixes() == [IPv4Network("192.0.2.0/24"), IPv4Network("203.0.113.10/32")]


def test_aftr_addresses_are_written_alike() -> None:
    assert str(Aftr(1).access_address) == "2001:db8:ffff::11"
    assert str(Aftr(1).internet_address) == "198.18.0.11"


def test_several_aftrs_have_addresses_alike_on_three_links() -> None:
    plan = make_plan("test", load_config(FAILOVER), Options())
    assert [aftr.name for aftr in plan.aftrs] == ["aftr-1", "aftr-2", "aftr-3"]
    third = plan.aftrs[2]
    assert [str(third.access_address), str(third.internet_address), str(third.management_address)] == [
        "2001:db8:ffff::13",
        "198.18.0.13",
        "10.64.0.13",
    ]
    assert "store" in plan.nodes()
    assert "store" not in plan_of(documents()).nodes()


def test_the_router_has_a_session_with_every_aftr_for_each_peer() -> None:
    plan = make_plan("test", load_config(FAILOVER), Options())
    assert plan.bgp is not None
    sessions = bgp_sessions(plan.bgp, plan.aftrs)
    assert [(session.name, str(session.address)) for session in sessions[:3]] == [
        ("aftr-1-tor6", "2001:db8:ffff::11"),
        ("aftr-1-tor4", "198.18.0.11"),
        ("aftr-2-tor6", "2001:db8:ffff::12"),
    ]
    text = router_conf(plan.bgp, sessions)
    assert text.count("protocol bgp ") == 6
    assert "local 2001:db8:ffff::1 as 64500;\n    neighbor 2001:db8:ffff::12 as 64512;" in text
    assert "ipv4 { import all; export none; gateway direct; };" in text


def outside(objects: list[dict[str, Any]]) -> Plan:
    return make_plan("test", load_config(yaml.safe_dump_all(objects)), Options(outside=True))


def test_outside_the_router_takes_whoever_comes_on_its_links() -> None:
    objects = list(yaml.safe_load_all(FAILOVER.read_text()))
    objects[0]["spec"]["store"] = {"secretRef": "redis", "durability": "replicated", "waitReplicas": 1}
    plan = outside(objects)
    assert (plan.aftrs, plan.durability, [node for node in plan.nodes() if "aftr" in node]) == ((), None, [])
    assert plan.bgp is not None
    text = router_conf(plan.bgp, bgp_sessions(plan.bgp, plan.aftrs))
    assert text.count("protocol bgp ") == 2
    assert 'neighbor range 198.18.0.0/24 as 64512; dynamic name "tor4-";' in text
    assert [session["aftr"] for session in describe(plan)["bgp"]["sessions"]] == [None, None]


def test_outside_without_routing_is_refused() -> None:
    with pytest.raises(LabError, match=r"no spec\.routing"):
        outside(documents())


def test_the_description_names_store_management_and_sessions() -> None:
    state = describe(make_plan("test", load_config(FAILOVER), Options()))
    assert state["store"] == {
        "namespace": "dsl-test-store",
        "address": "10.64.0.1",
        "port": 6379,
        "url": "redis://10.64.0.1:6379/0",
        "kind": "plain",
        "nodes": [{"name": "store", "role": "redis", "address": "10.64.0.1:6379"}],
        "durability": "memory",
    }
    assert state["aftrs"][1]["mgmt"] == {"device": "mgmt", "address": "10.64.0.12"}
    assert state["bridges"]["management"]["device"] == "mgmt"
    assert (state["bgp"]["localAsn"], len(state["bgp"]["sessions"])) == (64512, 6)
    plain = describe(plan_of(documents()))
    assert (plain["store"], plain["bgp"], "management" in plain["bridges"]) == (None, None, False)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (["routing"], None, "spec.replicas is 3 without spec.routing: static"),
        (
            ["routing", "bgp", "peers", 0, "address"],
            "2001:db8:ffff::2",
            "BGP peer tor6 has the address 2001:db8:ffff::2",
        ),
        (["routing", "bgp", "peers", 1, "passwordSecret"], "tor", "BGP peer tor4 has a passwordSecret"),
    ],
)
def test_what_the_lab_cannot_build_is_refused(place: list[Any], value: Any, said: str) -> None:
    objects = list(yaml.safe_load_all(FAILOVER.read_text()))
    holder = objects[0]["spec"]
    for step in place[:-1]:
        holder = holder[step]
    holder[place[-1]] = value
    if value is None:
        del holder[place[-1]]
    with pytest.raises(LabError, match=said):
        plan_of(objects)


def test_more_aftrs_than_addresses_are_refused() -> None:
    objects = list(yaml.safe_load_all(FAILOVER.read_text()))
    objects[0]["spec"] |= {"replicas": 70, "slots": 128}
    with pytest.raises(LabError, match=r"spec\.replicas is 70: the lab has addresses for 69 AFTRs"):
        plan_of(objects)


@pytest.mark.parametrize(("field", "value"), [("replicas", 2), ("rollout", {})])
def test_what_comes_later_or_needs_a_store_is_refused_by_name(field: str, value: Any) -> None:
    objects = documents()
    objects[0]["spec"][field] = value
    with pytest.raises(ConfigurationError, match=rf"spec\.{field}"):
        plan_of(objects)


def test_on_a_shared_layer_2_the_router_needs_no_sessions() -> None:
    plan = make_plan("test", load_config(SAMPLE.with_name("layer2.yaml")), Options())
    assert (plan.layer2, plan.bgp, len(plan.aftrs)) == (True, None, 3)
    assert describe(plan)["bgp"] is None
    assert not plan_of(documents()).layer2


def test_more_interfaces_than_the_lab_has_are_refused() -> None:
    objects = documents()
    sides = ["access", "internet", "internet"]
    objects[0]["spec"]["interfaces"] = [
        {"name": f"i{n}", "side": side, "podNetwork": {}} for n, side in enumerate(sides)
    ]
    with pytest.raises((LabError, ConfigurationError)):
        plan_of(objects)


def test_the_description_names_what_tests_and_people_need() -> None:
    state = describe(plan_of(documents()))
    assert state["namespaces"]["host-2"] == "dsl-test-host-2"
    assert state["bridges"]["access"] | {"mtu": 0} == {
        "namespace": "dsl-test-access",
        "device": "subscribers",
        "gateway": "fe80::1",
        "prefixes": ["2001:db8:1000::/36", "2001:db8:2000::/36"],
        "mtu": 0,
    }
    assert state["slots"][3]["tunnelAddress"] == "2001:db8:64::4"
    assert state["slots"][3]["prefixes"] == [{"pool": "default", "prefix": "192.0.2.192/26"}]
    assert state["server"]["address"] == "198.18.0.80"


@pytest.mark.parametrize(
    ("kind", "nodes", "url"),
    [
        (None, 2, "redis://10.64.0.1:6379/0"),
        ("sentinel", 6, "redis+sentinel://10.64.0.4:26379,10.64.0.5:26379,10.64.0.6:26379/pool"),
        ("cluster", 6, f"redis+cluster://{','.join(f'10.64.0.{number}:6379' for number in range(1, 7))}"),
    ],
)
def test_a_secret_is_played_by_the_labs_own_redis(kind: StoreKind | None, nodes: int, url: str) -> None:
    plan = make_plan("test", load_config(REPLICATED), Options(store=kind))
    assert len(plan.stores) == nodes
    assert {store.name for store in plan.stores} <= set(plan.nodes())
    assert describe(plan)["store"]["url"] == url
    assert all(parse_url(url).nodes)


@pytest.mark.parametrize(
    ("file", "kind", "said"),
    [
        (SAMPLE, "plain", "--store plain, but the pool has no spec.store"),
        (FAILOVER, "replica", "--store replica, but spec.store has embedded"),
        (REPLICATED, "plain", "--store plain, but spec.store.durability is replicated"),
    ],
)
def test_a_redis_that_does_not_fit_the_pool_is_refused(file: Path, kind: StoreKind, said: str) -> None:
    with pytest.raises(LabError, match=re.escape(said)):
        make_plan("test", load_config(file), Options(store=kind))
