"""What there should be for a pool, and when its pods are replaced."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aftr.ops.run import run
from cluster_objects import IDS, KEY, ONE_ARMED, SETTINGS, configured, group, pool
from dslite_contract.load import load_config
from dslite_contract.tables import pod_bytes
from dslite_operator.desired import Wish, desired, objects, render
from dslite_operator.names import NETWORKS, Key, child
from dslite_operator.redis import acl
from dslite_operator.render import RELEASE_FILE, Rendered, RenderedError, config_hash, data, read, spell
from dslite_operator.settings import Settings

HOMES = group("homes", "2001:db8:1000::/36")
SRIOV: list[dict[str, Any]] = [
    {"name": "access", "side": "access", "sriov": {"networkAttachment": "vf", "resourceName": "example.com/vf"}},
    {
        "name": "internet",
        "side": "internet",
        "sriov": {"networkAttachment": "net/vf", "resourceName": "example.com/vf"},
    },
]
NEWER = Settings.model_validate({"release": "0.2.0", "aftr": {"image": "aftr:0.2.0", "workers": 2}})


def rendered(*given: Any, before: Rendered | None = None, release: str = "", settings: Settings = SETTINGS) -> Rendered:
    return render(KEY, IDS, before, configured(*given), release, settings)


def wish(*given: Any, monitors: bool = False, replicas: int = 2, rollout: str = "surge") -> Wish:
    return Wish(KEY, "uid-east", rendered(*given), replicas, rollout, SETTINGS, monitors)


def made(asked: Wish) -> dict[str, dict[str, Any]]:
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in objects(asked)}


def container(asked: Wish) -> dict[str, Any]:
    spec = made(asked)["Deployment/east-aftr"]["spec"]["template"]["spec"]
    found: dict[str, Any] = spec["containers"][0]
    return found


def test_objects_in_the_order_in_which_they_are_needed() -> None:
    assert list(made(wish(pool(), HOMES))) == [
        "ConfigMap/east-aftr", "Service/east-store", "NetworkPolicy/east-store", "StatefulSet/east-store", "Service/east-aftr",
        "PodDisruptionBudget/east-aftr", "Deployment/east-aftr",
    ]  # fmt: skip
    assert "ServiceMonitor/east-aftr" in made(wish(pool(), monitors=True))
    assert "StatefulSet/east-store" not in made(wish(pool(store={"secretRef": "redis"})))


def test_everything_belongs_to_the_pool() -> None:
    for one in desired(wish(pool())):
        assert one["metadata"]["ownerReferences"][0]["uid"] == "uid-east"
        assert one["metadata"]["labels"]["dslite.dev/pool"] == "east"


def test_pods_read_what_was_accepted() -> None:
    asked = wish(pool(replicas=3, autoscaling={"maxReplicas": 4}), HOMES)
    text = made(asked)["ConfigMap/east-aftr"]["data"]["pool.yaml"]
    assert config_hash(text) == asked.rendered.config_hash
    loaded = load_config(text)
    assert (loaded.pool.metadata.namespace, [one.metadata.name for one in loaded.groups]) == ("edge", ["homes"])
    assert not any(word in text for word in ("replicas", "autoscaling", "release"))


def test_scaling_rewrites_nothing_that_pods_read() -> None:
    assert rendered(pool(replicas=1)).text == rendered(pool(replicas=4, rollout="inPlace", deletionDrainSeconds=5)).text


def test_attachments_and_devices_are_asked_for_together() -> None:
    asked = wish(pool(interfaces=SRIOV))
    annotations = made(asked)["Deployment/east-aftr"]["spec"]["template"]["metadata"]["annotations"]
    assert json.loads(annotations[NETWORKS]) == [
        {"name": "vf", "namespace": "edge"},
        {"name": "vf", "namespace": "net"},
    ]
    resources = container(asked)["resources"]
    assert resources["requests"]["example.com/vf"] == resources["limits"]["example.com/vf"] == "2"
    one_armed = made(wish(pool()))["Deployment/east-aftr"]["spec"]["template"]
    assert NETWORKS not in one_armed["metadata"]["annotations"]


def test_memory_is_what_the_pod_allocates() -> None:
    configuration = configured(pool())
    mebibytes = int(container(wish(pool()))["resources"]["requests"]["memory"].removesuffix("Mi"))
    assert mebibytes == -(-pod_bytes(configuration, 1) // (1 << 20))
    assert 500 < mebibytes < 2000


def test_pods_have_the_least_that_a_packet_path_needs() -> None:
    template = made(wish(pool()))["Deployment/east-aftr"]["spec"]["template"]["spec"]
    assert template["automountServiceAccountToken"] is False
    context = template["containers"][0]["securityContext"]
    assert context["readOnlyRootFilesystem"] is True
    assert context["capabilities"]["drop"] == ["ALL"]
    assert "SYS_ADMIN" not in context["capabilities"]["add"]
    assert template["terminationGracePeriodSeconds"] == 4 // 2 + 2 + 1 + 10


def test_pods_know_whose_their_store_is() -> None:
    given = {one["name"]: one.get("value") for one in container(wish(pool()))["env"]}
    assert (given["AFTR_CLUSTER"], given["AFTR_POOL"]) == ("uid-edge", "uid-east")
    assert given.keys() <= {one.envvar for one in run.params}


def test_secrets_are_mounted_where_aftr_run_looks() -> None:
    peers = [
        {
            "name": "tor",
            "interface": "uplink",
            "address": "198.18.0.1",
            "asn": 1,
            "families": ["ipv4"],
            "passwordSecret": "p",
        }
    ]
    asked = wish(pool(routing={"bgp": {"localAsn": 64512, "peers": peers}}, store={"secretRef": "redis"}))
    mounts = {one["name"]: one["mountPath"] for one in container(asked)["volumeMounts"]}
    assert mounts["store"] == "/etc/dslite/secrets/store"
    assert mounts["bgp-0"] == "/etc/dslite/secrets/bgp/p"
    volumes = made(asked)["Deployment/east-aftr"]["spec"]["template"]["spec"]["volumes"]
    assert [one["secret"]["secretName"] for one in volumes if "secret" in one] == ["east-aftr", "redis", "p"]
    alone = container(wish(pool(replicas=1, store=None, routing=None)))
    secrets = [one["mountPath"] for one in alone["volumeMounts"] if "secrets" in one["mountPath"]]
    assert secrets == ["/etc/dslite/secrets/operator"]
    assert [one["secret"]["optional"] for one in volumes if one["name"] == "operator"] == [True], "traffic needs no key"


@pytest.mark.parametrize(("rollout", "surge", "missing"), [("surge", 1, 0), ("inPlace", 0, 1)])
def test_rollouts(rollout: str, surge: int, missing: int) -> None:
    strategy = made(wish(pool(), rollout=rollout))["Deployment/east-aftr"]["spec"]["strategy"]
    assert strategy["rollingUpdate"] == {"maxSurge": surge, "maxUnavailable": missing}


def test_redis_lets_only_this_pool_in_to_its_own_keys() -> None:
    users = acl(KEY, "secret")
    assert users.startswith("user default off ")
    assert "~edge/east:* ~{edge/east/*" in users
    assert "secret" not in users


def test_long_names_stay_names() -> None:
    name = "p" * 63
    found = child(name, "store")
    assert len(found) == 63
    assert found != child("p" * 62 + "q", "store")
    assert child("east", "aftr") == "east-aftr"
    assert str(Key("edge", "east")) == "edge/east"


# ---------------------------------------------------------------- when pods are replaced
def test_live_changes_replace_no_pod() -> None:
    before = rendered(pool(), HOMES)
    softwire = {**pool()["spec"]["softwire"], "tunnelMtu": 1400}
    own: dict[str, Any] = {"release": "0.1.0", "replicas": 3, "rollout": "inPlace", "deletionDrainSeconds": 5}
    after = rendered(pool(softwire=softwire, failover={"drainSeconds": 5}, **own), before=before)
    assert after.text != before.text
    assert after.release == before.release


@pytest.mark.parametrize(
    "spec",
    [
        {"capacity": {"mappingsPerSlot": 1000}}, {"nat": {**pool()["spec"]["nat"], "filtering": "address-dependent"}},
        {"nat": {"pools": [{"name": "default", "prefixes": ["20.0.0.0/24", "20.9.0.0/24"]}]}},
        {"interfaces": [ONE_ARMED, {**SRIOV[0], "name": "more"}]}, {"store": {"embedded": {}, "durability": "disk"}},
    ],
)  # fmt: skip
def test_changes_that_take_new_processes_replace_pods(spec: dict[str, Any]) -> None:
    before = rendered(pool())
    assert rendered(pool(**spec), before=before).release.pod != before.release.pod


def test_a_newer_operator_replaces_no_pod_until_asked_to() -> None:
    before = rendered(pool(), HOMES)
    for release in ("", "0.1.0", "0.0.9"):
        assert rendered(pool(), HOMES, before=before, release=release, settings=NEWER).release == before.release
    upgraded = rendered(pool(), HOMES, before=before, release="0.2.0", settings=NEWER)
    assert (upgraded.release.release, upgraded.release.image) == ("0.2.0", "aftr:0.2.0")
    assert upgraded.text == before.text


def test_pods_of_an_operator_that_gave_no_ids_get_them_with_their_next_template() -> None:
    before = rendered(pool())
    env = before.release.pod["spec"]["containers"][0]["env"]
    env[:] = [one for one in env if one["name"] == "AFTR_MEMBER"]
    assert rendered(pool(replicas=3), before=before).release == before.release
    for after in (rendered(pool(capacity={"mappingsPerSlot": 1000}), before=before),
                  rendered(pool(), before=before, release="0.2.0", settings=NEWER)):  # fmt: skip
        names = [one["name"] for one in after.release.pod["spec"]["containers"][0]["env"]]
        assert names == ["AFTR_MEMBER", "AFTR_CLUSTER", "AFTR_POOL"]


def test_a_restart_under_a_newer_operator_keeps_the_image() -> None:
    before = rendered(pool())
    after = rendered(pool(capacity={"mappingsPerSlot": 1000}), before=before, release="0.1.0", settings=NEWER)
    assert (after.release.release, after.release.image) == ("0.1.0", "aftr:0.1.0")
    assert after.release.pod["spec"]["containers"][0]["image"] == "aftr:0.1.0"


def test_order_of_prefixes_says_nothing() -> None:
    two = {"pools": [{"name": "default", "prefixes": ["20.0.0.0/24", "20.1.0.0/24"]}]}
    before = rendered(pool(nat=two))
    assert spell(before.configuration) == before.text


# ---------------------------------------------------------------- the ConfigMap, both ways
def test_a_config_map_is_read_as_it_was_written() -> None:
    before = rendered(pool(), HOMES)
    stored = {"metadata": {"name": "east-aftr"}, "data": data(before.text, before.release)}
    found = read(stored)
    assert (found.text, found.release) == (before.text, before.release)
    assert spell(found.configuration) == before.text


@pytest.mark.parametrize("damage", [{"pool.yaml": "kind: AftrPool"}, {RELEASE_FILE: "{}"}, {RELEASE_FILE: "["}])
def test_a_damaged_config_map_is_said(damage: dict[str, str]) -> None:
    before = rendered(pool())
    stored = {"metadata": {"name": "east-aftr"}, "data": {**data(before.text, before.release), **damage}}
    with pytest.raises(RenderedError, match="ConfigMap east-aftr is not as the operator wrote it"):
        read(stored)
