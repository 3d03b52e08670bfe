"""Requests to the API server: what is refused, and what is not answered."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes import client

from cluster_objects import pool
from dslite_operator import apply
from dslite_operator.apply import ApiError, Writer
from dslite_operator.controller import Controller
from dslite_operator.status import Said
from operating import settings

REFUSED = {"type": "Accepted", "status": "False", "reason": "Refused", "message": "no", "observedGeneration": 1}


class Server:
    """Takes everything but Events, to which it answers `status`; `taken` is what all requests were about."""

    def __init__(self) -> None:
        self.status, self.taken = 201, list[str]()
        app = web.Application()
        app.router.add_route("*", "/{where:.*}", self._answer)
        self.http = TestServer(app)

    async def _answer(self, request: web.Request) -> web.Response:
        what = request.path.rpartition("/")[-1]
        self.taken.append(what)
        body: dict[str, Any] = await request.json()
        body["metadata"] |= {"uid": "uid-new", "resourceVersion": "10000"}
        status = self.status if what == "events" else 200
        return web.json_response(body, status=status, headers={"Retry-After": "0"})


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    async with made.http:
        yield made


def writer_to(port: int) -> Writer:
    return Writer(client.ApiClient(client.Configuration(host=f"http://127.0.0.1:{port}")))


@pytest.mark.parametrize("status", [403, 429, 500])
async def test_a_status_is_written_whatever_becomes_of_its_events(
    session: aiohttp.ClientSession, server: Server, status: int
) -> None:
    """A quota is used up, or there are too many.  Which slots were ever served is read from statuses: nothing rests on Events."""
    server.status = status
    controller = Controller(writer_to(server.http.port or 0), settings(), session)
    await controller._set_status(pool(), {"conditions": [REFUSED]})
    assert server.taken == ["events", "status"]


async def test_nothing_more_is_said_to_an_api_server_that_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        writer = writer_to(taken.getsockname()[1])
    with pytest.raises(ApiError, match="does not answer"):
        await writer.say(pool(), [Said("Normal", "SlotMoved", str(slot)) for slot in range(2)])
    assert writer.writes == 1


# ---------------------------------------------------------------- each once
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH"])
async def test_a_request_that_is_not_answered_takes_its_time_once(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """A Lease's renewal that takes four times as long is over when another operator has it."""
    monkeypatch.setattr(apply, "TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(ApiError, match="does not answer"):
            await writer_to(silent.getsockname()[1]).call(method, "/x", None if method == "GET" else {})
        silent.setblocking(False)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()


async def test_one_that_is_to_come_later_is_refused(server: Server) -> None:
    """Its pool is tried again when its time comes: no thread waits for that, however long the API server says."""
    server.status = 429
    with pytest.raises(ApiError) as refused:
        await writer_to(server.http.port or 0).call("PUT", "/x/events", {"metadata": {}})
    assert refused.value.status == 429
    assert server.taken == ["events"]
