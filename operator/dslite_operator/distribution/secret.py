"""Secrets as they are mounted: a folder each, with a file for each value.  No sentence ever has a value."""

from __future__ import annotations

from pathlib import Path

from dslite_contract.errors import DsliteError


def value(file: Path, unusable: type[DsliteError], remedy: str = "") -> str:
    """What a Secret has under the file's name.  Raises `unusable`, which ends with the remedy where there is nothing to read."""
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise unusable(
            f"Secret {file.parent.name}: {file.name} cannot be read ({type(error).__name__}){remedy}"
        ) from error
    if not text:
        raise unusable(f"Secret {file.parent.name}: {file.name} is empty")
    return text
