"""The thin path through a real Kubernetes: B4s outside, routes by BGP from pods, packets through devices that CNI moved into them."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from running_cluster import Cluster, cluster_up, dslite_cluster
from running_lab import FAILOVER, URL, Lab, lab_up

pytestmark = pytest.mark.cluster

OBJECTS = Path(__file__).with_name("aftr.yaml")
COMPILED_S = 10.0  # a cold compile takes 30 s and more
SETTLED_S = 60.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with cluster_up("packets", "--devices", "4") as made:
        yield made


@pytest.fixture(scope="module")
def outside(cluster: Cluster) -> Iterator[Lab]:
    """A router with BGP, two homes with B4s, a server on the internet; joined to the cluster's devices."""
    with lab_up("packets", FAILOVER, "--outside") as lab:
        joined = dslite_cluster(cluster.name, "join", lab.name)
        assert joined.returncode == 0, joined.stderr
        yield lab


@pytest.fixture(scope="module")
def pods(cluster: Cluster, outside: Lab) -> list[dict[str, Any]]:
    """Two AFTR pods that are Ready, and known to the router."""
    cluster.kubectl("create", "configmap", "east", f"--from-file=pool.yaml={FAILOVER}")
    cluster.kubectl("apply", "-f", str(OBJECTS))
    cluster.kubectl("rollout", "status", "deployment/east", "--timeout=150s")
    for b4 in outside.state["b4s"]:
        until(partial(reaches, outside, b4), f"{b4['name']} reaches {b4['tunnelAddress']}")
    found: list[dict[str, Any]] = cluster.get("pods", "-l", "app=east")["items"]
    return found


def until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SETTLED_S
    while not true():
        assert time.monotonic() < deadline, f"not after {SETTLED_S:g} s: {what}"
        time.sleep(0.2)


def reaches(lab: Lab, b4: dict[str, Any]) -> bool:
    ping = f"ping -n -q -c 1 -W 1 {b4['tunnelAddress']} >/dev/null && echo yes || echo no"
    return lab.shell(b4["name"], ping).strip() == "yes"


def log_of(cluster: Cluster, pod: dict[str, Any]) -> list[dict[str, str]]:
    lines = cluster.kubectl("logs", pod["metadata"]["name"]).splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def test_b4s_download_and_upload_through_the_pods(outside: Lab, pods: list[dict[str, Any]]) -> None:
    for host in ("host-1", "host-2"):
        there_and_back = f"curl -sf {URL}bytes/16M | curl -sf -T - {URL}upload"
        digest = outside.run(host, "curl", "-sf", f"{URL}sha256/16M").strip()
        assert json.loads(outside.shell(host, there_and_back))["sha256"] == digest
        whoami = json.loads(outside.run(host, "curl", "-sf", f"{URL}whoami"))
        assert whoami["address"].startswith("192.0.2.")


def test_the_router_learnt_each_slot_from_the_pod_that_serves_it(
    cluster: Cluster, outside: Lab, pods: list[dict[str, Any]]
) -> None:
    routes = dict(
        re.findall(r"^(2001:db8:64::\S+) via (\S+)", outside.run("router", "ip", "-6", "route"), re.MULTILINE)
    )
    assert set(routes) == {slot["tunnelAddress"] for slot in outside.state["slots"]}
    assert set(routes.values()) == {address(pod, "access") for pod in pods}


def address(pod: dict[str, Any], interface: str) -> str:
    """What Multus says that an interface of the pod has."""
    networks = json.loads(pod["metadata"]["annotations"]["k8s.v1.cni.cncf.io/network-status"])
    found: str = next(network["ips"][0] for network in networks if network["interface"] == interface)
    return found


def test_devices_are_driven_natively_with_the_fewest_capabilities(cluster: Cluster, pods: list[dict[str, Any]]) -> None:
    for pod in pods:
        sentences = [line["event"] for line in log_of(cluster, pod) if line["event"].startswith("interface ")]
        assert len(sentences) == 2
        assert all(": native AF_XDP" in sentence for sentence in sentences), sentences


def test_a_pod_starts_without_compiling_on_a_root_that_is_read_only(
    cluster: Cluster, pods: list[dict[str, Any]]
) -> None:
    for pod in pods:
        text = " ".join(line["event"] for line in log_of(cluster, pod))
        times = [float(seconds) for seconds in re.findall(r"kernels: [a-z ]+: ([0-9.]+) s", text)]
        assert len(times) >= 4
        assert sum(times) < COMPILED_S


def test_a_pod_beyond_the_devices_waits(cluster: Cluster, pods: list[dict[str, Any]]) -> None:
    """Four devices of each side: the fifth pod is not scheduled; when the others have gone, their devices are there again."""
    cluster.kubectl("scale", "deployment/east", "--replicas=5")
    cluster.kubectl("wait", "--for=jsonpath={.status.readyReplicas}=4", "deployment/east", "--timeout=150s")
    waiting = cluster.get("pods", "-l", "app=east", "--field-selector=status.phase=Pending")["items"]
    assert len(waiting) == 1
    assert "Insufficient example.com/aftr_access" in waiting[0]["status"]["conditions"][0]["message"]
    cluster.kubectl("scale", "deployment/east", "--replicas=2")
    until(lambda: len(devices(cluster)) == 4, "four devices are back on the node")


def devices(cluster: Cluster) -> list[str]:
    links = json.loads(cluster.run("node-1", "ip", "-json", "link", "show"))
    return [link["ifname"] for link in links if re.fullmatch(r"(access|internet)\d+", link["ifname"])]


def test_pods_find_services_by_name(cluster: Cluster, pods: list[dict[str, Any]]) -> None:
    asked = ["exec", "deployment/east", "--", "redis-cli", "-h", "east-redis.default.svc.cluster.local", "ping"]
    assert cluster.kubectl(*asked).strip() == "PONG"


@pytest.mark.parametrize("program", ["kube-apiserver", "node-1.kubelet", "node-1.containerd", "node-1.kube-proxy"])
def test_packets_flow_while_a_part_of_kubernetes_is_away(
    program: str, cluster: Cluster, outside: Lab, pods: list[dict[str, Any]]
) -> None:
    """Pods go on as they are, also when it is back."""
    before = alive(cluster)
    killed = dslite_cluster(cluster.name, "kill", program)
    assert killed.returncode == 0, killed.stderr
    assert outside.shell("host-1", f"curl -sf --max-time 30 {URL}bytes/4M | wc -c").strip() == str(4 << 20)
    started = dslite_cluster(cluster.name, "start", program)
    assert started.returncode == 0, started.stderr
    assert alive(cluster) == before
    assert cluster.get("node", "node-1")["status"]["capacity"]["example.com/aftr_access"] == "4"


def alive(cluster: Cluster) -> tuple[dict[str, int], list[str]]:
    """Restarts of the AFTR pods, by UID, and their processes."""
    found = cluster.get("pods", "-l", "app=east", "--field-selector=status.phase=Running")["items"]
    restarts = {pod["metadata"]["uid"]: pod["status"]["containerStatuses"][0]["restartCount"] for pod in found}
    return restarts, cluster.run("node-1", "pgrep", "-f", "aftr run").split()
