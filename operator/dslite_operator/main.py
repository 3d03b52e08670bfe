"""`dslite-operator run`: one process at work, by its Lease; it ends when it loses it, or when its watches fall silent."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Awaitable
from pathlib import Path

import aiohttp
import click
import kopf
import structlog
from aiohttp import web
from kubernetes import client, config

from dslite_contract.errors import DsliteError
from dslite_operator.apply import ApiError, Writer
from dslite_operator.controller import Controller
from dslite_operator.lease import Lease
from dslite_operator.observe import version_of
from dslite_operator.settings import Settings, load_settings
from dslite_operator.watch import SELECTOR, SILENCE_S, WATCHED, News, registry_of, settings_of

log = structlog.get_logger()

RELIST_S = 300.0
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
        self.news = News(self.controller.cache, self.controller.queue.add)
        self._namespaces = namespaces

    async def run(self, lease: Lease) -> None:
        """At work until told to end; raises when another operator is, or when the API server tells us nothing any more."""
        self.controller.monitors = await self.writer.knows("ServiceMonitor")
        watching = kopf.operator(
            registry=registry_of(self.news), settings=settings_of(), standalone=True,
            clusterwide=not self._namespaces, namespaces=self._namespaces,
        )  # fmt: skip
        parts: list[Awaitable[None]] = [watching, self.controller.run(), lease.keep(), self._relist()]
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
            self.controller.monitors = await self.writer.knows("ServiceMonitor")
            for kind in WATCHED:
                await self._relist_kind(kind)
            for key in self.controller.cache.pools():
                self.controller.queue.add(key)

    async def _relist_kind(self, kind: str) -> None:
        cache = self.controller.cache
        known = {body["metadata"]["uid"]: body for body in cache.every(kind)}
        selector = "" if kind in ("AftrPool", "B4Group") else SELECTOR
        found = [body for one in self._namespaces or (None,) for body in await self.writer.list(kind, one, selector)]
        for uid in known.keys() - {body["metadata"]["uid"] for body in found}:
            cache.drop(known[uid])
        await asyncio.sleep(LATE_S)
        heard = {body["metadata"]["uid"]: version_of(body) for body in cache.every(kind)}
        for body in found:
            if heard.get(body["metadata"]["uid"], 0) < version_of(body):
                raise SilentWatchError(
                    f"no watch has told of {kind} {body['metadata']['name']}: the operator starts again"
                )

    # ------------------------------------------------------------ probes
    async def healthz(self, _: web.Request) -> web.Response:
        """200 while news come."""
        if self.news.age > SILENCE_S:
            return web.Response(status=503, text=f"no news from the API server for {self.news.age:.0f} s\n")
        return web.Response(text="alive\n")


async def serve_health(operator: Operator, port: int) -> web.AppRunner:
    """The port for probes."""
    app = web.Application()
    app.add_routes([web.get("/healthz", operator.healthz)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, None, port).start()
    return runner


def own_namespace() -> str:
    """Where this process runs."""
    return NAMESPACE_FILE.read_text().strip() if NAMESPACE_FILE.exists() else "default"


async def work(settings: Settings, namespaces: tuple[str, ...], lease_namespace: str, port: int) -> None:
    """The whole life of the process."""
    who = f"{os.environ.get('HOSTNAME') or socket.gethostname()}-{os.getpid()}"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=64)) as session:
        operator = Operator(client.ApiClient(), settings, namespaces, session)
        lease = Lease(operator.writer, lease_namespace, who)
        acquiring = asyncio.ensure_future(lease.acquire())
        runner = None
        try:
            await acquiring
            runner = await serve_health(operator, port)
            await operator.run(lease)
        finally:
            if runner is not None:
                await runner.cleanup()
            try:
                await lease.release()
            except ApiError as error:
                log.warning("lease not given back", reason=str(error))


def set_up_logging() -> None:
    """Structured lines on stderr."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    processors: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso"),
        structlog.processors.format_exc_info, structlog.processors.JSONRenderer(),
    ]  # fmt: skip
    structlog.configure(
        processors=processors,
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )


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
@click.option("--port", default=8080, show_default=True, help="Port of /healthz.")
def run(settings_file: Path, namespaces: tuple[str, ...], lease_namespace: str, port: int) -> None:
    """Bring pools to what their AftrPools and B4Groups ask for."""
    set_up_logging()
    try:
        config.load_incluster_config()  # type: ignore[no-untyped-call]
    except config.ConfigException:
        config.load_kube_config()  # type: ignore[no-untyped-call]
    try:
        asyncio.run(work(load_settings(settings_file), namespaces, lease_namespace, port))
    except DsliteError as error:
        log.error("the operator ends", reason=str(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
