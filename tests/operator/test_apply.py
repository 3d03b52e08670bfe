"""Requests to the API server: what is refused, and what is not answered."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import aiohttp
import pytest
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
        me = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                what = self.path.partition("?")[0].rpartition("/")[-1]
                me.taken.append(what)
                body: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                body["metadata"] |= {"uid": "uid-new", "resourceVersion": "10000"}
                text = json.dumps(body).encode()
                self.send_response(me.status if what == "events" else 200)
                self.send_header("Retry-After", "0")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def do_PATCH(self) -> None:
                self.do_POST()

            def do_PUT(self) -> None:
                self.do_POST()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    threading.Thread(target=made.server.serve_forever, daemon=True).start()
    yield made
    made.server.shutdown()
    made.server.server_close()


def writer_to(port: int) -> Writer:
    return Writer(client.ApiClient(client.Configuration(host=f"http://127.0.0.1:{port}")))


@pytest.mark.parametrize("status", [403, 429, 500])
async def test_a_status_is_written_whatever_becomes_of_its_events(
    session: aiohttp.ClientSession, server: Server, status: int
) -> None:
    """A quota is used up, or there are too many.  Which slots were ever served is read from statuses: nothing rests on Events."""
    server.status = status
    controller = Controller(writer_to(server.server.server_port), settings(), session)
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
        await writer_to(server.server.server_port).call("PUT", "/x/events", {"metadata": {}})
    assert refused.value.status == 429
    assert server.taken == ["events"]
