"""Any value in any place of the objects is accepted, or refused with that place: never a traceback."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from contract_objects import documents
from dslite_contract.errors import ConfigurationError
from dslite_contract.load import configuration

WORDS = [
    "2001:db8::/32",
    "10.0.0.0/8",
    "0-3",
    "64Mi",
    "-1",
    "",
    "default",
    "1.0.0.0/0",
    "::1/128",
    "4294967296",
    "é",
    "9-9",
]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS) | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def places(document: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Every (container, key or index) of a nested object."""
    steps = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for step, inner in steps:
        found.append((document, step))
        places(inner, found)
    return found


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_any_value_anywhere(data: st.DataObject) -> None:
    objects = documents()
    for _ in range(data.draw(st.integers(1, 3))):
        container, step = data.draw(st.sampled_from(places(objects, [])))
        container[step] = data.draw(VALUES)
    with contextlib.suppress(ConfigurationError):
        configuration(objects)


@settings(deadline=None)
@given(VALUES)
def test_any_object(value: object) -> None:
    for objects in ([value], [{"kind": "AftrPool", "spec": value}], [{"kind": "B4Group", "metadata": value}]):
        with contextlib.suppress(ConfigurationError):
            configuration(objects)
