"""Samples for Kubernetes: each is taken by an API server, together they overlap nowhere, and the operator makes pods of all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from aftr_lab.provider import AGENT, AGENT_PORT, DHCP, DNS
from dslite_operator.settings import Settings
from kube_api import Api
from operating import SETTINGS, operator
from reconciling import condition, until

SAMPLES = Path(__file__).parents[2] / "samples/kubernetes"
OURS = ("sriov.yaml", "one-armed.yaml", "external-store.yaml", "autoscaling.yaml", "two-nat-pools.yaml", "divided.yaml")
OTHERS = {"hpa.yaml": "HorizontalPodAutoscaler", "keda.yaml": "ScaledObject"}
ADAPTER, VALUES = "prometheus-adapter.yaml", "values.yaml"  # values of another chart, and of ours


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((SAMPLES / name).read_text()))


def test_every_sample_is_tried_here() -> None:
    assert {path.name for path in SAMPLES.iterdir()} == {*OURS, *OTHERS, ADAPTER, VALUES}


def test_the_values_name_the_labs_servers() -> None:
    (values,) = documents(VALUES)
    settings = Settings.model_validate({**SETTINGS, **values})
    (kea,), (zone,) = settings.dhcp.servers, settings.dns.zones
    assert (kea.url, kea.probe) == (f"http://[{AGENT}]:{AGENT_PORT}/", (str(DHCP), 547))
    assert (zone.zone, zone.server) == (documents("sriov.yaml")[0]["spec"]["softwire"]["domain"], (str(DNS), 53))


def test_the_adapter_offers_what_the_autoscaler_asks_for() -> None:
    (scaler,), (values,) = documents("hpa.yaml"), documents(ADAPTER)
    metric = scaler["spec"]["metrics"][0]["pods"]["metric"]["name"]
    assert [one["seriesQuery"] for one in values["rules"]["custom"]] == [metric]


@pytest.mark.parametrize(("name", "kind"), list(OTHERS.items()))
def test_scalers_of_others_scale_a_sample_pool(name: str, kind: str) -> None:
    (scaler,) = documents(name)
    assert scaler["kind"] == kind
    target, pool = scaler["spec"]["scaleTargetRef"], documents("sriov.yaml")[0]
    assert (target["kind"], target["name"], target["apiVersion"]) == (
        pool["kind"],
        pool["metadata"]["name"],
        pool["apiVersion"],
    )
    most = scaler["spec"].get("maxReplicas") or scaler["spec"]["maxReplicaCount"]
    assert most <= pool["spec"]["slots"]
    assert "autoscaling" not in pool["spec"]


@pytest.mark.api
def test_all_samples_together_come_into_force(api: Api, tmp_path: Path) -> None:
    for name in (*OURS, "hpa.yaml"):
        made = api.kubectl("apply", "-n", "edge", "-f", str(SAMPLES / name))
        assert made.returncode == 0, made.stderr
    objects = [one for name in OURS for one in documents(name)]
    try:
        with operator(api, tmp_path):
            for one in objects:
                kind, name = one["kind"].lower(), one["metadata"]["name"]
                until(lambda kind=kind, name=name: condition(api, kind, name).get("status") == "True")  # type: ignore[misc]
    finally:
        for one in objects:
            kind, name = one["kind"].lower(), one["metadata"]["name"]
            api.kubectl("patch", kind, name, "-n", "edge", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
        children = "configmap,service,deployment,statefulset,pdb,networkpolicy,secret,hpa"
        api.kubectl("delete", f"dslite,{children}", "--all", "-n", "edge")
