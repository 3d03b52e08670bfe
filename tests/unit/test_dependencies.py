"""docs/dependencies.md names every dependency, and only those that exist."""

from __future__ import annotations

import ast
import pathlib
import re
import sys
import tomllib
from typing import Any

import pytest

from qemu_guest.debian import PACKAGES

ROOT = pathlib.Path(__file__).parents[2]
MEMBERS = {
    "contract": "contract",
    "aftr-pod": "aftr",
    "lab": "lab",
    "operator": "operator",
    "cluster": "cluster",
}  # folder: its name in the table
IMPORTED_AS = {"pyyaml": "yaml", "dnspython": "dns", "llvmlite": "numba"}  # llvmlite: Numba's own half
PROGRAMS = {("lab", "aftr")}  # dependencies that are started and not imported
DOCUMENT = (ROOT / "docs/dependencies.md").read_text()


def table(heading: str) -> dict[str, list[str]]:
    """First column → the other columns of the table below `heading`."""
    section = DOCUMENT.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")][1:]
    return {row[0]: row[1:] for row in rows}


def project(folder: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / folder / "pyproject.toml").read_text())


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=!~\[ ]", requirement)[0] for requirement in requirements}


def imported(folder: str) -> set[str]:
    """Top-level names of other packages that the sources of a workspace member import."""
    own = next(path.parent.name for path in (ROOT / folder).glob("*/__init__.py"))
    nodes = [node for path in (ROOT / folder).rglob("*.py") for node in ast.walk(ast.parse(path.read_text()))]
    modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    top = {module.split(".")[0] for module in modules}
    return {IMPORTED_AS.get(name, name) for name in top - sys.stdlib_module_names - {own}}


@pytest.mark.parametrize("folder", MEMBERS)
def test_what_is_imported_is_declared_and_the_other_way_round(folder: str) -> None:
    dependencies = {
        name for name in names(project(folder)["project"]["dependencies"]) if (folder, name) not in PROGRAMS
    }
    declared = {IMPORTED_AS.get(name, name).replace("-", "_") for name in dependencies}
    undeclared, unused = imported(folder) - declared, declared - imported(folder)
    assert (sorted(undeclared), sorted(unused)) == ([], [])


def test_runtime_dependencies_are_explained() -> None:
    declared: dict[str, set[str]] = {}
    for folder, label in MEMBERS.items():
        for name in names(project(folder)["project"]["dependencies"]):
            declared.setdefault(name, set()).add(label)
    assert {name: set(columns[0].split(", ")) for name, columns in table("At run time").items()} == declared


def test_development_dependencies_are_explained() -> None:
    development = names(project(".")["dependency-groups"]["dev"])
    backends = {name for folder in MEMBERS for name in names(project(folder)["build-system"]["requires"])}
    assert set(table("For development")) == development | backends | {"uv"}


@pytest.mark.parametrize(
    ("array", "heading"), [("PACKAGES", "Debian packages"), ("CLUSTER_PACKAGES", "Debian packages of the cluster")]
)
def test_debian_packages_are_explained(array: str, heading: str) -> None:
    script = (ROOT / "scripts/system.sh").read_text()
    listed = re.search(rf"^{array}=\((.*?)^\)", script, re.DOTALL | re.MULTILINE)
    assert listed
    packages = {word for line in listed[1].splitlines() for word in line.split("#")[0].split()}
    assert set(table(heading)) == packages


def test_debian_packages_of_the_virtual_machine_are_explained() -> None:
    assert set(table("Debian packages of the virtual machine")) == set(PACKAGES)


def test_programs_built_by_go_are_explained() -> None:
    listed = {module for path in (ROOT / "cluster/go").glob("*/go.mod") for module in required(path)}
    assert set(table("Go modules of the cluster")) == listed


def required(go_mod: pathlib.Path) -> set[str]:
    """Modules whose programs a go.mod builds: those of its tools, or what its own source imports."""
    text = go_mod.read_text()
    tools = re.findall(r"^(?:tool |\t)(\S+/\S+)$", text, re.MULTILINE)
    modules = re.findall(r"^(?:require |\t)(\S+) v\S+( // indirect)?$", text, re.MULTILINE)
    if not tools:
        return {name for name, indirect in modules if not indirect}
    return {name for name, _ in modules if any(f"{tool}/".startswith(f"{name}/") for tool in tools)}


def test_the_images_are_built_with_the_same_uv() -> None:
    pinned = re.search(r"^UV_VERSION=(\S+)$", (ROOT / "scripts/env.sh").read_text(), re.MULTILINE)
    assert pinned
    assert f"ARG UV_VERSION={pinned[1]}\n" in (ROOT / "Dockerfile").read_text()
