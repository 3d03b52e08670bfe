"""From a B4Group to its B4s' packets in a real Kubernetes: the operator in a pod; Kea, DNS and B4s outside (Distribution, proof 7).

Option 64 is read on the B4s' wires; which slot has their packets, the AFTRs say that serve it.
"""

from __future__ import annotations

import http.client
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from aftr_lab.build import plan_of
from aftr_lab.record import Record
from dslite_operator.distribution.buckets import bucket_of
from dslite_operator.distribution.config_maps import COMPONENT, group_of, text_in
from dslite_operator.distribution.maps import BucketMap, hash_of, map_of, slots_in, text_of
from dslite_operator.names import COMPONENT_LABEL
from installed_pool import SAMPLE, Pool, commands, installed, outside_of, until
from learning_b4s import (
    WITH_CLIENTS,
    ZONE,
    external_address,
    followed,
    follows,
    frames_at,
    global_addresses,
    host_of,
    is_of_slot,
    option_64,
    talks,
)
from running_cluster import Cluster, cluster_up
from running_lab import Lab

pytestmark = pytest.mark.cluster

NORTH, SOUTH = "2001:db8:1000::/36", "2001:db8:2000::/36"  # a B4 in each
DEVICES = 3  # of each side: as many as README's quick start has AFTRs, all on one node

Object = dict[str, Any]
Slots = Mapping[str, int]  # of each B4
Wire = Callable[[], list[bytes]]  # the frames so far


# ---------------------------------------------------------------- a cluster of its own, whose outside has Kea and DNS
@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with cluster_up("learning", "--devices", str(DEVICES)) as made:
        yield made


@pytest.fixture(scope="module")
def outside(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two B4s that wait to be told their AFTR: one of each client, one in each subnet."""
    pool, _ = yaml.safe_load_all(SAMPLE.read_text())
    file: Path = tmp_path_factory.mktemp("outside") / "homes.yaml"
    file.write_text(yaml.safe_dump_all([pool, group("homes", NORTH, SOUTH)]))
    with outside_of(cluster, "learning", *WITH_CLIENTS, file=file) as lab:
        yield lab


@pytest.fixture(scope="module")
def pool(cluster: Cluster, outside: Lab) -> Pool:
    """The pool of README's quick start, and an operator that knows Kea and DNS by the commands of docs/cluster.md."""
    found = installed(cluster)
    for command in commands("docs/cluster.md", "B4s that learn their AFTR"):
        cluster.shell(command.replace("/outside/", f"/{outside.name}/"))
    return found


# ---------------------------------------------------------------- what is done
def group(name: str, *subnets: str, **spec: Any) -> Object:
    """The sample's group under a name, told its AFTR in these subnets."""
    _, made = yaml.safe_load_all(SAMPLE.read_text())
    made["metadata"]["name"] = name
    made["spec"] |= {"prefixes": list(subnets), "dhcp": {"server": "lab", "subnets": list(subnets)}, **spec}
    found: Object = made
    return found


def given(cluster: Cluster, lab: Lab, *groups: Object) -> Slots:
    """These groups and no other; once Kea tells the map of each, on as many slots as it asks for: the slot of each B4 by that."""
    wanted = {one["metadata"]["name"]: one["spec"] for one in groups}
    cluster.kubectl("apply", "--filename=-", stdin=yaml.safe_dump_all(groups))
    for other in cluster.get("b4groups")["items"]:
        if other["metadata"]["name"] not in wanted:
            cluster.kubectl("delete", "b4group", other["metadata"]["name"])

    def told() -> bool:
        found = maps(cluster)
        return found.keys() == wanted.keys() and all(
            is_as_asked(found[name], wanted[name]) and is_told_map(cluster, name, found[name]) for name in wanted
        )

    until(told, f"Kea tells what {', '.join(wanted)} ask for")
    return slots_by_map(cluster, lab)


@contextmanager
def wires(lab: Lab) -> Iterator[Mapping[str, Wire]]:
    """All that passes the B4s' WANs from now on."""
    with ExitStack() as stack:
        yield {b4["name"]: stack.enter_context(frames_at(lab, b4["name"], "wan")) for b4 in lab.state["b4s"]}


# ---------------------------------------------------------------- what is seen
def maps(cluster: Cluster) -> dict[str, BucketMap]:
    """Bucket maps in the cluster, by the group's name."""
    found = cluster.get("configmap", "--selector", f"{COMPONENT_LABEL}={COMPONENT}")["items"]
    return {group_of(one).rpartition("/")[2]: map_of(text_in(one), group_of(one)) for one in found}


def is_as_asked(one: BucketMap, spec: Object) -> bool:
    subnets = {str(area.subnet) for area in one.areas}
    return subnets == set(spec["dhcp"]["subnets"]) and len(slots_in(one.areas.values())) == spec.get("slots", 1)


def is_told_map(cluster: Cluster, name: str, one: BucketMap) -> bool:
    """Whether a group says that Kea tells this map."""
    conditions = cluster.get("b4group", name).get("status", {}).get("conditions", [])
    said = {each["type"]: (each["status"], each["message"]) for each in conditions}
    status, sentence = said.get("Provisioned", ("", ""))
    return status == "True" and hash_of(text_of(one)) in sentence


def slots_by_map(cluster: Cluster, lab: Lab) -> Slots:
    """Where the bucket maps say that each B4 is."""
    return {
        b4.name: slots[bucket_of(b4.duid, one.cut)]
        for b4 in plan_of(Record(lab.name)).b4s
        for one in maps(cluster).values()
        for area, slots in one.areas.items()
        if b4.prefix.subnet_of(area.subnet)
    }


def told_on(wire: Wire) -> set[int]:
    """The slots whose names were in an option 64 there."""
    frames = wire()
    return {slot for slot in range(8) if any(option_64(f"s{slot}.east.{ZONE}") in frame for frame in frames)}


def is_told(wire: Wire, slot: int) -> bool:
    return slot in told_on(wire)


def await_learning(lab: Lab, slots: Slots, seen: Mapping[str, Wire]) -> None:
    """Until each B4 was told its slot on its wire, and follows it."""
    for b4, slot in slots.items():
        until(partial(is_told, seen[b4], slot), f"{b4} is told slot {slot}")
        until(partial(follows, lab, b4, slot), f"{b4} follows slot {slot}")


def mappings(pool: Pool) -> Counter[int]:
    """Those of each slot, as the AFTR counts them that serves it."""
    entries = [entry for pod in pool.pods() for entry in pool.aftr_json(pod, "show", "slots")]
    return Counter({entry["slot"]: entry["mappings"] for entry in entries if entry["phase"] == "serving"})


def check_traffic(lab: Lab, pool: Pool, slots: Slots) -> None:
    """What each B4's host asks the internet has an address of the B4's slot, and mappings in that slot alone."""
    for b4, slot in slots.items():
        before = mappings(pool)
        assert is_of_slot(lab, external_address(lab, host_of(b4)), slot)
        assert (mappings(pool) - before).keys() == {slot}


# ---------------------------------------------------------------- tests
def test_d21_a_group_is_told_on_the_wire_and_served_by_the_slot_of_its_map(
    cluster: Cluster, outside: Lab, pool: Pool
) -> None:
    """Nobody is told anything before the group has a DHCPv6 server."""
    b4s = [b4["name"] for b4 in outside.state["b4s"]]
    assert [followed(outside, b4) for b4 in b4s] == [[], []]
    assert mappings(pool).total() == 0
    with wires(outside) as seen:
        slots = given(cluster, outside, group("homes", NORTH, SOUTH))
        assert slots.keys() == set(b4s)
        await_learning(outside, slots, seen)
        assert {b4: told_on(seen[b4]) for b4 in b4s} == {b4: {slot} for b4, slot in slots.items()}
    check_traffic(outside, pool, slots)


def test_d21_o01_a_group_is_divided_and_one_b4_follows_and_merged_and_none_does(
    cluster: Cluster, outside: Lab, pool: Pool
) -> None:
    """Two groups by `kubectl apply` in place of one: a B4 is told a slot of its own; the other one's connection goes on."""
    divided = [group(name, subnet, rebalance="automatic") for name, subnet in (("north", NORTH), ("south", SOUTH))]
    with wires(outside) as seen:
        before = given(cluster, outside, group("homes", NORTH, SOUTH))
        await_learning(outside, before, seen)
    assert len(set(before.values())) == 1
    addresses = {b4: global_addresses(outside, b4) for b4 in before}
    with wires(outside) as seen, talks(outside) as found:
        endpoints = {b4: talk.endpoint() for b4, talk in found.items()}
        given(cluster, outside, *divided)
        until(lambda: len(set(slots_by_map(cluster, outside).values())) == 2, "each B4 is to have a slot of its own")
        after = slots_by_map(cluster, outside)
        await_learning(outside, after, seen)
        (moved,), (stayed,) = ([b4 for b4 in before if (before[b4] != after[b4]) is new] for new in (True, False))
        assert found[stayed].endpoint() == endpoints[stayed]
        with pytest.raises((OSError, http.client.HTTPException)):
            found[moved].endpoint()
        assert told_on(seen[stayed]) == {before[stayed]}
    check_traffic(outside, pool, after)
    with wires(outside) as seen, talks(outside) as found:
        endpoints = {b4: talk.endpoint() for b4, talk in found.items()}
        assert given(cluster, outside, group("homes", NORTH, SOUTH, slots=2)) == after
        await_learning(outside, after, seen)
        assert {b4: told_on(seen[b4]) for b4 in after} == {b4: {slot} for b4, slot in after.items()}
        assert {b4: talk.endpoint() for b4, talk in found.items()} == endpoints
    assert {b4: global_addresses(outside, b4) for b4 in before} == addresses


def test_o03_a_changed_group_moves_a_b4_at_its_renewal_and_its_packets_with_it(
    cluster: Cluster, outside: Lab, pool: Pool
) -> None:
    """`slots: 1` instead of 2: one of the two is told another name and keeps its IPv6 addresses; the other notices nothing."""
    with wires(outside) as seen:
        before = given(cluster, outside, group("homes", NORTH, SOUTH, slots=2))
        await_learning(outside, before, seen)
        addresses = {b4: global_addresses(outside, b4) for b4 in before}
        softwires = {b4: len(followed(outside, b4)) for b4 in before}
        after = given(cluster, outside, group("homes", NORTH, SOUTH))
        await_learning(outside, after, seen)
        assert {b4: told_on(seen[b4]) for b4 in before} == {b4: {before[b4], after[b4]} for b4 in before}
    (moved,) = [b4 for b4 in before if before[b4] != after[b4]]
    assert {b4: len(followed(outside, b4)) for b4 in before} == {**softwires, moved: softwires[moved] + 1}
    assert {b4: global_addresses(outside, b4) for b4 in before} == addresses
    check_traffic(outside, pool, {moved: after[moved]})
