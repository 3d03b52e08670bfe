"""The operator as a process against a real API server: what it makes, what it refuses, and that being killed changes nothing."""

from __future__ import annotations

import json
import random
import re
import time
from pathlib import Path
from typing import Any

import pytest

from cluster_objects import group, pool
from kube_api import Api
from operating import SETTINGS, Process, operator
from reconciling import accepted, condition, get, give, until

pytestmark = pytest.mark.api

CHILDREN = "configmap,service,deployment,statefulset,poddisruptionbudget,networkpolicy"
NEWER = {"release": "0.2.0", "aftr": {"image": "registry.example.net/dslite/aftr:0.2.0", "workers": 2}}
MONITORS: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
    "metadata": {"name": "servicemonitors.monitoring.coreos.com"},
    "spec": {
        "group": "monitoring.coreos.com", "scope": "Namespaced",
        "names": {"plural": "servicemonitors", "singular": "servicemonitor", "kind": "ServiceMonitor"},
        "versions": [{
            "name": "v1", "served": True, "storage": True,
            "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
        }],
    },
}  # fmt: skip


def template(api: Api) -> Any:
    return get(api, "deployment", "east-aftr")["spec"]["template"]


@pytest.fixture(autouse=True)
def tidy(api: Api) -> Any:
    """No object is left; there is no garbage collector here."""
    yield
    for kind in ("aftrpool", "b4group"):
        for one in get(api, kind)["items"]:
            api.kubectl(
                "patch",
                kind,
                one["metadata"]["name"],
                "-n",
                "edge",
                "--type=merge",
                "-p",
                '{"metadata":{"finalizers":null}}',
            )
    api.kubectl("delete", f"dslite,secret,{CHILDREN}", "--all", "-n", "edge", "--wait=true")


def shapes(api: Api) -> dict[str, str]:
    """All children without what differs from run to run, and without the mark of when processes were last replaced."""
    found = {}
    for one in get(api, CHILDREN)["items"]:
        if one["metadata"].get("labels", {}).get("dslite.dev/pool"):
            spec = one["spec"]["ports"] if one["kind"] == "Service" else one.get("spec")
            text = json.dumps([spec, one.get("data")], sort_keys=True)
            found[f"{one['kind']}/{one['metadata']['name']}"] = re.sub(r"(dslite.dev/restart\W+)\w+", r"\1", text)
    return found


# ---------------------------------------------------------------- what it makes
def test_a_pool_and_its_group_come_into_force(api: Api, tmp_path: Path) -> None:
    give(api, pool(), group("homes", "2001:db8:1000::/36"))
    with operator(api, tmp_path) as process:
        until(lambda: accepted(api, "aftrpool", "east") and accepted(api, "b4group", "homes"))
        until(lambda: len(shapes(api)) == 7)
        made = get(api, "aftrpool", "east")
        assert made["metadata"]["finalizers"] == ["dslite.dev/drain"]
        assert made["spec"]["release"] == "0.1.0"
        assert (made["status"]["wantedReplicas"], made["status"]["readyReplicas"]) == (2, 0)
        given = {one["name"]: one.get("value") for one in template(api)["spec"]["containers"][0]["env"]}
        namespace = json.loads(api.kubectl("get", "namespace", "edge", "-o", "json").stdout)["metadata"]["uid"]
        assert (given["AFTR_CLUSTER"], given["AFTR_POOL"]) == (namespace, made["metadata"]["uid"])
        assert get(api, "secret", "east-store")["data"].keys() == {"url", "username", "password", "users.acl"}
        assert process.probe("healthz") == 200
        assert process.end() == 0


def test_scaling_and_live_changes_replace_no_pod(api: Api, tmp_path: Path) -> None:
    give(api, pool())
    with operator(api, tmp_path):
        until(lambda: bool(get(api, "deployment", "east-aftr")))
        before = template(api)
        api.kubectl("scale", "aftr", "east", "-n", "edge", "--replicas=4")
        until(lambda: get(api, "deployment", "east-aftr")["spec"]["replicas"] == 4)
        give(api, pool(replicas=4, softwire={**pool()["spec"]["softwire"], "tunnelMtu": 1400}))
        until(lambda: "tunnelMtu: 1400" in get(api, "configmap", "east-aftr")["data"]["pool.yaml"])
        assert template(api) == before


def test_what_somebody_deletes_or_changes_comes_back(api: Api, tmp_path: Path) -> None:
    give(api, pool())
    with operator(api, tmp_path):
        until(lambda: len(shapes(api)) == 7)
        before = shapes(api)
        api.kubectl("delete", "service,configmap", "east-aftr", "-n", "edge")
        api.kubectl("scale", "deployment", "east-aftr", "-n", "edge", "--replicas=0")
        until(lambda: shapes(api) == before)


def test_a_newer_operator_replaces_no_pod_until_its_release_is_asked_for(api: Api, tmp_path: Path) -> None:
    give(api, pool())
    with operator(api, tmp_path):
        until(lambda: bool(get(api, "deployment", "east-aftr")) and accepted(api, "aftrpool", "east"))
    before, generation = template(api), get(api, "deployment", "east-aftr")["metadata"]["generation"]
    with operator(api, tmp_path, NEWER):
        give(api, pool(replicas=3))
        until(lambda: get(api, "deployment", "east-aftr")["spec"]["replicas"] == 3, 60)
        assert template(api) == before
        api.kubectl("patch", "aftr", "east", "-n", "edge", "--type=merge", "-p", '{"spec":{"release":"0.2.0"}}')
        until(lambda: image(get(api, "statefulset", "east-store")["spec"]["template"]).endswith(":0.2.0"))
        assert template(api) == before, "the store comes first"
        store_is_replaced(api)
        until(lambda: template(api) != before)
        assert image(template(api)).endswith(":0.2.0")
        assert get(api, "deployment", "east-aftr")["metadata"]["generation"] > generation


def image(template: dict[str, Any]) -> str:
    return str(template["spec"]["containers"][0]["image"])


def store_is_replaced(api: Api) -> None:
    """What the controller of StatefulSets says, once it is."""
    generation = get(api, "statefulset", "east-store")["metadata"]["generation"]
    status = {"observedGeneration": generation, "replicas": 1, "readyReplicas": 1, "updatedReplicas": 1}
    patch = ("--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))
    made = api.kubectl("patch", "statefulset", "east-store", "-n", "edge", *patch)
    assert made.returncode == 0, made.stderr


# ---------------------------------------------------------------- what it refuses
def test_overlaps_are_refused_and_what_was_accepted_stays(api: Api, tmp_path: Path) -> None:
    give(api, pool(), pool("west", number=1))
    with operator(api, tmp_path):
        until(lambda: accepted(api, "aftrpool", "east") and accepted(api, "aftrpool", "west"))
        nat = {"pools": [{"name": "default", "prefixes": ["20.0.1.0/24", "20.0.0.0/25"]}]}
        give(api, pool("west", number=1, nat=nat, replicas=3))
        until(lambda: condition(api, "aftrpool", "west").get("status") == "False")
        said = condition(api, "aftrpool", "west")["message"]
        assert "20.0.0.0/25 is not allowed: it overlaps 20.0.0.0/24 of AftrPool edge/east" in said
        assert "20.0.0.0/25" not in get(api, "configmap", "west-aftr")["data"]["pool.yaml"]
        assert get(api, "deployment", "west-aftr")["spec"]["replicas"] == 2
        refusals = api.kubectl("get", "events", "-n", "edge", "--field-selector=reason=AcceptedRefused").stdout
        assert "it overlaps 20.0.0.0/24" in refusals
    with operator(api, tmp_path):  # one that begins anew decides the same
        until(lambda: accepted(api, "aftrpool", "east"))
        assert condition(api, "aftrpool", "west")["status"] == "False"


def test_a_pool_is_scraped_where_the_cluster_knows_servicemonitors(api: Api, tmp_path: Path) -> None:
    assert api.kubectl("apply", "-f", "-", given=json.dumps(MONITORS)).returncode == 0
    known = ("api-resources", "--cached=false", "--api-group=monitoring.coreos.com")
    try:
        until(lambda: "servicemonitors" in api.kubectl(*known).stdout)
        give(api, pool())
        with operator(api, tmp_path):
            until(lambda: bool(get(api, "servicemonitor", "east-aftr")))
        made = get(api, "servicemonitor", "east-aftr")
        assert (made["spec"]["endpoints"][0]["path"], made["spec"]["targetLabels"]) == ("/metrics", ["dslite.dev/pool"])
        service = get(api, "service", "east-aftr")["metadata"]["labels"]
        assert made["spec"]["selector"]["matchLabels"].items() <= service.items()
    finally:
        api.kubectl("delete", "crd", MONITORS["metadata"]["name"])


def test_a_pool_that_is_deleted_and_made_again_is_another_to_its_store(api: Api, tmp_path: Path) -> None:
    """There is no garbage collector here: what the first one had made is there, and is not taken for the second's."""

    def id_of_pods() -> str:
        env = template(api)["spec"]["containers"][0]["env"]
        return str(next(one["value"] for one in env if one["name"] == "AFTR_POOL"))

    give(api, pool())
    with operator(api, tmp_path):
        until(lambda: accepted(api, "aftrpool", "east") and bool(get(api, "deployment", "east-aftr")))
        first = id_of_pods()
        api.kubectl("delete", "aftr", "east", "-n", "edge", "--wait=true")
        give(api, pool())
        until(lambda: accepted(api, "aftrpool", "east") and id_of_pods() != first)
        assert id_of_pods() == get(api, "aftrpool", "east")["metadata"]["uid"]


def test_a_deleted_pool_without_pods_goes_at_once(api: Api, tmp_path: Path) -> None:
    give(api, pool())
    with operator(api, tmp_path):
        until(lambda: accepted(api, "aftrpool", "east"))
        api.kubectl("delete", "aftr", "east", "-n", "edge", "--wait=false")
        until(lambda: not get(api, "aftrpool", "east"))


# ---------------------------------------------------------------- killed
def test_killed_at_any_moment_it_ends_in_the_same_place(api: Api, tmp_path: Path) -> None:
    moments = random.Random(6333)
    softwire = {**pool()["spec"]["softwire"], "tunnelMtu": 1400}
    last = [
        pool(replicas=4, softwire=softwire),
        group("homes", "2001:db8:1000::/36"),
        group("shops", "2001:db8:5000::/40"),
    ]
    for wish in [[pool()], [pool(replicas=3), last[1]], last] * 2:
        process = Process(api, tmp_path, SETTINGS)
        give(api, *wish)
        time.sleep(moments.uniform(0.5, 4.0))
        process.kill()
    with operator(api, tmp_path):
        until(lambda: accepted(api, "b4group", "shops") and len(shapes(api)) == 7, 60)
        until(lambda: get(api, "deployment", "east-aftr")["spec"]["replicas"] == 4)
        disturbed = shapes(api)
    api.kubectl("delete", f"{CHILDREN}", "--all", "-n", "edge")
    with operator(api, tmp_path):
        until(lambda: len(shapes(api)) == 7)
        until(lambda: shapes(api) == disturbed)


def test_one_at_a_time_and_nothing_to_write_when_all_is_well(api: Api, tmp_path: Path) -> None:
    give(api, pool(), group("homes", "2001:db8:1000::/36"))
    with operator(api, tmp_path) as first:
        until(lambda: accepted(api, "b4group", "homes") and len(shapes(api)) == 7)
        (tmp_path / "second").mkdir()
        with operator(api, tmp_path / "second") as second:
            before = versions(api)
            time.sleep(8)
            assert versions(api) == before
            assert "this operator is at work" not in second.log.read_text()
            assert (second.probe("healthz"), second.probe("readyz"), first.probe("readyz")) == (200, 503, 200)
            assert first.end() == 0
            until(lambda: second.probe("readyz") == 200)


def test_one_that_waits_ends_when_it_is_told_to(api: Api, tmp_path: Path) -> None:
    with operator(api, tmp_path) as first:
        until(lambda: "this operator is at work" in first.log.read_text())
        (tmp_path / "second").mkdir()
        with operator(api, tmp_path / "second") as second:
            until(lambda: second.probe("healthz") == 200)
            assert second.end() == 0


def versions(api: Api) -> dict[str, str]:
    found = get(api, f"dslite,{CHILDREN}")["items"]
    return {f"{one['kind']}/{one['metadata']['name']}": one["metadata"]["resourceVersion"] for one in found}
