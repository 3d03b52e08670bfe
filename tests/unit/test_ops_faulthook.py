"""Guards are left out by their exact names only, and loudly."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from structlog.testing import capture_logs

import aftr
from aftr.ops.faulthook import VARIABLE, FaultHook, FaultHookError, read_hooks
from aftr.ops.secrets import StoreLogin
from aftr.ops.serving.settings import store_settings
from dslite_contract.load import load_config
from rig import config_text


@pytest.mark.parametrize("environment", [{}, {VARIABLE: ""}, {"DSLITE_FAULT": "fence-off"}])
def test_nothing_is_left_out_unless_it_is_named(environment: dict[str, str]) -> None:
    with capture_logs() as logs:
        assert read_hooks(environment) == frozenset()
    assert logs == []


def test_what_is_left_out_is_an_error_in_the_log() -> None:
    with capture_logs() as logs:
        assert read_hooks({VARIABLE: "fence-off,trim-too-far"}) == {FaultHook.FENCE_OFF, FaultHook.TRIM_TOO_FAR}
    assert [(entry["log_level"], entry["guard"]) for entry in logs] == [
        ("error", "fence-off"),
        ("error", "trim-too-far"),
    ]


@pytest.mark.parametrize("word", ["1", "true", "FENCE-OFF", "fence_off", " fence-off"])
def test_any_other_word_ends_the_program(word: str) -> None:
    with pytest.raises(FaultHookError, match=re.escape(repr(word))):
        read_hooks({VARIABLE: word})


def test_the_variable_is_named_in_one_file_only() -> None:
    root = Path(aftr.__file__).parent
    assert [file.name for file in root.rglob("*.py") if VARIABLE in file.read_text()] == ["faulthook.py"]


def test_a_journal_is_trimmed_too_far_only_where_that_is_named() -> None:
    pool = load_config(config_text({"replicas": 2, "slots": 4, "store": {"embedded": {}}})).pool
    assert store_settings(pool, StoreLogin("redis://x"), "a").trim_beyond == 0
    assert store_settings(pool, StoreLogin("redis://x"), "a", frozenset({FaultHook.TRIM_TOO_FAR})).trim_beyond > 1
