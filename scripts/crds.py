"""Writes the CustomResourceDefinitions from the models of the contract: crds/, and the same as templates of the chart.

.venv/bin/python scripts/crds.py          write them
.venv/bin/python scripts/crds.py --check  end with 1 if one is not what would be written
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from dslite_contract.crd import crds

ROOT = Path(__file__).parents[1]
HEAD = "# Written by `make crds` from contract/dslite_contract/schema.py: change it there.\n"
KEEP = {"helm.sh/resource-policy": "keep"}  # `helm uninstall` leaves the definitions, and with them all pools


def spell(document: dict[str, Any]) -> str:
    """YAML of one object."""
    return HEAD + yaml.safe_dump(document, sort_keys=False, width=120, allow_unicode=True)


def files() -> Iterator[tuple[Path, str]]:
    """Each file with its text."""
    for name, document in crds().items():
        kept = {**document, "metadata": {**document["metadata"], "annotations": KEEP}}
        yield ROOT / "crds" / name, spell(document)
        yield ROOT / "charts/dslite/templates/crds" / name, spell(kept)


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        sys.exit(any(not path.exists() or path.read_text(encoding="utf-8") != text for path, text in files()))
    for path, text in files():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
