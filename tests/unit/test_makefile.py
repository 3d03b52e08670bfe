"""Targets that name their tests leave none out."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_parts_of_cluster_test_have_every_test_once() -> None:
    text = (ROOT / "Makefile").read_text()
    parts = re.search(r"^cluster-test: (.+?)  ##", text, re.MULTILINE)
    assert parts
    recipes = [re.search(rf"^{part}:.*\n((?:\t.*\n)+)", text, re.MULTILINE) for part in parts[1].split()]
    named = [re.search(r"tests/cluster/test_{([\w,]+)}\.py", recipe[1]) for recipe in recipes if recipe]
    found = [name for one in named if one for name in one[1].split(",")]
    assert sorted(found) == sorted(
        path.stem.removeprefix("test_") for path in (ROOT / "tests/cluster").glob("test_*.py")
    )
