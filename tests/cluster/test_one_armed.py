"""AFTRs on the pod network, in a namespace of their own, made by an operator that has rights in that namespace alone.

The pool is the sample for clusters without special hardware; what it asks of the cluster's network, `nodes_with_bgp` gives.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from aftr_lab.plan import ROUTER_IPV4, ROUTER_IPV6
from dslite_operator.names import NETWORKS, POOL_LABEL, Key
from dslite_operator.redis import USER, acl
from installed_pool import Pool, outside_of, reaches, until
from nodes_with_bgp import bgp_of, nodes_with_bgp
from running_cluster import Cluster, cluster_up
from running_lab import ROOT, URL, Lab

pytestmark = pytest.mark.cluster

SAMPLE = ROOT / "samples/kubernetes/one-armed.yaml"
NAMESPACE, ELSEWHERE = "edge", "default"
NODES = 2
INSTALL = f"""
kubectl create namespace {NAMESPACE}
helm install dslite charts/dslite --namespace dslite --create-namespace --wait --set aftr.cpu=250m --set 'namespaces={{{NAMESPACE}}}'
kubectl config set-context --current --namespace={NAMESPACE}
kubectl apply -f {SAMPLE}
"""
ACCOUNT = "system:serviceaccount:dslite:dslite-operator"
LABEL = "app.kubernetes.io/instance=dslite"
RIGHTS = (("list", "configmaps"), ("list", "aftrpools.dslite.dev"), ("patch", "pods"), ("create", "secrets"))
DOWNLOAD_S, REPLACED_S = 120, 300.0
OTHER, SECRET, PASSWORD = "other", "other-redis", "the-providers-password"
Object = dict[str, Any]


def documents() -> list[Object]:
    """The sample's pool and group."""
    return list(yaml.safe_load_all(SAMPLE.read_text()))


def with_the_labs_router(given: list[Object]) -> list[Object]:
    """The same for a lab, which asks for its own router as the pool's peers: nobody calls it there."""
    changed = copy.deepcopy(given)
    for peer in changed[0]["spec"]["routing"]["bgp"]["peers"]:
        peer["address"] = str(ROUTER_IPV4 if peer["families"] == ["ipv4"] else ROUTER_IPV6)
    return changed


# ---------------------------------------------------------------- a cluster of its own, without devices
@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with cluster_up("edge", "--nodes", str(NODES), "--devices", "0") as made:
        yield made


@pytest.fixture(scope="module")
def outside(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """B4s of the sample's group, and nodes that know the way to them."""
    file = tmp_path_factory.mktemp("lab") / "pool.yaml"
    file.write_text(yaml.safe_dump_all(with_the_labs_router(documents())))
    with outside_of(cluster, "edge", file=file) as lab, nodes_with_bgp(cluster, lab, bgp_of(documents())):
        yield lab


@pytest.fixture(scope="module")
def pool(cluster: Cluster, outside: Lab) -> Pool:
    cluster.shell(f"set -e{INSTALL}")
    found = Pool(cluster, documents()[0]["metadata"]["name"])
    found.settle()
    for b4 in outside.state["b4s"]:
        until(lambda b4=b4: reaches(outside, b4), f"{b4['name']} reaches {b4['tunnelAddress']}")  # type: ignore[misc]
    return found


# ---------------------------------------------------------------- packets through one interface
def test_b4s_download_and_upload_through_the_pods_own_interface(outside: Lab, pool: Pool) -> None:
    for b4 in outside.state["b4s"]:
        host = b4["host"]["name"]
        digest = outside.run(host, "curl", "-sf", f"{URL}sha256/16M").strip()
        there_and_back = f"curl -sf {URL}bytes/16M | curl -sf -T - {URL}upload"
        assert json.loads(outside.shell(host, there_and_back))["sha256"] == digest
        whoami = json.loads(outside.run(host, "curl", "-sf", f"{URL}whoami"))
        assert whoami["address"].startswith("198.51.100.")


def test_one_device_is_driven_natively_for_both_sides(pool: Pool) -> None:
    for pod in pool.pods():
        (sentence,) = [line["event"] for line in pool.logs(pod) if line["event"].startswith("interface ")]
        assert sentence.startswith("interface uplink on eth0: native AF_XDP"), sentence
        assert NETWORKS not in pod["metadata"]["annotations"]


def test_the_kernel_still_has_what_is_its_own(cluster: Cluster, pool: Pool) -> None:
    """Probes, the store, members and BGP go by the same device."""
    assert pool.conditions()["StoreReachable=True"] == "all pods reach the store"
    assert pool.conditions()["Advertised=True"] == "all slots are served, all sessions are established"
    for pod in pool.pods():
        assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
        assert "serving" in {entry["phase"] for entry in pool.aftr_json(pod, "show", "slots")}


def test_a_download_outlives_the_pod_that_carries_it(cluster: Cluster, outside: Lab, pool: Pool) -> None:
    b4 = outside.state["b4s"][0]
    host = b4["host"]["name"]
    digest = outside.run(host, "curl", "-sf", f"{URL}sha256/16M").strip()
    victim = pool.read()["status"]["slots"][b4["slot"]]["pod"]
    fetch = f"curl -sf --limit-rate 1M --max-time {DOWNLOAD_S} {URL}bytes/16M | sha256sum"
    with outside.running(host, "bash", "-o", "pipefail", "-c", fetch) as download:
        cluster.kubectl("delete", "pod", victim, "--force", "--grace-period=0")
        said, _ = download.communicate(timeout=DOWNLOAD_S)
    assert (download.returncode, said.split()[0]) == (0, digest)
    pool.settle()


# ---------------------------------------------------------------- rights in one namespace
def test_the_operator_has_no_right_elsewhere(cluster: Cluster, pool: Pool) -> None:
    assert cluster.get("clusterrole,clusterrolebinding", "-l", LABEL)["items"] == []
    for verb, what in RIGHTS:
        assert may(cluster, verb, what, NAMESPACE), (verb, what)
        assert not may(cluster, verb, what, ELSEWHERE), (verb, what)
    assert not may(cluster, "get", "secrets", NAMESPACE)
    log = cluster.kubectl("logs", "deployment/dslite-operator", "--namespace", "dslite")
    assert "orbidden" not in log, log


def may(cluster: Cluster, verb: str, what: str, namespace: str) -> bool:
    """Whether the operator's account is allowed that, as the API server says."""
    words = f"kubectl auth can-i {verb} {what} --namespace {namespace} --as {ACCOUNT}"
    return cluster.shell(f"{words} || true").strip() == "yes"


def test_helm_test_asks_in_that_namespace(cluster: Cluster, pool: Pool) -> None:
    assert "Succeeded" in cluster.shell("helm test dslite --namespace dslite")


def test_a_pool_elsewhere_is_left_alone(cluster: Cluster, pool: Pool) -> None:
    """Though it asks for the same addresses: neither refused, nor served, nor in the way."""
    cluster.kubectl("apply", "--namespace", ELSEWHERE, "-f", str(SAMPLE))
    try:
        pool.patch(softwire={"tunnelMtu": 1480})
        pool.settle()
        stranger = cluster.get("aftr", pool.name, "--namespace", ELSEWHERE)
        assert "status" not in stranger
        assert "finalizers" not in stranger["metadata"]
        assert cluster.get("pod", "--namespace", ELSEWHERE)["items"] == []
    finally:
        cluster.kubectl("delete", "--namespace", ELSEWHERE, "-f", str(SAMPLE))


# ---------------------------------------------------------------- a Redis of the provider's
def test_no_login_of_one_pool_opens_the_store_of_another(cluster: Cluster, pool: Pool) -> None:
    """The other one is a Redis that the provider runs."""
    other = Pool(cluster, OTHER)
    cluster.kubectl("apply", "--filename=-", stdin=yaml.safe_dump_all([*providers_redis(), other_pool()]))
    other.settle()
    assert other.conditions()["StoreReachable=True"] == "all pods reach the store"
    stores = {pool: f"{pool.name}-store", other: "redis"}
    for one, own in stores.items():
        assert redis(one, own, "ping") == "PONG"
        for elsewhere in set(stores.values()) - {own}:
            assert "WRONGPASS" in redis(one, elsewhere, "ping")
    assert "NOPERM" in redis(other, "redis", f"get {NAMESPACE}/{pool.name}:version")
    cluster.kubectl("delete", "aftr", OTHER)


def redis(pool: Pool, store: str, words: str) -> str:
    """What a Redis answers one of a pool's AFTRs with the login that it has."""
    login = f'redis-cli -u "redis://aftr:$(cat /etc/dslite/secrets/store/password)@{store}:6379" --no-auth-warning'
    pod = pool.pods()[0]["metadata"]["name"]
    return pool.cluster.kubectl("exec", pod, "--", "sh", "-c", f"{login} {words} 2>&1 || true").strip()


def providers_redis() -> Iterator[Object]:
    """One that the operator does not run, and its Secret."""
    name, labels = "redis", {"app": "redis"}
    users = acl(Key(NAMESPACE, OTHER), PASSWORD)
    login = {"url": f"redis://{name}.{NAMESPACE}.svc:6379", "username": USER, "password": PASSWORD, "users.acl": users}
    yield {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "stringData": login}
    ports = [{"port": 6379}]
    service = {"selector": labels, "ports": ports}
    yield {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": service}
    command = ["redis-server", "--protected-mode", "no", "--save", "", "--aclfile", "/etc/redis/users.acl"]
    container = {
        "name": name, "image": "localhost/dslite/aftr:dev", "command": command,
        "volumeMounts": [{"name": "users", "mountPath": "/etc/redis"}],
    }  # fmt: skip
    pod = {"containers": [container], "volumes": [{"name": "users", "secret": {"secretName": SECRET}}]}
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    yield {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def other_pool() -> Object:
    """The sample with other addresses, at that Redis."""
    made, _ = documents()
    made["metadata"]["name"] = OTHER
    made["spec"]["softwire"]["prefix"] = "2001:db8:6a::/64"
    made["spec"]["nat"]["pools"][0]["prefixes"] = ["203.0.113.0/28"]
    made["spec"] |= {"replicas": 1, "store": {"secretRef": SECRET, "durability": "memory"}}
    return made


# ---------------------------------------------------------------- the end
def test_with_these_rights_a_pool_is_scaled_replaced_and_deleted(cluster: Cluster, pool: Pool) -> None:
    cluster.kubectl("scale", f"aftr/{pool.name}", "--replicas=3")
    pool.settle()
    pool.patch(capacity={"subscribersPerSlot": 2048})
    pool.settle(REPLACED_S)
    pool.patch(deletionDrainSeconds=5)
    cluster.kubectl("delete", "aftr", pool.name, "--wait=false")
    until(lambda: cluster.get("aftr")["items"] == [], "the pool is gone")
    until(lambda: cluster.get("pod", "-l", f"{POOL_LABEL}={pool.name}")["items"] == [], "and its pods")
    log = cluster.kubectl("logs", "deployment/dslite-operator", "--namespace", "dslite")
    assert "orbidden" not in log, log
