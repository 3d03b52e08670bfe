"""A status port of an AFTR, with the pages that a test gives it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from aftr.ops.control import AGENT
from dslite_operator.names import STATUS_PORT


@asynccontextmanager
async def status_port(address: str, *routes: web.RouteDef, agent: Any = None) -> AsyncIterator[None]:
    """Serves these at an address of loopback; the AFTR's own pages ask `agent`."""
    app = web.Application()
    app[AGENT] = agent
    app.add_routes(routes)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, address, STATUS_PORT).start()
        yield
    finally:
        await runner.cleanup()
