"""Questions between members are answered, and answers believed, only with the pool's key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import aiohttp
import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from aftr.failover.observation import Answer
from aftr.failover.state import Phase
from aftr.ops.serving.peers import Peers
from dslite_contract.journal import RECORD, EntryId, Kind, pack_chunk
from dslite_contract.signing import SIGNATURE

KEY, OTHER_KEY = b"the pool's", b"somebody's"
HELD = EntryId(3, 7)


class Holder:
    """What an answering member knows of its only slot."""

    number, content, phase = 0, HELD, Phase.WARM

    def __init__(self, pod: Any) -> None:
        self.pod, self.empties = pod, False

    def observed(self, observation: Any) -> Answer:
        return Answer(0, HELD, 3, False, True)

    def chunks(self, version: int) -> Iterator[bytes]:
        records = np.zeros(2, RECORD)
        records["kind"] = Kind.MAPPING
        yield pack_chunk(records, version)
        if self.empties:
            self.pod.lives[0] += 1


def member(uid: str, addresses: dict[str, str]) -> Any:
    """As much of a member as its peers need."""
    pod = SimpleNamespace(lives=[0])
    return SimpleNamespace(
        uid=uid, address="[::1]:1", addresses=addresses, pod=pod, slots=[Holder(pod)],
        meet=lambda more: None, observation=lambda slot: None,
    )  # fmt: skip


@asynccontextmanager
async def two(key: bytes) -> AsyncIterator[tuple[Peers, Any, str]]:
    """Who asks with `key`; who answers with the pool's; its address."""
    answering = member("b", {})
    answerer = Peers(answering)
    app = web.Application()
    app.add_routes(answerer.routes())
    async with TestServer(app) as server:
        address = f"{server.host}:{server.port}"
        asker = Peers(member("a", {"b": address}))
        await answerer.open(KEY)
        await asker.open(key)
        try:
            yield asker, answering, address
        finally:
            await asker.close()
            await answerer.close()


async def test_the_pools_key_gets_an_answer() -> None:
    async with two(KEY) as (asker, _, _):
        answer = await asker.ask("b", 0, 5)
        assert answer is not None
        assert (answer.held, answer.epoch, answer.promises) == (HELD, 3, True)
        found = await asker.tail("b", 0)
        assert found is not None
        assert (found[0], len(found[1])) == (HELD, 2)


async def test_another_key_gets_none_and_meets_nobody() -> None:
    async with two(OTHER_KEY) as (asker, answering, _):
        answering.meet = None  # would end in an error
        assert await asker.ask("b", 0, 5) is None
        assert await asker.tail("b", 0) is None


async def test_no_signature_is_refused_in_words() -> None:
    async with (
        two(KEY) as (_, _, address),
        aiohttp.ClientSession() as session,
    ):
        for headers in ({}, {SIGNATURE: "\xe9"}):
            async with session.post(f"http://{address}/v1/peer/ask", data=b"{}", headers=headers) as answer:
                assert (answer.status, await answer.text()) == (403, "not signed with the pool's key\n")


@pytest.mark.parametrize("size", ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
async def test_nothing_is_read_of_what_is_longer_than_a_question(size: str) -> None:
    async with two(KEY) as (_, _, address):
        host, _, port = address.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"POST /v1/peer/ask HTTP/1.1\r\nHost: a\r\n{size}\r\n\r\n".encode())
        async with asyncio.timeout(5):
            assert (await reader.readline()).split()[1] == b"400"
        writer.close()
        await writer.wait_closed()


async def test_what_is_held_is_signed_too() -> None:
    async with two(KEY) as (asker, answering, _):

        async def forge(request: web.Request, response: web.StreamResponse) -> None:
            response.headers["X-Dslite-Held"] = "9-9"

        app = web.Application()
        answerer = Peers(answering)
        await answerer.open(KEY)
        app.add_routes(answerer.routes())
        app.on_response_prepare.append(forge)
        async with TestServer(app) as server:
            asker._member.addresses["b"] = f"{server.host}:{server.port}"
            assert await asker.tail("b", 0) is None
        await answerer.close()


async def test_an_answer_signed_with_another_key_is_none() -> None:
    async with two(KEY) as (asker, _, _):

        async def answer(request: web.Request) -> web.Response:
            return web.Response(
                body=b'{"held": "9-9", "serves": false, "promises": true}', headers={SIGNATURE: "0" * 64}
            )

        app = web.Application()
        app.add_routes([web.post("/v1/peer/ask", answer)])
        async with TestServer(app) as server:
            asker._member.addresses["b"] = f"{server.host}:{server.port}"
            assert await asker.ask("b", 0, 5) is None


@pytest.mark.parametrize("name", [SIGNATURE, "X-Dslite-Held"])
async def test_who_is_no_member_may_answer_anything(name: str) -> None:
    """It may have the address of a pod that is gone."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + name.encode() + b": \xc3\xa9\xff\r\n\r\n{}")
        writer.close()

    async with two(KEY) as (asker, _, _), await asyncio.start_server(answer, "127.0.0.1") as server:
        asker._member.addresses["b"] = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert await asker.ask("b", 0, 5) is None
        assert await asker.tail("b", 0) is None


async def test_nobody_is_answered_before_the_pools_key_is_known() -> None:
    """Anybody can sign with an empty one."""
    answerer = Peers(member("b", {}))
    app = web.Application()
    app.add_routes(answerer.routes())
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        headers = {SIGNATURE: answerer.sign(b"{}")}
        async with session.post(
            f"http://{server.host}:{server.port}/v1/peer/ask", data=b"{}", headers=headers
        ) as answer:
            assert (answer.status, await answer.text()) == (
                503,
                "the store was not reached yet, and so the pool's key is not known\n",
            )


async def test_a_slot_that_is_emptied_while_it_is_read_is_not_given() -> None:
    """Half of it, said to be all of it, would be what the asker opens with."""
    async with two(KEY) as (asker, answering, _):
        answering.slots[0].empties = True
        assert await asker.tail("b", 0) is None
