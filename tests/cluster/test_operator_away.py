"""The operator killed in the middle of changes, and absent: the pool converges, and its customers notice nothing."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from installed_pool import Pool, until
from running_cluster import Cluster
from running_lab import Lab
from under_load import under_load

pytestmark = pytest.mark.cluster

KILLS, SEED = 50, 6333
AIMED_S = 3.0  # a command takes a second to reach its node, and waits there: a change is carried out in less
PROCESS = "bin/[d]slite-operator run"  # a pattern that does not find itself
KINDS = "configmap,service,deployment,statefulset,poddisruptionbudget,networkpolicy,secret"
ABSENT_S = 300.0
CHANGES: list[dict[str, Any]] = [
    {"replicas": 3},
    {"nat": {"portBlock": {"maxPerSubscriber": 9}}},
    {"softwire": {"mssClamping": {"enabled": False}}},
    {"replicas": 2, "nat": {"portBlock": {"maxPerSubscriber": 8}}, "softwire": {"mssClamping": {"enabled": True}}},
]


def node_of_the_operator(cluster: Cluster) -> str:
    """Where its process is, "" while there is none."""
    find = f"pgrep -f '{PROCESS}' >/dev/null && echo here || true"
    return next((node for node in cluster.nodes if cluster.run(node, "sh", "-c", find).strip() == "here"), "")


def killed(cluster: Cluster, node: str) -> bool:
    """Whether there was a process to kill, `AIMED_S` after the node has heard of it."""
    kill = f"sleep {AIMED_S}; kill -KILL $(pgrep -f '{PROCESS}') 2>/dev/null && echo met || true"
    return cluster.run(node, "sh", "-c", kill).strip() == "met"


def has_all_done(pool: Pool) -> bool:
    """Whether the operator's last words are about the pool as it is now."""
    body = pool.read()
    return bool(body["status"]["observedGeneration"] == body["metadata"]["generation"])


def restarts(cluster: Cluster) -> int:
    """Of the operator's container."""
    (pod,) = cluster.get("pod", "--namespace", "dslite", "-l", "app.kubernetes.io/instance=dslite")["items"]
    return int(pod["status"]["containerStatuses"][0]["restartCount"])


def objects(cluster: Cluster) -> dict[str, Any]:
    """What there is of the pool, without what an API server and controllers add."""
    found = cluster.get(KINDS, "-l", "dslite.dev/pool=east", "--show-managed-fields=false")["items"]
    return {
        f"{one['kind']}/{one['metadata']['name']}": {
            "spec": one.get("spec"), "data": one.get("data"), "labels": one["metadata"]["labels"],
            "hash": one["metadata"]["annotations"]["dslite.dev/applied-hash"],
        }
        for one in found
    }  # fmt: skip


def test_killed_at_random_points_during_changes(cluster: Cluster, outside: Lab, pool: Pool) -> None:
    pool.patch(**CHANGES[-1])
    pool.settle()
    before, begun, chance, unfinished = objects(cluster), restarts(cluster), random.Random(SEED), list[int]()

    def change_and_kill(number: int) -> None:
        until(lambda: bool(node_of_the_operator(cluster)), "there is an operator")
        with ThreadPoolExecutor(1) as aside:
            struck = aside.submit(killed, cluster, node_of_the_operator(cluster))
            time.sleep(chance.uniform(AIMED_S - 1, AIMED_S + 1))
            pool.patch(**CHANGES[number % len(CHANGES)])
            assert struck.result(), "there was nothing to kill"
        if not has_all_done(pool):
            unfinished.append(number)

    with under_load(outside) as load:
        for number in range(KILLS):
            load.during(lambda number=number: change_and_kill(number))  # type: ignore[misc]
        pool.patch(**CHANGES[-1])
        load.during(pool.settle)
    print(f"{len(unfinished)} of {KILLS} kills came before a change was carried out")
    assert unfinished
    assert objects(cluster) == before
    assert restarts(cluster) - begun >= KILLS


def test_absent_for_minutes(cluster: Cluster, outside: Lab, pool: Pool) -> None:
    """Meanwhile a pod dies and another comes, and a change waits."""
    deployment = ("deployment/dslite-operator", "--namespace", "dslite")

    def away() -> None:
        cluster.kubectl("scale", *deployment, "--replicas=0")
        began = time.monotonic()
        victim = pool.pods()[0]["metadata"]["name"]
        cluster.kubectl("delete", "pod", victim, "--force", "--grace-period=0")
        pool.patch(replicas=3)
        until(lambda: len(pool.ready()) == 2 and victim not in pool.ready(), "another pod is ready")
        time.sleep(ABSENT_S - (time.monotonic() - began))
        assert len(pool.pods()) == 2
        cluster.kubectl("scale", *deployment, "--replicas=1")
        pool.settle()

    with under_load(outside) as load:
        load.during(away, 2 * ABSENT_S)
