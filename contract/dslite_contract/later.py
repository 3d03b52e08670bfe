"""Fields and values of the full schema that a later issue brings: refused by name until then, with that issue's name.

(Single values, such as `allocation: deterministic`, stand at their field in `schema.py`.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

LATER: Mapping[str, Mapping[str, str]] = {
    "AftrPool": {
        "spec.nat.alg": "Governance",
        "spec.nat.pcp": "Governance",
        "spec.thresholds": "Governance",
        "spec.logging": "Governance",
    },
    "B4Group": {},
}


def holds(document: object, keys: list[str]) -> bool:
    """Whether the nested mapping `document` has the path `keys`."""
    for key in keys:
        if not isinstance(document, Mapping) or key not in document:
            return False
        document = document[key]
    return True


def without(document: Any, keys: list[str]) -> Any:
    """A copy of `document` without the path `keys`, which it holds."""
    first, *rest = keys
    if not rest:
        return {key: value for key, value in document.items() if key != first}
    return {**document, first: without(document[first], rest)}


def later_fields(kind: str, document: object) -> Iterator[tuple[list[str], str]]:
    """Those fields of `document` that come later: (path, sentence)."""
    for path, issue in LATER[kind].items():
        keys = path.split(".")
        if holds(document, keys):
            yield keys, f"not implemented yet (comes with {issue})"
