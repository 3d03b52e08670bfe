"""The CustomResourceDefinitions, made from the models: structural schemas, with the rules of `rules.py` that CEL can say.

`make crds` writes them to crds/ and, as templates, to the chart.  What they refuse is refused by `load.py` as well; what only
several objects show (overlaps, references) is not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic.fields import FieldInfo

from dslite_contract.cel import OBJECT_RULES
from dslite_contract.domain_names import LABEL, LONGEST_LABEL
from dslite_contract.fields import change_class, entry_of, model_of, unwrapped, whole_annotation
from dslite_contract.schema import API_VERSION, AftrPool, B4Group, Model
from dslite_contract.status import AftrPoolStatus, B4GroupStatus
from dslite_contract.values import Leaf

GROUP, VERSION = API_VERSION.split("/")
CATEGORY = "dslite"
Schema = dict[str, Any]

IMMUTABLE = "it never changes: make a new object"
ROOT_KEYS = ("apiVersion", "kind", "metadata")
BYTES = (("Gi", 30), ("Mi", 20), ("Ki", 10))

POOL_COLUMNS = (
    ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', 0),
    ("Pods", "integer", ".status.readyReplicas", 0),
    ("Wanted", "integer", ".status.wantedReplicas", 0),
    ("Subscribers", "integer", ".status.subscribers", 0),
    ("Mappings", "integer", ".status.mappings", 0),
    ("Ports %", "integer", ".status.portUtilizationPercent", 0),
    ("Age", "date", ".metadata.creationTimestamp", 0),
    ("Accepted", "string", '.status.conditions[?(@.type=="Accepted")].status', 1),
    ("Prefix", "string", ".spec.softwire.prefix", 1),
    ("Slots", "integer", ".spec.slots", 1),
    ("Release", "string", ".status.release", 1),
    ("Why", "string", '.status.conditions[?(@.type=="Ready")].message', 1),
)
GROUP_COLUMNS = (
    ("Pool", "string", ".spec.poolRef.name", 0),
    ("Accepted", "string", '.status.conditions[?(@.type=="Accepted")].status', 0),
    ("Told", "string", '.status.conditions[?(@.type=="Provisioned")].status', 0),
    ("To move", "integer", ".status.moves.left", 0),
    ("NAT pool", "string", ".spec.natPool", 0),
    ("Prefixes", "string", ".spec.prefixes", 0),
    ("Age", "date", ".metadata.creationTimestamp", 0),
    ("Strays", "integer", ".status.strays", 1),
    ("Resolved", "string", '.status.conditions[?(@.type=="Resolved")].status', 1),
    ("Why", "string", '.status.conditions[?(@.type=="Accepted")].message', 1),
)
SCALE = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
    "labelSelectorPath": ".status.selector",
}


def crds() -> dict[str, Schema]:
    """The two CustomResourceDefinitions by the name of their file."""
    return {
        "aftrpool.yaml": definition(AftrPool, AftrPoolStatus, "aftrpools", "aftr", POOL_COLUMNS, {"scale": SCALE}),
        "b4group.yaml": definition(B4Group, B4GroupStatus, "b4groups", "b4g", GROUP_COLUMNS, {}),
    }


def definition(
    model: type[Model],
    status: type[Model],
    plural: str,
    short: str,
    columns: tuple[tuple[str, str, str, int], ...],
    subresources: Mapping[str, Any],
) -> Schema:
    """One CustomResourceDefinition."""
    kind = model.__name__
    names = {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()}
    version = {
        "name": VERSION, "served": True, "storage": True,
        "subresources": {"status": {}, **subresources},
        "additionalPrinterColumns": [
            {"name": name, "type": what, "jsonPath": path} | ({"priority": priority} if priority else {})
            for name, what, path, priority in columns
        ],
        "schema": {"openAPIV3Schema": root_schema(model, status)},
    }  # fmt: skip
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {**names, "shortNames": [short], "categories": [CATEGORY]},
            "versions": [version],
        },
    }


def root_schema(model: type[Model], status: type[Model]) -> Schema:
    """The schema of a whole object: its apiVersion, kind and metadata are Kubernetes' own."""
    spec = model_of(model.model_fields["spec"].annotation)
    assert spec is not None
    name = f"1 to {LONGEST_LABEL} of a-z, 0-9 and -, beginning and ending with a letter or digit"
    label = {"rule": f"self.metadata.name.matches('^{LABEL.pattern}$')", "message": f"metadata.name: {name}"}
    return {
        "type": "object",
        "description": sentence(model.__doc__),
        "required": ["spec"],
        "properties": {
            **{key: {"type": "object" if key == "metadata" else "string"} for key in ROOT_KEYS},
            "spec": {"description": model.model_fields["spec"].description, **model_schema(spec)},
            "status": {"description": sentence(status.__doc__), **model_schema(status)},
        },
        "x-kubernetes-validations": [label],
    }


def model_schema(model: type[Model]) -> Schema:
    """The schema of a mapping."""
    fields = {str(info.alias): info for info in model.model_fields.values()}
    made: Schema = {"type": "object"}
    if fields:
        made["properties"] = {name: field_schema(info) for name, info in fields.items()}
    required = [name for name, info in fields.items() if info.is_required()]
    if required:
        made["required"] = required
    rules = [{"rule": rule.cel, "message": rule.message} for rule in OBJECT_RULES.get(model.__name__, ())] + list(
        kept_or_absent(fields)
    )
    return made | ({"x-kubernetes-validations": rules} if rules else {})


def kept_or_absent(fields: Mapping[str, FieldInfo]) -> list[Schema]:
    """Rules for immutable fields that need not be there: neither comes nor goes."""
    return [
        {"rule": f"has(self.{name}) == has(oldSelf.{name})", "message": f"{name}: {IMMUTABLE}"}
        for name, info in fields.items()
        if change_class(info) == "immutable" and not info.is_required() and info.default is None
    ]


def field_schema(info: FieldInfo) -> Schema:
    """The schema of one field, with description and default."""
    made: Schema = {"description": info.description, **value_schema(whole_annotation(info), info)}
    if change_class(info) == "immutable":
        same = "cidr(self) == cidr(oldSelf)" if "isCIDR" in str(made) else "self == oldSelf"
        transition = {"rule": same, "message": IMMUTABLE}
        made["x-kubernetes-validations"] = [*made.get("x-kubernetes-validations", ()), transition]
    if not info.is_required() and info.default not in (None, ()):
        made["default"] = defaults_of(made) if isinstance(info.default, Model) else default_of(info.default, made)
    return made


def defaults_of(schema: Schema) -> Schema:
    """The default of a mapping: those of its fields, written out, because rules see it before they are filled in."""
    return {name: part["default"] for name, part in schema.get("properties", {}).items() if "default" in part}


def default_of(value: object, schema: Schema) -> object:
    """A default as YAML has it: bytes with their suffix."""
    if "x-kubernetes-int-or-string" not in schema or not isinstance(value, int):
        return value
    unit, bits = next((unit for unit in BYTES if value % (1 << unit[1]) == 0), ("", 0))
    return f"{value >> bits}{unit}"


def value_schema(annotation: Any, info: FieldInfo) -> Schema:
    """The schema of what a field holds."""
    entry = entry_of(annotation)
    if entry is not None:
        return list_schema(entry, info)
    inner = model_of(annotation)
    return model_schema(inner) if inner is not None else leaf_schema(annotation)


def leaf_schema(annotation: Any) -> Schema:
    """The schema of one value."""
    leaf = next(item for item in annotation.__metadata__ if isinstance(item, Leaf))
    made = dict(leaf.json_schema)
    return made | {"x-kubernetes-int-or-string": True} if "anyOf" in made else made


def list_schema(entry: Any, info: FieldInfo) -> Schema:
    """The schema of a list: entries with a name are told apart by it, values by themselves."""
    least = max(getattr(item, "min_length", None) or 0 for item in info.metadata)
    most = max(getattr(item, "max_length", None) or 0 for item in info.metadata)
    inner = model_of(entry)
    made: Schema = {"type": "array", "maxItems": most, **({"minItems": least} if least else {})}
    made["items"] = model_schema(inner) if inner is not None else leaf_schema(entry)
    key = next(
        (key for key in ("name", "type", "slot", "address") if inner is not None and key in inner.model_fields), None
    )
    if inner is None:
        return made | {"x-kubernetes-list-type": "set"}
    if key is None or unwrapped(inner).__name__ == "Bypass":
        made["items"]["x-kubernetes-map-type"] = "atomic"
        return made | {"x-kubernetes-list-type": "set"}
    return made | {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


def sentence(text: str | None) -> str:
    """The first paragraph of a docstring in one line."""
    return " ".join((text or "").split("\n\n", maxsplit=1)[0].split())
