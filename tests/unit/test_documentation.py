"""What the documents name exists: files behind links, targets of make, paths in code spans."""

from __future__ import annotations

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[2]
TARGETS = set(re.findall(r"^([a-z][a-z0-9.-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
FOLDERS = ("aftr-pod", "bench", "cluster", "contract", "docs", "lab", "samples", "scripts", "tests")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md"))])

pytestmark = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def code(text: str) -> list[str]:
    """Code spans and indented or fenced lines of a Markdown text."""
    fenced = re.findall(r"^```.*?^```", text, re.DOTALL | re.MULTILINE)
    indented = re.findall(r"^    .*", text, re.MULTILINE)
    return re.findall(r"`([^`\n]+)`", text) + [line for block in fenced + indented for line in block.splitlines()]


def test_links_lead_somewhere(document: pathlib.Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text())
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (document.parent / target).exists()] == []


def test_make_targets_exist(document: pathlib.Path) -> None:
    lines = [line.split("#")[0] for line in code(document.read_text())]
    commands = [
        match[1] for line in lines if (match := re.match(r"\s*(?:\$ )?(?:sudo )?make ((?:[a-z][a-z0-9.-]* ?)+)", line))
    ]
    assert {target for command in commands for target in command.split()} <= TARGETS


def test_paths_exist(document: pathlib.Path) -> None:
    spans = re.findall(r"`([^`\s]+)`", document.read_text())
    paths = [span.split("::")[0] for span in spans if span.startswith(tuple(f"{folder}/" for folder in FOLDERS))]
    assert [path for path in paths if not list(ROOT.glob(path.rstrip("/")))] == []
