"""From the last release's chart to this one, by real helm: objects stay, and the API server knows what this chart's say."""

from __future__ import annotations

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
RELEASE = f"v{yaml.safe_load((CHART / 'Chart.yaml').read_text())['version']}"  # its tag, once it is one
SOURCES = ("charts/dslite", "contract/dslite_contract", "operator/dslite_operator", "aftr-pod/aftr", "Dockerfile")


def git(*words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, check=False)


@pytest.fixture
def last_release(tmp_path: Path) -> Path:
    """Its chart."""
    listed = git("tag", "--list", "v*", "--sort=-version:refname")
    others = [tag for tag in listed.stdout.decode().split() if tag != RELEASE]
    assert others, (
        f"this clone has no tag of a release before {RELEASE}: run `git fetch --tags` {listed.stderr.decode()}"
    )
    archive = git("archive", others[0], "charts/dslite")
    subprocess.run(["tar", "--extract", "--directory", str(tmp_path)], input=archive.stdout, check=True)
    return tmp_path / "charts/dslite"


@pytest.fixture
def api() -> Iterator[Api]:
    with api_server() as server:
        assert server.kubectl("create", "namespace", "edge").returncode == 0
        yield server


def install(api: Api, chart: Path) -> None:
    """As `helm upgrade --install` does."""
    words = "upgrade", "--install", "dslite", str(chart), "--namespace", "dslite", "--create-namespace"
    made = subprocess.run(
        [str(binary("helm")), *words, "--kubeconfig", str(api.kubeconfig)], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr


def uids(api: Api) -> list[str]:
    return [get(api, kind, name)["metadata"]["uid"] for kind, name in (("aftrpool", "east"), ("b4group", "homes"))]


def release(api: Api) -> str:
    """That of the operator, which pools take by `kubectl dslite upgrade`."""
    settings = get(api, "configmap", "dslite-operator", "dslite")["data"]["settings.yaml"]
    return str(yaml.safe_load(settings)["release"])


def schema(definition: Any) -> Any:
    return definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]


def test_from_the_last_release_to_this_one(api: Api, last_release: Path) -> None:
    install(api, last_release)
    give(api, pool(), group("homes", "2001:db8:1000::/36"))
    before, old = uids(api), release(api)
    install(api, CHART)
    assert uids(api) == before
    assert release(api) != old, "no pool would take the new templates, and nodes would keep the old images"
    for file in DEFINITIONS.glob("*.yaml"):
        wanted = yaml.safe_load(file.read_text())
        found = json.loads(api.kubectl("get", "crd", wanted["metadata"]["name"], "-o", "json").stdout)
        assert schema(found) == schema(wanted)


def test_what_was_released_does_not_change_under_its_version() -> None:
    changed = git("diff", "--quiet", RELEASE, "--", *SOURCES).returncode == 1  # 128: it is no tag
    assert not changed, (
        f"this is not what {RELEASE} has: raise the version, in Chart.yaml, all pyproject.toml and uv.lock"
    )


def test_an_upgrade_keeps_the_operators_key(api: Api) -> None:
    install(api, CHART)
    before = get(api, "secret", "dslite-operator-key", "dslite")["data"]
    install(api, CHART)
    assert get(api, "secret", "dslite-operator-key", "dslite")["data"] == before
