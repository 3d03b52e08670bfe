"""A pool's Redis moves, or begins anew, while customers download: the runbook's commands, typed. Then an AFTR dies: the store has all."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from installed_pool import Pool, commands
from running_cluster import Cluster
from running_lab import Lab
from under_load import under_load

pytestmark = pytest.mark.cluster

RUNBOOK, STORE = "docs/runbook.md", "east-store-0"


def test_a_store_gets_another_volume(cluster: Cluster, outside: Lab, pool: Pool) -> None:
    before = volume(cluster)
    _enlarge, *make_anew = commands(RUNBOOK, "Capacity")
    under_traffic(outside, pool, lambda: typed(cluster, make_anew))
    assert volume(cluster) != before


def test_the_node_of_a_store_is_drained_whose_volume_stays_behind(cluster: Cluster, outside: Lab, pool: Pool) -> None:
    node = pool.node_of_the_store()
    pool.scale(2)  # as many as the other node has devices for
    *drain, until_it_is_reachable = [line.replace("NODE", node) for line in commands(RUNBOOK, "Drain")]

    def leave_the_node() -> None:
        typed(cluster, drain)
        cluster.kubectl("delete", "pvc", f"data-{STORE}", "--wait=false")
        cluster.kubectl("delete", "pod", STORE, "--force")
        typed(cluster, [until_it_is_reachable])

    try:
        under_traffic(outside, pool, leave_the_node)
        assert pool.node_of_the_store() != node
    finally:
        cluster.kubectl("uncordon", node)


def typed(cluster: Cluster, lines: list[str]) -> None:
    """One after another, as a person types them."""
    for line in lines:
        cluster.shell(line, timeout=720)


def under_traffic(outside: Lab, pool: Pool, change: Callable[[], None]) -> None:
    """Nothing is lost by a change, nor by the death of an AFTR right after it; it is forgotten before the next change."""
    pool.forget()
    with under_load(outside) as load:
        load.during(change)
        load.during(pool.settle)
        load.during(pool.strike)


def volume(cluster: Cluster) -> str:
    """The name of the volume that the Redis writes to."""
    return str(cluster.get("pvc", f"data-{STORE}")["spec"]["volumeName"])
