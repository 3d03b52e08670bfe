"""A status port of an AFTR, with the pages that a test gives it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from dslite_operator.names import STATUS_PORT


@asynccontextmanager
async def status_port(address: str, *routes: web.RouteDef) -> AsyncIterator[None]:
    """Serves these at an address of loopback."""
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, address, STATUS_PORT).start()
        yield
    finally:
        await runner.cleanup()
