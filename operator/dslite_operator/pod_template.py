"""The pod of an AFTR.  Pure.

What a process needs of the kernel: AF_XDP and AF_PACKET sockets (NET_RAW), XDP programs that compare packet pointers (BPF,
PERFMON), XDP links, routes and neighbours (NET_ADMIN), locked packet memory (IPC_LOCK), BGP's port 179 (NET_BIND_SERVICE),
its priority (SYS_NICE).  Without one of BPF, PERFMON and IPC_LOCK it falls back to AF_PACKET (tests/lab/test_capabilities.py).
"""

from __future__ import annotations

import json
from typing import Any

from dslite_contract.load import Configuration
from dslite_contract.moves import grace_seconds
from dslite_contract.schema import AftrPoolSpec
from dslite_contract.tables import pod_bytes
from dslite_operator.names import NETWORK_STATUS, NETWORKS, STATUS_PORT, Ids, Key, child, labels, selector
from dslite_operator.settings import AftrSettings

Object = dict[str, Any]

CONFIG_FILE = "pool.yaml"  # in the pool's ConfigMap, and in the folder that it is mounted as
CONFIG, POD_INFO, SECRETS, RUNTIME = "/etc/dslite/pool", "/etc/dslite/pod", "/etc/dslite/secrets", "/run/dslite"
CAPABILITIES = ("BPF", "IPC_LOCK", "NET_ADMIN", "NET_BIND_SERVICE", "NET_RAW", "PERFMON", "SYS_NICE")
MEMORY_UNIT = 1 << 20
STARTED_S, PROBE_S = 300, 5  # kernels, memory of all slots, the first answer of the store


def pod_template(key: Key, ids: Ids, configuration: Configuration, settings: AftrSettings, image: str) -> Object:
    """Metadata and spec of a pool's pods, without what may change live."""
    spec = configuration.pool.spec
    attached = networks(key, spec)
    annotations = {NETWORKS: json.dumps(attached)} if attached else {}
    return {
        "metadata": {"labels": labels(key.name, "aftr"), **({"annotations": annotations} if annotations else {})},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": grace_seconds(configuration.pool),
            "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
            "topologySpreadConstraints": [spread(key)],
            "containers": [container(ids, configuration, settings, image)],
            "volumes": volumes(key, spec),
            **placement(settings),
        },
    }


def networks(key: Key, spec: AftrPoolSpec) -> list[Object]:
    """Attachments, as Multus reads them: one for each SR-IOV interface, in the order of the pool's."""
    found = []
    for interface in spec.interfaces:
        if interface.sriov is not None:
            namespace, _, name = interface.sriov.network_attachment.rpartition("/")
            found.append({"name": name, "namespace": namespace or key.namespace})
    return found


def devices(spec: AftrPoolSpec) -> dict[str, str]:
    """Extended resources: one device for each SR-IOV interface."""
    counts: dict[str, int] = {}
    for interface in spec.interfaces:
        if interface.sriov is not None:
            name = interface.sriov.resource_name
            counts[name] = counts.get(name, 0) + 1
    return {name: str(count) for name, count in counts.items()}


def spread(key: Key) -> Object:
    """Pods of a pool on different nodes, as far as there are some."""
    chosen = {"matchLabels": selector(key.name, "aftr")}
    return {
        "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": chosen,
    }  # fmt: skip


def placement(settings: AftrSettings) -> Object:
    """Where pods may run, and what comes with their image; nothing that is not asked for."""
    asked = {
        "nodeSelector": settings.node_selector,
        "tolerations": list(settings.tolerations),
        "priorityClassName": settings.priority_class_name,
        "imagePullSecrets": [{"name": name} for name in settings.image_pull_secrets],
    }
    return {name: value for name, value in asked.items() if value}


def container(ids: Ids, configuration: Configuration, settings: AftrSettings, image: str) -> Object:
    """`aftr run`."""
    spec = configuration.pool.spec
    memory = f"{-(-pod_bytes(configuration, settings.workers) // MEMORY_UNIT)}Mi"
    resources = {"memory": memory, **devices(spec)}
    mounts = {"pool": CONFIG, "pod": POD_INFO, "run": RUNTIME, **secret_mounts(spec)}
    return {
        "name": "aftr",
        "image": image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["aftr", "run", *flags(spec, settings)],
        "env": [
            {"name": "AFTR_MEMBER", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.uid"}}},
            {"name": "AFTR_CLUSTER", "value": ids.cluster},
            {"name": "AFTR_POOL", "value": ids.pool},
        ],
        "ports": [{"name": "status", "containerPort": STATUS_PORT, "protocol": "TCP"}],
        "resources": {
            "requests": {"cpu": settings.cpu or str(settings.workers), **resources},
            "limits": resources,
        },
        "securityContext": {
            "runAsUser": 0,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"], "add": list(CAPABILITIES)},
        },
        "startupProbe": probe("/readyz", PROBE_S, STARTED_S // PROBE_S),
        "readinessProbe": probe("/readyz", 1, 2),
        "livenessProbe": probe("/healthz", PROBE_S, 3),
        "volumeMounts": [
            {"name": name, "mountPath": path} | ({} if name == "run" else {"readOnly": True})
            for name, path in mounts.items()
        ],
    }


def flags(spec: AftrPoolSpec, settings: AftrSettings) -> list[str]:
    """Options of `aftr run`."""
    return [
        "--config", f"{CONFIG}/{CONFIG_FILE}",
        "--network-status", f"{POD_INFO}/network-status",
        "--status", f"[::]:{STATUS_PORT}",
        "--socket", f"{RUNTIME}/aftr.sock",
        "--runtime", RUNTIME,
        "--workers", str(settings.workers),
        "--mode", settings.mode,
        "--huge-pages" if settings.huge_pages else "--no-huge-pages",
        "--log-json",
        "--secrets", SECRETS,
    ]  # fmt: skip


def probe(path: str, period: int, failures: int) -> Object:
    """A question to the status port."""
    return {
        "httpGet": {"path": path, "port": "status", "scheme": "HTTP"},
        "periodSeconds": period, "failureThreshold": failures, "timeoutSeconds": PROBE_S,
    }  # fmt: skip


def peer_secrets(spec: AftrPoolSpec) -> list[str]:
    """Secrets with passwords of BGP sessions."""
    bgp = spec.routing.bgp if spec.routing else None
    return sorted({peer.password_secret for peer in bgp.peers if peer.password_secret}) if bgp else []


def secret_mounts(spec: AftrPoolSpec) -> dict[str, str]:
    """Volumes of Secrets by name, with their place: the operator's key, the store's, and one for each BGP password."""
    places = {"operator": f"{SECRETS}/operator"} | ({"store": f"{SECRETS}/store"} if spec.store is not None else {})
    return places | {f"bgp-{number}": f"{SECRETS}/bgp/{name}" for number, name in enumerate(peer_secrets(spec))}


def volumes(key: Key, spec: AftrPoolSpec) -> list[Object]:
    """Configuration, what the pod knows of itself, Secrets, and a folder for sockets."""
    annotation = {"apiVersion": "v1", "fieldPath": f"metadata.annotations['{NETWORK_STATUS}']"}
    made: list[Object] = [
        {
            "name": "pool",
            "configMap": {"name": child(key.name, "aftr"), "items": [{"key": CONFIG_FILE, "path": CONFIG_FILE}]},
        },
        {"name": "pod", "downwardAPI": {"items": [{"path": "network-status", "fieldRef": annotation}]}},
        {"name": "run", "emptyDir": {"medium": "Memory"}},
        {"name": "operator", "secret": {"secretName": child(key.name, "aftr"), "defaultMode": 0o400, "optional": True}},
    ]
    if spec.store is not None:
        name = spec.store.secret_ref or child(key.name, "store")
        made.append({"name": "store", "secret": {"secretName": name, "defaultMode": 0o400}})
    for number, name in enumerate(peer_secrets(spec)):
        made.append({"name": f"bgp-{number}", "secret": {"secretName": name, "defaultMode": 0o400}})
    return made
