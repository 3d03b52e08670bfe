"""Changes gathered: a server is changed at most once in an interval, and then to what was wanted last."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Wanted = TypeVar("Wanted")
Done = TypeVar("Done")


class Pace(Generic[Wanted, Done]):
    """Calls `carry_out` with the newest of what is wanted; `paused(done)` says whether an interval begins with it."""

    def __init__(
        self, interval_s: float, carry_out: Callable[[Wanted], Awaitable[Done]], paused: Callable[[Done], bool]
    ) -> None:
        self._interval_s, self._carry_out, self._paused = interval_s, carry_out, paused
        self._turn = asyncio.Lock()
        self._newest: Wanted | None = None
        self._last: tuple[Wanted, Done] | None = None
        self._free_at = 0.0

    async def __call__(self, wanted: Wanted) -> Done:
        """When it is done, or something newer in its place.  Raises what `carry_out` raises."""
        self._newest = wanted
        async with self._turn:
            if self._last is not None and self._last[0] is self._newest is not wanted:
                return self._last[1]  # somebody who waited with us has carried out what came after ours
            await self._until_free()
            newest = self._newest
            done = await self._carry_out(newest)
            self._last = (newest, done)
            if self._paused(done):
                self._free_at = asyncio.get_running_loop().time() + self._interval_s
            return done

    async def _until_free(self) -> None:
        await asyncio.sleep(max(0.0, self._free_at - asyncio.get_running_loop().time()))
