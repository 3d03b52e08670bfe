"""Secrets change while AFTRs serve: by the commands of the runbook, and those of BGP sessions at both ends."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network, IPv6Network

import pytest

from aftr_lab.plan import ACCESS_LINK, FIRST_AFTR, INTERNET_LINK, SERVER
from aftr_lab.record import Record
from aftr_lab.routing import ESTABLISHED, HEAD, router_sessions
from installed_pool import Object, Pool, commands, is_answered, until
from nodes_with_bgp import configure_router
from running_cluster import Cluster
from running_lab import Lab
from under_load import under_load

pytestmark = pytest.mark.cluster

STORE = "east-store"
SECRET, CHANGED = "tor", "dslite.dev/secret-changed"
FIRST, SECOND = "a first password", "a second password"
SESSIONS = 2  # of each AFTR in the sample
LINKS: dict[str, IPv4Network | IPv6Network] = {"ipv6": ACCESS_LINK, "ipv4": INTERNET_LINK}  # by families of peers
REPLACED_S = 300.0  # all pods, one after another
SESSION = """\
protocol bgp '{peer[name]}-{number}' {{
    local {peer[address]} as {peer[asn]};
    neighbor {neighbour} as {bgp[localAsn]};
    passive;
    direct;
    ttl security on;
    hold time 9;
    error wait time 1, 4;
    error forget time 10;
    password "{password}";
    {peer[families][0]} {{ import all; export none; gateway direct; }};
}}
"""
Change = Callable[[str], None]


# ---------------------------------------------------------------- the store's
def test_the_stores_password_changes_under_traffic(cluster: Cluster, outside: Lab, pool: Pool) -> None:
    """No pod is replaced; afterwards a Redis that starts again lets in all of them, and nobody with the old password."""
    before, old = pool.uids(), password(cluster)
    script = "\n".join(["set -e", *commands("docs/runbook.md", "Change the store's password")])
    with under_load(outside) as load:
        load.during(lambda: cluster.shell(script))
        load.during(lambda: start_again(cluster, pool))
    new = password(cluster)
    assert new != old
    assert pool.uids() == before
    assert [ping(cluster, pool, one) for one in (new, old)] == [True, False]


def password(cluster: Cluster) -> str:
    return base64.b64decode(cluster.get("secret", STORE)["data"]["password"]).decode()


def ping(cluster: Cluster, pool: Pool, password: str) -> bool:
    """Whether the store answers an AFTR with this password."""
    script = f"redis-cli -u redis://aftr:{password}@{STORE}:6379 --no-auth-warning ping 2>&1 || true"
    return "PONG" in cluster.kubectl("exec", pool.pods()[0]["metadata"]["name"], "--", "sh", "-c", script)


def start_again(cluster: Cluster, pool: Pool) -> None:
    """The Redis: every connection to it is made anew."""
    cluster.kubectl("delete", "pod", f"{STORE}-0")
    until(lambda: all(reaches_store(cluster, pod["metadata"]["name"]) for pod in pool.pods()), "all AFTRs reach it")
    pool.settle()


def reaches_store(cluster: Cluster, pod: str) -> bool:
    """By the AFTR's own word."""
    said = json.loads(cluster.kubectl("get", "--raw", f"/api/v1/namespaces/default/pods/{pod}:9464/proxy/status"))
    return bool(said["store"]["reachable"] and not said["store"]["trouble"])


# ---------------------------------------------------------------- the operator's
def test_the_operators_key_changes(cluster: Cluster, pool: Pool) -> None:
    """The Secret is made again, and no pod is replaced.  Releases of `test_under_traffic.py` come and go after it, with the new key."""
    before, old = pool.uids(), keys(cluster)
    assert len(old) == 1
    cluster.shell("\n".join(["set -e", *commands("docs/runbook.md", "Change the operator's key")]))
    until(lambda: len(keys(cluster)) == 1 and keys(cluster) != old, "the operator has made it again")
    is_answered(cluster)
    assert pool.uids() == before


def keys(cluster: Cluster) -> list[str]:
    """What the pods' Secret has, if it is there."""
    found = cluster.get("secret", "-l", "dslite.dev/pool=east")["items"]
    return [one["data"]["key"] for one in found if one["metadata"]["name"] == "east-aftr"]


# ---------------------------------------------------------------- of BGP sessions
def router_conf(bgp: Object, password: str) -> str:
    """The router with a session for every address that an AFTR may get: one with a range forgets its password with the first that ends."""
    return HEAD + "".join(
        SESSION.format(
            peer=peer, number=number, bgp=bgp, neighbour=LINKS[peer["families"][0]][number], password=password
        )
        for peer in bgp["peers"]
        for number in range(FIRST_AFTR, SERVER)
    )


@contextmanager
def router_wants(outside: Lab, bgp: Object, password: str) -> Iterator[Change]:
    """A password of every AFTR while the block runs; another one when that is called."""
    before = Record(outside.name).router_file.read_text()

    def change(password: str) -> None:
        configure_router(outside, router_conf(bgp, password))

    change(password)
    try:
        yield change
    finally:
        configure_router(outside, before)


@pytest.fixture
def router(cluster: Cluster, outside: Lab, pool: Pool) -> Iterator[Change]:
    """The router and the pool with a password; a function that gives the router another one."""
    cluster.kubectl("create", "secret", "generic", SECRET, f"--from-literal=password={FIRST}")
    bgp = pool.read()["spec"]["routing"]["bgp"]
    peers = bgp["peers"]
    with router_wants(outside, bgp, FIRST) as change:
        pool.patch(routing={"bgp": {"peers": [peer | {"passwordSecret": SECRET} for peer in peers]}})
        pool.settle(REPLACED_S)
        yield change
        pool.patch(routing={"bgp": {"peers": peers}})
    pool.settle(REPLACED_S)
    cluster.kubectl("delete", "secret", SECRET)


def established(outside: Lab) -> int:
    """How many sessions the router has."""
    states = router_sessions(outside.namespace("router"), Record(outside.name).router_socket)
    return list(states.values()).count(ESTABLISHED)


def test_a_bgp_password_changes_under_traffic(cluster: Cluster, outside: Lab, pool: Pool, router: Change) -> None:
    """All sessions begin anew, since there is one router: no pod is replaced for it, and no transfer breaks."""
    before = pool.uids()
    until(lambda: established(outside) == len(before) * SESSIONS, "all sessions are there with the first password")

    def change() -> None:
        patch = json.dumps({"stringData": {"password": SECOND}})
        cluster.kubectl("patch", "secret", SECRET, "--patch", patch)
        cluster.kubectl("annotate", "pod", "-l", "dslite.dev/pool=east", "--overwrite", f"{CHANGED}=second")
        until(lambda: established(outside) == 0, "all AFTRs have the second password, and the router the first")
        router(SECOND)
        until(lambda: established(outside) == len(before) * SESSIONS, "all sessions are there with the second")
        pool.settle()

    with under_load(outside) as load:
        load.during(change)
    assert pool.uids() == before
