"""The built-in autoscaler, by what the pods say of themselves; and Kubernetes' own, by what Prometheus knows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import yaml

from installed_pool import Object, Pool, until
from metrics_at_the_api_server import SAMPLES, metrics_at_the_api_server
from running_cluster import Cluster
from running_lab import URL, Lab

pytestmark = pytest.mark.cluster

UP_S, STABLE_S = 60.0, 60
AUTOSCALING = {
    "minReplicas": 2, "maxReplicas": 4, "targets": {"workerUtilizationPercent": 5}, "scaleDownStabilizationSeconds": STABLE_S,
}  # fmt: skip
DOWNLOAD = ("curl", "-sf", "-o", "/dev/null", "--limit-rate", "30M", f"{URL}bytes/100G")


@pytest.fixture
def autoscaled(pool: Pool) -> Iterator[Pool]:
    pool.patch(replicas=2)
    pool.settle()
    pool.patch(autoscaling=AUTOSCALING)
    yield pool
    pool.patch(autoscaling=None)
    pool.settle()


def wanted(pool: Pool) -> int:
    return int(pool.cluster.get("deployment", f"{pool.name}-aftr")["spec"]["replicas"])


def raise_load(outside: Lab, pool: Pool) -> float:
    """Downloads until all pods are there; the moment in which they end."""
    with ExitStack() as downloads:
        began = time.monotonic()
        for host in ("host-1", "host-2"):
            downloads.enter_context(outside.running(host, *DOWNLOAD))
        until(lambda: wanted(pool) == 4, f"four pods: {pool.conditions()}", UP_S)
        until(lambda: len(pool.ready()) == 4, "they are ready")
        print(f"four pods are ready after {time.monotonic() - began:.0f} s")
    return time.monotonic()


def test_pods_follow_the_load_up_at_once_and_down_after_the_stabilisation(outside: Lab, autoscaled: Pool) -> None:
    dropped = raise_load(outside, autoscaled)
    until(lambda: wanted(autoscaled) < 4, "one pod fewer", 3 * STABLE_S)
    assert wanted(autoscaled) == 3
    assert time.monotonic() - dropped >= STABLE_S


def test_a_pod_that_says_nothing_never_makes_the_pool_smaller(cluster: Cluster, outside: Lab, autoscaled: Pool) -> None:
    dropped = raise_load(outside, autoscaled)
    operator = cluster.get("pod", "--namespace", "dslite", "-l", "app.kubernetes.io/instance=dslite")["items"][0]
    with deaf(cluster, autoscaled.pods()[0], operator):
        while time.monotonic() < dropped + 2 * STABLE_S:
            assert wanted(autoscaled) == 4
            time.sleep(5)
    until(lambda: wanted(autoscaled) < 4, "one pod fewer", 3 * STABLE_S)


def test_a_horizontal_pod_autoscaler_scales_a_pool(cluster: Cluster, outside: Lab, pool: Pool, tmp_path: Path) -> None:
    """The sample, less patient and less bold."""
    hpa = yaml.safe_load((SAMPLES / "hpa.yaml").read_text())
    hpa["spec"]["maxReplicas"] = 4
    hpa["spec"]["metrics"][0]["pods"]["target"]["averageValue"] = "50m"
    hpa["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"] = STABLE_S
    pool.patch(replicas=2)
    pool.settle()
    with metrics_at_the_api_server(cluster, tmp_path):
        cluster.kubectl("apply", "--filename=-", stdin=yaml.safe_dump(hpa))
        try:
            dropped = raise_load(outside, pool)
            until(lambda: wanted(pool) < 4, "one pod fewer", 3 * STABLE_S)
            assert time.monotonic() - dropped >= STABLE_S
        finally:
            cluster.kubectl("delete", "hpa", hpa["metadata"]["name"])
    pool.patch(replicas=2)
    pool.settle()


@contextmanager
def deaf(cluster: Cluster, pod: Object, operator: Object) -> Iterator[None]:
    """A pod whose status port the operator does not reach."""
    node, address = pod["spec"]["nodeName"], pod["status"]["podIP"]
    find = f"for one in $(ls /run/netns); do ip -n $one address | grep -q 'inet {address}/' && echo $one; done"
    namespace = cluster.run(node, "sh", "-c", f"{find}; true").strip()
    nft = ("ip", "netns", "exec", namespace, "nft")
    drop = f"tcp dport 9464 ip saddr {operator['status']['podIP']} drop"
    rules = f"table inet deaf {{ chain input {{ type filter hook input priority 0; {drop}; }}; }}"
    cluster.run(node, *nft, rules)
    try:
        yield
    finally:
        cluster.run(node, *nft, "delete table inet deaf")
