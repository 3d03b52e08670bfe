"""Failover decides on values alone: no clock, no I/O, nothing of the engine."""

from __future__ import annotations

import ast
import pathlib

FOLDER = pathlib.Path(__file__).parents[2] / "aftr-pod/aftr/failover"
MAY_IMPORT = {
    "__future__",
    "aftr",
    "collections",
    "dataclasses",
    "dslite_contract",
    "enum",
    "functools",
    "hashlib",
    "typing",
}


def test_imports_nothing_that_could_observe_or_act() -> None:
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
                for name in names:
                    assert name.split(".")[0] in MAY_IMPORT, f"{path.name} imports {name}"
                    assert not name.startswith("aftr.") or name.startswith("aftr.failover"), (
                        f"{path.name} imports {name}"
                    )
