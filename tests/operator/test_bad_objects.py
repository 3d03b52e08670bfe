"""Whatever is given to an API server and an operator, good objects come into force, and each bad one is told why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bad_objects import REFUSED, client_of, create, loosened, refusal
from cluster_objects import group, pool
from contract_objects import documents
from kube_api import Api, api_server
from operating import operator
from reconciling import accepted, get, give, tidy, until

pytestmark = pytest.mark.api

TOLD_S = 60.0
SPELLED_ANEW = ("16.0", "1.0", "99999999999999999999")  # numbers: an API server keeps 16, 1 and 1e20


def of_metro(*subnets: str, **spec: Any) -> dict[str, Any]:
    return {"dhcp": {"server": "metro", "subnets": list(subnets)}, **spec}


def nat(prefix: str) -> dict[str, Any]:
    return {"nat": {"pools": [{"name": "default", "prefixes": [prefix]}]}}


def tunnels(prefix: str) -> dict[str, Any]:
    return {"softwire": {"prefix": prefix, "domain": "aftr.example.net"}}


GOOD = [
    pool(),
    group("homes", "2001:db8:1000::/36"),
    group("shops", "2001:db8:5000::/40", **of_metro("2001:db8:5000::/48")),
]

# What an API server takes, since another object or Kubernetes shows what is wrong, and what its condition says.
JUDGED = [
    (group("lost", "2001:db8:2000::/40", "west"), "spec.poolRef.name: AftrPool edge/west does not exist"),
    (group("gold", "2001:db8:2100::/40", natPool="gold"),
     "spec.natPool: gold is not allowed: a NAT pool of the AftrPool (default)"),
    (group("many", "2001:db8:2200::/40", **of_metro("2001:db8:2200::/48", slots=17)),
     "spec.slots: 17 is not allowed: at most 4, for slots 0-3 carry NAT pool default"),
    (group("equal", "2001:db8:1000::/36"),
     "spec.prefixes[0]: 2001:db8:1000::/36 is not allowed: it is held by B4Group edge/homes"),
    (group("inside", "2001:db8:6400::/80"),
     ("spec.prefixes[0]: 2001:db8:6400::/80 is not allowed: a prefix outside spec.softwire.prefix (2001:db8:6400::/64), which is "
      "the AFTRs' own")),
    (group("shops-too", "2001:db8:2300::/40", **of_metro("2001:db8:5000::/48")),
     ("spec.dhcp.subnets[0]: 2001:db8:5000::/48 is not allowed: it is B4Group shops's: give both a spec.match that tells their "
      "clients apart")),
    (pool("bare", number=20, interfaces=[]),
     "spec.interfaces: missing: a pod's devices, such as {name: access, side: both, podNetwork: {}}"),
    (pool("narrow", number=21, **nat("20.0.0.0/25")),
     "spec.nat.pools[0].prefixes[0]: 20.0.0.0/25 is not allowed: it overlaps 20.0.0.0/24 of AftrPool edge/east"),
    (pool("nested", number=22, **tunnels("2001:db8:6400::/80")),
     "spec.softwire.prefix: 2001:db8:6400::/80 is not allowed: it overlaps 2001:db8:6400::/64 of AftrPool edge/east"),
    (pool("east", "core", number=23),
     "spec.softwire.domain: east.aftr.example.net is not allowed: it is held by AftrPool edge/east"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def tidied(api: Api) -> Iterator[None]:
    yield
    for namespace in ("edge", "core"):
        tidy(api, namespace)


def refusals(api: Api, body: dict[str, Any]) -> str:
    """What the condition Accepted says while it is False."""
    found = get(api, body["kind"].lower(), body["metadata"]["name"], body["metadata"]["namespace"])
    conditions = found.get("status", {}).get("conditions", ())
    return next((one["message"] for one in conditions if (one["type"], one["status"]) == ("Accepted", "False")), "")


def test_each_is_told_why_and_stops_no_other(api: Api, tmp_path: Path) -> None:
    objects = client_of(api)
    with operator(api, tmp_path) as process:
        give(api, *GOOD)
        until(lambda: all(accepted(api, "b4group", name) for name in ("homes", "shops")))
        give(api, *(body for body, _ in JUDGED))
        for which, path, value, _ in REFUSED:
            refusal(objects, documents({path: value}, which)[which], dry=False)
        until(lambda: all(sentence in refusals(api, body) for body, sentence in JUDGED), TOLD_S)
        give(api, pool(softwire={**pool()["spec"]["softwire"], "tunnelMtu": 1400}))
        until(lambda: "tunnelMtu: 1400" in get(api, "configmap", "east-aftr")["data"]["pool.yaml"])
        assert all(accepted(api, "b4group", name) for name in ("homes", "shops"))
        assert [get(api, "deployment", f"{name}-aftr") for name in ("bare", "narrow", "nested")] == [{}, {}, {}]
        assert process.process.poll() is None
        assert "pool not reconciled" not in process.log.read_text()


@pytest.fixture
def old_api() -> Iterator[Api]:
    """A server whose definitions refuse nothing in a spec."""
    with api_server() as server:
        given = json.dumps({"apiVersion": "v1", "kind": "List", "items": loosened()})
        assert server.kubectl("create", "-f", "-", given=given).returncode == 0
        assert server.kubectl("create", "namespace", "edge").returncode == 0
        until(lambda: "aftrpools" in server.kubectl("api-resources", "--cached=false", "--api-group=dslite.dev").stdout)
        yield server


def test_what_older_definitions_let_in_is_refused_by_the_operator(old_api: Api, tmp_path: Path) -> None:
    """It sees each of the contract's bad objects, says the contract's words of it, and goes on with the others."""
    give(old_api, *GOOD)
    objects, wanted = client_of(old_api), dict[str, str]()
    for number, (which, path, value, sentence) in enumerate(REFUSED):
        if path == "metadata.name" or value in SPELLED_ANEW:
            continue
        body, name = documents({path: value}, which)[which], f"bad-{number}"
        body["metadata"]["name"] = name
        create(objects, body, dry=False)
        wanted[name] = f"{path}: {sentence}".replace("B4Group north", f"B4Group {name}")

    def untold() -> list[tuple[str, str, str]]:
        said = {
            one["metadata"]["name"]: condition["message"]
            for one in get(old_api, "aftrpool,b4group")["items"]
            for condition in one.get("status", {}).get("conditions", ())
            if (condition["type"], condition["status"]) == ("Accepted", "False")
        }
        return [(name, line, said.get(name, "")) for name, line in wanted.items() if line not in said.get(name, "")]

    with operator(old_api, tmp_path) as process:
        until(lambda: not untold(), 2 * TOLD_S)
        assert all(accepted(old_api, "b4group", name) for name in ("homes", "shops"))
        assert accepted(old_api, "aftrpool", "east")
        assert process.process.poll() is None
        log = process.log.read_text()
        assert "pool not reconciled" not in log
        assert "B4s are not distributed" not in log
