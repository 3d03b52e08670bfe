"""What a folder may import from outside, where import-linter has no contract that says "only"."""

from __future__ import annotations

import ast
import pathlib
import sys
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).parents[2]
ONLY = {
    "contract/dslite_contract": {"dslite_contract", "google_crc32c", "numpy", "pydantic", "yaml"},
    "aftr-pod/aftr/announce": {"aftr.announce", "dslite_contract", "pyroute2"},
    "aftr-pod/aftr/lowlevel": {"aftr.lowlevel", "dslite_contract", "llvmlite", "numba", "numpy"},
}


def imported(path: pathlib.Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("folder", ONLY)
def test_folder_imports_only(folder: str) -> None:
    allowed = ONLY[folder]
    for path in (ROOT / folder).rglob("*.py"):
        for module in imported(path):
            parts = module.split(".")
            prefixes = {".".join(parts[:length]) for length in range(1, len(parts) + 1)}
            known = parts[0] in sys.stdlib_module_names or prefixes & allowed
            assert known, f"{path.relative_to(ROOT)} imports {module}; {folder} imports only {sorted(allowed)}"
