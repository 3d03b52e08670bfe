"""A provider's first pool: what README's quick start makes, and what is to be seen of it."""

from __future__ import annotations

import json

import pytest

from installed_pool import Pool, is_answered
from running_cluster import Cluster

pytestmark = pytest.mark.cluster


def test_the_pool_says_that_all_is_well(pool: Pool) -> None:
    assert pool.conditions() == {
        "Accepted=True": f"configuration {pool.read()['status']['configHash']} is in force",
        "Ready=True": "3 of 3 pods are ready",
        "Advertised=True": "all slots are served, all sessions are established",
        "StoreReachable=True": "all pods reach the store",
        "CapacityAvailable=True": "every pod has a node",
        "Draining=False": "nothing is being drained",
    }


def test_helm_test(cluster: Cluster, pool: Pool) -> None:
    assert "Succeeded" in cluster.shell("helm test dslite --namespace dslite")


def test_no_pod_has_a_token_of_the_api_server(cluster: Cluster, pool: Pool) -> None:
    for pod in ("east-store-0", *pool.ready()):
        found = cluster.kubectl("exec", pod, "--", "sh", "-c", "ls /var/run/secrets || true")
        assert "kubernetes.io" not in found, pod


def test_b4s_are_listed_to_the_operator_alone(cluster: Cluster, pool: Pool) -> None:
    """Anybody on the pod network reaches the status port, here the API server itself."""
    for pod in pool.pods():
        page = f"/api/v1/namespaces/default/pods/{pod['metadata']['name']}:9464/proxy"
        assert json.loads(cluster.kubectl("get", "--raw", f"{page}/status"))["ready"]
        said = cluster.shell(f"kubectl get --raw {page}/v1/softwires 2>&1 || true")
        assert "Forbidden" in said, said
        assert "2001:db8:1000" not in said
    is_answered(cluster)


def test_a_store_knows_its_own_pool_only(cluster: Cluster, pool: Pool) -> None:
    """With the pool's own login: keys of another pool are refused, and so is anything that empties a server."""
    login = 'redis-cli -u redis://aftr:"$(cat /etc/dslite/secrets/store/password)"@east-store.default.svc:6379'
    pod = pool.pods()[0]["metadata"]["name"]

    def redis(words: str) -> str:
        return cluster.kubectl("exec", pod, "--", "sh", "-c", f"{login} --no-auth-warning {words} 2>&1")

    assert "NOPERM" in redis("get default/west:version")
    assert "NOPERM" in redis("flushall")
    assert "NOPERM" not in redis("get default/east:version")
    assert "NOAUTH" in cluster.kubectl("exec", pod, "--", "sh", "-c", "redis-cli -h east-store ping 2>&1")
