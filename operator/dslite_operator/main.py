"""`dslite-operator run`: one process at work, by its Lease; it ends when it loses it, or when its watches fall silent."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Coroutine
from itertools import chain
from pathlib import Path
from typing import Any

import aiohttp
import click
import kopf
import structlog
from aiohttp import web
from kopf._core.engines.peering import Identity  # has no public name
from kubernetes import client, config

from dslite_contract.errors import DsliteError
from dslite_operator.apply import ApiError, Writer
from dslite_operator.controller import Controller
from dslite_operator.lease import Lease
from dslite_operator.names import MANAGER, Key, path
from dslite_operator.observe import MODELS, key_of, version_of
from dslite_operator.settings import Settings, load_settings
from dslite_operator.watch import SELECTOR, WATCHED, News, registry_of, settings_of

Object = dict[str, Any]
log = structlog.get_logger()

RELIST_S, SILENCE_S = 60.0, 300.0
SETTLE_S = 0.2  # news of one pool come in groups
LATE_S = 10.0  # longest that a watch may be behind a list
NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class SilentWatchError(DsliteError):
    """A list shows what no watch has told."""


class Operator:
    """The parts of one process."""

    def __init__(
        self, api: client.ApiClient, settings: Settings, namespaces: tuple[str, ...], session: aiohttp.ClientSession
    ):
        self.writer = Writer(api)
        self.controller = Controller(self.writer, settings, session)
        self.news = News(self.controller.cache, self._hear)
        self.working, self.compared, self.watching = False, 0.0, asyncio.Event()
        self._namespaces = namespaces

    def _hear(self, key: Key) -> None:
        """There is news of a pool."""
        self.controller.queue.add(key, SETTLE_S)
        self.controller.distributor.hear()

    async def run(self, lease: Lease) -> None:
        """At work until told to end; raises when another operator is, or when the API server tells us nothing any more."""
        self.working, self.compared = True, time.monotonic()
        await self._list_monitors()
        watching = kopf.operator(
            registry=registry_of(self.news), settings=settings_of(), standalone=True, ready_flag=self.watching,
            clusterwide=not self._namespaces, namespaces=self._namespaces,
            identity=Identity(lease.who),  # else kopf asks for the user's name, and there is none
        )  # fmt: skip
        distributing = self.controller.distributor.run()
        parts: list[Awaitable[None]] = [watching, self.controller.run(), distributing, lease.keep(), self._relist()]
        tasks = [asyncio.ensure_future(part) for part in parts]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _relist(self) -> None:
        """Now and then look at everything: what was deleted while a watch was broken, what a watch has not told."""
        while True:
            await asyncio.sleep(RELIST_S)
            try:
                await self._list_monitors()
                await asyncio.gather(*(self._relist_kind(kind) for kind in WATCHED))
            except ApiError as error:
                log.warning("not everything could be listed", reason=str(error))
                continue
            self.compared = time.monotonic()
            self._look_at_all()

    def _look_at_all(self) -> None:
        """At every pool, and at groups whose pool is not there."""
        for body in chain.from_iterable(map(self.controller.cache.every, MODELS)):
            if key := key_of(body):
                self.controller.queue.add(key)
        self.controller.distributor.hear()

    async def _list(self, kind: str) -> list[Object]:
        """All objects of a kind; those that are not there any more leave the cache."""
        cache = self.controller.cache
        known = {body["metadata"]["uid"]: body for body in cache.every(kind)}
        query = {} if kind in ("AftrPool", "B4Group") else {"labelSelector": SELECTOR}
        found = [body for one in self._namespaces or (None,) for body in await self.writer.list(kind, one, query)]
        for uid in known.keys() - {body["metadata"]["uid"] for body in found}:
            cache.drop(known[uid])
        return found

    async def _list_monitors(self) -> None:
        """ServiceMonitors, whose definition comes and goes: they are not watched, so a list is all that tells of them.

        No pool needs them to serve: while they cannot be listed, they stay as they are known.
        """
        controller = self.controller
        try:
            knows = await self.writer.knows("ServiceMonitor")
            found = await self._list("ServiceMonitor") if knows else []
        except ApiError as error:
            log.warning("ServiceMonitors stay as they are: they could not be listed", reason=str(error))
            return
        controller.monitors = knows
        for body in found:
            controller.cache.learn(body)
        if not knows:
            for body in controller.cache.every("ServiceMonitor"):
                controller.cache.drop(body)

    async def _relist_kind(self, kind: str) -> None:
        cache, found = self.controller.cache, await self._list(kind)
        await asyncio.sleep(LATE_S)
        heard = {body["metadata"]["uid"]: version_of(body) for body in cache.every(kind)}
        for body in found:
            uid = body["metadata"]["uid"]
            if heard.get(uid, 0) < version_of(body) and not cache.saw_the_end_of(body):
                raise SilentWatchError(
                    f"no watch has told of {kind} {body['metadata']['name']}: the operator starts again"
                )

    # ------------------------------------------------------------ probes
    async def healthz(self, _: web.Request) -> web.Response:
        """200 while watches are found to tell what lists show, and while another operator is at work."""
        age = time.monotonic() - self.compared
        if self.working and age > SILENCE_S:
            return web.Response(status=503, text=f"watches and lists were not compared for {age:.0f} s\n")
        return web.Response(text="alive\n")

    async def readyz(self, _: web.Request) -> web.Response:
        """200 when this operator is at work."""
        if not self.watching.is_set():
            return web.Response(status=503, text="not at work: another operator may have the Lease\n")
        return web.Response(text="at work\n")


async def serve_health(operator: Operator, port: int) -> web.AppRunner:
    """The port for probes."""
    app = web.Application()
    app.add_routes([web.get("/healthz", operator.healthz), web.get("/readyz", operator.readyz)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, None, port).start()
    return runner


def own_namespace() -> str:
    """Where this process runs."""
    return NAMESPACE_FILE.read_text().strip() if NAMESPACE_FILE.exists() else "default"


async def patiently(wait: Coroutine[None, None, None]) -> None:
    """Wait for something that SIGTERM ends too: as the first process of a container we would not hear of it otherwise."""
    task, loop = asyncio.ensure_future(wait), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        await task
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


async def work(settings: Settings, namespaces: tuple[str, ...], lease_namespace: str, who: str, port: int) -> None:
    """The whole life of the process."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=64)) as session:
        operator = Operator(client.ApiClient(), settings, namespaces, session)
        lease = Lease(operator.writer, lease_namespace, who)
        runner = await serve_health(operator, port)
        try:
            await patiently(lease.acquire())
            await operator.run(lease)
        finally:
            await runner.cleanup()
            try:
                await lease.release()
            except ApiError as error:
                log.warning("lease not given back", reason=str(error))


async def look(namespaces: tuple[str, ...], lease_namespace: str) -> str:
    """Whether an operator is at work here: who; raises DsliteError."""
    writer = Writer(client.ApiClient())
    for kind in ("AftrPool", "B4Group"):
        for namespace in namespaces or (None,):
            await writer.list(kind, namespace)
    lease = await writer.call("GET", path("Lease", lease_namespace, MANAGER))
    holder = lease["spec"].get("holderIdentity")
    if not holder:
        raise DsliteError(f"no operator is at work: the Lease {MANAGER} in namespace {lease_namespace} has no holder")
    return str(holder)


def set_up_logging() -> None:
    """Structured lines on stderr."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    processors: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso"),
        structlog.processors.format_exc_info, structlog.processors.JSONRenderer(),
    ]  # fmt: skip
    structlog.configure(
        processors=processors,
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )


def load_login() -> None:
    """The pod's own service account, else the person's kubeconfig."""
    try:
        config.load_incluster_config()  # type: ignore[no-untyped-call]
    except config.ConfigException:
        config.load_kube_config()  # type: ignore[no-untyped-call]


@click.group()
def main() -> None:
    """The operator of DS-Lite AFTRs."""


@main.command()
@click.option(
    "--settings",
    "settings_file",
    type=click.Path(exists=True, path_type=Path),
    required=True,
    help="Chart values, YAML.",
)
@click.option("--namespace", "namespaces", multiple=True, help="Watch only these; default: the whole cluster.")
@click.option("--lease-namespace", default=own_namespace, help="Where the Lease is.")
@click.option(
    "--identity",
    envvar="POD_NAME",
    default=lambda: f"{socket.gethostname()}-{os.getpid()}",
    help="Our name in the Lease.",
)
@click.option("--port", default=8080, show_default=True, help="Port of /healthz and /readyz.")
def run(settings_file: Path, namespaces: tuple[str, ...], lease_namespace: str, identity: str, port: int) -> None:
    """Bring pools to what their AftrPools and B4Groups ask for."""
    set_up_logging()
    load_login()
    try:
        asyncio.run(work(load_settings(settings_file), namespaces, lease_namespace, identity, port))
    except asyncio.CancelledError:
        log.info("the operator ends, as it was told to")
    except DsliteError as error:
        log.error("the operator ends", reason=str(error))
        sys.exit(1)


@main.command()
@click.option("--namespace", "namespaces", multiple=True, help="Those that are watched; default: the whole cluster.")
@click.option("--lease-namespace", default=own_namespace, help="Where the Lease is.")
def check(namespaces: tuple[str, ...], lease_namespace: str) -> None:
    """End with 0 when the definitions are there and an operator is at work (`helm test`)."""
    load_login()
    try:
        click.echo(f"{asyncio.run(look(namespaces, lease_namespace))} is at work")
    except DsliteError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
