"""The status port (TCP, for everybody) and the control socket (Unix, for `aftr show`), both on the control thread's event loop.

/metrics   Prometheus
/status    JSON: version, configuration, slots, workers, interfaces
/v1/check  POST a configuration: how many live mappings would end under it (TCP only, signed by the operator)
/v1/softwires  JSON: B4s that have mappings here, with their sessions (TCP only, signed by the operator)
/healthz   200 while every worker moves: else start the process again
/readyz    200 when traffic can pass, and what is wrong all the same: else the reasons, one a line
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from aiohttp import web

from aftr.ops.agent_view import AgentView
from aftr.ops.check import LARGEST_BYTES, ONE_AT_A_TIME, post_check
from aftr.ops.control import AGENT, control_routes, get_softwires, say_why, with_members
from aftr.ops.metrics import exposition, used_share
from aftr.ops.tables import slots
from aftr.state.layout import pod_at
from dslite_contract.errors import DsliteError
from dslite_contract.signing import DIGEST, SIGNATURE, digest, genuine, question

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MOVE_S, LOOK_S = 2.0, 0.05  # a worker that has not turned in two seconds is stuck: idle ones do every 20 ms
SAMPLE_S = 5.0
UTILISATION = web.AppKey("utilisation", dict[int, float])
SOCKET_MODE = 0o660
NOT_SIGNED = "not signed with the operator's key for this pool\n"
NO_KEY = "the Secret with the operator's key for this pool is missing\n"


class StatusError(DsliteError):
    """The status port or the control socket cannot be opened."""


# ---------------------------------------------------------------- what is answered
async def in_thread(call: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a call that must not block the event loop."""
    return await asyncio.get_running_loop().run_in_executor(None, call, *arguments)


async def get_metrics(request: web.Request) -> web.Response:
    """Prometheus' page."""
    accept = request.headers.get("Accept", "")
    body, content_type = await in_thread(exposition, request.app[AGENT], request.app[UTILISATION], accept)
    return web.Response(body=body, headers={"Content-Type": content_type})


async def get_status(request: web.Request) -> web.Response:
    """The pod in one JSON document."""
    return web.json_response(await in_thread(describe, request.app[AGENT], request.app[UTILISATION]))


def describe(agent: AgentView, utilisation: dict[int, float]) -> dict[str, Any]:
    """What `/status` says."""
    entries = with_members(agent, slots(agent.pod))
    opened = [entry for entry in entries if entry["state"] == "open"]
    blocks, free = (sum(entry[name] for entry in opened) for name in ("blocks", "blocksFree"))
    missing = agent.missing()
    return {
        "version": version("aftr"),
        "pid": os.getpid(),
        "pool": agent.pod.configuration.pool.metadata.name,
        "ready": not missing,
        "missing": missing,
        "startedSeconds": agent.started,
        "uptimeSeconds": round(time.time() - agent.started, 3),
        "config": {
            "hash": agent.config_hash,
            "generation": pod_at(agent.pod.memory, 0).generation,
            "lastError": agent.last_error,
        },
        "routing": agent.sessions,
        "portUtilisation": used_share(blocks, free),
        "workers": [one | {"utilisation": utilisation.get(one["worker"], 0.0)} for one in agent.worker_states()],
        "interfaces": agent.interface_states(),
        "store": agent.store_state(),
        "slots": entries,
    }


async def get_healthz(request: web.Request) -> web.Response:
    """Whether every worker lives and moves."""
    agent = request.app[AGENT]
    if not agent.alive():
        return web.Response(status=503, text="a worker thread has ended\n")
    stuck = await unmoved(agent)
    if stuck:
        names = ", ".join(map(str, stuck))
        return web.Response(status=503, text=f"worker {names} has not moved for {MOVE_S:g} seconds\n")
    return web.Response(text="alive\n")


async def unmoved(agent: AgentView) -> list[int]:
    """The workers whose loop counter stands still, after a fair wait."""
    before = {one["worker"]: one["loops"] for one in agent.worker_states()}
    deadline, stuck = time.monotonic() + MOVE_S, list(before)
    while stuck and time.monotonic() < deadline:
        await asyncio.sleep(LOOK_S)
        stuck = [one["worker"] for one in agent.worker_states() if one["loops"] == before[one["worker"]]]
    return stuck


async def get_readyz(request: web.Request) -> web.Response:
    """Whether traffic can pass."""
    agent = request.app[AGENT]
    missing = agent.missing()
    if missing:
        return web.Response(status=503, text="".join(f"{reason}\n" for reason in missing))
    store = agent.store_state()
    return web.Response(text="ready\n" + (f"but {store['trouble']}\n" if store and store["trouble"] else ""))


async def sample_utilisation(app: web.Application) -> None:
    """Keep each worker's busy share of the last seconds."""
    agent, before, then = app[AGENT], dict[int, float](), time.monotonic()
    while True:
        busy = {one["worker"]: one["busySeconds"] for one in agent.worker_states()}
        now = time.monotonic()
        for worker, seconds in before.items():
            app[UTILISATION][worker] = min(max((busy[worker] - seconds) / (now - then), 0.0), 1.0)
        before, then = busy, now
        await asyncio.sleep(SAMPLE_S)


def signed(handler: Handler) -> Handler:
    """Answers whoever has the operator's key: what it tells is of subscribers, or costs time."""

    async def answer(request: web.Request) -> web.StreamResponse:
        key = request.app[AGENT].question_key()
        if key is not None:
            await judge(request, key)
        return await handler(request)

    return answer


async def judge(request: web.Request, key: bytes) -> None:
    """Raises HTTPForbidden unless it was signed.  Of a stranger's question no body is read."""
    said = request.headers.get(DIGEST, "")
    asked = question(request.method, request.path, said)
    if not genuine(request.headers.get(SIGNATURE, ""), key, asked) or digest(await request.read()) != said:
        raise web.HTTPForbidden(text=NOT_SIGNED if key else NO_KEY)


# ---------------------------------------------------------------- where
def make_app(agent: AgentView, utilisation: dict[int, float], *, control: bool) -> web.Application:
    """The pages; those of `aftr show` only with `control`."""
    app = web.Application(middlewares=[say_why], client_max_size=LARGEST_BYTES)
    app[AGENT], app[UTILISATION] = agent, utilisation
    pages = {"/metrics": get_metrics, "/status": get_status, "/healthz": get_healthz, "/readyz": get_readyz}
    app.add_routes([web.get(path, handler) for path, handler in pages.items()])
    if control:
        app.add_routes(control_routes())
    else:
        app[ONE_AT_A_TIME] = asyncio.Lock()
        app.add_routes([web.post("/v1/check", signed(post_check)), web.get("/v1/softwires", signed(get_softwires))])
        app.add_routes(agent.member.peers.routes() if agent.member is not None else [])
    return app


def open_port(address: str) -> socket.socket:
    """A listening TCP socket; `[::]` takes IPv4 as well.  Raises StatusError."""
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "::"
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise StatusError(f"status address {address!r}: an address and a port are needed, such as [::]:9464")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, int(port)), family=family, dualstack_ipv6=host == "::")
    except OSError as error:
        raise StatusError(f"status address {address} cannot be used: {error.strerror or error}") from error


def open_socket(path: Path) -> socket.socket:
    """A listening Unix socket; one that a process left behind is replaced.  Raises StatusError."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_stale(path)
        listening.bind(str(path))
        path.chmod(SOCKET_MODE)
        listening.listen()
    except OSError as error:
        listening.close()
        raise StatusError(f"control socket {path} cannot be made: {error.strerror or error}") from error
    except StatusError:
        listening.close()
        raise
    return listening


def remove_stale(path: Path) -> None:
    """Make room for a socket, unless somebody still answers there."""
    if not path.exists():
        return
    if not stat.S_ISSOCK(path.stat().st_mode):
        raise StatusError(f"control socket {path} cannot be made: a file of this name exists and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        if probe.connect_ex(str(path)) == 0:
            raise StatusError(f"control socket {path} is in use: stop that process, or give another --socket")
    path.unlink()


@contextlib.asynccontextmanager
async def serving(app: web.Application, listening: socket.socket) -> AsyncIterator[None]:
    """Answer on a socket while the context lasts."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.SockSite(runner, listening).start()
        yield
    finally:
        await runner.cleanup()
        listening.close()


@contextlib.asynccontextmanager
async def serve_status(agent: AgentView, address: str | None, path: Path | None) -> AsyncIterator[None]:
    """Status port at `address` (None: none) and control socket at `path`, while the context lasts.  Raises StatusError."""
    utilisation: dict[int, float] = {}
    async with contextlib.AsyncExitStack() as stack:
        control = make_app(agent, utilisation, control=True)
        if address is not None:
            public = make_app(agent, utilisation, control=False)
            await stack.enter_async_context(serving(public, open_port(address)))
        if path is not None:
            listening = open_socket(path)
            stack.callback(remove_own, path, os.stat(path).st_ino)
            await stack.enter_async_context(serving(control, listening))
        sampling = asyncio.create_task(sample_utilisation(control))
        stack.callback(sampling.cancel)
        yield


def remove_own(path: Path, inode: int) -> None:
    """Take the socket away, unless another process has put its own there."""
    with contextlib.suppress(OSError):
        if path.stat().st_ino == inode:
            path.unlink()
