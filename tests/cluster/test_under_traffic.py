"""What is done to a pool while its customers download: no TCP transfer breaks, and no binding is lost."""

from __future__ import annotations

from typing import Any

import pytest

from installed_pool import Pool, until
from running_cluster import Cluster, dslite_cluster
from running_lab import Lab
from under_load import under_load

pytestmark = pytest.mark.cluster


def scaled(pool: Pool, replicas: int) -> None:
    """`kubectl scale`, until it is so."""
    pool.cluster.kubectl("scale", f"aftr/{pool.name}", f"--replicas={replicas}")
    pool.settle()


def test_scale_from_two_to_four_and_back(outside: Lab, pool: Pool) -> None:
    scaled(pool, 2)
    with under_load(outside) as load:
        load.during(lambda: scaled(pool, 4))
        assert len(set(load.routes.table.owners)) == 4
        load.during(lambda: scaled(pool, 2))
        assert len(set(load.routes.table.owners)) == 2


def test_a_pod_is_deleted_by_force(outside: Lab, pool: Pool) -> None:
    scaled(pool, 2)
    victim = pool.pods()[0]["metadata"]["name"]

    def delete() -> None:
        pool.cluster.kubectl("delete", "pod", victim, "--force", "--grace-period=0")
        until(lambda: victim not in [pod["metadata"]["name"] for pod in pool.pods()], "it is gone")
        pool.settle()

    with under_load(outside) as load:
        load.during(delete)


def spec(pool: Pool, **fields: Any) -> None:
    import json

    pool.cluster.kubectl("patch", "aftr", pool.name, "--type=merge", "--patch", json.dumps({"spec": fields}))


def test_the_api_server_is_killed_and_started_again(cluster: Cluster, outside: Lab, pool: Pool) -> None:
    before = pool.uids()

    def kill_and_start() -> None:
        for what in ("kill", "start"):
            done = dslite_cluster(cluster.name, what, "kube-apiserver")
            assert done.returncode == 0, done.stderr
        pool.settle()

    with under_load(outside) as load:
        load.during(kill_and_start)
    assert pool.uids() == before
