"""The chart by real helm: what it renders and refuses; and that its roles are enough for the operator, and no more than it needs."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster_objects import IDS, KEY, SETTINGS, configured, group, pool
from dslite_operator.desired import Wish, desired, render
from dslite_operator.names import KINDS
from dslite_operator.plan import OURS
from dslite_operator.settings import Settings
from dslite_operator.watch import WATCHED
from kube_api import OPERATOR_TOKEN, Api, binary, write_kubeconfig
from operating import Process, operator
from reconciling import accepted, api_with_definitions, get, give, knowing_monitors, tidy, until
from stand_in import stand_ins

pytestmark = pytest.mark.api

CHART = Path(__file__).parents[2] / "charts/dslite"
ALL_ON = "--set=monitoring.prometheusRule=true,monitoring.dashboard=true,image.pullSecrets={a,b},operator.nodeSelector.zone=a"


def helm(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(binary("helm")), *words], capture_output=True, text=True, check=False, timeout=60)


def rendered(*options: str) -> list[dict[str, Any]]:
    made = helm("template", "dslite", str(CHART), "--namespace", "dslite", *options)
    assert made.returncode == 0, made.stderr
    return [one for one in yaml.safe_load_all(made.stdout) if one]


def kinds(objects: list[dict[str, Any]]) -> list[str]:
    return [one["kind"] for one in objects]


def test_lint() -> None:
    made = helm("lint", "--strict", str(CHART))
    assert made.returncode == 0, made.stdout


@pytest.mark.parametrize("options", [(), ("--set=namespaces={edge,core}",), (ALL_ON,)])
def test_it_renders_and_its_settings_are_the_operators(options: tuple[str, ...]) -> None:
    objects = rendered(*options)
    found = next(one for one in objects if one["kind"] == "ConfigMap" and "settings.yaml" in one["data"])
    settings = Settings.model_validate(yaml.safe_load(found["data"]["settings.yaml"]))
    assert settings.release == version("dslite-operator"), "`kubectl dslite upgrade` asks for its own release"
    assert settings.aftr.image == f"ghcr.io/dslite/aftr:{settings.release}"
    definitions = [one for one in objects if one["kind"] == "CustomResourceDefinition"]
    assert [one["metadata"]["annotations"] for one in definitions] == [{"helm.sh/resource-policy": "keep"}] * 2


@pytest.mark.parametrize("digest", ["", f"@sha256:{'5' * 64}"])
def test_another_image_is_another_release(digest: str) -> None:
    """So that pools that run can ask for it; one that a pool cannot ask for is refused."""
    objects = rendered(f"--set=image.aftr.tag=0.2.0-1{digest}")
    text = next(one for one in objects if "settings.yaml" in one.get("data", {}))["data"]["settings.yaml"]
    settings = Settings.model_validate(yaml.safe_load(text))
    assert (settings.release, settings.aftr.image) == ("0.2.0-1", f"ghcr.io/dslite/aftr:0.2.0-1{digest}")
    assert configured(pool(release=settings.release)).pool.spec.release == settings.release


def test_monitoring_is_what_was_asked_for() -> None:
    objects = rendered(ALL_ON)
    assert "PrometheusRule" in kinds(objects)
    dashboard = next(one for one in objects if one["kind"] == "ConfigMap" and "dslite.json" in one["data"])
    assert len(json.loads(dashboard["data"]["dslite.json"])["panels"]) == 8
    assert "PrometheusRule" not in kinds(rendered())


def test_alerts_and_panels_name_metrics_that_exist() -> None:
    known = (CHART.parents[1] / "docs/metrics.md").read_text()
    text = (CHART / "files/dashboard.json").read_text() + (CHART / "templates/monitoring.yaml").read_text()
    names = set(re.findall(r"dslite_[a-z_]+", text)) - {"dslite_dev_pool"}
    assert len(names) > 8
    assert [name for name in sorted(names) if f"`{name}`" not in known] == []


def test_dns_zones_reach_the_operator_with_their_keys() -> None:
    zones = ["aftr.example.net", "west.example.net", "example.org"]
    values = [f"dns.zones[{number}].zone={zone}" for number, zone in enumerate(zones)]
    values += [f"dns.zones[{number}].server=[2001:db8:53::{number + 1}]:5353" for number in range(3)]
    values += ["dns.owner=metro", "dns.zones[0].tsigSecretRef=tsig", "dns.zones[1].tsigSecretRef=tsig"]
    objects = rendered(*(f"--set={value}" for value in values))
    text = next(one for one in objects if "settings.yaml" in one.get("data", {}))["data"]["settings.yaml"]
    settings = Settings.model_validate(yaml.safe_load(text))
    assert [one.zone for one in settings.dns.zones] == zones
    assert [one.tsig_secret_ref for one in settings.dns.zones] == ["tsig", "tsig", ""]
    assert settings.dns.zones[2].server == ("2001:db8:53::3", 5353)
    pod = next(one for one in objects if one["kind"] == "Deployment")["spec"]["template"]["spec"]
    mounts = [one for one in pod["containers"][0]["volumeMounts"] if one["name"].startswith("secret-")]
    assert mounts == [{"name": "secret-tsig", "mountPath": f"{settings.secrets}/tsig", "readOnly": True}]
    assert {"name": "secret-tsig", "secret": {"secretName": "tsig", "optional": True}} in pod["volumes"]


def test_dhcpv6_servers_reach_the_operator_with_their_logins() -> None:
    one = {"dhcp.servers[0].name": "metro", "dhcp.servers[0].url": "https://kea-1.example.net:8004/"}
    one |= {"dhcp.servers[0].probe": "2001:db8:53::11", "dhcp.servers[0].secretRef": "kea", "dhcp.owner": "metro"}
    peer = {"dhcp.servers[0].haPeers[0].url": "https://kea-2.example.net:8004/"}
    peer |= {"dhcp.servers[0].haPeers[0].probe": "[2001:db8:53::12]:1547"}
    objects = rendered(*(f"--set={name}={value}" for name, value in (one | peer).items()))
    text = next(one for one in objects if "settings.yaml" in one.get("data", {}))["data"]["settings.yaml"]
    (server,) = Settings.model_validate(yaml.safe_load(text)).dhcp.servers
    assert [each.probe for each in server.peers] == [("2001:db8:53::11", 547), ("2001:db8:53::12", 1547)]
    assert (server.secret_ref, server.min_interval, server.type) == ("kea", 30, "kea")
    pod = next(one for one in objects if one["kind"] == "Deployment")["spec"]["template"]["spec"]
    assert {"name": "secret-kea", "secret": {"secretName": "kea", "optional": True}} in pod["volumes"]


def test_the_operator_has_a_key_of_its_own() -> None:
    objects = rendered()
    (made,) = [one for one in objects if one["kind"] == "Secret"]
    assert made["metadata"]["annotations"] == {"helm.sh/hook": "pre-install,pre-upgrade"}
    assert len(base64.b64decode(made["data"]["key"])) == 48
    pod = next(one for one in objects if one["kind"] == "Deployment")["spec"]["template"]["spec"]
    assert key_volume(made["metadata"]["name"]) in pod["volumes"]
    place = Settings.model_fields["key"].default.parent
    assert {"name": "key", "mountPath": str(place), "readOnly": True} in pod["containers"][0]["volumeMounts"]


def test_the_operators_key_may_be_somebody_elses() -> None:
    objects = rendered("--set=operator.keySecretRef=mine")
    assert "Secret" not in kinds(objects)
    pod = next(one for one in objects if one["kind"] == "Deployment")["spec"]["template"]["spec"]
    assert key_volume("mine") in pod["volumes"]


def key_volume(name: str) -> dict[str, Any]:
    """A Secret without `key` stops the operator, and its pod says so."""
    return {"name": "key", "secret": {"secretName": name, "items": [{"key": "key", "path": "key"}]}}


def test_no_rule_outside_of_the_namespaces_given() -> None:
    objects = rendered("--set=namespaces={edge,core}")
    assert "ClusterRole" not in kinds(objects)
    places = {one["metadata"]["namespace"] for one in objects if one["kind"] == "Role"}
    assert places == {"edge", "core", "dslite"}


def test_no_right_is_given_that_nothing_needs() -> None:
    """Nor a wildcard, which would be no resource of ours.  `test_the_operator_needs_no_other_rights` shows that these are enough."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for one in rendered():
        for rule in one.get("rules", ()):
            for resource in rule["resources"]:
                found[resource] |= set(rule["verbs"])
    assert found == needed()


def needed() -> dict[str, set[str]]:
    """By what the operator does to each kind: no Secret is read."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for kind in WATCHED:
        found[plural(kind)] |= {"list", "watch"}
    every, fewest = made(pool(), monitors=True), made(pool(store={"secretRef": "redis"}), monitors=False)
    for kind, _ in every:
        found[plural(kind)] |= {"create", "patch"}
    assert {kind for kind, _ in every - fewest} == set(OURS)
    for kind in OURS:
        found[plural(kind)].add("delete")
    for kind in ("AftrPool", "Pod"):
        found[plural(kind)].add("patch")
    found[plural("ServiceMonitor")].add("list")
    written = {"aftrpools/status": {"patch"}, "b4groups/status": {"patch"}, "secrets": {"create"}, "events": {"create"}}
    return found | written | {"namespaces": {"get"}, "leases": {"get", "create", "update"}}


def plural(kind: str) -> str:
    return KINDS[kind][1]


def made(asked: dict[str, Any], *, monitors: bool) -> set[tuple[str, str]]:
    """Kinds and names of what the operator makes for a pool."""
    contents = render(KEY, IDS, None, configured(asked), "", SETTINGS)
    objects = desired(Wish(KEY, "uid-east", contents, 1, "surge", SETTINGS, monitors))
    return {(one["kind"], one["metadata"]["name"]) for one in objects}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("aftr.workers=0", "workers"), ("aftr.mode=fast", "mode"), ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("store.storage=much", "storage"), ("operatr.x=1", "operatr"), ("namespaces=edge", "namespaces"),
        ("operator.keySecretRef=A", "keySecretRef"), ("image.aftr.tag=a/b", "tag"), (f"image.aftr.tag={'1' * 64}.0", "tag"),
        ("dns.zones[0].zone=example.net", "server"), ("dns.zones[0].zone=example.net,dns.zones[0].server=ns1", "server"),
        ("dns.zones[0].zone=example.net,dns.zones[0].server=192.0.2.1,dns.zones[0].tsigSecretRef=tsig", "owner"),
        ("dhcp.servers[0].name=metro", "url"), ("dhcp.servers[0].url=ftp://kea", "url"), ("dhcp.servers[0].type=isc", "type"),
        ("dhcp.servers[0].name=a,dhcp.servers[0].url=http://kea:8000/,dhcp.servers[0].probe=2001:db8::1", "owner"),
    ],
)  # fmt: skip
def test_values_that_are_wrong_are_refused(value: str, said: str) -> None:
    made = helm("template", "dslite", str(CHART), "--set", value)
    assert made.returncode != 0
    assert said in made.stderr


# ---------------------------------------------------------------- with the chart's own roles
@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    with api_with_definitions("dslite", "edge", "core") as server, knowing_monitors(server):
        yield server


@contextmanager
def granted(api: Api, *options: str, monitors: Sequence[str] | None = None) -> Iterator[Path]:
    """The chart's roles, with these verbs alone on ServiceMonitors if any are given; a kubeconfig with them."""
    roles = [one for one in rendered(*options) if "Role" in one["kind"]]
    for rule in [rule for one in roles for rule in one.get("rules", ())]:
        if monitors is not None and rule["resources"] == [plural("ServiceMonitor")]:
            rule["verbs"] = list(monitors)
    given = json.dumps({"apiVersion": "v1", "kind": "List", "items": roles})
    made = api.kubectl("apply", "-f", "-", given=given)
    assert made.returncode == 0, made.stderr
    try:
        yield write_kubeconfig(api.folder, api.url, OPERATOR_TOKEN, "operator-kubeconfig")
    finally:
        api.kubectl("delete", "-f", "-", given=given)
        tidy(api)
        api.kubectl("delete", "servicemonitor", "--all", "-n", "edge")


SETTINGS_FILE = {"release": "0.1.0", "aftr": {"image": "x"}}
IN_DSLITE = ("--lease-namespace", "dslite")


@pytest.mark.parametrize("namespaces", [(), ("edge",)])
def test_the_operator_needs_no_other_rights(api: Api, tmp_path: Path, namespaces: tuple[str, ...]) -> None:
    options = [f"--set=namespaces={{{','.join(namespaces)}}}"] if namespaces else []
    words = [*IN_DSLITE, *(f"--namespace={one}" for one in namespaces)]
    with granted(api, *options) as login, stand_ins(api, {0: 0}) as pods:
        give(api, pool(), group("homes", "2001:db8:1000::/36"))
        with operator(api, tmp_path, SETTINGS_FILE, *words, kubeconfig=login):
            until(lambda: accepted(api, "b4group", "homes") and bool(get(api, "deployment", "east-aftr")))
            until(lambda: bool(get(api, "servicemonitor", "east-aftr")))
            until(lambda: pods[0].config_hash() != "")
            give(api, pool(store={"secretRef": "redis"}))
            until(lambda: not any(get(api, kind, "east-store") for kind in ("statefulset", "service", "networkpolicy")))
        with operator(api, tmp_path, {**SETTINGS_FILE, "monitoring": False}, *words, kubeconfig=login) as process:
            until(lambda: not get(api, "servicemonitor", "east-aftr"))
            api.kubectl("delete", "aftr", "east", "-n", "edge", "--wait=false")
            until(lambda: not get(api, "aftrpool", "east"))
            assert "orbidden" not in process.log.read_text()
            check = checked(process, login, *words)
            assert check.returncode == 0, check.stderr
            assert "is at work" in check.stdout


@pytest.mark.parametrize("monitors", [("create", "patch"), ("list",)])
def test_pools_are_served_without_rights_on_service_monitors(
    api: Api, tmp_path: Path, monitors: tuple[str, ...]
) -> None:
    """Somebody keeps roles beside the chart, say: none of its pools needs them to serve, and the log says what is missing."""
    with granted(api, monitors=monitors) as login, stand_ins(api, {0: 0}) as pods:
        give(api, pool(), group("homes", "2001:db8:1000::/36"))
        with operator(api, tmp_path, SETTINGS_FILE, *IN_DSLITE, kubeconfig=login) as process:
            until(lambda: accepted(api, "b4group", "homes"))
            api.kubectl("scale", "aftr", "east", "-n", "edge", "--replicas=3")
            until(lambda: get(api, "deployment", "east-aftr").get("spec", {}).get("replicas") == 3)
            until(lambda: accepted(api, "aftrpool", "east") and pods[0].config_hash() != "")
            assert "servicemonitors.monitoring.coreos.com" in process.log.read_text()
            assert "pool not reconciled" not in process.log.read_text()


def checked(process: Process, login: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`dslite-operator check`, as `helm test` runs it."""
    program = Path(sys.executable).parent / "dslite-operator"
    environment = {"KUBECONFIG": str(login), "PATH": "/usr/bin:/bin"}
    assert process.process.poll() is None
    return subprocess.run(
        [str(program), "check", *words], env=environment, capture_output=True, text=True, check=False, timeout=30
    )
