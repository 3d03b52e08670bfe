"""The Lease while its API server is away: who waits for it goes on, who has it ends in time."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from kubernetes import client

from dslite_operator import lease
from dslite_operator.apply import NOT_FOUND, TIMEOUT_S, ApiError, Writer
from dslite_operator.lease import DURATION_S, GIVE_UP_S, Lease, LeaseLostError

Object = dict[str, Any]


class Store(Writer):
    """Where one Lease is; while it is away, each request takes its time and fails."""

    def __init__(self) -> None:
        super().__init__(client.ApiClient())
        self.held: Object | None = None
        self.away = 0  # requests that fail from now on

    async def call(self, method: str, where: str, body: Object | None = None, *_: Any, **__: Any) -> Object:
        if self.away:
            self.away -= 1
            await asyncio.sleep(0.01)
            raise ApiError("the API server does not answer")
        self.held = body if method != "GET" else self.held
        if self.held is None:
            raise ApiError("there is none", NOT_FOUND)
        return self.held


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("RENEW_S", 0.05), ("RETRY_S", 0.01), ("GIVE_UP_S", 0.4)):
        monkeypatch.setattr(lease, name, seconds)


async def test_one_that_waits_outlasts_an_api_server_that_is_away() -> None:
    """Ended and started again each time, it would be started less and less often."""
    store = Store()
    store.away = 5
    await Lease(store, "dslite", "one").acquire()
    assert store.held is not None
    assert store.held["spec"]["holderIdentity"] == "one"


async def test_one_at_work_ends_when_it_cannot_renew_in_time_and_not_before() -> None:
    store = Store()
    ours = Lease(store, "dslite", "one")
    await ours.acquire()
    keeping = asyncio.ensure_future(ours.keep())
    store.away = 5
    await asyncio.sleep(0.2)
    assert not keeping.done()
    store.away, began = 10**6, time.monotonic()
    with pytest.raises(LeaseLostError):
        await keeping
    assert time.monotonic() - began < 0.6


async def test_one_whose_lease_another_has_ends() -> None:
    store = Store()
    ours = Lease(store, "dslite", "one")
    await ours.acquire()
    assert store.held is not None
    store.held = {**store.held, "spec": {**store.held["spec"], "holderIdentity": "another"}}
    with pytest.raises(LeaseLostError):
        await ours.keep()


def test_requests_under_way_have_ended_when_another_may_have_it() -> None:
    assert GIVE_UP_S + TIMEOUT_S < DURATION_S
