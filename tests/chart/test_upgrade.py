"""From the last release's chart to this one, by real helm: objects stay, and the API server knows what this chart's say."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster_objects import group, pool
from kube_api import Api
from operating import operator
from reconciling import accepted, get, give, helm, until

pytestmark = pytest.mark.api

ROOT = Path(__file__).parents[2]
CHART, DEFINITIONS = ROOT / "charts/dslite", ROOT / "crds"
KEY, KEY_LETTERS = "dslite-operator-key", 48
VERSION = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
RELEASE = f"v{VERSION}"  # its tag, once it is one
SOURCES = ("charts/dslite", "contract/dslite_contract", "operator/dslite_operator", "aftr-pod/aftr", "Dockerfile")


def git(*words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, check=False)


def name_of_last_release() -> str:
    """Its tag; in a clone without tags the last commit that had another version."""
    listed = git("tag", "--list", "v*", "--sort=-version:refname")
    tags = [tag for tag in listed.stdout.decode().split() if tag != RELEASE]
    if tags:
        return tags[0]
    changed = git("log", "-1", "--format=%H", f"-Sversion: {VERSION}", "--", "charts/dslite/Chart.yaml")
    assert changed.stdout, f"this clone has neither a release's tag nor history: {listed.stderr + changed.stderr!r}"
    return f"{changed.stdout.decode().strip()}^"


@pytest.fixture
def last_release(tmp_path: Path) -> Path:
    """Its chart, its operator and their contract, as a checkout has them."""
    archive = git("archive", name_of_last_release(), "charts/dslite", "operator", "contract")
    folder = tmp_path / "last-release"
    folder.mkdir()
    subprocess.run(["tar", "--extract", "--directory", str(folder)], input=archive.stdout, check=True)
    return folder


def install(api: Api, chart: Path) -> None:
    helm(api, "upgrade", "--install", "dslite", str(chart), "--create-namespace")


def key(api: Api) -> str:
    return base64.b64decode(get(api, "secret", KEY, "dslite")["data"]["key"]).decode()


def uids(api: Api) -> list[str]:
    return [get(api, kind, name)["metadata"]["uid"] for kind, name in (("aftrpool", "east"), ("b4group", "homes"))]


def settings(api: Api) -> dict[str, Any]:
    """The operator's, as the chart that is installed has them."""
    found: dict[str, Any] = yaml.safe_load(get(api, "configmap", "dslite-operator", "dslite")["data"]["settings.yaml"])
    return found


def schema(definition: Any) -> Any:
    return definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]


def test_from_the_last_release_to_this_one(api: Api, last_release: Path) -> None:
    install(api, last_release / "charts/dslite")
    give(api, pool(), group("homes", "2001:db8:1000::/36"))
    before = uids(api)
    install(api, CHART)
    assert uids(api) == before
    assert len(key(api)) == KEY_LETTERS
    for file in DEFINITIONS.glob("*.yaml"):
        wanted = yaml.safe_load(file.read_text())
        found = json.loads(api.kubectl("get", "crd", wanted["metadata"]["name"], "-o", "json").stdout)
        assert schema(found) == schema(wanted)


def test_the_operators_key_stays_through_upgrades_and_rollbacks(api: Api) -> None:
    """Also one that a person has put there, as the runbook says: by the release of before it would be another."""
    install(api, CHART)
    before = key(api)
    assert len(before) == KEY_LETTERS
    install(api, CHART)
    assert key(api) == before
    patch = json.dumps({"stringData": {"key": "another"}})
    assert api.kubectl("patch", "secret", KEY, "--namespace", "dslite", "--patch", patch).returncode == 0
    helm(api, "rollback", "dslite", "1")
    assert key(api) == "another"


def test_a_pool_of_the_last_release_takes_this_one_when_it_is_asked_to_and_goes_back_again(
    api: Api, last_release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each chart has its own operator at work, as it was released.  The pool's store is somebody else's, so it is all AFTRs."""

    @contextmanager
    def that_operator() -> Iterator[None]:
        with monkeypatch.context() as then:
            then.setenv("PYTHONPATH", f"{last_release}/operator:{last_release}/contract")
            with operator(api, tmp_path, settings(api), knows_keys=False):
                yield

    def scaled(number: int) -> None:
        api.kubectl("scale", "aftr", "east", "-n", "edge", f"--replicas={number}")
        until(lambda: get(api, "deployment", "east-aftr").get("spec", {}).get("replicas") == number)

    def asked_for(release: str) -> None:
        patch = json.dumps({"spec": {"release": release}})
        assert api.kubectl("patch", "aftr", "east", "-n", "edge", "--type=merge", "-p", patch).returncode == 0

    install(api, last_release / "charts/dslite")
    give(api, pool(store={"secretRef": "redis"}), group("homes", "2001:db8:1000::/36"))
    with that_operator():
        until(lambda: accepted(api, "b4group", "homes") and bool(get(api, "deployment", "east-aftr")))
    before, old = template(api), settings(api)
    assert before["spec"]["containers"][0]["image"] == old["aftr"]["image"]
    install(api, CHART)
    new = settings(api)
    assert (new["release"] != old["release"], new["aftr"]["image"] != old["aftr"]["image"]) == (True, True)
    with operator(api, tmp_path, new):
        scaled(3)
        assert template(api) == before
        asked_for(new["release"])
        until(lambda: template(api) != before)
    after = template(api)
    assert after["spec"]["containers"][0]["image"] == new["aftr"]["image"]
    mounts = [one["name"] for one in after["spec"]["containers"][0]["volumeMounts"]]
    assert "operator" in mounts, "its AFTRs know the operator from now on"
    helm(api, "rollback", "dslite", "1")
    assert settings(api) == old
    with that_operator():
        scaled(4)
        assert template(api) == after
        asked_for(old["release"])
        until(lambda: template(api) == before)
        until(lambda: accepted(api, "aftrpool", "east") and accepted(api, "b4group", "homes"))


def template(api: Api) -> dict[str, Any]:
    found: dict[str, Any] = get(api, "deployment", "east-aftr")["spec"]["template"]
    return found


def test_what_was_released_does_not_change_under_its_version() -> None:
    changed = git("diff", "--quiet", RELEASE, "--", *SOURCES).returncode == 1  # 128: it is no tag
    assert not changed, (
        f"this is not what {RELEASE} has: raise the version, in Chart.yaml, all pyproject.toml and uv.lock"
    )
