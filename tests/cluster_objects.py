"""Objects as an API server gives them, for tests of the operator's pure parts."""

from __future__ import annotations

import copy
from itertools import count
from typing import Any

from dslite_contract.load import Configuration, configuration
from dslite_operator.names import Ids, Key, labels
from dslite_operator.settings import Settings
from dslite_operator.status import Report

Object = dict[str, Any]
KEY = Key("edge", "east")
IDS = Ids("uid-edge", "uid-east")
SETTINGS = Settings.model_validate({"release": "0.1.0", "aftr": {"image": "aftr:0.1.0"}})
_versions = count(1)

ONE_ARMED: Object = {"name": "uplink", "side": "both", "podNetwork": {}}


def pool(name: str = "east", namespace: str = "edge", number: int = 0, **spec: Any) -> Object:
    """An AftrPool with addresses of its own by `number`."""
    base: Object = {
        "slots": 4, "replicas": 2,
        "softwire": {"prefix": f"2001:db8:{0x6400 + number:x}::/64", "domain": "aftr.example.net"},
        "nat": {"pools": [{"name": "default", "prefixes": [f"20.{number >> 8}.{number & 255}.0/24"]}]},
        "interfaces": [ONE_ARMED], "store": {"embedded": {}},
    }  # fmt: skip
    return kubernetes("AftrPool", name, namespace, {**base, **spec})


def group(name: str, prefix: str, pool: str = "east", namespace: str = "edge", **spec: Any) -> Object:
    """A B4Group."""
    return kubernetes("B4Group", name, namespace, {"poolRef": {"name": pool}, "prefixes": [prefix], **spec})


def kubernetes(kind: str, name: str, namespace: str, spec: Object) -> Object:
    number = next(_versions)
    metadata = {
        "name": name, "namespace": namespace, "uid": f"uid-{kind}-{namespace}-{name}", "resourceVersion": str(number),
        "generation": 1, "creationTimestamp": f"2026-01-01T00:{number // 60 % 60:02}:{number % 60:02}Z",
    }  # fmt: skip
    return {"apiVersion": "dslite.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": copy.deepcopy(spec)}


def configured(*objects: Object) -> Configuration:
    """Raw objects as a configuration."""
    keep = ("name", "namespace")
    documents = [
        {**one, "metadata": {key: value for key, value in one["metadata"].items() if key in keep}} for one in objects
    ]
    return configuration(documents)


def pod(name: str, *, ready: bool = True, scheduled: bool = True, **annotations: str) -> Object:
    """A Pod of the pool east."""
    conditions = [
        {"type": "Ready", "status": str(ready)},
        {
            "type": "PodScheduled",
            "status": str(scheduled),
            "message": "0/2 nodes are available: 2 Insufficient example.com/vf.",
        },
    ]
    metadata = {
        "name": name, "namespace": "edge", "uid": f"uid-{name}", "resourceVersion": str(next(_versions)),
        "labels": labels("east", "aftr"), "annotations": annotations,
    }  # fmt: skip
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "status": {"phase": "Running", "conditions": conditions},
    }


def said(slots: dict[int, int], config_hash: str = "h", busy: float = 0.1, **changed: Any) -> Object:
    """What a status port says: slots served with their mappings."""
    entries = [
        {
            "slot": number,
            "state": "open",
            "epoch": 3,
            "mappings": mappings,
            "subscribers": 1,
            "blocks": 100,
            "blocksFree": 75,
        }
        for number, mappings in slots.items()
    ]
    return {
        "missing": [], "config": {"hash": config_hash, "lastError": None}, "store": {"reachable": True, "trouble": ""},
        "routing": {}, "portUtilisation": 0.25, "workers": [{"utilisation": busy}], "slots": entries, **changed,
    }  # fmt: skip


def report(name: str, slots: dict[int, int] | None = None, *, ready: bool = True, **changed: Any) -> Report:
    """One AFTR; without slots it says nothing."""
    return Report(pod(name, ready=ready), None if slots is None else said(slots, **changed))
