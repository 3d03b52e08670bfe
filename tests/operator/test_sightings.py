"""Softwires asked of AFTRs: what is known while one of them is silent, and that nothing is worked out twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from cluster_objects import KEY, configured, group, pod, pool, said
from dslite_operator import pods
from dslite_operator.distribution import sightings as room
from dslite_operator.distribution.ground import Ground
from dslite_operator.distribution.sightings import Sightings
from dslite_operator.names import Key
from dslite_operator.observe import Cache
from dslite_operator.signer import Signer
from status_port import status_port

Object = dict[str, Any]

FOUND = configured(
    pool(), group("homes", "2001:db8:1000::/36", dhcp={"server": "metro", "subnets": ["2001:db8:1000::/48"]})
)
GROUND = Ground(KEY, FOUND.pool, FOUND.groups, FOUND.groups, {})
HERE, THERE = "127.0.0.71", "127.0.0.72"
NO_LEASES: dict[str, None] = {"metro": None}
UNSIGNED = Signer(Path("/nonexistent"))


def cache(*addresses: str, ready: bool = True) -> Cache:
    """A pool with pods at these addresses."""
    found = Cache()
    found.put(pool())
    for address in addresses:
        made = pod(f"aftr-{address}", ready=ready)
        found.put({**made, "status": {**made["status"], "podIP": address}})
    return found


@asynccontextmanager
async def aftr(
    address: str,
    *softwires: Object,
    path: str = "/v1/softwires",
    slots: Sequence[int] = range(4),
    meanwhile: Callable[[], object] = lambda: None,
) -> AsyncIterator[None]:
    """A status port with these softwires, of an AFTR that serves these slots; what happens while it lists them."""

    async def answer(_: web.Request) -> web.Response:
        meanwhile()
        return web.json_response(softwires)

    async def status(_: web.Request) -> web.Response:
        return web.json_response(said(dict.fromkeys(slots, 1)))

    async with status_port(address, web.get(path, answer), web.get("/status", status)):
        yield


def one(number: int) -> Object:
    return {"softwire": f"2001:db8:1000::{number}", "slot": number, "sessions": 3}


async def test_all_aftrs_that_are_ready_are_asked_and_nothing_is_worked_out_twice(
    session: aiohttp.ClientSession,
) -> None:
    seen = Sightings(cache(HERE, THERE), session, UNSIGNED, lambda: None)
    async with aftr(HERE, one(0)), aftr(THERE, one(1)):
        first = await seen.of(GROUND, NO_LEASES)
    assert first is not None
    assert first["edge/homes"].on_slots == {0: 1, 1: 1}
    assert await seen.of(GROUND, NO_LEASES) is first


async def test_pools_that_are_new_are_asked_at_once(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after another, as many as do not answer kept the operator's first step waiting as many times."""
    together = asyncio.Barrier(2)

    async def softwires(*_: object) -> list[Object]:
        await together.wait()
        return [one(0)]

    monkeypatch.setattr(pods, "softwires", softwires)
    other, both = replace(GROUND, key=Key("core", "east")), cache(HERE)
    both.put(pool(namespace="core", number=1))
    seen = Sightings(both, session, UNSIGNED, lambda: None)
    async with asyncio.timeout(20):
        await seen.meet([GROUND, other])
        assert await seen.of(GROUND, NO_LEASES) is not None
        assert await seen.of(other, NO_LEASES) is not None


async def test_nothing_is_known_until_all_have_answered(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then what was seen stays so, whoever falls silent; and only the loop asks again."""
    monkeypatch.setattr(room, "SOON_S", 0.05)
    monkeypatch.setattr(room, "TURNS", 1)
    looked = asyncio.Event()
    seen = Sightings(cache(HERE, THERE), session, UNSIGNED, looked.set)
    async with aftr(HERE, one(0)):
        assert await seen.of(GROUND, NO_LEASES) is None
        async with aftr(THERE, one(1)):
            assert await seen.of(GROUND, NO_LEASES) is None
            looking = asyncio.create_task(seen.run())
            await looked.wait()
            assert await seen.of(GROUND, NO_LEASES) is not None
        for _ in range(2):
            looked.clear()
            await looked.wait()
        found = await seen.of(GROUND, NO_LEASES)
        looking.cancel()
    assert found is not None
    assert found["edge/homes"].on_slots == {0: 1, 1: 1}


async def test_a_slot_that_is_taken_over_while_all_are_asked_is_not_known(session: aiohttp.ClientSession) -> None:
    """The one may list it no more, and the other not yet: a drain would take it for empty."""
    here, there = [0, 1, 2, 3], list[int]()
    seen = Sightings(cache(HERE, THERE), session, UNSIGNED, lambda: None)
    async with aftr(HERE, slots=here, meanwhile=lambda: there.append(here.pop())), aftr(THERE, slots=there):
        assert await seen.of(GROUND, NO_LEASES) is None


async def test_an_aftr_that_does_not_answer_may_have_lost_its_secret(session: aiohttp.ClientSession) -> None:
    signer = Signer(Path("/nonexistent"))
    signer.made = {pool()["metadata"]["uid"]}
    seen = Sightings(cache(HERE), session, signer, lambda: None)
    async with aftr(HERE, one(0)):
        assert await seen.of(GROUND, NO_LEASES) is not None
    assert signer.made
    assert await Sightings(cache(HERE), session, signer, lambda: None).of(GROUND, NO_LEASES) is None
    assert not signer.made


async def test_what_cannot_be_read_is_no_answer(session: aiohttp.ClientSession) -> None:
    async with aftr(HERE, {"softwire": "nobody", "slot": 0, "sessions": 0}):
        assert await Sightings(cache(HERE), session, UNSIGNED, lambda: None).of(GROUND, NO_LEASES) is None
    async with aftr(HERE, {"slot": 0}):
        assert await Sightings(cache(HERE), session, UNSIGNED, lambda: None).of(GROUND, NO_LEASES) is None


async def test_nobody_is_not_none_while_a_slot_is_not_served(session: aiohttp.ClientSession) -> None:
    """After a cold start, or with an AFTR that is not ready: moved as though they were none, all of its B4s would go at once."""
    silent = Sightings(cache(HERE, ready=False), session, UNSIGNED, lambda: None)
    assert await silent.of(GROUND, NO_LEASES) is None
    assert await Sightings(cache(), session, UNSIGNED, lambda: None).of(GROUND, NO_LEASES) is None
    async with aftr(HERE, one(0), slots=range(3)):
        assert await Sightings(cache(HERE), session, UNSIGNED, lambda: None).of(GROUND, NO_LEASES) is None
        async with aftr(THERE, one(3), slots=[3]):
            both = Sightings(cache(HERE, THERE, ready=False), session, UNSIGNED, lambda: None)
            found = await both.of(GROUND, NO_LEASES)
    assert found is not None, "who serves may be asked, ready or not"
    assert found["edge/homes"].on_slots == {0: 1, 3: 1}


async def test_who_is_not_ready_and_serves_nothing_is_not_waited_for(session: aiohttp.ClientSession) -> None:
    there = cache(HERE)
    there.put({**pod("aftr-new", ready=False), "status": {"phase": "Pending"}})
    async with aftr(HERE, one(0)):
        assert await Sightings(there, session, UNSIGNED, lambda: None).of(GROUND, NO_LEASES) is not None


async def test_an_aftr_that_does_not_list_its_b4s_does_not_say_that_it_has_none(session: aiohttp.ClientSession) -> None:
    async with aftr(HERE, one(0), path="/v1/other"):
        assert await Sightings(cache(HERE), session, UNSIGNED, lambda: None).of(GROUND, NO_LEASES) is None


async def test_a_pool_that_was_never_counted_is_looked_at_soon(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its AFTRs become ready a moment after it is there: its groups wait for that."""
    monkeypatch.setattr(room, "SOON_S", 0.05)
    monkeypatch.setattr(room, "TURNS", 10**9)
    looked = asyncio.Event()
    seen = Sightings(cache(HERE), session, UNSIGNED, looked.set)
    assert await seen.of(GROUND, NO_LEASES) is None
    async with aftr(HERE, one(0)):
        looking = asyncio.create_task(seen.run())
        async with asyncio.timeout(20):
            while await seen.of(GROUND, NO_LEASES) is None:
                looked.clear()
                await looked.wait()
        looked.clear()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(looked.wait(), 1)
        looking.cancel()
