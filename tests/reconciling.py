"""What tests of the operator on an API server ask of it."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kube_api import Api, api_server, binary

CRDS = Path(__file__).parents[1] / "crds"
CHILDREN = "configmap,service,deployment,statefulset,poddisruptionbudget,networkpolicy"
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


@contextmanager
def knowing_monitors(api: Api) -> Iterator[None]:
    """A cluster with ServiceMonitors, for the time of the block."""
    shown = ("get", "--raw", "/apis/monitoring.coreos.com/v1")
    made = api.kubectl("create", "-f", "-", given=json.dumps(MONITORS))
    assert made.returncode == 0, made.stderr
    until(lambda: "servicemonitors" in api.kubectl(*shown).stdout)
    until(lambda: api.kubectl("get", "servicemonitors", "-A").returncode == 0)
    try:
        yield
    finally:
        api.kubectl("delete", "crd", MONITORS["metadata"]["name"], "--wait=true")
        until(lambda: api.kubectl(*shown).returncode != 0)


@contextmanager
def api_with_definitions(*namespaces: str) -> Iterator[Api]:
    """A server that knows our kinds."""
    with api_server() as server:
        made = server.kubectl("create", "-f", str(CRDS))
        assert made.returncode == 0, made.stderr
        until(lambda: "aftrpools" in server.kubectl("api-resources", "--cached=false", "--api-group=dslite.dev").stdout)
        for namespace in namespaces:
            server.kubectl("create", "namespace", namespace)
        yield server


def helm(api: Api, *words: str) -> None:
    """Of releases in namespace dslite."""
    command = [str(binary("helm")), *words, "--namespace", "dslite", "--kubeconfig", str(api.kubeconfig)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr


def until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds:g} s"
        time.sleep(0.1)


def give(api: Api, *objects: dict[str, Any]) -> None:
    """As a person would: without what the API server fills in."""
    keep = ("name", "namespace")
    for one in objects:
        cut = {**one, "metadata": {key: value for key, value in one["metadata"].items() if key in keep}}
        made = api.kubectl("apply", "-f", "-", given=json.dumps(cut))
        assert made.returncode == 0, made.stderr


def get(api: Api, kind: str, name: str = "", namespace: str = "edge") -> Any:
    found = api.kubectl("get", kind, *([name] if name else []), "-n", namespace, "-o", "json")
    return json.loads(found.stdout) if found.returncode == 0 else {}


def tidy(api: Api, namespace: str = "edge") -> None:
    """No object is left; there is no garbage collector here."""
    for kind in ("aftrpool", "b4group"):
        for one in get(api, kind, namespace=namespace)["items"]:
            cut = ("--type=merge", "-p", '{"metadata":{"finalizers":null}}')
            api.kubectl("patch", kind, one["metadata"]["name"], "-n", namespace, *cut)
    api.kubectl("delete", f"dslite,secret,{CHILDREN}", "--all", "-n", namespace, "--wait=true")


@contextmanager
def pod(api: Api, name: str, its: dict[str, str], **spec: Any) -> Iterator[None]:
    """One with these labels that never starts: there is no kubelet here."""
    metadata = {"name": name, "namespace": "edge", "labels": its}
    spec |= {"containers": [{"name": "aftr", "image": "aftr"}]}
    given = json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    made = api.kubectl("create", "-f", "-", given=given)
    assert made.returncode == 0, made.stderr
    try:
        yield
    finally:
        api.kubectl("delete", "pod", name, "-n", "edge", "--force", "--grace-period=0")


def condition(api: Api, kind: str, name: str, what: str = "Accepted") -> dict[str, Any]:
    conditions = get(api, kind, name).get("status", {}).get("conditions", [])
    return next((one for one in conditions if one["type"] == what), {})


def accepted(api: Api, kind: str, name: str) -> bool:
    body = get(api, kind, name)
    found: dict[str, Any] = condition(api, kind, name)
    return found.get("status") == "True" and found["observedGeneration"] == body["metadata"]["generation"]
