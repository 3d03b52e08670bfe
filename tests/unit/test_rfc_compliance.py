"""docs/rfc-compliance.md tells the truth: row → code → tests, or the issue that brings it.

A test belongs to a row when the row's number is a word of its name or of its parameters: `test_d05_…`, `test_golden[D05-…]`.
"""

from __future__ import annotations

import ast
import os
import pathlib
import re
import subprocess
import sys
from dataclasses import dataclass

import pytest

ROOT = pathlib.Path(__file__).parents[2]
DOCUMENT = ROOT / "docs/rfc-compliance.md"
ROW_NUMBER = re.compile(r"[DBNTICO]\d\d")
ROWS_IN_ALL = 66  # D11 and D15 were never given
ISSUE = re.compile(r"issue (\d+|Governance)\b")
LINK = re.compile(r"\[`([^`]+)`\]\(([^)]+)\)")


@dataclass(frozen=True)
class Row:
    number: str
    section: str
    level: str
    requirement: str
    code: str
    tests: str
    status: str

    @property
    def has_tests(self) -> bool:
        return self.status.startswith(("implemented", "in part"))


def read_rows() -> list[Row]:
    lines = [line for line in DOCUMENT.read_text().splitlines() if re.match(r"\| [A-Z]\d", line)]
    return [Row(*(cell.strip() for cell in line.strip()[1:-1].split("|"))) for line in lines]


ROWS = read_rows()
DONE = [row for row in ROWS if row.has_tests]


@pytest.fixture(scope="session")
def collected() -> list[str]:
    """Every test below tests/ but those of this file, as pytest itself names it, whatever its markers."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "", "-p", "no:cacheprovider"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-4000:]
    return [line for line in run.stdout.splitlines() if "::" in line and "test_rfc_compliance.py" not in line]


def rows_of(test: str) -> set[str]:
    """The row numbers that are words of a test's name or parameters."""
    words = re.split(r"[^A-Z0-9]+", test.split("::", 1)[1].upper())
    return {word for word in words if ROW_NUMBER.fullmatch(word)}


def symbols(path: pathlib.Path) -> set[str]:
    """Functions, classes (with `Class.method`) and constants of a Python file; the identifiers of any other."""
    if path.suffix != ".py":
        return set(re.findall(r"\w+", path.read_text()))
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.ClassDef(name=owner, body=body):
                found.add(owner)
                found |= {
                    f"{owner}.{item.name}" for item in body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)
                }
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add(name)
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                found.add(name)
    return found


def test_every_row_is_complete_and_unique() -> None:
    numbers = [row.number for row in ROWS]
    assert len(ROWS) == len(set(numbers)) == ROWS_IN_ALL
    assert all(ROW_NUMBER.fullmatch(number) for number in numbers)
    assert {row.level for row in ROWS} == {"M", "S", "O"}
    assert all(row.section and row.requirement and row.status for row in ROWS)


def test_a_row_that_is_not_wholly_implemented_names_its_issue() -> None:
    unfinished = {row.number: row.status for row in ROWS if row.status != "implemented"}
    assert {number: status for number, status in unfinished.items() if not ISSUE.search(status)} == {}


def test_implemented_rows_have_tests(collected: list[str]) -> None:
    tested = set().union(*map(rows_of, collected))
    assert [row.number for row in DONE if row.number not in tested] == []


def test_implemented_rows_name_files_that_test_them(collected: list[str]) -> None:
    for row in DONE:
        named = {(DOCUMENT.parent / target).resolve() for _, target in LINK.findall(row.tests)}
        testing = {ROOT / test.split("::")[0] for test in collected if row.number in rows_of(test)}
        assert named, f"{row.number} names no tests"
        assert named <= testing, f"{row.number}: no test of that number in {sorted(map(str, named - testing))}"


def test_implemented_rows_link_code() -> None:
    assert [row.number for row in DONE if not LINK.search(row.code)] == []


def test_linked_code_exists() -> None:
    for row in ROWS:
        for text, target in LINK.findall(row.code):
            path = (DOCUMENT.parent / target).resolve()
            file, _, symbol = text.partition("::")
            assert path.is_file(), f"{row.number}: {target}"
            assert path.as_posix().endswith(f"/{file}"), f"{row.number}: {text} links to {target}"
            assert symbol in symbols(path), f"{row.number}: {target} has no {symbol}"


def test_no_test_carries_an_unknown_number(collected: list[str]) -> None:
    known = {row.number for row in ROWS}
    assert {test: rows_of(test) - known for test in collected if rows_of(test) - known} == {}
