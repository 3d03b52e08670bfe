"""An operator whose watches fell silent: it ends by itself, or its kubelet ends it."""

from __future__ import annotations

import time
from typing import Any

import aiohttp
import pytest
from kubernetes import client, config

from cluster_objects import KEY, group, pool
from dslite_operator import main
from dslite_operator.main import SILENCE_S, Operator, SilentWatchError
from dslite_operator.names import Key
from kube_api import Api
from operating import settings
from reconciling import get, give

NOBODY: Any = None  # who asks does not matter


async def test_one_that_waits_is_alive_and_one_at_work_as_long_as_it_compares(session: aiohttp.ClientSession) -> None:
    operator = Operator(client.ApiClient(), settings(), (), session)
    assert (await operator.healthz(NOBODY)).status == 200
    operator.working, operator.compared = True, time.monotonic() - SILENCE_S - 1
    answer = await operator.healthz(NOBODY)
    assert (answer.status, answer.text) == (503, "watches and lists were not compared for 301 s\n")
    operator.compared = time.monotonic()
    assert (await operator.healthz(NOBODY)).status == 200
    assert (await operator.readyz(NOBODY)).status == 503
    operator.watching.set()
    assert (await operator.readyz(NOBODY)).status == 200


async def test_now_and_then_everything_is_looked_at(session: aiohttp.ClientSession) -> None:
    """Also a group whose pool is not there: nothing else would put right what somebody made of its status."""
    operator = Operator(client.ApiClient(), settings(), (), session)
    for body in (pool(), group("homes", "2001:db8:1000::/36"), group("lost", "2001:db8::/48", "west")):
        operator.controller.cache.put(body)
    operator._look_at_all()
    assert {await operator.controller.queue.take() for _ in range(2)} == {KEY, Key("edge", "west")}


@pytest.mark.api
async def test_what_a_list_shows_and_no_watch_has_told_ends_it(
    api: Api, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(main, "LATE_S", 0.1)
    config.load_kube_config(str(api.kubeconfig))  # type: ignore[no-untyped-call]
    operator = Operator(client.ApiClient(), settings(), ("edge",), session)
    cache = operator.controller.cache
    give(api, pool())
    with pytest.raises(SilentWatchError, match="no watch has told of AftrPool east: the operator starts again"):
        await operator._relist_kind("AftrPool")
    cache.put(get(api, "aftrpool", "east"))
    await operator._relist_kind("AftrPool")
    assert [one["metadata"]["name"] for one in cache.every("AftrPool")] == ["east"]
    api.kubectl("delete", "aftr", "east", "-n", "edge")
    await operator._relist_kind("AftrPool")
    assert list(cache.every("AftrPool")) == []
