"""The thin path through a real Kubernetes: B4s outside, routes by BGP from pods, packets through devices that CNI moved into them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from installed_pool import Pool, until
from running_cluster import Cluster, dslite_cluster
from running_lab import URL, Lab

pytestmark = pytest.mark.cluster

COMPILED_S = 10.0  # a cold compile takes 30 s and more


def test_b4s_download_and_upload_through_the_pods(outside: Lab, pool: Pool) -> None:
    for host in ("host-1", "host-2"):
        there_and_back = f"curl -sf {URL}bytes/16M | curl -sf -T - {URL}upload"
        digest = outside.run(host, "curl", "-sf", f"{URL}sha256/16M").strip()
        assert json.loads(outside.shell(host, there_and_back))["sha256"] == digest
        whoami = json.loads(outside.run(host, "curl", "-sf", f"{URL}whoami"))
        assert whoami["address"].startswith("192.0.2.")


def test_the_router_learnt_each_slot_from_the_pod_that_serves_it(outside: Lab, pool: Pool) -> None:
    """Once slots are spread: who has just got one is in the routes at once, and in the status a little later."""

    def agree() -> bool:
        listing = outside.run("router", "ip", "-6", "route")
        routes = dict(re.findall(r"^(2001:db8:64::\S+) via (\S+)", listing, re.MULTILINE))
        addresses = {pod["metadata"]["name"]: address(pod, "access") for pod in pool.pods()}
        served = {slot["address"]: slot.get("pod") for slot in pool.read()["status"]["slots"]}
        return set(served.values()) == addresses.keys() and routes == {
            slot: addresses.get(pod or "") for slot, pod in served.items()
        }

    until(agree, "the router's routes lead to the pods that the status names, and each has some")


def address(pod: dict[str, Any], network: str) -> str:
    """What Multus says that an interface of the pod has."""
    attached = json.loads(pod["metadata"]["annotations"]["k8s.v1.cni.cncf.io/network-status"])
    found: str = next(one["ips"][0] for one in attached if one["name"] == f"default/aftr-{network}")
    return found


def test_devices_are_driven_natively_with_the_fewest_capabilities(pool: Pool) -> None:
    for pod in pool.pods():
        sentences = [line["event"] for line in pool.logs(pod) if line["event"].startswith("interface ")]
        assert len(sentences) == 2
        assert all(": native AF_XDP" in sentence for sentence in sentences), sentences


def test_a_pod_starts_without_compiling_on_a_root_that_is_read_only(pool: Pool) -> None:
    for pod in pool.pods():
        text = " ".join(line["event"] for line in pool.logs(pod))
        times = [float(seconds) for seconds in re.findall(r"kernels: [a-z ]+: ([0-9.]+) s", text)]
        assert len(times) >= 4
        assert sum(times) < COMPILED_S


def test_a_pod_beyond_the_devices_waits(cluster: Cluster, pool: Pool) -> None:
    """Two devices of each side on two nodes: the fifth pod is not scheduled; when the others have gone, their devices are there again."""
    cluster.kubectl("scale", "aftr/east", "--replicas=5")
    until(lambda: pool.conditions().get("Ready=False", "").startswith("4 of 5 pods are ready"), "four are ready")
    assert "Insufficient example.com/aftr_access" in pool.conditions()["CapacityAvailable=False"]
    cluster.kubectl("scale", "aftr/east", "--replicas=2")
    pool.settle()
    until(lambda: len(devices(cluster)) == 4, "two devices of each side are back on the nodes")


def devices(cluster: Cluster) -> list[str]:
    links = [link for node in cluster.nodes for link in json.loads(cluster.run(node, "ip", "-json", "link", "show"))]
    return [link["ifname"] for link in links if re.fullmatch(r"(access|internet)\d+", link["ifname"])]


@pytest.mark.parametrize("program", ["kube-apiserver", "node-1.kubelet", "node-1.containerd", "node-1.kube-proxy"])
def test_packets_flow_while_a_part_of_kubernetes_is_away(
    program: str, cluster: Cluster, outside: Lab, pool: Pool
) -> None:
    """Pods go on as they are, also when it is back."""
    before = pool.uids(), processes(cluster)
    killed = dslite_cluster(cluster.name, "kill", program)
    assert killed.returncode == 0, killed.stderr
    assert outside.shell("host-1", f"curl -sf --max-time 30 {URL}bytes/4M | wc -c").strip() == str(4 << 20)
    started = dslite_cluster(cluster.name, "start", program)
    assert started.returncode == 0, started.stderr
    assert (pool.uids(), processes(cluster)) == before
    assert cluster.get("node", "node-1")["status"]["capacity"]["example.com/aftr_access"] == "2"


def processes(cluster: Cluster) -> list[str]:
    """The processes of the AFTRs on the nodes."""
    listing = "pgrep -f '[a]ftr run' || true"  # not this shell; a node may have none
    return [f"{node} {pid}" for node in cluster.nodes for pid in cluster.run(node, "sh", "-c", listing).split()]
