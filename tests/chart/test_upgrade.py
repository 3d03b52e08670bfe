"""From the last release's chart to this one, by real helm: objects stay, and the API server knows what this chart's say."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster_objects import group, pool
from kube_api import Api, api_server, binary
from reconciling import get, give

pytestmark = pytest.mark.api

ROOT = Path(__file__).parents[2]
CHART, DEFINITIONS = ROOT / "charts/dslite", ROOT / "crds"
KEY = "dslite-operator-key"


def git(*words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, check=False)


@pytest.fixture
def last_release(tmp_path: Path) -> Path:
    """Its chart."""
    tag = git("describe", "--tags", "--abbrev=0", "--match=v*")
    if tag.returncode:
        pytest.skip("this clone has no tag of a release")
    archive = git("archive", tag.stdout.decode().strip(), "charts/dslite")
    subprocess.run(["tar", "--extract", "--directory", str(tmp_path)], input=archive.stdout, check=True)
    return tmp_path / "charts/dslite"


@pytest.fixture
def api() -> Iterator[Api]:
    with api_server() as server:
        assert server.kubectl("create", "namespace", "edge").returncode == 0
        yield server


def helm(api: Api, *words: str) -> None:
    command = [str(binary("helm")), *words, "--namespace", "dslite", "--kubeconfig", str(api.kubeconfig)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr


def install(api: Api, chart: Path = CHART) -> None:
    helm(api, "upgrade", "--install", "dslite", str(chart), "--create-namespace")


def key(api: Api) -> str:
    return base64.b64decode(get(api, "secret", KEY, "dslite")["data"]["key"]).decode()


def uids(api: Api) -> list[str]:
    return [get(api, kind, name)["metadata"]["uid"] for kind, name in (("aftrpool", "east"), ("b4group", "homes"))]


def schema(definition: Any) -> Any:
    return definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]


def test_from_the_last_release_to_this_one(api: Api, last_release: Path) -> None:
    install(api, last_release)
    give(api, pool(), group("homes", "2001:db8:1000::/36"))
    before = uids(api)
    install(api)
    assert uids(api) == before
    for file in DEFINITIONS.glob("*.yaml"):
        wanted = yaml.safe_load(file.read_text())
        found = json.loads(api.kubectl("get", "crd", wanted["metadata"]["name"], "-o", "json").stdout)
        assert schema(found) == schema(wanted)


def test_the_operators_key_stays_whatever_becomes_of_the_release(api: Api) -> None:
    """Also one that a person has put there, as the runbook says: by the release of before it would be another."""
    install(api)
    before = key(api)
    assert len(before) == 48
    install(api)
    assert key(api) == before
    patch = json.dumps({"stringData": {"key": "another"}})
    assert api.kubectl("patch", "secret", KEY, "--namespace", "dslite", "--patch", patch).returncode == 0
    helm(api, "rollback", "dslite", "1")
    assert key(api) == "another"
    helm(api, "uninstall", "dslite")
    assert key(api) == "another"
    install(api)
    assert key(api) == "another"
