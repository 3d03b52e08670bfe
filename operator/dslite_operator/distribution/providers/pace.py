"""Changes gathered: a server is changed at most once in an interval, and then to what was wanted last."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Wanted = TypeVar("Wanted")
Done = TypeVar("Done")


class Pace(Generic[Wanted, Done]):
    """Calls `carry_out` with the newest of what is wanted, and not while an interval runs: `begin` begins one."""

    def __init__(self, interval_s: float, carry_out: Callable[[Wanted], Awaitable[Done]]) -> None:
        self._interval_s, self._carry_out = interval_s, carry_out
        self._turn = asyncio.Lock()
        self._newest: tuple[int, Wanted] | None = None
        self._last: tuple[int, Done] | None = None
        self._free_at = 0.0

    def begin(self) -> None:
        """An interval begins now: something was changed, whatever came of it."""
        self._free_at = asyncio.get_running_loop().time() + self._interval_s

    async def free(self) -> None:
        """Until no interval is running."""
        await asyncio.sleep(self._free_at - asyncio.get_running_loop().time())

    async def __call__(self, wanted: Wanted) -> Done:
        """When it is done, or something newer in its place.  Raises what `carry_out` raises."""
        number = self._newest[0] + 1 if self._newest else 1
        self._newest = (number, wanted)
        async with self._turn:
            if self._last is not None and self._last[0] >= number:
                return self._last[1]  # who waited before us has carried out ours, or what came after it
            await self.free()
            number, newest = self._newest
            done = await self._carry_out(newest)
            self._last = (number, done)
            return done
