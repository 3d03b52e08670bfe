"""The YAML around the objects: what is read how, what is refused where, and that no text at all is answered by a traceback."""

from __future__ import annotations

import contextlib
import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract_objects import FULL, SMALL
from dslite_contract.errors import ConfigurationError
from dslite_contract.load import load_config
from dslite_contract.yaml_text import parse_documents

REFUSED = [
    ("a: [1, 2", "line 2, column 1: not YAML: did not find expected ',' or ']'"),
    ("a: b: c", "line 1, column 5: not YAML: mapping values are not allowed in this context"),
    ("a: 1\n b: 2", "line 2, column 3: not YAML: mapping values are not allowed in this context"),
    ("a: 'x", "line 1, column 6: not YAML: found unexpected end of stream"),
    ("\tb: 1", "line 1, column 1: not YAML: found character that cannot start any token"),
    ("a: 1\nb: 2\na: 3", "line 3, column 1: a appears twice, first on line 1"),
    ("x: {prefix: 1,\n  prefix: 2}", "line 2, column 3: prefix appears twice, first on line 1"),
    ("a: &here 1\nb: *here", "line 1, column 4: anchors and aliases are not supported: write the value out"),
    ("a: 1\nb: *here", "line 2, column 4: anchors and aliases are not supported: write the value out"),
    ("a: !!python/object:os.system {}", ('line 1, column 4: the tag "tag:yaml.org,2002:python/object:os.system" is not supported: '
     "leave it out")),
    ("1: a", "line 1, column 1: 1 is not allowed as a key: text"),
    ("? [a]\n: b", "line 1, column 3: a list is not allowed as a key: text"),
    ("true: a", "line 1, column 1: true is not allowed as a key: text"),
    ("a: " + "[" * 40 + "]" * 40, "line 1, column 35: more than 32 levels of nesting"),
    ("[" * 100_000, "line 1, column 33: more than 32 levels of nesting"),
]  # fmt: skip

READ = [
    ("true", True), ("False", False), ("yes", "yes"), ("~", None), ("12", 12), ("-3", -3), ("+4", 4), ("010", "010"),
    ("0x10", "0x10"), ("1_000", "1_000"), ("1" * 30, int("1" * 30)), ("1" * 101, "1" * 101), ("1.5", 1.5), ("1e3", 1000.0),
    (".inf", ".inf"), ("'12'", "12"), ('"true"', "true"), ("[1, a]", [1, "a"]), ("0-3", "0-3"), ("2024-01-01", "2024-01-01"),
    ("2001:10:20:30:40:50:10:1", "2001:10:20:30:40:50:10:1"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), REFUSED)
def test_yaml_refused_with_its_place(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        load_config(text)
    assert str(refusal.value) == said


@pytest.mark.parametrize(("text", "value"), READ)
def test_scalars(text: str, value: object) -> None:
    assert parse_documents(f"[{text}, x]") == [[value, "x"]]


def test_key_without_value_counts_as_absent() -> None:
    assert parse_documents("a:\nb: 1\n---\n---\nc: [~]") == [{"b": 1}, {"c": [None]}]
    assert load_config(SMALL + "  capacity:\n").pool == load_config(SMALL).pool


def test_file(tmp_path: Path) -> None:
    path = tmp_path / "pool.yaml"
    path.write_text(SMALL)
    assert load_config(path) == load_config(SMALL)


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path, said in (
        (tmp_path / "none.yaml", "No such file or directory"),
        (tmp_path, "Is a directory"),
        (Path("a\0b"), "embedded null byte"),
    ):
        with pytest.raises(ConfigurationError) as refusal:
            load_config(path)
        assert str(refusal.value) == f"{path}: {said}"


def test_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"a: \xff")
    with pytest.raises(ConfigurationError, match="not UTF-8 at byte 3"):
        load_config(path)


@pytest.mark.parametrize("text", ["a: \0", "a: \x07", "\ud800"])
def test_characters_that_yaml_has_not(text: str) -> None:
    with pytest.raises(ConfigurationError, match="not YAML"):
        load_config(text)


def attempt(text: str) -> None:
    """Loading ends in a configuration or in a ConfigurationError, never otherwise."""
    with contextlib.suppress(ConfigurationError):
        load_config(text)


@settings(deadline=None)
@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    attempt(text)


@settings(deadline=None)
@given(st.text(alphabet="{}[]:,-&*!|>'\"#%@`?~ \n\tab01./" + string.digits, max_size=60))
def test_any_yaml_like_text(text: str) -> None:
    attempt(text)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(FULL) - 1), st.integers(0, 40), st.text(max_size=12))
def test_damaged_configuration(start: int, length: int, put: str) -> None:
    attempt(FULL[:start] + put + FULL[start + length :])
