"""What documents list is what there is: counters, fields of the configuration, files of the architecture's map."""

from __future__ import annotations

import json
import pathlib
import re
import runpy

import pytest

from dslite_contract.counters import DROPS, EVENTS, TRAFFIC
from dslite_operator.pod_template import CAPABILITIES

ROOT = pathlib.Path(__file__).parents[2]
COUNTERS = (ROOT / "docs/counters.md").read_text()
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text()


def fences(text: str, language: str = "") -> list[str]:
    """Fenced blocks of a language."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [content for kind, content in blocks if kind == language]


def table(text: str, heading: str) -> list[list[str]]:
    """Cells of the first table below a heading, without its two head lines."""
    lines = [
        line
        for line in text.split(f"## {heading}\n")[1].split("\n## ", maxsplit=1)[0].splitlines()
        if line.startswith("|")
    ]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


# ---------------------------------------------------------------- docs/counters.md
@pytest.mark.parametrize(("heading", "described"), [("Drops", DROPS), ("Events", EVENTS)])
def test_tables_say_what_the_contract_says(heading: str, described: dict[str, str]) -> None:
    rows = {name.strip("`"): sentence for name, sentence, _ in table(COUNTERS, heading)}
    assert rows == described


def test_traffic_table_has_every_name() -> None:
    assert [name.strip("`") for name, *_ in table(COUNTERS, "The books balance")] == list(TRAFFIC)


def test_diagrams_place_every_drop_and_event_and_no_other() -> None:
    text = "\n".join(fences(COUNTERS))
    assert set(re.findall(r"\bdrop-[a-z0-9-]+", text)) == set(DROPS)
    assert set(re.findall(r"\+([a-z][a-z0-9-]+)", text)) == set(EVENTS)


def test_example_has_the_shape_and_balances() -> None:
    found = json.loads(fences(COUNTERS, "json")[0])
    sides = [found.pop("access"), found.pop("internet")]
    for side in sides:
        assert list(side) == list(TRAFFIC)
        assert side["rx"] == sum(side[part] for part in ("forwarded", "merged", "consumed", "dropped", "held"))
    assert sum(side["tx"] for side in sides) == sum(
        side[part] for side in sides for part in ("forwarded", "split", "originated")
    )
    assert sum(found["drops"].values()) == sum(side["dropped"] for side in sides)
    assert set(found) == {"drops", "events"}
    assert set(found["drops"]) <= set(DROPS)
    assert set(found["events"]) <= set(EVENTS)


# ---------------------------------------------------------------- docs/configuration.md
def test_configuration_is_what_the_schema_says() -> None:
    written = runpy.run_path(str(ROOT / "scripts/configuration_doc.py"))["document"]()
    assert (ROOT / "docs/configuration.md").read_text() == written, "run scripts/configuration_doc.py"


# ---------------------------------------------------------------- capabilities
@pytest.mark.parametrize("document", ["docs/cluster.md", "docs/operator.md"])
def test_every_capability_of_a_pod_is_named(document: str) -> None:
    named = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)*\b", (ROOT / document).read_text()))
    assert set(CAPABILITIES) <= named


# ---------------------------------------------------------------- ARCHITECTURE.md
def mapped() -> list[pathlib.Path]:
    rows = table(ARCHITECTURE, "Map")
    return [ROOT / path for _, cell in rows for path in re.findall(r"`([^`]+)`", cell)]


def test_map_names_files_that_exist() -> None:
    assert [str(path) for path in mapped() if not path.exists()] == []


def test_map_leaves_no_folder_out() -> None:
    packages = ("aftr-pod/aftr", "contract/dslite_contract", "lab/aftr_lab", "cluster/dslite_cluster")
    folders = {path.parent for package in packages for path in (ROOT / package).rglob("*.py")} - {
        ROOT / "aftr-pod/aftr"
    }
    covered = {folder for path in mapped() for folder in (path, *path.parents)}
    assert sorted(map(str, folders - covered)) == []
