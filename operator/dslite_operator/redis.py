"""The Redis of a pool with an embedded store: one server with its own user and a volume.  Pure.

The operator makes the Secret once and never reads it: the password is known to Redis and to the pool's pods alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from dslite_contract.load import Configuration
from dslite_contract.schema import effective_durability
from dslite_operator.names import REDIS_PORT, Key, child, labels, selector
from dslite_operator.settings import AftrSettings, StoreSettings

Object = dict[str, Any]

USER = "aftr"
# What the store does, and nothing that empties or stops a server (WAIT and WAITAOF are of @connection); ACL LOAD reads the Secret anew.
COMMANDS = "+@read +@write +@connection +@scripting -@dangerous +info +role +config|get +acl|load"
REDIS_USER = 6379  # as in the image
DATA, CONFIG = "/data", "/etc/redis"


def key_prefix(key: Key) -> str:
    """What the pool's keys begin with, as `aftr run` has it."""
    return f"{key.namespace}/{key.name}"


def acl(key: Key, *passwords: str) -> str:
    """Users of the server: only the pool's, for the pool's keys, with any of these passwords.

    Redis executes its append-only file with what `default` may do: without rights it leaves out each transaction, silently.
    """
    prefix, digests = key_prefix(key), " ".join(f"#{hashlib.sha256(one.encode()).hexdigest()}" for one in passwords)
    user = f"user {USER} on {digests} ~{prefix}:* ~{{{prefix}/* resetchannels {COMMANDS}"
    return f"user default off allkeys allchannels allcommands\n{user}\n"


def secret(key: Key, password: str) -> Object:
    """Address and login for the pods, users for Redis."""
    name = child(key.name, "store")
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(key),
        "type": "Opaque",
        "stringData": {
            "url": f"redis://{name}.{key.namespace}.svc:{REDIS_PORT}",
            "username": USER,
            "password": password,
            "users.acl": acl(key, password),
        },
    }


def metadata(key: Key) -> Object:
    """Of everything here."""
    return {
        "name": child(key.name, "store"),
        "namespace": key.namespace,
        "labels": labels(key.name, "store"),
    }


def service(key: Key) -> Object:
    """A stable address of the server."""
    port = {"name": "redis", "port": REDIS_PORT, "protocol": "TCP", "targetPort": "redis"}
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": metadata(key),
        "spec": {"selector": selector(key.name, "store"), "ports": [port]},
    }  # fmt: skip


def network_policy(key: Key) -> Object:
    """Only the pool's pods reach its Redis.  It governs the pod network alone: SR-IOV devices go past it."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(key),
        "spec": {
            "podSelector": {"matchLabels": selector(key.name, "store")},
            "policyTypes": ["Ingress"],
            "ingress": [
                {
                    "from": [{"podSelector": {"matchLabels": selector(key.name, "aftr")}}],
                    "ports": [{"port": REDIS_PORT, "protocol": "TCP"}],
                }
            ],
        },
    }


def store_template(
    key: Key, configuration: Configuration, settings: StoreSettings, aftr: AftrSettings, image: str
) -> Object:
    """Metadata and spec of the server's pod, but for what its data is kept in (`with_data`)."""
    volumes: list[Object] = [{"name": "users", "secret": {"secretName": child(key.name, "store"), "defaultMode": 0o440,
                                                          "items": [{"key": "users.acl", "path": "users.acl"}]}}]  # fmt: skip
    return {
        "metadata": {"labels": labels(key.name, "store")},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 30,
            "securityContext": {
                "runAsUser": REDIS_USER, "runAsGroup": REDIS_USER, "fsGroup": REDIS_USER, "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [redis_container(configuration, settings, aftr, image)],
            "volumes": volumes,
            **({"imagePullSecrets": [{"name": name} for name in aftr.image_pull_secrets]} if aftr.image_pull_secrets else {}),
        },
    }  # fmt: skip


def redis_container(configuration: Configuration, settings: StoreSettings, aftr: AftrSettings, image: str) -> Object:
    """redis-server."""
    store = configuration.pool.spec.store
    assert store is not None
    fsync = "always" if effective_durability(store) == "disk" else "everysec"
    options = {
        "port": str(REDIS_PORT), "protected-mode": "no", "aclfile": f"{CONFIG}/users.acl", "dir": DATA,
        "appendonly": "yes", "appendfsync": fsync, "save": "", "maxmemory-policy": "noeviction",
    }  # fmt: skip
    return {
        "name": "redis",
        "image": image,
        "imagePullPolicy": aftr.image_pull_policy,
        "command": ["redis-server", *(word for name, value in options.items() for word in (f"--{name}", value))],
        "ports": [{"name": "redis", "containerPort": REDIS_PORT, "protocol": "TCP"}],
        "resources": {"requests": {"cpu": "100m", "memory": settings.memory}},
        "securityContext": {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        },
        "readinessProbe": {"tcpSocket": {"port": "redis"}, "periodSeconds": 2},
        "volumeMounts": [
            {"name": "users", "mountPath": CONFIG, "readOnly": True}, {"name": "data", "mountPath": DATA},
        ],
    }  # fmt: skip


def claim(settings: StoreSettings) -> list[Object]:
    """The volume of its data; a StatefulSet never changes it."""
    if not settings.storage:
        return []
    spec: Object = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": settings.storage}}}
    if settings.storage_class_name:
        spec["storageClassName"] = settings.storage_class_name
    return [{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": spec}]


def with_data(template: Object, claims: Sequence[Object]) -> Object:
    """A template, however old, that keeps the data in the claimed volume, or in the pod where there is none."""
    volumes = [one for one in template["spec"]["volumes"] if one["name"] != "data"]
    own = [] if claims else [{"name": "data", "emptyDir": {}}]
    return {**template, "spec": template["spec"] | {"volumes": volumes + own}}


def stateful_set(key: Key, template: Object, claims: list[Object]) -> Object:
    """One server."""
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata(key),
        "spec": {
            "replicas": 1,
            "serviceName": child(key.name, "store"),
            "podManagementPolicy": "Parallel",  # OrderedReady never replaces a pod that does not become ready
            "selector": {"matchLabels": selector(key.name, "store")},
            "template": with_data(template, claims),
            **({"volumeClaimTemplates": claims} if claims else {}),
        },
    }
