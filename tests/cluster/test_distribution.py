"""From a B4Group to its B4s' packets in a real Kubernetes: the operator in a pod; Kea, DNS and B4s outside (Distribution, proof 7).

Option 64 is read on the B4s' wires; which slot has their packets, the AFTRs say that serve it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial

import pytest
import yaml

from aftr_lab.build import plan_of
from aftr_lab.record import Record
from dslite_operator.distribution.buckets import bucket_of
from dslite_operator.distribution.config_maps import COMPONENT, text_in
from dslite_operator.distribution.maps import hash_of, map_of, slots_in
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
)
from running_cluster import Cluster, cluster_up
from running_lab import Lab

pytestmark = pytest.mark.cluster

GROUP = "default/homes"
DEVICES = 3  # of each side: as many as README's quick start has AFTRs, all on one node

Slots = Mapping[str, int]  # of each B4
Wire = Callable[[], list[bytes]]  # the frames so far


# ---------------------------------------------------------------- a cluster of its own, whose outside has Kea and DNS
@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with cluster_up("learning", "--devices", str(DEVICES)) as made:
        yield made


@pytest.fixture(scope="module")
def outside(cluster: Cluster) -> Iterator[Lab]:
    """Two B4s that wait to be told their AFTR, one of each client."""
    with outside_of(cluster, "learning", *WITH_CLIENTS) as lab:
        yield lab


@pytest.fixture(scope="module")
def pool(cluster: Cluster, outside: Lab) -> Pool:
    """The pool of README's quick start, and an operator that knows Kea and DNS by the commands of docs/cluster.md."""
    found = installed(cluster)
    for command in commands("docs/cluster.md", "B4s that learn their AFTR"):
        cluster.shell(command.replace("/outside/", f"/{outside.name}/"))
    return found


# ---------------------------------------------------------------- what is done
def given(cluster: Cluster, lab: Lab, slots: int) -> Slots:
    """The sample's group with `dhcp`, on so many slots; once Kea tells its map: the slot of each B4 by that."""
    _, group = yaml.safe_load_all(SAMPLE.read_text())
    group["spec"] |= {"dhcp": {"server": "lab", "subnets": group["spec"]["prefixes"]}, "slots": slots}
    cluster.kubectl("apply", "--filename=-", stdin=yaml.safe_dump(group))

    def told() -> bool:
        text, (status, sentence) = map_text(cluster), provisioned(cluster)
        return bool(text) and status == "True" and hash_of(text) in sentence and spread(text) == slots

    until(told, f"Kea tells {slots} slots")
    return slots_by_map(cluster, lab)


@contextmanager
def wires(lab: Lab) -> Iterator[Mapping[str, Wire]]:
    """All that passes the B4s' WANs from now on."""
    with ExitStack() as stack:
        yield {b4["name"]: stack.enter_context(frames_at(lab, b4["name"], "wan")) for b4 in lab.state["b4s"]}


# ---------------------------------------------------------------- what is seen
def map_text(cluster: Cluster) -> str:
    """The group's bucket map in the cluster, whose only one it is; nothing while there is none."""
    found = cluster.get("configmap", "--selector", f"{COMPONENT_LABEL}={COMPONENT}")["items"]
    return "".join(map(text_in, found))


def spread(text: str) -> int:
    """On how many slots a map is."""
    return len(slots_in(map_of(text, GROUP).areas.values()))


def slots_by_map(cluster: Cluster, lab: Lab) -> Slots:
    bucket_map = map_of(map_text(cluster), GROUP)
    (slots,) = bucket_map.areas.values()
    return {b4.name: slots[bucket_of(b4.duid, bucket_map.cut)] for b4 in plan_of(Record(lab.name)).b4s}


def provisioned(cluster: Cluster) -> tuple[str, str]:
    """The group's condition: its status, and its sentence."""
    conditions = cluster.get("b4group", "homes").get("status", {}).get("conditions", [])
    return next(((one["status"], one["message"]) for one in conditions if one["type"] == "Provisioned"), ("", ""))


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
        slots = given(cluster, outside, 1)
        assert slots.keys() == set(b4s)
        await_learning(outside, slots, seen)
        assert {b4: told_on(seen[b4]) for b4 in b4s} == {b4: {slot} for b4, slot in slots.items()}
    check_traffic(outside, pool, slots)


def test_o03_a_changed_group_moves_a_b4_at_its_renewal_and_its_packets_with_it(
    cluster: Cluster, outside: Lab, pool: Pool
) -> None:
    """`slots: 2` instead of 1: one of the two is told another name and keeps its IPv6 addresses; the other notices nothing."""
    with wires(outside) as seen:
        before = given(cluster, outside, 1)
        await_learning(outside, before, seen)
        addresses = {b4: global_addresses(outside, b4) for b4 in before}
        softwires = {b4: len(followed(outside, b4)) for b4 in before}
        after = given(cluster, outside, 2)
        await_learning(outside, after, seen)
        assert {b4: told_on(seen[b4]) for b4 in before} == {b4: {before[b4], after[b4]} for b4 in before}
    (moved,) = [b4 for b4 in before if before[b4] != after[b4]]
    assert {b4: len(followed(outside, b4)) for b4 in before} == {**softwires, moved: softwires[moved] + 1}
    assert {b4: global_addresses(outside, b4) for b4 in before} == addresses
    check_traffic(outside, pool, {moved: after[moved]})
