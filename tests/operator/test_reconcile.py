"""The operator as a process against a real API server: what it makes, what it refuses, and that being killed changes nothing."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster_objects import group, pool
from dslite_operator.names import MANAGED_LABEL
from kube_api import Api
from operating import SETTINGS, Process, operator
from reconciling import CHILDREN, accepted, condition, get, give, tidy, until
from stand_in import stand_ins

pytestmark = pytest.mark.api

NEWER = {
    "release": "0.2.0", "aftr": {"image": "registry.example.net/dslite/aftr:0.2.0", "workers": 2, "cpu": "0.5"},
    "store": {"memory": "1024Mi"},
}  # fmt: skip


MAP = "configmap/east-aftr"


def template(api: Api) -> Any:
    return get(api, "deployment", "east-aftr")["spec"]["template"]


@pytest.fixture(autouse=True)
def tidied(api: Api) -> Iterator[None]:
    yield
    tidy(api)


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


def test_what_lost_our_label_is_put_right_and_watched_again(api: Api, tmp_path: Path) -> None:
    """The number of pods of a Deployment that is not known is that of the pool, whatever the autoscaler has made of it."""

    def scaled(number: int) -> None:
        api.kubectl("scale", "deployment", "east-aftr", "-n", "edge", f"--replicas={number}")
        until(lambda: f"{number} pods stay" in condition(api, "aftrpool", "east", "Ready").get("message", ""))

    give(api, pool(autoscaling={"minReplicas": 1, "maxReplicas": 4}))
    with operator(api, tmp_path):
        until(lambda: bool(get(api, "deployment", "east-aftr")))
        scaled(3)
        ours = get(api, "deployment", "east-aftr")["metadata"]["labels"]
        api.kubectl("label", "deployment", "east-aftr", "-n", "edge", "--overwrite", f"{MANAGED_LABEL}=helm")
        until(lambda: get(api, "deployment", "east-aftr")["metadata"]["labels"] == ours)
        scaled(4)


@pytest.mark.parametrize("lost", ["label", "all", "label while nobody is at work"])
def test_a_config_map_that_is_gone_makes_no_pool_new(api: Api, tmp_path: Path, lost: str) -> None:
    """Nor is a change carried out that waits, nor a pod replaced, by an operator of another release."""

    def strike() -> None:
        words = ("delete", MAP) if lost == "all" else ("label", MAP, "--overwrite", f"{MANAGED_LABEL}=Helm")
        assert api.kubectl(*words, "-n", "edge").returncode == 0

    with stand_ins(api, {0: 10}) as (aftr,):
        give(api, pool(replicas=1), group("homes", "2001:db8:1000::/36"))
        with operator(api, tmp_path):
            until(lambda: accepted(api, "b4group", "homes") and bool(get(api, "deployment", "east-aftr")))
            give(api, pool(replicas=1, softwire={**pool()["spec"]["softwire"], "tunnelMtu": 1400}))
            until(lambda: "tunnelMtu: 1400" in get(api, *MAP.split("/"))["data"]["pool.yaml"])
            aftr.lost = 12
            give(api, group("homes", "2001:db8:7000::/36"))
            until(lambda: "it would end 12" in condition(api, "b4group", "homes").get("message", ""))
        before, pods = get(api, *MAP.split("/")), template(api)
        aftr.checked.clear()
        if "nobody" in lost:
            strike()
        with operator(api, tmp_path, NEWER):
            until(lambda: "2001:db8:7000::/36" in "".join(aftr.checked))
            if "nobody" not in lost:
                strike()
            until(lambda: get(api, *MAP.split("/")).get("metadata", {}).get("labels") == before["metadata"]["labels"])
            api.kubectl("scale", "aftr", "east", "-n", "edge", "--replicas=2")
            until(lambda: get(api, "deployment", "east-aftr")["spec"]["replicas"] == 2)
            assert get(api, *MAP.split("/"))["data"] == before["data"]
            assert template(api) == pods
            assert condition(api, "b4group", "homes")["status"] == "False"


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


def test_a_release_that_is_taken_out_is_the_one_that_runs(api: Api, tmp_path: Path) -> None:
    """By `kubectl replace` with the object as a person wrote it, under a newer operator: no pod is replaced."""
    give(api, pool())
    with operator(api, tmp_path):
        until(lambda: bool(get(api, "deployment", "east-aftr")) and accepted(api, "aftrpool", "east"))
    before = template(api)
    with operator(api, tmp_path, NEWER):
        written = pool(replicas=3)
        written["metadata"] = {"name": "east", "namespace": "edge"}
        assert api.kubectl("replace", "-f", "-", given=json.dumps(written)).returncode == 0
        until(lambda: get(api, "deployment", "east-aftr")["spec"]["replicas"] == 3)
        until(lambda: accepted(api, "aftrpool", "east"))
        assert get(api, "aftrpool", "east")["spec"]["release"] == "0.1.0"
        assert template(api) == before


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
        assert get(api, "deployment", "west-aftr")["spec"]["replicas"] == 3, "scaled all the same"
        refusals = api.kubectl("get", "events", "-n", "edge", "--field-selector=reason=AcceptedRefused").stdout
        assert "it overlaps 20.0.0.0/24" in refusals
    with operator(api, tmp_path):  # one that begins anew decides the same
        until(lambda: accepted(api, "aftrpool", "east"))
        assert condition(api, "aftrpool", "west")["status"] == "False"


def test_what_was_accepted_and_cannot_be_read_is_not_accepted_anew(api: Api, tmp_path: Path) -> None:
    """Not even by an operator that would make other pods: somebody puts it right, or one that has read it."""

    def write(text: str) -> None:
        patch = json.dumps({"data": {"pool.yaml": text}})
        assert api.kubectl("patch", "configmap", "east-aftr", "-n", "edge", "-p", patch).returncode == 0

    give(api, pool(), group("homes", "2001:db8:1000::/36"))
    with operator(api, tmp_path):
        until(lambda: accepted(api, "b4group", "homes") and bool(get(api, "deployment", "east-aftr")))
        text = get(api, "configmap", "east-aftr")["data"]["pool.yaml"]
        for edited in ("x", text.replace("2001:db8:6400::/64", "2001:db8:65::/64")):
            write(edited)
            until(lambda: get(api, "configmap", "east-aftr")["data"]["pool.yaml"] == text)
        assert accepted(api, "aftrpool", "east")
    before = template(api)
    write("x")
    with operator(api, tmp_path, NEWER):
        until(lambda: condition(api, "b4group", "homes").get("reason") == "Trouble")
        said = condition(api, "aftrpool", "east")
        assert (said["status"], said["reason"]) == ("Unknown", "Trouble")
        assert said["message"].startswith("ConfigMap east-aftr is not as the operator wrote it")
        assert get(api, "configmap", "east-aftr")["data"]["pool.yaml"] == "x"
        write(text)
        until(lambda: accepted(api, "aftrpool", "east") and accepted(api, "b4group", "homes"))
        assert template(api) == before


def test_what_the_api_server_refuses_is_said(api: Api, tmp_path: Path) -> None:
    """A Deployment of that name is somebody else's, and what it selects never changes."""
    assert api.kubectl("create", "deployment", "east-aftr", "-n", "edge", "--image=x").returncode == 0
    give(api, pool(), group("homes", "2001:db8:1000::/36"))
    with operator(api, tmp_path):
        until(lambda: condition(api, "b4group", "homes").get("reason") == "Trouble")
        assert "field is immutable" in condition(api, "aftrpool", "east")["message"]
        api.kubectl("delete", "deployment", "east-aftr", "-n", "edge")
        until(lambda: accepted(api, "aftrpool", "east") and accepted(api, "b4group", "homes"), 90)
        assert get(api, "deployment", "east-aftr")["spec"]["replicas"] == 2


def test_a_pool_that_is_deleted_and_made_again_is_another_to_its_store(api: Api, tmp_path: Path) -> None:
    """What the first one had made is not taken for the second's, which waits until it is gone: the test removes it."""

    def id_of_pods() -> str:
        env = template(api)["spec"]["containers"][0]["env"]
        return str(next(one["value"] for one in env if one["name"] == "AFTR_POOL"))

    give(api, pool())
    with operator(api, tmp_path):
        until(lambda: accepted(api, "aftrpool", "east") and bool(get(api, "deployment", "east-aftr")))
        first, login = id_of_pods(), get(api, "secret", "east-store")["data"]
        api.kubectl("delete", "aftr", "east", "-n", "edge", "--wait=true")
        give(api, pool())
        until(lambda: "waits until Kubernetes has" in condition(api, "aftrpool", "east").get("message", ""))
        assert id_of_pods() == first
        api.kubectl("delete", f"secret,{CHILDREN}", "--all", "-n", "edge", "--wait=true")
        until(lambda: accepted(api, "aftrpool", "east") and bool(get(api, "deployment", "east-aftr")))
        assert id_of_pods() == get(api, "aftrpool", "east")["metadata"]["uid"] != first
        assert get(api, "secret", "east-store")["data"]["password"] != login["password"]


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
