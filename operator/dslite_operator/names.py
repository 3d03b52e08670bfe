"""Names, labels and annotations of what belongs to a pool."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

from dslite_contract.domain_names import LONGEST_LABEL

GROUP = "dslite.dev"
MANAGER = "dslite-operator"  # field manager of all that we apply

POOL_LABEL = f"{GROUP}/pool"  # on everything that belongs to a pool; the name of the pool
NAME_LABEL = "app.kubernetes.io/name"
COMPONENT_LABEL = "app.kubernetes.io/component"
MANAGED_LABEL = "app.kubernetes.io/managed-by"

CONFIG_HASH = f"{GROUP}/config-hash"  # of the configuration that a pod should run
APPLIED_HASH = f"{GROUP}/applied-hash"  # of what we last applied to an object
DRAIN = f"{GROUP}/drain"  # finalizer of a pool; annotation of a node or pod that a person drains
DRAIN_SLOTS = f"{GROUP}/drain-slots"  # annotation of a pool: slots that a person drains of B4s, each with since when
NETWORKS = "k8s.v1.cni.cncf.io/networks"
NETWORK_STATUS = "k8s.v1.cni.cncf.io/network-status"
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"

KINDS = {
    "AftrPool": ("dslite.dev/v1alpha1", "aftrpools"),
    "B4Group": ("dslite.dev/v1alpha1", "b4groups"),
    "Namespace": ("v1", "namespaces"),
    "ConfigMap": ("v1", "configmaps"),
    "Secret": ("v1", "secrets"),
    "Service": ("v1", "services"),
    "Pod": ("v1", "pods"),
    "Event": ("v1", "events"),
    "Deployment": ("apps/v1", "deployments"),
    "StatefulSet": ("apps/v1", "statefulsets"),
    "PodDisruptionBudget": ("policy/v1", "poddisruptionbudgets"),
    "NetworkPolicy": ("networking.k8s.io/v1", "networkpolicies"),
    "ServiceMonitor": ("monitoring.coreos.com/v1", "servicemonitors"),
    "Lease": ("coordination.k8s.io/v1", "leases"),
}  # API version and plural of all that we read or write
CHILDREN = (
    "ConfigMap",
    "Service",
    "Pod",
    "Deployment",
    "StatefulSet",
    "PodDisruptionBudget",
    "NetworkPolicy",
)  # watched

STATUS_PORT, REDIS_PORT = 9464, 6379


class Key(NamedTuple):
    """A pool."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Ids(NamedTuple):
    """UIDs of a pool's namespace and of its AftrPool: no pool of another cluster, or after this one, has the same."""

    cluster: str
    pool: str


def child(pool: str, suffix: str) -> str:
    """`<pool>-<suffix>`; a name that would be too long for a Service loses its middle to a hash."""
    name = f"{pool}-{suffix}"
    if len(name) <= LONGEST_LABEL:
        return name
    mark = hashlib.sha256(pool.encode()).hexdigest()[:8]
    return f"{pool[: LONGEST_LABEL - len(suffix) - len(mark) - 2]}-{mark}-{suffix}"


def path(kind: str, namespace: str | None, name: str = "", subresource: str = "") -> str:
    """Where the API server has objects of a kind, of one namespace or (None) of all."""
    version, plural = KINDS[kind]
    parts = ["/apis" if "/" in version else "/api", version]
    parts += ["namespaces", namespace] if namespace else []
    return "/".join([*parts, plural, *([name] if name else []), *([subresource] if subresource else [])])


def labels(pool: str, component: str) -> dict[str, str]:
    """Labels of an object of a pool: component aftr or store."""
    return {NAME_LABEL: "dslite", COMPONENT_LABEL: component, MANAGED_LABEL: MANAGER, POOL_LABEL: pool}


def selector(pool: str, component: str) -> dict[str, str]:
    """Labels that choose the pods of one component."""
    return {COMPONENT_LABEL: component, POOL_LABEL: pool}


def selecting(chosen: Mapping[str, str]) -> str:
    """Labels as a query for what has them all."""
    return ",".join(f"{name}={value}" for name, value in sorted(chosen.items()))
