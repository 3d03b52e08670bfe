"""The operator killed in the middle of changes, and absent: the pool converges, and its customers notice nothing."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from installed_pool import Pool, until
from running_cluster import DSLITE_CLUSTER, Cluster
from running_lab import Lab
from under_load import under_load

pytestmark = pytest.mark.cluster

KILLS, SEED = 50, 6333
CHANGE_S = 2.0  # kubectl's start and what the operator does then take less
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


@contextmanager
def striker(cluster: Cluster, node: str) -> Iterator[Callable[[], bool]]:
    """What kills the operator when it is called, without the second that a command takes to reach its node: whether it met a process."""
    kill = f"it=$(pgrep -f '{PROCESS}') && echo aimed && read now && kill -KILL $it && echo met"
    command = [str(DSLITE_CLUSTER), "--cluster", cluster.name, "exec", node, "--", "sh", "-c", kill]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as aimed:
        assert aimed.stdin is not None
        assert aimed.stdout is not None
        assert aimed.stdout.readline() == "aimed\n", "there is nothing to kill"

        def strike() -> bool:
            said, _ = aimed.communicate("now\n", timeout=60)
            return said == "met\n"

        yield strike


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
        with ThreadPoolExecutor(1) as aside, striker(cluster, node_of_the_operator(cluster)) as strike:
            changed = aside.submit(pool.patch, **CHANGES[number % len(CHANGES)])
            time.sleep(chance.uniform(0, CHANGE_S))
            accepted = changed.done()  # by the API server; a change that comes after the kill is the next operator's
            assert strike(), "there was nothing to kill"
            changed.result()
        if accepted and not has_all_done(pool):
            unfinished.append(number)

    with under_load(outside) as load:
        for number in range(KILLS):
            load.during(lambda number=number: change_and_kill(number))  # type: ignore[misc]
        pool.patch(**CHANGES[-1])
        load.during(pool.settle)
    print(f"{len(unfinished)} of {KILLS} kills came between a change and its end")
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
