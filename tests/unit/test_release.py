"""One version everywhere: of the packages, of the chart, and so of the images that it names and the release that pools get."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]


def toml(path: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / path).read_text())


def test_packages_and_chart_have_one_version() -> None:
    members = toml("pyproject.toml")["tool"]["uv"]["workspace"]["members"]
    found = {name: toml(f"{name}/pyproject.toml")["project"]["version"] for name in members}
    found |= {one["name"]: one["version"] for one in toml("uv.lock")["package"] if "editable" in one["source"]}
    chart = yaml.safe_load((ROOT / "charts/dslite/Chart.yaml").read_text())
    found |= {"chart": chart["version"], "images": chart["appVersion"]}
    assert len(set(found.values())) == 1, found
