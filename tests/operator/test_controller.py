"""One look at a pool at a time, by a controller in this process on a real API server: what it writes, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Iterator

import aiohttp
import pytest
from kubernetes import client, config

from cluster_objects import KEY, group, pool
from dslite_contract.errors import DsliteError
from dslite_operator import controller
from dslite_operator.apply import ApiError, Writer
from dslite_operator.controller import Controller
from dslite_operator.names import MANAGED_LABEL, Key
from kube_api import OPERATOR, OPERATOR_TOKEN, Api, write_kubeconfig
from looking import look, operator_of
from operating import settings
from reconciling import accepted, condition, get, give, tidy, until
from stand_in import stand_ins

pytestmark = pytest.mark.api


@pytest.fixture(autouse=True)
def tidied(api: Api) -> Iterator[None]:
    yield
    tidy(api)


async def test_what_no_config_map_holds_is_refused_and_all_else_goes_on(
    api: Api, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(api, pool(), group("homes", "2001:db8:1000::/36"))
    looking = operator_of(api, session).controller
    await look(api, looking)
    before = get(api, "configmap", "east-aftr")["data"]["pool.yaml"]
    monkeypatch.setattr(controller, "LARGEST_TEXT", len(before))
    give(api, pool(replicas=3), group("shops", "2001:db8:5000::/40"))
    await look(api, looking)
    refused = condition(api, "b4group", "shops")
    assert (refused["status"], refused["reason"]) == ("False", "Refused")
    assert f"bytes: at most {len(before)}, use fewer or shorter B4Group prefixes" in refused["message"]
    assert accepted(api, "aftrpool", "east")
    assert accepted(api, "b4group", "homes")
    assert get(api, "deployment", "east-aftr")["spec"]["replicas"] == 3
    assert get(api, "configmap", "east-aftr")["data"]["pool.yaml"] == before
    monkeypatch.undo()
    await look(api, looking)
    assert accepted(api, "b4group", "shops")


async def test_all_is_well_however_quantities_are_spelled(api: Api, session: aiohttp.ClientSession) -> None:
    """What the API server spells its own way is still what was applied: nothing is left to write."""
    give(api, pool())
    aftr = {"image": "registry.example.net/dslite/aftr:0.1.0", "cpu": "0.3333"}
    looking = operator_of(api, session, aftr=aftr, store={"memory": "1024Mi"}).controller
    await look(api, looking)
    await look(api, looking)  # the StatefulSet is known now, so its Secret is seen to once more
    requests = [
        get(api, kind, name)["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]
        for kind, name in (("deployment", "east-aftr"), ("statefulset", "east-store"))
    ]
    assert (requests[0]["cpu"], requests[1]["memory"]) == ("334m", "1Gi")
    assert await look(api, looking) == 0


@pytest.mark.parametrize(("first", "then"), [("", "1Gi"), ("1Gi", "")])
async def test_a_store_goes_on_whatever_becomes_of_its_chart_value(
    api: Api, session: aiohttp.ClientSession, first: str, then: str
) -> None:
    """With the claims that it was made with, under a release's new template; made again, with those of today."""
    give(api, pool())
    await look(api, operator_of(api, session, store={"storage": first}).controller)
    give(api, pool(release="0.2.0"))
    looking = operator_of(api, session, store={"storage": then}, release="0.2.0").controller
    for kind in ("configmap", "statefulset", "deployment"):
        looking.cache.put(get(api, kind, f"east-{'store' if kind == 'statefulset' else 'aftr'}"))
    await look(api, looking)
    stateful = get(api, "statefulset", "east-store")
    assert bool(stateful["spec"].get("volumeClaimTemplates")) == bool(first)
    assert api.kubectl("delete", "statefulset", "east-store", "-n", "edge").returncode == 0
    looking.cache.drop(stateful)
    await look(api, looking)
    assert bool(get(api, "statefulset", "east-store")["spec"].get("volumeClaimTemplates")) == bool(then)


async def test_numbers_in_sentences_are_told_now_and_then(
    api: Api, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mappings that are left, and seconds, of a pool that was deleted."""

    def said() -> str:
        return str(condition(api, "aftrpool", "east", "Draining")["message"])

    with stand_ins(api, {0: 10}) as (aftr,):
        give(api, pool(replicas=1))
        looking = operator_of(api, session).controller
        await look(api, looking)
        api.kubectl("delete", "aftr", "east", "-n", "edge", "--wait=false")
        await look(api, looking)
        assert said().startswith("the pool was deleted: 10 live mappings, ")
        aftr.slots = {0: 9}
        assert await look(api, looking) == 0
        monkeypatch.setattr(controller, "NUMBERS_S", 0.0)
        assert await look(api, looking) == 1
        assert said().startswith("the pool was deleted: 9 live mappings, ")


async def test_a_deployment_that_is_not_known_keeps_its_pods(api: Api, session: aiohttp.ClientSession) -> None:
    """It lost our label, which a watch tells as its end: what the autoscaler had made of it would go all at once."""
    with stand_ins(api, {0: 1}, {1: 1}, {2: 1}):
        give(api, pool(replicas=1, autoscaling={"minReplicas": 1, "maxReplicas": 4}))
        looking = operator_of(api, session).controller
        await look(api, looking)
        looking.cache.drop(get(api, "deployment", "east-aftr"))
        await look(api, looking)
        assert get(api, "deployment", "east-aftr")["spec"]["replicas"] == 3


async def test_so_it_does_while_the_pool_may_not_have_as_many_as_it_asks_for(
    api: Api, session: aiohttp.ClientSession
) -> None:
    """The store that several need is another change, which waits."""
    alone = pool(replicas=1)
    del alone["spec"]["store"]
    with stand_ins(api, {0: 1}) as (aftr,):
        give(api, alone)
        looking = operator_of(api, session).controller
        await look(api, looking)
        looking.cache.drop(get(api, "deployment", "east-aftr"))
        aftr.lost = 12
        give(api, pool(replicas=3))
        await look(api, looking)
        assert "it would end 12 live mappings" in condition(api, "aftrpool", "east")["message"]
        assert get(api, "deployment", "east-aftr")["spec"]["replicas"] == 1


async def test_a_deployment_that_is_deleted_comes_back_as_it_was_although_its_pool_is_refused(
    api: Api, session: aiohttp.ClientSession
) -> None:
    """Its pods went with it, and pools are not made again without any."""
    give(api, pool(replicas=3))
    looking = operator_of(api, session).controller
    await look(api, looking)
    await look(api, looking)
    deployment = get(api, "deployment", "east-aftr")
    assert api.kubectl("delete", "deployment", "east-aftr", "-n", "edge").returncode == 0
    looking.cache.drop(deployment)
    wrong = get(api, "aftrpool", "east")
    wrong["metadata"] |= {"generation": 9, "resourceVersion": str(int(wrong["metadata"]["resourceVersion"]) + 1000)}
    wrong["spec"]["slots"] = 3
    assert looking.cache.put(wrong)  # what an API server with older definitions takes
    assert looking.cache.asked(wrong).model is None
    await look(api, looking)
    assert get(api, "deployment", "east-aftr")["spec"]["replicas"] == 3


async def test_what_the_store_may_have_is_not_ended_while_nobody_serves_it(
    api: Api, session: aiohttp.ClientSession
) -> None:
    """The one pod is replaced before its mappings have ended: whoever counts none has to serve them first."""

    def said() -> str:
        return str(condition(api, "b4group", "homes")["message"])

    give(api, pool(replicas=1), group("homes", "2001:db8:1000::/36"))
    looking = operator_of(api, session).controller
    await look(api, looking)
    give(api, group("homes", "2001:db8:2000::/36"))
    await look(api, looking)
    assert accepted(api, "b4group", "homes"), "nobody has served yet"
    with stand_ins(api, {0: 10, 1: 5, 2: 0, 3: 7}) as (aftr,):
        await look(api, looking)
        aftr.lost = 12
        give(api, group("homes", "2001:db8:3000::/36"))
        await look(api, looking)
        assert "it would end 12 live mappings" in said()
        looking.cache.drop(get(api, "pod", "aftr-0"))
    nobody = "no AFTR that answers serves slots 0-3, so nobody knows how many mappings it would end: wait, or set allowDisruption"
    await look(api, looking)
    assert nobody in said()
    with stand_ins(api, {}) as (aftr,):  # another pod, which has not taken over
        await look(api, looking)
        assert nobody in said()
        aftr.slots = {0: 0, 1: 0, 2: 0, 3: 0}
        await look(api, looking)
        assert accepted(api, "b4group", "homes")


async def test_what_is_taken_over_while_it_is_counted_is_not_ended(api: Api, session: aiohttp.ClientSession) -> None:
    """Neither counts it: the one before it has it, the other when it has given it away."""
    give(api, pool(replicas=2), group("homes", "2001:db8:1000::/36"))
    looking = operator_of(api, session).controller
    with stand_ins(api, {0: 10, 1: 5}, {2: 0, 3: 7}) as (one, other):
        await look(api, looking)
        one.meanwhile = lambda: other.slots.update({1: one.slots.pop(1, 5)})
        give(api, group("homes", "2001:db8:2000::/36"))
        await look(api, looking)
        said = condition(api, "b4group", "homes")["message"]
        assert "slots were taken over while AFTRs counted, so nobody knows yet how many mappings it would end" in said
        await look(api, looking)
        assert accepted(api, "b4group", "homes")


@pytest.mark.parametrize("store", [True, False])
async def test_a_deleted_pool_waits_for_what_its_store_may_have(
    api: Api, session: aiohttp.ClientSession, store: bool
) -> None:
    """Without a store, mappings ended with their pod."""
    east = pool(replicas=1, deletionDrainSeconds=86400)
    if not store:
        del east["spec"]["store"]
    give(api, east)
    looking = operator_of(api, session).controller
    with stand_ins(api, {0: 10, 1: 5, 2: 0, 3: 7}):
        await look(api, looking)
        await look(api, looking)
        looking.cache.drop(get(api, "pod", "aftr-0"))
    api.kubectl("delete", "aftr", "east", "-n", "edge", "--wait=false")
    await look(api, looking)
    if store:
        said = condition(api, "aftrpool", "east", "Draining")["message"]
        assert said.startswith("the pool was deleted: 0 live mappings and those of slots 0-3, which no AFTR serves, ")
        with stand_ins(api, {0: 0, 1: 0, 2: 0, 3: 0}):
            await look(api, looking)
    assert not get(api, "aftrpool", "east")


async def test_trouble_is_said_by_an_api_server_that_answers(api: Api, session: aiohttp.ClientSession) -> None:
    """Of one that does not, nothing is written: it would wait for each request, and say what is over when it is back."""
    give(api, pool(), group("homes", "2001:db8:1000::/36"))
    looking = operator_of(api, session).controller
    await look(api, looking)
    for status, writes in ((0, 0), (403, 4)):
        before = looking._writer.writes
        for _ in range(2):
            await looking._fail(KEY, ApiError("it was so", status))
        assert looking._writer.writes == before + writes  # a status and an Event of each
    assert condition(api, "aftrpool", "east")["message"] == "it was so"


async def test_a_namespace_that_refuses_keeps_its_own_pools_waiting_alone(
    api: Api, session: aiohttp.ClientSession
) -> None:
    """What pools have lost is looked for when an operator begins; without, none of them is taken for new."""

    def allow(namespace: str) -> None:
        right = ("--verb=list", "--resource=configmaps")
        api.kubectl("create", "role", "maps", "-n", namespace, *right)
        api.kubectl("create", "rolebinding", "maps", "-n", namespace, "--role=maps", f"--user={OPERATOR}")
        asked = ("auth", "can-i", "list", "configmaps", "-n", namespace, f"--as={OPERATOR}")
        until(lambda: api.kubectl(*asked).returncode == 0)

    east, west = pool(), pool("west", "core", 1)
    give(api, east, west)
    await look(api, operator_of(api, session).controller)
    api.kubectl("label", "configmap", "east-aftr", "-n", "edge", "--overwrite", f"{MANAGED_LABEL}=Helm")
    allow("edge")
    limited = write_kubeconfig(api.folder, api.url, OPERATOR_TOKEN, "limited")
    config.load_kube_config(str(limited))  # type: ignore[no-untyped-call]
    looking = Controller(Writer(client.ApiClient()), settings(), session)
    for one in (get(api, "aftrpool", "east"), get(api, "aftrpool", "west", "core")):
        looking.cache.put(one)
    await looking._find_lost(KEY)
    assert looking.cache.running(looking.cache.view(KEY)) is not None
    with pytest.raises(ApiError, match="403"):
        await looking._find_lost(Key("core", "west"))
    allow("core")
    await looking._find_lost(Key("core", "west"))
    tidy(api, "core")


@pytest.mark.parametrize("when", ["counted", "carried out"])
async def test_what_was_decided_of_a_pool_is_not_done_to_the_next_of_its_name(
    api: Api, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """It is deleted and made again while its AFTR counts what would end, or while its objects are made."""

    def replaced() -> None:
        east = get(api, "aftrpool", "east")
        looking.cache.put({**east, "metadata": {**east["metadata"], "uid": "another", "resourceVersion": str(10**9)}})

    async def made(*_: object) -> None:
        replaced()

    give(api, pool(replicas=1), group("homes", "2001:db8:1000::/36"))
    looking = operator_of(api, session).controller
    with stand_ins(api, {0: 10, 1: 5, 2: 0, 3: 7}) as (aftr,):
        await look(api, looking)
        before = get(api, "configmap", "east-aftr"), get(api, "b4group", "homes")["status"]
        if when == "counted":
            aftr.meanwhile = replaced
            give(api, group("homes", "2001:db8:2000::/36"))
        else:
            monkeypatch.setattr(looking, "_key_secret", made)
            give(api, group("homes", "2001:db8:1000::/36", natPool="gold"))
        with pytest.raises(DsliteError, match="AftrPool edge/east was deleted while it was looked at"):
            await look(api, looking)
        assert (get(api, "configmap", "east-aftr"), get(api, "b4group", "homes")["status"]) == before
