"""Objects that an API server refuses, by the rows of the contract's refusals, and how an object is given to one."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from contract_objects import ABSENT, NORTH, POOL
from contract_refusals import GROUP_VALUES, POOL_VALUES
from dslite_contract.crd import crds
from kube_api import Api

PLURALS = {"AftrPool": "aftrpools", "B4Group": "b4groups"}

# What only other objects show, or the API server's own business: these an API server takes.
ELSEWHERE = {
    ("apiVersion", "v1"), ("apiVersion", "dslite.dev/v1"), ("metadata.namespace", '""'), ("metadata.namespace", "core"),
    ("metadata.namespace", ABSENT), ("metadata.owner", "me"),
    ("spec.nat.limits.newSessionBurst", "1e3"), ("spec.poolRef.name", "west"), ("spec.natPool", "gold"), ("spec.slots", "17"),
    ("spec.prefixes[1]", "2001:db8:64::/64"), ("spec.prefixes[1]", "2001:db8:64::1/128"),
}  # fmt: skip
# Which object, path, value, what the contract says of it.
REFUSED = [
    (which, path, value, said)
    for which, rows in ((POOL, POOL_VALUES), (NORTH, GROUP_VALUES))
    for path, value, said in rows
    if (path, value) not in ELSEWHERE
]


def loosened() -> list[dict[str, Any]]:
    """Our definitions as though they were written before there were any rules: what is in a spec is anybody's."""
    found = copy.deepcopy(list(crds().values()))
    for version in [version for one in found for version in one["spec"]["versions"]]:
        version["subresources"] = {"status": {}}
        root = version["schema"]["openAPIV3Schema"]
        root.pop("x-kubernetes-validations", None)
        root["properties"]["spec"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return found


def client_of(api: Api) -> Any:
    """For custom objects."""
    configuration = client.Configuration()
    config.load_kube_config(  # type: ignore[no-untyped-call]
        str(api.kubeconfig), client_configuration=configuration
    )
    return client.CustomObjectsApi(client.ApiClient(configuration))


def create(objects: Any, document: Any, *, dry: bool = True) -> Any:
    """Give an object to the API server as kubectl would: unknown fields are refused."""
    options = {"dry_run": "All"} if dry else {}
    plural = PLURALS[document["kind"]]
    return objects.create_namespaced_custom_object(
        "dslite.dev", "v1alpha1", "edge", plural, document, field_validation="Strict", **options
    )


def refusal(objects: Any, document: Any, *, dry: bool = True) -> dict[str, Any]:
    """The status with which the API server refuses an object."""
    with pytest.raises(ApiException) as refused:
        create(objects, document, dry=dry)
    assert refused.value.status in (400, 422), refused.value
    status: dict[str, Any] = json.loads(refused.value.body or "")
    return status
