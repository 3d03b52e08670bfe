"""A cluster comes, goes, and leaves nothing: also after `up` was killed at any moment."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pyroute2 import IPRoute, netns

from dslite_cluster.record import BASE
from running_cluster import DSLITE_CLUSTER, Cluster, cluster_up, dslite_cluster

pytestmark = pytest.mark.cluster

NAME = f"lifecycle-{os.getpid()}"
FOLDER = BASE / NAME
CGROUPS = Path("/sys/fs/cgroup")


def links() -> set[str]:
    with IPRoute() as netlink:
        return {link.get_attr("IFLA_IFNAME") for link in netlink.get_links()}


def rules() -> str:
    return subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout


def traces() -> dict[str, object]:
    """Whatever of a cluster named NAME can be seen on this machine."""
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return {
        "namespaces": [name for name in netns.listnetns() if name.startswith(f"dsc-{NAME}-")],
        "mounts": [line for line in mounts if NAME in line],
        "processes": [line for line in listing if NAME in line and "pytest" not in line],
        "cgroups": [path for path in (CGROUPS / "k8s.io", *CGROUPS.glob("*/k8s.io")) if path.exists()],
        "files": [FOLDER] if FOLDER.exists() else [],
    }


NOTHING: dict[str, object] = {"namespaces": [], "mounts": [], "processes": [], "cgroups": [], "files": []}


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    before = links(), rules()
    yield
    dslite_cluster(NAME, "down")
    assert (links(), rules()) == before


def processes() -> int:
    return len(list((FOLDER / "processes").glob("*")))


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(FOLDER.exists, id="folder"),
        pytest.param(lambda: any(name.startswith(f"dsc-{NAME}-") for name in netns.listnetns()), id="first-namespace"),
        pytest.param(lambda: processes() >= 1, id="first-process"),
        pytest.param((FOLDER / "node-1" / "lib" / "ready").exists, id="node"),
        pytest.param((FOLDER / "processes" / "node-1.kubelet").exists, id="kubelet"),
    ],
)
def test_down_after_up_was_killed(moment: Callable[[], bool]) -> None:
    command = [str(DSLITE_CLUSTER), "--cluster", NAME, "up"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as up:
        while not moment():
            assert up.poll() is None
        up.kill()
    down = dslite_cluster(NAME, "down")
    assert down.returncode == 0, down.stderr
    assert traces() == NOTHING


def test_down_twice_is_fine() -> None:
    assert dslite_cluster(NAME, "down").stdout == f"there is no cluster '{NAME}'\n"


@pytest.fixture
def two_nodes() -> Iterator[Cluster]:
    with cluster_up("lifecycle", "--nodes", "2", "--devices", "1") as made:
        yield made
    assert traces() == NOTHING


SPREAD = """
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: everywhere}
spec:
  selector: {matchLabels: {app: everywhere}}
  template:
    metadata: {labels: {app: everywhere}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {name: aftr, image: localhost/dslite/aftr:dev, command: [redis-server, --protected-mode, "no", --save, ""]}
"""


def test_two_nodes_whose_pods_reach_each_other_and_up_again(two_nodes: Cluster) -> None:
    assert len(two_nodes.get("nodes")["items"]) == 2
    two_nodes.kubectl("apply", "-f", "-", stdin=SPREAD)
    two_nodes.kubectl("rollout", "status", "daemonset/everywhere", "--timeout=120s")
    pods = two_nodes.get("pods", "-l", "app=everywhere")["items"]
    assert {pod["spec"]["nodeName"] for pod in pods} == {"node-1", "node-2"}
    for address in pods[1]["status"]["podIPs"]:
        ping = ("redis-cli", "-h", address["ip"], "ping")
        assert two_nodes.kubectl("exec", pods[0]["metadata"]["name"], "--", *ping).strip() == "PONG"
    again = dslite_cluster(two_nodes.name, "up", "--nodes", "2", "--devices", "1")
    assert (again.returncode, again.stdout.strip()) == (0, two_nodes.kubeconfig), again.stderr
    assert two_nodes.get("pods", "-l", "app=everywhere")["items"][0]["metadata"]["uid"] == pods[0]["metadata"]["uid"]
    other = dslite_cluster(two_nodes.name, "up")
    assert other.returncode == 1
    assert "is up with 2 nodes and 1 devices" in other.stderr
