"""The cluster as the plugin sees it: by the person's kubeconfig, AFTRs through the API server's exec."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from copy import copy
from typing import Any

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from kubernetes.stream import stream

from dslite_contract.errors import DsliteError
from dslite_operator.names import COMPONENT_LABEL, DRAIN, KINDS, MANAGER, POOL_LABEL, selecting, selector
from dslite_operator.pod_template import RUNTIME

Object = dict[str, Any]
GROUP, VERSION = KINDS["AftrPool"][0].split("/")
PLURAL = KINDS["AftrPool"][1]
EXEC_S = 60
NOT_FOUND = 404


class ClusterError(DsliteError):
    """The cluster refuses, or is not reached."""


class NotThereError(ClusterError):
    """What was asked for is not there, or not any more."""


class Cluster:
    """One namespace of a cluster."""

    def __init__(self, namespace: str | None, context: str | None) -> None:
        try:
            file = os.environ.get("KUBECONFIG")
            config.load_kube_config(file, context)  # type: ignore[no-untyped-call]
            every, current = config.list_kube_config_contexts(file)  # type: ignore[no-untyped-call]
        except ConfigException as error:
            raise ClusterError(f"no cluster is configured: {error}") from error
        current = next((one for one in every if one["name"] == context), current)
        self.namespace = namespace or current["context"].get("namespace", "default")
        self._core, self._objects = client.CoreV1Api(), client.CustomObjectsApi()

    def within(self, namespace: str) -> Cluster:
        """The same cluster, another namespace."""
        there = copy(self)
        there.namespace = namespace
        return there

    def pools(self) -> list[Object]:
        """All AftrPools of the namespace."""
        found: Object = call(self._objects.list_namespaced_custom_object, GROUP, VERSION, self.namespace, PLURAL)
        items: list[Object] = found["items"]
        return items

    def groups(self) -> list[Object]:
        """All B4Groups of the namespace."""
        plural = KINDS["B4Group"][1]
        found: Object = call(self._objects.list_namespaced_custom_object, GROUP, VERSION, self.namespace, plural)
        items: list[Object] = found["items"]
        return items

    def pool(self, name: str) -> Object:
        """One AftrPool; raises ClusterError."""
        found: Object = call(self._objects.get_namespaced_custom_object, GROUP, VERSION, self.namespace, PLURAL, name)
        return found

    def patch_pool(self, name: str, patch: Object) -> None:
        """Change an AftrPool."""
        call(self._objects.patch_namespaced_custom_object, GROUP, VERSION, self.namespace, PLURAL, name, patch)

    def groups_of(self, pool: str) -> list[Object]:
        """The B4Groups of an AftrPool."""
        return [one for one in self.groups() if one["spec"]["poolRef"]["name"] == pool]

    def group(self, name: str) -> Object:
        """One B4Group; raises ClusterError."""
        plural = KINDS["B4Group"][1]
        found: Object = call(self._objects.get_namespaced_custom_object, GROUP, VERSION, self.namespace, plural, name)
        return found

    def config_map(self, name: str) -> Object:
        """One ConfigMap; raises ClusterError."""
        return plain(call(self._core.read_namespaced_config_map, name, self.namespace))

    def patch_config_map(self, name: str, patch: Object) -> None:
        """Change a ConfigMap."""
        call(self._core.patch_namespaced_config_map, name, self.namespace, patch)

    def leases(self) -> list[Object]:
        """The Leases of operators, in all namespaces."""
        coordination = client.CoordinationV1Api()
        found = call(coordination.list_lease_for_all_namespaces, field_selector=f"metadata.name={MANAGER}")
        items: list[Object] = plain(found)["items"]
        return items

    def pods(self, labels: Mapping[str, str]) -> list[Object]:
        """Pods with these labels, as plain objects."""
        found = call(self._core.list_namespaced_pod, self.namespace, label_selector=selecting(labels))
        items: list[Object] = plain(found)["items"]
        return items

    def aftrs(self, pool: str) -> list[Object]:
        """The AFTRs of a pool."""
        return self.pods(selector(pool, "aftr"))

    def made(self, labels: Mapping[str, str]) -> list[Object]:
        """What the operator or the chart made beside pods, of the kinds that hold no password: a list of each kind."""
        apps = client.AppsV1Api()
        kinds = (
            self._core.list_namespaced_config_map,
            apps.list_namespaced_deployment,
            apps.list_namespaced_stateful_set,
        )
        return [plain(call(kind, self.namespace, label_selector=selecting(labels))) for kind in kinds]

    def events(self) -> list[Object]:
        """Events of the namespace."""
        found = call(self._core.list_namespaced_event, self.namespace)
        items: list[Object] = plain(found)["items"]
        return items

    def log(self, pod: str, lines: int) -> str:
        """The last lines of a pod's log."""
        return str(call(self._core.read_namespaced_pod_log, pod, self.namespace, tail_lines=lines))

    def aftr(self, pod: str, *words: str) -> Any:
        """What `aftr WORDS -o json` says inside a pod; raises ClusterError."""
        command = ["aftr", *words, "--socket", f"{RUNTIME}/aftr.sock", "-o", "json"]
        running = call(
            stream, self._core.connect_get_namespaced_pod_exec, pod, self.namespace, container="aftr", command=command,
            stdout=True, stderr=True, stdin=False, tty=False, _preload_content=False,
        )  # fmt: skip
        running.run_forever(timeout=EXEC_S)
        said, complained = running.read_all(), running.read_stderr()
        try:
            return json.loads(said)
        except ValueError as error:
            raise ClusterError((complained or said).strip()[:500] or f"no answer in {EXEC_S} s") from error

    def evict(self, pod: str) -> None:
        """Ask a pod to leave; its slots go to others first.  A disruption budget may refuse."""
        metadata = client.V1ObjectMeta(name=pod, namespace=self.namespace)
        call(self._core.create_namespaced_pod_eviction, pod, self.namespace, client.V1Eviction(metadata=metadata))

    def cordon(self, node: str) -> None:
        """No new pod comes to a node."""
        call(self._core.patch_node, node, {"spec": {"unschedulable": True}})

    def all_pods_on(self, node: str, component: str) -> list[Object]:
        """AFTRs or stores on a node, of all namespaces."""
        found = call(self._core.list_pod_for_all_namespaces, field_selector=f"spec.nodeName={node}",
                     label_selector=f"{COMPONENT_LABEL}={component},{POOL_LABEL}")  # fmt: skip
        items: list[Object] = plain(found)["items"]
        return items

    def without_finalizer(self, pool: Object) -> None:
        """Take our finalizer from a pool that is being deleted."""
        kept = [one for one in pool["metadata"].get("finalizers", ()) if one != DRAIN]
        patch = {"metadata": {"finalizers": kept or None, "resourceVersion": pool["metadata"]["resourceVersion"]}}
        self.patch_pool(pool["metadata"]["name"], patch)


def plain(found: Any) -> Object:
    """The client's own classes as JSON has them."""
    made: Object = client.ApiClient().sanitize_for_serialization(found)  # type: ignore[no-untyped-call]
    return made


def call(function: Any, *words: Any, **options: Any) -> Any:
    """A request; what the API server refuses becomes a sentence."""
    try:
        return function(*words, **options)
    except ApiException as error:
        try:
            sentence = json.loads(error.body or "{}").get("message") or error.reason
        except ValueError:
            sentence = error.reason
        kind = NotThereError if error.status == NOT_FOUND else ClusterError
        raise kind(f"{sentence}") from error
