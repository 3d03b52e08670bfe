"""`helm uninstall`, by real helm: what stays after an operator that was at work, and is found by one that is installed again."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cluster_objects import pool
from installed_pool import commands
from kube_api import Api, binary
from operating import SETTINGS, operator
from reconciling import accepted, get, give, helm, until

pytestmark = pytest.mark.api

CHART = Path(__file__).parents[2] / "charts/dslite"
KINDS = "deployment,configmap,serviceaccount,role,rolebinding,networkpolicy,secret,lease"
CLUSTERS_KINDS = "clusterrole,clusterrolebinding"
KEY, LEASE = "Secret/dslite-operator-key", "Lease/dslite-operator"


def there(api: Api) -> dict[str, Any]:
    """What the chart and the operator have made of these kinds."""
    ours = get(api, CLUSTERS_KINDS)["items"] + get(api, KINDS, namespace="dslite")["items"]
    named = {f"{one['kind']}/{one['metadata']['name']}": one for one in ours}
    return {name: one for name, one in named.items() if "dslite" in name}


def test_definitions_pools_key_and_lease_stay_and_nothing_else(api: Api, tmp_path: Path) -> None:
    helm(api, "install", "dslite", str(CHART), "--create-namespace")
    until(lambda: "aftrpools" in api.kubectl("api-resources", "--cached=false", "--api-group=dslite.dev").stdout)
    give(api, pool())
    with operator(api, tmp_path, SETTINGS, "--lease-namespace", "dslite"):
        until(lambda: accepted(api, "aftrpool", "east"))
    key, uid = there(api)[KEY]["data"], get(api, "aftrpool", "east")["metadata"]["uid"]
    helm(api, "uninstall", "dslite")
    until(lambda: there(api).keys() == {KEY, LEASE})
    helm(api, "install", "dslite", str(CHART))
    assert there(api)[KEY]["data"] == key, "AFTRs know the operator again"
    assert get(api, "aftrpool", "east")["metadata"]["uid"] == uid


def test_all_of_it_goes_as_notes_and_runbook_say(api: Api, tmp_path: Path) -> None:
    helm(api, "install", "dslite", str(CHART), "--create-namespace")
    until(lambda: "aftrpools" in api.kubectl("api-resources", "--cached=false", "--api-group=dslite.dev").stdout)
    give(api, pool())
    path = {
        "PATH": f"{binary('helm').parent}:{binary('kubectl').parent}:/usr/bin:/bin",
        "KUBECONFIG": str(api.kubeconfig),
    }

    def run(command: str) -> str:
        """Bounded: none of them may wait for ever."""
        words = ["bash", "-e", "-c", command]
        done = subprocess.run(words, env=os.environ | path, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    with operator(api, tmp_path, SETTINGS, "--lease-namespace", "dslite"):
        until(lambda: accepted(api, "aftrpool", "east"))
        notes = re.findall(r"^    (\S.*)$", run("helm get notes dslite --namespace dslite"), re.MULTILINE)
        assert notes[-3:] == commands("docs/runbook.md", "Delete")
        run(notes[-3])
        assert not get(api, "aftrpool", "east")
    for command in notes[-2:]:
        run(command)
    assert "dslite.dev" not in run("kubectl get crd")
