"""Bucket maps in the cluster: a ConfigMap for each, which its B4Group owns.  Pure, both ways."""

from __future__ import annotations

from typing import Any

from dslite_contract.schema import API_VERSION
from dslite_operator.names import COMPONENT_LABEL, child, labels

Object = dict[str, Any]

COMPONENT, MAP_FILE = "buckets", "map.json"


def is_map(config_map: Object) -> bool:
    """Whether a ConfigMap has a bucket map."""
    return bool(config_map["metadata"].get("labels", {}).get(COMPONENT_LABEL) == COMPONENT)


def group_of(config_map: Object) -> str:
    """NAMESPACE/NAME of the B4Group that owns it; nothing where a person took that away."""
    owners = config_map["metadata"].get("ownerReferences", ())
    name = next((owner["name"] for owner in owners if owner["kind"] == "B4Group"), "")
    return f"{config_map['metadata']['namespace']}/{name}" if name else ""


def text_in(config_map: Object) -> str:
    """The text of the map; nothing is no map."""
    return str((config_map.get("data") or {}).get(MAP_FILE, ""))


def map_object(group: Object, pool: str, text: str, before: Object | None) -> Object:
    """What there should be; only in place of `before`, the one that was read."""
    metadata = group["metadata"]
    owner = {
        "apiVersion": API_VERSION, "kind": "B4Group", "name": metadata["name"], "uid": metadata["uid"], "controller": True,
    }  # fmt: skip
    made: Object = {
        "name": child(metadata["name"], COMPONENT), "namespace": metadata["namespace"],
        "labels": labels(pool, COMPONENT), "ownerReferences": [owner],
    }  # fmt: skip
    if before is not None:
        made["resourceVersion"] = before["metadata"]["resourceVersion"]
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": made, "data": {MAP_FILE: text}}
