"""`kubectl dslite` against an API server, and what a report keeps to itself."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cluster_objects import group, pool
from dslite_operator.names import DRAIN_SLOTS, MANAGER, NAME_LABEL, labels
from dslite_operator.plugin.cli import GONE_S, main, patience
from dslite_operator.plugin.cluster import Cluster
from dslite_operator.plugin.report import Redaction, without
from installed_pool import commands
from kube_api import Api, binary
from operating import SETTINGS, operator
from reconciling import accepted, condition, get, give, pod, until
from stand_in import stand_ins

ROOT = Path(__file__).parents[2]
ENDPOINT = ("192.0.2.6", "6090", "tcp")
BINDING: dict[str, Any] = {
    "slot": 1, "softwire": "2001:db8:1000::1", "internalAddress": "192.168.1.2", "internalPort": 5000,
    "externalAddress": "192.0.2.6", "externalPort": 6090, "ageSeconds": 3, "idleSeconds": 1,
}  # fmt: skip


def test_addresses_of_subscribers_and_passwords_stay_here() -> None:
    redaction = Redaction()
    text = (
        '12:30:01 softwire 2001:db8:1000::1, again 2001:0DB8:1000::1 and fe80::1; password: "s3cret" redis://u:pw@host'
    )
    assert (
        redaction.text(text)
        == '12:30:01 softwire ipv6-1, again ipv6-1 and ipv6-2; password: "(hidden)" redis://u:(hidden)@host'
    )
    assert redaction.text("2001:db8:1000::1/64") == "ipv6-1/64"


@pytest.mark.parametrize("secret", ["true-love", "{x}y", "1234", "null", "[a]", '"a \\" b"'])
def test_passwords_of_all_kinds_are_hidden(secret: str) -> None:
    told = Redaction().text(f"PASSWORD={secret} and token: {secret}")
    assert "love" not in told
    assert all(part not in told for part in ("{x", "1234", "[a", '" b'))


def test_what_was_json_stays_so() -> None:
    given = {
        "automountServiceAccountToken": False,
        "secret": {"secretName": "redis"},
        "a_password": '{x"]',
        "token": None,
    }
    given |= {"password": 1234, "tokens": [{"token": "t"}], "url": "redis+sentinel://u:p@ss@host/0"}
    hidden = {"a_password": "(hidden)", "password": "(hidden)", "tokens": [{"token": "(hidden)"}]}
    kept = given | hidden | {"url": "redis+sentinel://u:(hidden)@host/0"}
    assert json.loads(Redaction().text(json.dumps(given, indent=1))) == kept
    assert json.loads(Redaction().text(json.dumps(given))) == kept


def test_what_only_api_servers_need_is_left_out() -> None:
    assert without({"a": [{"managedFields": 1, "b": 2}]}) == {"a": [{"b": 2}]}


@pytest.mark.api
def test_kubectl_finds_it_as_the_runbook_says() -> None:
    begin, *rest = commands("docs/runbook.md", "kubectl dslite")
    assert begin == "make env", "which made the environment that this test runs in"
    path = {"PATH": f"{binary('kubectl').parent}:/usr/bin:/bin"}
    command = ["bash", "-e", "-c", "\n".join(rest)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == version("dslite-operator")


@pytest.fixture
def dslite(api: Api, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig))
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str) -> Result:
        return CliRunner().invoke(main, ["-n", "edge", *words])

    return run


@pytest.mark.api
def test_status_upgrade_report_and_force_delete(api: Api, tmp_path: Path, dslite: Any) -> None:
    give(api, pool(deletionDrainSeconds=600), group("homes", "2001:db8:1000::/36"))
    with operator(api, tmp_path, SETTINGS, "--lease-namespace", "edge"):
        until(lambda: accepted(api, "b4group", "homes"))
        said = dslite("status").output
        assert "east" in said
        assert "0/2" in said
        one = dslite("status", "east").output
        assert "no pod serves slots 0-3" in one
        assert "2001:db8:6400::4" in one
        assert "homes" in one
        assert json.loads(dslite("status", "-o", "json").output)["east"]["wantedReplicas"] == 2
        assert "release 0.1.0 → 0.2.0" in dslite("upgrade", "east", "--release", "0.2.0").output
        until(lambda: condition(api, "aftrpool", "east").get("reason") == "OtherRelease")
        again = dslite("upgrade", "east", "--release", "0.2.0")
        assert (again.exit_code, "asks for release 0.2.0 already" in again.output) == (1, True)
    its = {NAME_LABEL: MANAGER}
    with pod(api, "operator-0", its), pod(api, "east-store-0", labels("east", "store")), stand_ins(api, {0: 1}):
        texts = reported(dslite, tmp_path / "report.tar.gz")
    pods, its_own = ("aftr-0", "east-store-0", "operator-0"), ("aftr-0/slots.json", "aftr-0/counters.json")
    files = {*its_own, *(f"{name}/{file}" for name in pods for file in ("pod.json", "log"))}
    files |= {f"{name}.json" for name in ("pools", "groups", "events", "east", f"{MANAGER}-in-edge")}
    elsewhere = {name for name in texts if name.startswith(f"{MANAGER}-in-")}  # Leases that other tests have left
    assert texts.keys() - elsewhere == files - elsewhere
    assert elsewhere & files
    assert all(f'"{kind}List"' in texts["east.json"] for kind in ("ConfigMap", "Deployment", "StatefulSet"))
    assert "2001:db8" not in "".join(texts.values())
    refused = dslite("force-delete", "east", "--yes")
    assert (refused.exit_code, "is not being deleted: run `kubectl delete aftr east` first" in refused.output) == (
        1,
        True,
    )
    api.kubectl("delete", "aftr", "east", "-n", "edge", "--wait=false")
    assert get(api, "aftrpool", "east")["metadata"]["deletionTimestamp"]
    assert dslite("force-delete", "east", "--yes").exit_code == 0
    until(lambda: not get(api, "aftrpool", "east"))
    api.kubectl(
        "delete", "b4group,secret,configmap,service,deployment,statefulset,pdb,networkpolicy", "--all", "-n", "edge"
    )


def reported(dslite: Any, path: Path) -> dict[str, str]:
    """The files of an archive for support."""
    found = dslite("report", "--file", str(path))
    assert found.exit_code == 0, found.output
    with tarfile.open(path) as archive:
        files = {name.removeprefix("dslite-report/"): archive.extractfile(name) for name in archive.getnames()}
        return {name: file.read().decode() for name, file in files.items() if file is not None}


@pytest.mark.api
def test_a_node_that_is_drained_has_no_aftr_and_the_store_is_named(api: Api, dslite: Any) -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}}
    assert api.kubectl("create", "-f", "-", given=json.dumps(node)).returncode == 0
    here = {"nodeName": "node-1", "terminationGracePeriodSeconds": 0}
    try:
        with (
            pod(api, "east-store-0", labels("east", "store"), **here),
            pod(api, "aftr-1", labels("east", "aftr"), **here),
        ):
            said = dslite("drain", "node", "node-1").output
            assert "pod edge/aftr-1 hands its slots over and ends" in said
            assert "store edge/east-store-0 is still on it" in said
            assert get(api, "pod", "east-store-0")
            assert not get(api, "pod", "aftr-1"), "it was waited for"
    finally:
        api.kubectl("delete", "node", "node-1")


@pytest.mark.api
def test_a_pod_that_ends_meanwhile_does_not_stop_a_drain(
    api: Api, dslite: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was deleted, say, while another of its pool was waited for: the others are drained all the same."""
    evict, gone = Cluster.evict, list[str]()

    def delete_the_next_first(self: Cluster, name: str) -> None:
        if not gone:
            gone.extend({"aftr-1", "aftr-2"} - {name})
            assert api.kubectl("delete", "pod", *gone, "-n", "edge", "--force", "--grace-period=0").returncode == 0
        evict(self, name)

    monkeypatch.setattr(Cluster, "evict", delete_the_next_first)
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}}
    assert api.kubectl("create", "-f", "-", given=json.dumps(node)).returncode == 0
    here = {"nodeName": "node-1", "terminationGracePeriodSeconds": 0}
    try:
        with pod(api, "aftr-1", labels("east", "aftr"), **here), pod(api, "aftr-2", labels("east", "aftr"), **here):
            drained = dslite("drain", "node", "node-1")
        assert (drained.exit_code, "node node-1 is cordoned and has no AFTR" in drained.output) == (0, True)
        assert f"pod edge/{gone[0]} hands" not in drained.output
    finally:
        api.kubectl("delete", "node", "node-1")


def test_a_drain_waits_as_long_as_pods_may_take() -> None:
    pods = [{"spec": {"terminationGracePeriodSeconds": seconds}} for seconds in (30, 900)]
    assert patience(pods) == GONE_S + 900


@pytest.mark.api
def test_o03_without_numbers_a_drain_begins_only_if_it_is_told_to(api: Api, dslite: Any) -> None:
    """There is no operator, so nobody says who uses a slot."""
    dhcp = {"server": "metro", "subnets": ["2001:db8:1000::/48"]}
    give(api, pool(), group("homes", "2001:db8:1000::/36", dhcp=dhcp), group("shops", "2001:db8:2000::/36"))
    refused = dslite("drain", "slot", "east/0")
    assert refused.exit_code == 1
    assert "no operator is at work" in refused.output
    assert "B4Group homes: on which slots its B4s are is not known" in refused.output
    assert "no DHCPv6 server tells the B4s of shops a slot: they stay where they are" in refused.output
    assert DRAIN_SLOTS not in get(api, "aftrpool", "east")["metadata"].get("annotations", {})
    assert "slot east/0 is drained" in dslite("drain", "slot", "east/0", "--yes").output
    assert "no B4 of any" not in dslite("drain", "slot", "east/0").output
    api.kubectl("delete", "dslite", "--all", "-n", "edge")


@pytest.mark.api
def test_what_is_not_there_is_said_in_a_line(dslite: Any) -> None:
    found = dslite("status", "west")
    assert found.exit_code == 1
    assert found.output == 'Error: aftrpools.dslite.dev "west" not found\n'
    assert 'pods "x" not found' in dslite("drain", "pod", "x").output


@pytest.mark.api
def test_a_pool_without_a_status_has_an_empty_one(api: Api, dslite: Any) -> None:
    give(api, pool("new"))
    try:
        assert json.loads(dslite("status", "new", "-o", "json").stdout) == {}
        assert json.loads(dslite("status", "-o", "json").stdout)["new"] == {}
        assert "Unknown" in dslite("status", "new").stdout
        cut = ("--type=merge", "-p", '{"metadata":{"finalizers":["dslite.dev/drain"]}}')
        assert api.kubectl("patch", "aftr", "new", "-n", "edge", *cut).returncode == 0
        api.kubectl("delete", "aftr", "new", "-n", "edge", "--wait=false")
        assert "pool new had an unknown number of live mappings when last seen" in dslite("force-delete", "new").stdout
        assert dslite("force-delete", "new", "--yes").exit_code == 0
    finally:
        api.kubectl("delete", "aftr", "new", "-n", "edge")


# ---------------------------------------------------------------- lookup
@pytest.fixture
def east(api: Api) -> Iterator[None]:
    """A pool of four slots."""
    give(api, pool())
    yield
    api.kubectl("delete", "aftr", "east", "-n", "edge")


def answering(monkeypatch: pytest.MonkeyPatch, found: list[dict[str, Any]], slots: dict[str, list[set[int]]]) -> None:
    """There is no kubelet to reach them by: what these AFTRs say when asked for their slots, time after time, and for an endpoint."""
    refused = Cluster.aftr
    told = {name: iter(each) for name, each in slots.items()}

    def said(self: Cluster, pod: str, *words: str) -> Any:
        if pod not in told:
            return refused(self, pod, *words)
        if words == ("show", "slots"):
            now = next(told[pod])
            return [{"slot": number, "state": "open" if number in now else "closed"} for number in range(4)]
        return found

    monkeypatch.setattr(Cluster, "aftr", said)


@pytest.mark.api
@pytest.mark.usefixtures("east")
def test_a_pod_without_a_process_is_not_asked_and_nobody_is_not_said(api: Api, dslite: Any) -> None:
    with pod(api, "aftr-9", labels("east", "aftr")):
        assert get(api, "pod", "aftr-9")["status"]["phase"] == "Pending"
        found = dslite("lookup", "east", *ENDPOINT)
        assert (found.exit_code, found.stdout) == (1, "")
        assert "no AFTR that answers serves slots 0-3" in found.stderr


@pytest.mark.api
@pytest.mark.usefixtures("east")
@pytest.mark.parametrize(
    ("first", "second", "dark"),
    [
        ([{0, 1}, {0, 1}], [{2, 3}, {2, 3}], ""),
        ([{0, 1}, {0, 1}], [{2}, {2}], "3"),
        ([{0}, {0, 1}], [{2, 3}, {2, 3}], "1"),  # came once it had been asked
        ([{0, 1}, {0}], [{2, 3}, {1, 2, 3}], "1"),  # on its way from one to the other
    ],
)
def test_nobody_has_an_endpoint_once_every_slot_was_looked_into(
    first: list[set[int]], second: list[set[int]], dark: str, api: Api, dslite: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, [], {"aftr-0": first, "aftr-1": second})
    with stand_ins(api, {0: 1}, {1: 1}):
        found = dslite("lookup", "east", *ENDPOINT)
    if dark:
        assert (found.exit_code, found.stdout) == (1, "")
        assert f"no AFTR that answers serves slots {dark}, ask again" in found.stderr
    else:
        assert (found.exit_code, found.stdout) == (0, f"nobody has {' '.join(ENDPOINT)} now\n")


@pytest.mark.api
@pytest.mark.usefixtures("east")
def test_a_pod_that_does_not_answer_is_named_and_hides_no_other(
    api: Api, dslite: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are on no node, so the API server reaches neither; one of them answers all the same."""
    with stand_ins(api, {0: 1}, {1: 1}):
        nobody = dslite("lookup", "east", *ENDPOINT)
        assert nobody.exit_code == 1
        assert [f"Warning: pod aftr-{number}: " in nobody.stderr for number in (0, 1)] == [True, True]
        assert f"it is not known who has {' '.join(ENDPOINT)}" in nobody.stderr
        answering(monkeypatch, [BINDING], {"aftr-1": [{1}] * 4})
        found = dslite("lookup", "east", *ENDPOINT, "-o", "json")
        assert (found.exit_code, json.loads(found.stdout)) == (0, [BINDING])
        assert "Warning: pod aftr-0: " in found.stderr
        assert BINDING["softwire"] in dslite("lookup", "east", *ENDPOINT).stdout
