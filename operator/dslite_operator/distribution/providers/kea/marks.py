"""Whose something in Kea's configuration is: our mark in its `user-context`, under the key `dslite`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

Object = dict[str, Any]

KEY = "dslite"


def marked(thing: Object, owner: str, **more: Any) -> Object:
    """`thing` with our mark, and a hash of what it was before."""
    mark = {"owner": owner, "hash": digest(thing), **more}
    return {**thing, "user-context": {KEY: mark}}


def mark_of(thing: Mapping[str, Any]) -> Object:
    """The mark of some operator; {} for what nobody marked."""
    context = thing.get("user-context") or {}
    mark = context.get(KEY) if isinstance(context, dict) else None
    return mark if isinstance(mark, dict) else {}


def owner_of(thing: Mapping[str, Any]) -> str | None:
    """Who put it there; None for a person."""
    owner = mark_of(thing).get("owner")
    return str(owner) if owner is not None else None


def digest(document: object) -> str:
    """12 hexadecimal digits that change with the document."""
    return fingerprint(document)[:12]


def fingerprint(document: object) -> str:
    """SHA-256 of a JSON document, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def holds(current: Any, wanted: Any) -> bool:
    """Whether all that is wanted is there, and of our mark nothing else; Kea writes its defaults beside the rest."""
    if isinstance(wanted, dict):
        return isinstance(current, dict) and all(
            key in current and (current[key] == value if key == KEY else holds(current[key], value))
            for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        same = isinstance(current, list) and len(current) == len(wanted)
        return same and all(holds(its, value) for its, value in zip(current, wanted, strict=True))
    return bool(current == wanted)
