"""The definitions: written from the models, and refusing on a real API server what the contract refuses."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from contract_objects import ABSENT, FULL_OBJECTS, NORTH, POOL, SMALL, documents
from contract_refusals import GROUP_VALUES, POOL_VALUES, SEVERAL
from dslite_contract.crd import crds, field_schema
from dslite_contract.fields import entry_of, model_of
from dslite_contract.schema import AftrPool, B4Group, Model
from dslite_contract.yaml_text import parse_documents
from kube_api import Api

ROOT = Path(__file__).parents[2]
PLURALS = {"AftrPool": "aftrpools", "B4Group": "b4groups"}

# What only other objects show, or the API server's own business: these an API server takes.
ELSEWHERE = {
    ("apiVersion", "v1"), ("apiVersion", "dslite.dev/v1"), ("metadata.namespace", '""'), ("metadata.namespace", "core"),
    ("metadata.namespace", ABSENT), ("metadata.owner", "me"),
    ("spec.nat.limits.newSessionBurst", "1e3"), ("spec.poolRef.name", "west"), ("spec.natPool", "gold"), ("spec.slots", "17"),
    ("spec.prefixes[1]", "2001:db8:64::/64"), ("spec.prefixes[1]", "2001:db8:64::1/128"),
}  # fmt: skip
SEVERAL_ELSEWHERE = ("metadata", "kind", "metadata.name", "spec.prefixes[1]")


def test_written_files_are_what_the_models_say() -> None:
    check = subprocess.run([sys.executable, str(ROOT / "scripts/crds.py"), "--check"], check=False)
    assert check.returncode == 0, "run `make crds`"


def walk(part: dict[str, Any], path: str) -> list[tuple[str, dict[str, Any]]]:
    found = [(path, part)]
    for name, inner in part.get("properties", {}).items():
        found += walk(inner, f"{path}.{name}")
    return found + (walk(part["items"], f"{path}[]") if "items" in part else [])


@pytest.mark.parametrize("name", ["aftrpool.yaml", "b4group.yaml"])
def test_everything_is_bounded_and_described(name: str) -> None:
    root = crds()[name]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for path, part in walk(root, ""):
        if path in (".apiVersion", ".kind", ".metadata"):
            continue
        if part.get("type") == "string" or "anyOf" in part:
            assert "maxLength" in part or "enum" in part, path
        if part.get("type") == "array":
            assert "maxItems" in part, path
        assert "description" in part or path.endswith("[]"), path


def test_each_leaf_says_how_it_may_change() -> None:
    def leaves_of(model: type[Model]) -> list[str]:
        found: list[str] = []
        for info in model.model_fields.values():
            inner = model_of(entry_of(info.annotation) or info.annotation)
            found += leaves_of(inner) if inner else [field_schema(info)["description"]]
        return found

    for kind in (AftrPool, B4Group):
        spec = model_of(kind.model_fields["spec"].annotation)
        assert spec is not None
        assert all(re.search(r"\[(live|rolling|drain|immutable)\]$", text) for text in leaves_of(spec))


# ---------------------------------------------------------------- on an API server
@pytest.fixture(scope="session")
def objects(api: Api) -> Any:
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


def refusal(objects: Any, document: Any) -> str:
    with pytest.raises(ApiException) as refused:
        create(objects, document)
    assert refused.value.status in (400, 422), refused.value
    return str(refused.value.body)


@pytest.mark.api
def test_everything_right_is_taken(objects: Any) -> None:
    for document in FULL_OBJECTS:
        create(objects, document)
    taken = create(objects, SMALL_POOL)
    assert taken["spec"]["softwire"]["reassembly"]["maxBytes"] == "64Mi"
    assert taken["spec"]["nat"]["portBlock"] == {"size": 256, "maxPerSubscriber": 8, "holdDownSeconds": 120}


SMALL_POOL: Any = parse_documents(SMALL)[0]

ROWS = [(POOL, path, value) for path, value, _ in POOL_VALUES] + [
    (NORTH, path, value) for path, value, _ in GROUP_VALUES
]


@pytest.mark.api
@pytest.mark.parametrize(("which", "path", "value"), [row for row in ROWS if row[1:] not in ELSEWHERE])
def test_what_the_contract_refuses_is_refused(objects: Any, which: int, path: str, value: str) -> None:
    """In words that name the field, or the one that it is in."""
    said = refusal(objects, documents({path: value}, which)[which])
    assert "internal error" not in said.lower()
    assert any(word in said for word in re.findall(r"[A-Za-z][A-Za-z0-9]*", path)[-2:]), said


@pytest.mark.api
@pytest.mark.parametrize(("which", "edits"), [(which, edits) for which, edits, _ in SEVERAL])
def test_several_wrong_are_refused(objects: Any, which: int, edits: dict[str, str]) -> None:
    if next(iter(edits)) in SEVERAL_ELSEWHERE:
        return
    refusal(objects, documents(edits, which)[which])


@pytest.mark.api
def test_bad_samples_name_value_and_what_is_allowed(objects: Any) -> None:
    said = refusal(objects, documents({"spec.nat.pools[0].prefixes[0]": "192.0.2.1/24"})[POOL])
    assert "192.0.2.1/24 is not allowed: an IPv4 prefix such as 192.0.2.0/24, /8 to /32" in said
    said = refusal(objects, documents({"spec.nat.portBlock.maxPerSubscriber": "253"})[POOL])
    assert "at most 64512 / size" in said


@pytest.mark.api
@pytest.mark.parametrize(
    ("which", "path", "value"),
    [
        (POOL, "spec.slots", "32"), (POOL, "spec.softwire.prefix", "2001:db8:65::/64"),
        (POOL, "spec.softwire.domain", "aftr.example.org"), (POOL, "spec.nat.subscriberMaskV6", "60"),
        (NORTH, "spec.poolRef.name", "west"), (NORTH, "spec.subscriberMaskV6", "56"), (NORTH, "spec.subscriberMaskV6", ABSENT),
        (NORTH, "spec.dhcp.bucketBytes", "lastNibble"),
    ],
)  # fmt: skip
def test_immutable_fields_stay(objects: Any, which: int, path: str, value: str) -> None:
    plural, document = PLURALS[documents()[which]["kind"]], documents()[which]
    place = ("dslite.dev", "v1alpha1", "edge", plural)
    made = create(objects, document, dry=False)
    try:
        edited = documents({path: value}, which)[which]
        edited["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"]
        with pytest.raises(ApiException, match="never changes: make a new object"):
            objects.replace_namespaced_custom_object(*place, made["metadata"]["name"], edited, dry_run="All")
        same = documents()[which]
        same["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"]
        objects.replace_namespaced_custom_object(*place, made["metadata"]["name"], same, dry_run="All")
    finally:
        objects.delete_namespaced_custom_object(*place, made["metadata"]["name"])


@pytest.mark.api
def test_explain_columns_and_scale(api: Api) -> None:
    explained = api.kubectl("explain", "aftr.spec.softwire.tunnelMtu")
    assert explained.returncode == 0, explained.stderr
    said = " ".join(explained.stdout.split())
    assert "MTU in bytes of the IPv6 path to the B4s; the inner MTU is 40 less. [live]" in said
    made = api.kubectl("apply", "-n", "core", "-f", str(ROOT / "samples/failover.yaml"))
    assert made.returncode == 0, made.stderr
    heads = api.kubectl("get", "dslite", "-n", "core", "-o", "wide").stdout.splitlines()
    assert heads[0].split()[:5] == ["NAME", "READY", "PODS", "WANTED", "SUBSCRIBERS"]
    scaled = api.kubectl("scale", "aftr", "east", "-n", "core", "--replicas=5")
    assert scaled.returncode == 0, scaled.stderr
    assert api.kubectl("get", "aftr", "east", "-n", "core", "-o", "jsonpath={.spec.replicas}").stdout == "5"
    api.kubectl("delete", "dslite", "--all", "-n", "core")
