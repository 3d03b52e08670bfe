"""Targets leave no test out: those that name tests, and those that select them by marks."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()
RULE = re.compile(r"^([\w.-]+):(.*?)##.*\n((?:\t.*\n)+)", re.MULTILINE)  # target, what it needs, recipe
NEED_ROOT = {"lab", "distribution", "api", "cluster", "soak", "sriov"}


@dataclass(frozen=True)
class Selection:
    """A `pytest` in the Makefile: the marks that it asks for, and where."""

    marks: frozenset[str]
    places: tuple[str, ...]
    ignored: tuple[str, ...]

    def takes(self, mark: str, file: Path) -> bool:
        """Whether tests of that file with that mark may be among them."""
        name = str(file.relative_to(ROOT))
        at = [
            any(fnmatch(name, place) or name.startswith(f"{place}/") for place in its)
            for its in (self.places, self.ignored)
        ]
        return mark in self.marks and at == [True, False]


def selection(words: list[str]) -> Selection:
    """Of a command's words, after `pytest`."""
    expression = words[words.index("-m") + 1] if "-m" in words else ""
    marks = re.findall(r"(?<!not )\b(?!not\b|and\b|or\b)\w+", expression)
    ignored = (word.removeprefix("--ignore=") for word in words if word.startswith("--ignore="))
    return Selection(frozenset(marks), tuple(places(words)) or ("tests",), tuple(ignored))


def places(words: list[str]) -> Iterator[str]:
    """Those that it names, each part of a brace expansion by itself."""
    for word in words:
        if word.startswith("tests/"):
            before, _, rest = word.partition("{")
            inner, _, after = rest.partition("}")
            yield from (f"{before}{part}{after}" for part in inner.split(","))


@cache
def selections() -> list[Selection]:
    """All of the Makefile's, as make itself writes them out."""
    targets = [
        target for target, _, recipe in RULE.findall(MAKEFILE) if re.search(r"pytest|\$\((CLUSTER|CHAOS)\)", recipe)
    ]
    own = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    said = subprocess.run(
        ["make", "--dry-run", *targets], cwd=ROOT, env=own, check=True, capture_output=True, text=True
    )
    commands = re.findall(r"bin/pytest (.*?)(?:\\)?$", said.stdout, re.MULTILINE)
    return [selection(shlex.split(command.split(";")[0])) for command in commands]


def marks_in(file: Path) -> set[str]:
    """Names of `pytest.mark.NAME`, wherever they stand."""
    found = (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Attribute))
    return {node.attr for node in found if ast.unparse(node.value) == "pytest.mark"}


def test_the_parts_of_cluster_test_have_every_test_once() -> None:
    parts = re.search(r"^cluster-test: (.+?)  ##", MAKEFILE, re.MULTILINE)
    assert parts
    recipes = [re.search(rf"^{part}:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE) for part in parts[1].split()]
    named = [re.search(r"tests/cluster/test_{([\w,]+)}\.py", recipe[1]) for recipe in recipes if recipe]
    found = [name for one in named if one for name in one[1].split(",")]
    assert sorted(found) == sorted(
        path.stem.removeprefix("test_") for path in (ROOT / "tests/cluster").glob("test_*.py")
    )


def test_what_a_mark_takes_out_of_test_unit_another_target_takes_in_where_it_stands() -> None:
    """And where `short` is to mean something."""
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["addopts"]
    marks = {*re.findall(r"not (\w+)", options[-1]), "short"}
    assert {"lab", "distribution", "api"} <= marks
    lost = [
        f"{file.relative_to(ROOT)}: {mark}"
        for file in (ROOT / "tests").rglob("*.py")
        for mark in marks_in(file) & marks
        if not any(one.takes(mark, file) for one in selections())
    ]
    assert lost == []


def test_targets_that_need_root_and_packages_see_to_both() -> None:
    """Each does its own set-up, so that any of them works in a fresh clone."""
    lacking = [
        target
        for target, needs, recipe in RULE.findall(MAKEFILE)
        if "$(CLUSTER)" in recipe
        or set(re.findall(r"\w+", " ".join(re.findall(r'-m ("[^"]+"|\w+)', recipe)))) & NEED_ROOT
        if not {"root", "system"} <= set(needs.split())
    ]
    assert lacking == []
