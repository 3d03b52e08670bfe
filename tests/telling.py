"""A teller at work, and what it tells of itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from dslite_operator.distribution.providers.provider import Assignment, Provider
from dslite_operator.distribution.teller import Teller


class Ear:
    """Waits for what a teller tells of itself; it does so with each look."""

    def __init__(self) -> None:
        self._heard = asyncio.Event()
        self._times = 0

    def __call__(self) -> None:
        self._times += 1
        self._heard.set()

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not true():
                self._heard.clear()
                await self._heard.wait()

    async def looks(self, number: int) -> None:
        """Until it has looked so often from now on."""
        end = self._times + number
        await self.until(lambda: self._times >= end)


@asynccontextmanager
async def at_work(provider: Provider[Any]) -> AsyncIterator[tuple[Teller, Ear]]:
    """One that has read what the server has."""
    ear = Ear()
    teller = Teller("metro", provider, ear)
    task = asyncio.create_task(teller.run())
    try:
        await ear.until(lambda: teller.kept is not None)
        yield teller, ear
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def wanted(*assignments: Assignment) -> dict[str, Assignment]:
    """By group."""
    return {one.group: one for one in assignments}
