"""`kubectl dslite` against AFTRs that serve: who has an endpoint, a pod drained, an archive for support."""

from __future__ import annotations

import base64
import json
import tarfile
from pathlib import Path

import pytest

from installed_pool import Pool, until
from running_cluster import Cluster
from running_lab import URL, Lab
from under_load import under_load

pytestmark = pytest.mark.cluster

PARTS = ("pod.json", "slots.json", "counters.json", "log")  # of each AFTR
NOBODYS = "192.0.2.255 1 tcp"
DEVICES = 4  # of each side, on both nodes together


def test_status_says_what_the_operator_wrote(cluster: Cluster, pool: Pool) -> None:
    said = json.loads(cluster.shell(f"kubectl dslite status {pool.name} -o json"))
    assert said["configHash"] == pool.read()["status"]["configHash"]
    table = cluster.shell(f"COLUMNS=250 kubectl dslite status {pool.name}")
    assert all(pod["metadata"]["name"] in table for pod in pool.pods())


def test_who_has_an_endpoint_on_the_internet(cluster: Cluster, outside: Lab, pool: Pool) -> None:
    b4 = outside.state["b4s"][0]
    seen = json.loads(outside.run(b4["host"]["name"], "curl", "-sf", f"{URL}whoami"))
    ask = f"kubectl dslite lookup {pool.name} {seen['address']} {seen['port']} tcp"
    (found,) = json.loads(cluster.shell(f"{ask} -o json"))
    assert (found["softwire"], found["internalAddress"]) == (b4["address"], b4["host"]["address"])
    assert b4["address"] in cluster.shell(f"COLUMNS=250 {ask}")
    assert cluster.shell(f"kubectl dslite lookup {pool.name} {NOBODYS}").strip() == f"nobody has {NOBODYS} now"


def test_a_pod_without_a_node_stands_in_nobodys_way(cluster: Cluster, outside: Lab, pool: Pool) -> None:
    """There are more pods than devices, just when somebody asks."""
    before = pool.read()["spec"]["replicas"]
    cluster.kubectl("scale", f"aftr/{pool.name}", f"--replicas={DEVICES + 1}")
    try:
        pending = ("pods", "-l", f"dslite.dev/pool={pool.name}", "--field-selector=status.phase=Pending")
        until(lambda: len(pool.ready()) == DEVICES and len(cluster.get(*pending)["items"]) == 1, "one has no node")
        b4 = outside.state["b4s"][0]
        seen = json.loads(outside.run(b4["host"]["name"], "curl", "-sf", f"{URL}whoami"))
        ask = f"kubectl dslite lookup {pool.name} {seen['address']} {seen['port']} tcp -o json"
        until(lambda: [one["softwire"] for one in json.loads(cluster.shell(ask))] == [b4["address"]], "its B4 is found")
    finally:
        cluster.kubectl("scale", f"aftr/{pool.name}", f"--replicas={before}")
        pool.settle()


def test_a_pod_is_drained_under_traffic(cluster: Cluster, outside: Lab, pool: Pool) -> None:
    """Its slots go to others before it ends, and another pod takes its place."""
    before, victim = pool.uids(), pool.pods()[0]["metadata"]["name"]

    def drain() -> None:
        cluster.shell(f"kubectl dslite drain pod {victim}")
        until(lambda: victim not in [pod["metadata"]["name"] for pod in pool.pods()], "it is gone")
        pool.settle()

    with under_load(outside) as load:
        load.during(drain)
    assert len(before.keys() - pool.uids().keys()) == 1


def test_an_archive_for_support_has_everything_but_what_is_nobodys_business(
    cluster: Cluster, outside: Lab, pool: Pool, tmp_path: Path
) -> None:
    cluster.shell(f"kubectl dslite report --file {tmp_path / 'report.tar.gz'}")
    with tarfile.open(tmp_path / "report.tar.gz") as archive:
        texts = {one.name: read(archive, one) for one in archive.getmembers()}
    for pod in pool.pods():
        found = [texts[f"dslite-report/{pod['metadata']['name']}/{part}"] for part in PARTS]
        assert all(isinstance(json.loads(text), (dict, list)) for text in found[:3])
        assert "serving" in found[3]
    assert "Ready to accept connections" in texts[f"dslite-report/{pool.name}-store-0/log"]
    (operator,) = cluster.get("pod", "--namespace", "dslite", "-l", "app.kubernetes.io/name=dslite-operator")["items"]
    assert "this operator is at work" in texts[f"dslite-report/{operator['metadata']['name']}/log"]
    whole = "\n".join(texts.values())
    password = base64.b64decode(cluster.get("secret", "east-store")["data"]["password"]).decode()
    assert password not in whole
    assert [b4["address"] for b4 in outside.state["b4s"] if b4["address"] in whole] == []


def read(archive: tarfile.TarFile, one: tarfile.TarInfo) -> str:
    file = archive.extractfile(one)
    assert file is not None
    return file.read().decode()
