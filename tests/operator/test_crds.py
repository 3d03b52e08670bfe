"""The definitions: written from the models, and refusing on a real API server what the contract refuses."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from bad_objects import PLURALS, REFUSED, client_of, create, refusal
from contract_objects import ABSENT, FULL_OBJECTS, NORTH, POOL, SMALL, documents, steps, yaml_value
from contract_refusals import SEVERAL
from dslite_contract.crd import crds, field_schema
from dslite_contract.fields import allowed_at, annotation_at, entry_of, model_of
from dslite_contract.schema import AftrPool, B4Group, Model
from dslite_contract.values import Leaf
from dslite_contract.yaml_text import parse_documents
from kube_api import Api

ROOT = Path(__file__).parents[2]
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
    return client_of(api)


@pytest.mark.api
def test_everything_right_is_taken(objects: Any) -> None:
    for document in FULL_OBJECTS:
        create(objects, document)
    taken = create(objects, SMALL_POOL)
    assert taken["spec"]["softwire"]["reassembly"]["maxBytes"] == "64Mi"
    assert taken["spec"]["nat"]["portBlock"] == {"size": 256, "maxPerSubscriber": 8, "holdDownSeconds": 120}


SMALL_POOL: Any = parse_documents(SMALL)[0]


# ---------------------------------------------------------------- what it refuses
def sentences(part: Any) -> Iterator[str]:
    """What rules of the definitions say, at all depths."""
    if isinstance(part, dict):
        yield from (rule["message"] for rule in part.get("x-kubernetes-validations", ()) if "message" in rule)
    if isinstance(part, (dict, list)):
        for inner in part.values() if isinstance(part, dict) else part:
            yield from sentences(inner)


SENTENCES = tuple(sentences(list(crds().values())))


def said_of(path: str, refused: dict[str, Any]) -> list[str]:
    """What a refusal says of a field: at its place, or by a rule of ours or a name given twice at something that it is in."""
    if refused["code"] == 400:  # it cannot be read, or has fields that nobody knows
        names = (path, path.replace("metadata.", "ObjectMeta."))
        return [refused["message"]] if any(name in refused["message"] for name in names) else []
    found = []
    for cause in refused["details"]["causes"]:
        place, said = cause["field"], cause["message"]
        around = place == "<nil>" or path.startswith((f"{place}.", f"{place}["))
        if place == path or (around and (said.endswith(SENTENCES) or said.startswith("Duplicate value"))):
            found.append(said)
    return found


def has_words(model: type[Model], path: str, value: object) -> bool:
    """Whether the definition has a sentence of ours for a value of this kind."""
    metadata = getattr(annotation_at(model, steps(path)), "__metadata__", ())
    schema = next((item.json_schema for item in metadata if isinstance(item, Leaf)), {})
    return "x-kubernetes-validations" in schema and isinstance(value, str) and len(value) <= schema["maxLength"]


@pytest.mark.api
@pytest.mark.parametrize(("which", "path", "value", "said"), REFUSED)
def test_what_the_contract_refuses_is_refused(objects: Any, which: int, path: str, value: str, said: str) -> None:
    """With the field that it is about; and where a definition has words of its own, these are the contract's."""
    model: type[Model] = B4Group if which == NORTH else AftrPool
    refused = refusal(objects, documents({path: value}, which)[which])
    found = said_of(path, refused)
    assert found, refused["message"]
    given, allowed = yaml_value(value), allowed_at(model, steps(path))
    spoken = [one for one in found if " is not allowed: " in one]
    assert all(one.endswith(f"{given} is not allowed: {allowed}") for one in spoken), spoken
    assert spoken or not (said.endswith(f" is not allowed: {allowed}") and has_words(model, path, given)), refused


@pytest.mark.api
@pytest.mark.parametrize(
    ("which", "edits", "lines"), [row for row in SEVERAL if next(iter(row[1])) not in SEVERAL_ELSEWHERE]
)
def test_several_wrong_are_refused(objects: Any, which: int, edits: dict[str, str], lines: list[str]) -> None:
    """Each of them is named, of this object; fields that nobody knows come first, and then the rest is not looked at."""
    document = documents(edits, which)[which]
    refused = refusal(objects, document)
    mine = [line for line in lines if line.startswith(document["kind"])]
    if refused["code"] == 400:
        mine = [line for line in mine if "unknown field" in line or "not implemented yet" in line]
    assert mine
    assert [line for line in mine if not said_of(line.split(": ")[1], refused)] == [], refused


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
