"""What the operator does with what pods say: numbers, refusals, drains, and how many pods there are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster_objects import group, pool
from dslite_operator.names import labels
from kube_api import Api
from operating import SETTINGS, operator
from reconciling import accepted, condition, get, give, pod, tidy, until
from stand_in import stand_ins

pytestmark = pytest.mark.api

HOMES = group("homes", "2001:db8:1000::/36")


@pytest.fixture(autouse=True)
def tidied(api: Api) -> Iterator[None]:
    yield
    tidy(api)


def status(api: Api) -> dict[str, Any]:
    found: dict[str, Any] = get(api, "aftrpool", "east").get("status", {})
    return found


def replicas(api: Api) -> int:
    return int(get(api, "deployment", "east-aftr").get("spec", {}).get("replicas", 0))


def test_numbers_slots_and_a_configuration_that_every_pod_runs(api: Api, tmp_path: Path) -> None:
    with stand_ins(api, {0: 10, 1: 5}, {2: 0, 3: 7}) as pods:
        give(api, pool(), HOMES)
        with operator(api, tmp_path):
            until(lambda: condition(api, "aftrpool", "east", "Ready").get("status") == "True")
            until(lambda: condition(api, "aftrpool", "east", "Advertised").get("status") == "True")
            found = status(api)
            assert (found["readyReplicas"], found["mappings"], found["portUtilizationPercent"]) == (2, 22, 25)
            assert [slot["pod"] for slot in found["slots"]] == ["aftr-0", "aftr-0", "aftr-1", "aftr-1"]
            assert {one.config_hash() for one in pods} == {found["configHash"]}
            give(api, pool(softwire={**pool()["spec"]["softwire"], "tunnelMtu": 1400}), HOMES)
            until(
                lambda: {one.config_hash() for one in pods} == {status(api).get("configHash")} != {found["configHash"]}
            )
            assert "tunnelMtu: 1400" in pods[0].checked[-1]


def test_changes_that_end_mappings_wait_and_a_takeover_is_an_event(api: Api, tmp_path: Path) -> None:
    with stand_ins(api, {0: 10, 1: 5}, {2: 0, 3: 7}) as pods:
        give(api, pool(), HOMES)
        with operator(api, tmp_path):
            until(lambda: accepted(api, "b4group", "homes"))
            pods[0].lost, pods[1].lost = 12, 3
            give(api, group("homes", "2001:db8:7000::/36"))
            until(lambda: condition(api, "b4group", "homes").get("status") == "False")
            assert (
                "it would end 15 live mappings: wait, or set allowDisruption"
                in condition(api, "b4group", "homes")["message"]
            )
            assert "2001:db8:7000::/36" not in get(api, "configmap", "east-aftr")["data"]["pool.yaml"]
            pods[0].lost = pods[1].lost = 0
            until(lambda: accepted(api, "b4group", "homes"), 40)
            pods[1].slots, pods[0].slots = {0: 10, 1: 5, 2: 0, 3: 7}, {}
            until(lambda: "slot 0 is served by aftr-1" in api.kubectl("get", "events", "-n", "edge").stdout, 40)


def test_a_pool_is_scaled_while_another_change_of_it_waits(api: Api, tmp_path: Path) -> None:
    with stand_ins(api, {0: 10, 1: 5}, {2: 0, 3: 7}) as pods:
        give(api, pool())
        with operator(api, tmp_path):
            until(lambda: condition(api, "aftrpool", "east", "Ready").get("status") == "True")
            pods[0].lost = 12
            give(api, pool(nat={"pools": [{"name": "default", "prefixes": ["20.5.0.0/24"]}]}))
            until(lambda: "it would end 12 live mappings" in condition(api, "aftrpool", "east").get("message", ""))
            api.kubectl("scale", "aftr", "east", "-n", "edge", "--replicas=4")
            until(lambda: replicas(api) == 4)
            assert "20.5.0.0" not in get(api, "configmap", "east-aftr")["data"]["pool.yaml"]


def test_a_key_that_is_gone_is_made_again(api: Api, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("the installation's")

    def key() -> Any:
        return get(api, "secret", "east-aftr").get("data")

    with stand_ins(api, {0: 10, 1: 5, 2: 0, 3: 7}) as pods:
        give(api, pool(), HOMES)
        with operator(api, tmp_path, {**SETTINGS, "key": str(file)}) as process:
            until(lambda: accepted(api, "b4group", "homes") and bool(key()))
            before, pods[0].refuses = key(), True
            assert api.kubectl("delete", "secret", "east-aftr", "-n", "edge").returncode == 0
            give(api, group("homes", "2001:db8:7000::/36"))
            until(lambda: key() == before)
            said = condition(api, "b4group", "homes")["message"]
            assert "no AFTR could say how many mappings it would end" in said
            assert "an AFTR refuses us" in process.log.read_text()
            pods[0].refuses = False
            until(lambda: accepted(api, "b4group", "homes"), 40)


@pytest.mark.parametrize("secret", ["east-store", "east-aftr"])
def test_a_secret_that_is_gone_is_made_again_for_pods_that_wait_for_it(api: Api, tmp_path: Path, secret: str) -> None:
    """It was that of a pool of this name that was deleted, say, and was taken for the second's."""
    give(api, pool())
    with operator(api, tmp_path):
        until(lambda: accepted(api, "aftrpool", "east") and bool(get(api, "secret", secret)))
        give(api, pool(replicas=3))
        until(lambda: replicas(api) == 3)  # it has been seen to, and is seen to no more
        assert api.kubectl("delete", "secret", secret, "-n", "edge").returncode == 0
        with pod(api, "aftr-0", labels("east", "aftr"), nodeName="node-1"):
            until(lambda: bool(get(api, "secret", secret)))


def test_a_deleted_pool_waits_for_its_last_mapping(api: Api, tmp_path: Path) -> None:
    with stand_ins(api, {0: 10, 1: 5, 2: 0, 3: 7}) as pods:
        give(api, pool(replicas=1))
        with operator(api, tmp_path):
            until(lambda: condition(api, "aftrpool", "east", "Ready").get("status") == "True")
            api.kubectl("delete", "aftr", "east", "-n", "edge", "--wait=false")
            until(lambda: condition(api, "aftrpool", "east", "Draining").get("status") == "True")
            said = condition(api, "aftrpool", "east", "Draining")["message"]
            assert re.fullmatch(r"the pool was deleted: 22 live mappings, \d+ s left to wait for their end", said)
            pods[0].slots = {0: 0, 1: 0, 2: 0, 3: 0}
            until(lambda: not get(api, "aftrpool", "east"), 40)


def test_a_deleted_pool_does_not_wait_for_pods_that_never_started(api: Api, tmp_path: Path) -> None:
    """There was no room for them, say: they have no mappings."""
    give(api, pool(replicas=1))
    with pod(api, "aftr-0", labels("east", "aftr")), operator(api, tmp_path):
        until(lambda: "0 of 1 pods are ready" in condition(api, "aftrpool", "east", "Ready").get("message", ""))
        until(lambda: status(api)["replicas"] == 1)
        api.kubectl("delete", "aftr", "east", "-n", "edge", "--wait=false")
        until(lambda: not get(api, "aftrpool", "east"))


def test_a_deleted_pool_does_not_wait_for_ever(api: Api, tmp_path: Path) -> None:
    with stand_ins(api, {0: 10}):
        give(api, pool(replicas=1, deletionDrainSeconds=8))
        with operator(api, tmp_path):
            until(lambda: condition(api, "aftrpool", "east", "Ready").get("status") == "True")
            api.kubectl("delete", "aftr", "east", "-n", "edge", "--wait=false")
            until(lambda: condition(api, "aftrpool", "east", "Draining").get("status") == "True")
            until(lambda: not get(api, "aftrpool", "east"), 30)


def test_the_emptiest_pod_is_marked_before_there_are_fewer(api: Api, tmp_path: Path) -> None:
    with stand_ins(api, {0: 10, 1: 5}, {2: 0, 3: 7}) as pods:
        give(api, pool())
        with operator(api, tmp_path):
            until(lambda: condition(api, "aftrpool", "east", "Ready").get("status") == "True")
            api.kubectl("scale", "aftr", "east", "-n", "edge", "--replicas=1")
            until(lambda: replicas(api) == 1)
            costs = [int(one.annotations()["controller.kubernetes.io/pod-deletion-cost"]) for one in pods]
            assert costs[1] < costs[0]


def test_the_autoscaler_follows_load_and_not_silence(api: Api, tmp_path: Path) -> None:
    bounds = {"minReplicas": 2, "maxReplicas": 4, "scaleDownStabilizationSeconds": 10}
    with stand_ins(api, {0: 10, 1: 5}, {2: 0, 3: 7}) as pods:
        give(api, pool(autoscaling=bounds))
        with operator(api, tmp_path):
            until(lambda: condition(api, "aftrpool", "east", "Ready").get("status") == "True")
            for one in pods:
                one.busy = 0.95
            until(lambda: replicas(api) == 4, 60)
            assert get(api, "aftrpool", "east")["spec"]["replicas"] == 2
            api.kubectl("scale", "aftr", "east", "-n", "edge", "--replicas=3")
            ignored = ("get", "events", "-n", "edge", "--field-selector=reason=ReplicasIgnored")
            until(lambda: "spec.replicas 3 has no effect beside spec.autoscaling" in api.kubectl(*ignored).stdout)
            for one in pods:
                one.busy = 0.0
            until(lambda: "4 pods stay" in condition(api, "aftrpool", "east", "Ready").get("message", ""), 40)
            assert replicas(api) == 4  # two of the four say nothing
