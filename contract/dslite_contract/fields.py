"""Walks over the schema: which field stands at a place, what is allowed there, and how it may change."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from dslite_contract.schema import Model
from dslite_contract.values import Leaf

CHANGE_CLASS = re.compile(r"\[(live|rolling|drain|immutable)\]$")


def field_named(model: type[Model], name: str) -> FieldInfo | None:
    """The field of `model` that YAML spells `name`."""
    return next((info for info in model.model_fields.values() if info.alias == name), None)


def unwrapped(annotation: Any) -> Any:
    """The type inside Annotated and Optional."""
    if get_origin(annotation) is Annotated:
        return unwrapped(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return unwrapped(next(kind for kind in get_args(annotation) if kind is not type(None)))
    return annotation


def entry_of(annotation: Any) -> Any:
    """The type of a list's entries, None if `annotation` is no list."""
    plain = unwrapped(annotation)
    return get_args(plain)[0] if get_origin(plain) is tuple else None


def model_of(annotation: Any) -> type[Model] | None:
    """The model that `annotation` is, None if it is none."""
    plain = unwrapped(annotation)
    return plain if isinstance(plain, type) and issubclass(plain, Model) else None


def annotation_at(model: type[Model], location: Sequence[str | int]) -> Any:
    """The annotation at a pydantic location (YAML names and list indices), None where the schema has nothing."""
    annotation: Any = model
    for step in location:
        if isinstance(step, int):
            annotation = entry_of(annotation)
            continue
        holder = model_of(annotation)
        info = field_named(holder, step) if holder else None
        annotation = whole_annotation(info) if info else None
    return annotation


def whole_annotation(info: FieldInfo) -> Any:
    """A field's annotation with its Leaf, which pydantic keeps apart."""
    leaf = next((item for item in info.metadata if isinstance(item, Leaf)), None)
    return Annotated[info.annotation, leaf] if leaf else info.annotation


def allowed_at(model: type[Model], location: Sequence[str | int]) -> str:
    """What may stand at a place, in words."""
    annotation = annotation_at(model, location)
    if get_origin(annotation) is Annotated:
        return next(item.allowed for item in get_args(annotation)[1:] if isinstance(item, Leaf))
    if entry_of(annotation) is not None:
        return "a list"
    holder = model_of(annotation)
    names = [str(info.alias) for info in holder.model_fields.values()] if holder else []
    return f"a mapping with {', '.join(names)}" if names else "an empty mapping"


def names_at(model: type[Model], location: Sequence[str | int]) -> list[str]:
    """The fields that the mapping at a place may have, in YAML spelling."""
    holder = model_of(annotation_at(model, location))
    return [str(info.alias) for info in holder.model_fields.values()] if holder else []


def change_class(info: FieldInfo) -> str | None:
    """How a field may change: live, rolling, drain or immutable; None if its own fields say it."""
    tag = CHANGE_CLASS.search(info.description or "")
    return tag[1] if tag else None


def leaves(model: type[Model], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every leaf below `model` as (path in YAML spelling with [] for list entries, field)."""
    for info in model.model_fields.values():
        path = f"{prefix}.{info.alias}" if prefix else str(info.alias)
        entry = entry_of(info.annotation)
        inner = model_of(entry) if entry is not None else model_of(info.annotation)
        if inner is None:
            yield path, info
        else:
            yield from leaves(inner, path + ("[]" if entry is not None else ""))
