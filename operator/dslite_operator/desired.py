"""What there should be for a pool: pure, from the accepted configuration and the pod templates of its release."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dslite_contract.load import Configuration
from dslite_contract.restart import needs_restart
from dslite_contract.schema import API_VERSION
from dslite_operator import redis
from dslite_operator.names import APPLIED_HASH, GROUP, POOL_LABEL, STATUS_PORT, Ids, Key, child, labels, selector
from dslite_operator.pod_template import pod_template
from dslite_operator.redis import store_template
from dslite_operator.render import Release, Rendered, data, for_pods, spell
from dslite_operator.settings import Settings

Object = dict[str, Any]

RESTART = f"{GROUP}/restart"  # annotation of the pod template: hash of the configuration that took new processes
ROLLOUTS = {"surge": {"maxSurge": 1, "maxUnavailable": 0}, "inPlace": {"maxSurge": 0, "maxUnavailable": 1}}


@dataclass(frozen=True)
class Wish:
    """All that decides what there should be."""

    key: Key
    uid: str
    rendered: Rendered
    replicas: int
    rollout: str
    settings: Settings
    monitors: bool  # whether the cluster knows ServiceMonitors


def render(
    key: Key, ids: Ids, before: Rendered | None, wanted: Configuration, release: str, settings: Settings
) -> Rendered:
    """The next contents of the ConfigMap.

    The templates stay as they are stored, whatever this operator would make of them, until a person asks for its release or a
    change takes new processes.
    """
    text, wanted = spell(wanted), for_pods(wanted)
    stored = before.release if before else None
    if before is None or stored is None or release == settings.release != stored.release:
        return Rendered(wanted, text, made(key, ids, wanted, settings.release, settings.aftr.image, settings, text))
    if not needs_restart(before.configuration, wanted):
        return Rendered(wanted, text, stored)
    return Rendered(wanted, text, made(key, ids, wanted, stored.release, stored.image, settings, text))


def made(key: Key, ids: Ids, wanted: Configuration, release: str, image: str, settings: Settings, text: str) -> Release:
    """The templates of this operator, with an image."""
    pod = pod_template(key, ids, wanted, settings.aftr, image)
    pod["metadata"].setdefault("annotations", {})[RESTART] = hashlib.sha256(text.encode()).hexdigest()[:16]
    embedded = wanted.pool.spec.store is not None and wanted.pool.spec.store.embedded is not None
    store = store_template(key, wanted, settings.store, settings.aftr, image) if embedded else None
    return Release(release, image, pod, store)


def desired(wish: Wish) -> list[Object]:
    """Every object of the pool, in the order in which they are applied, each with its owner and the hash of its contents."""
    return [finished(wish, one) for one in objects(wish)]


def finished(wish: Wish, made: Object) -> Object:
    """With owner and hash."""
    owner = {"apiVersion": API_VERSION, "kind": "AftrPool", "name": wish.key.name, "uid": wish.uid, "controller": True}
    metadata = {**made["metadata"], "ownerReferences": [owner]}
    metadata["annotations"] = {**metadata.get("annotations", {}), APPLIED_HASH: digest(made)}
    return {**made, "metadata": metadata}


def digest(made: Object) -> str:
    """The hash of an object's contents."""
    return hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:16]


def objects(wish: Wish) -> Iterator[Object]:
    """The objects without what all have."""
    yield config_map(wish)
    store = wish.rendered.release.store
    if store is not None:
        yield redis.service(wish.key)
        yield redis.network_policy(wish.key)
        yield redis.stateful_set(wish.key, store, redis.claim(wish.settings.store))
    yield service(wish)
    yield disruption_budget(wish)
    if wish.monitors:
        yield service_monitor(wish)
    yield deployment(wish)


def metadata(key: Key) -> Object:
    """Of the objects of the AFTRs."""
    return {
        "name": child(key.name, "aftr"),
        "namespace": key.namespace,
        "labels": labels(key.name, "aftr"),
    }


def config_map(wish: Wish) -> Object:
    """What the pods read, and what was accepted."""
    return config_map_of(wish.key, data(wish.rendered.text, wish.rendered.release))


def config_map_of(key: Key, contents: Mapping[str, str]) -> Object:
    """With these contents."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(key), "data": contents}


def is_edited(config_map: Object, key: Key) -> bool:
    """Whether what it holds is not what an operator wrote."""
    written = config_map["metadata"].get("annotations", {}).get(APPLIED_HASH)
    return bool(written != digest(config_map_of(key, config_map.get("data", {}))))


def deployment(wish: Wish) -> Object:
    """The pods."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(wish.key),
        "spec": {
            "replicas": wish.replicas,
            "revisionHistoryLimit": 2,
            "selector": {"matchLabels": selector(wish.key.name, "aftr")},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": ROLLOUTS[wish.rollout]},
            "template": wish.rendered.release.pod,
        },
    }


def service(wish: Wish) -> Object:
    """The status ports, for whoever scrapes them; also of pods that are not ready."""
    port = {"name": "status", "port": STATUS_PORT, "protocol": "TCP", "targetPort": "status"}
    spec = {
        "clusterIP": "None", "publishNotReadyAddresses": True, "ports": [port], "selector": selector(wish.key.name, "aftr"),
    }  # fmt: skip
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata(wish.key), "spec": spec}


def disruption_budget(wish: Wish) -> Object:
    """One pod at a time is evicted; one that is unhealthy may always be."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(wish.key),
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": selector(wish.key.name, "aftr")},
        },
    }


def service_monitor(wish: Wish) -> Object:
    """For the Prometheus operator; the pool's name becomes a label of every metric."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": metadata(wish.key),
        "spec": {
            "selector": {"matchLabels": labels(wish.key.name, "aftr")},
            "targetLabels": [POOL_LABEL],
            "endpoints": [{"port": "status", "path": "/metrics", "interval": "15s"}],
        },
    }
