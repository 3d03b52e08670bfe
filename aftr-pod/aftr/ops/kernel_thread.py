"""A thread with an event loop of its own, for all that asks the kernel under its network lock.

Whoever makes or removes a namespace on this machine, as each pod does that comes or goes, holds that lock for up to hundreds of
milliseconds, and a netlink request waits for it inside `send`, whatever the socket's mode.  A lease must not wait for it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class KernelThread:
    """Runs from the moment it is made; `close` ends it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="netlink", daemon=True)
        self._thread.start()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` returns or raises, over there; cancelling the caller cancels it."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def soon(self, call: Callable[..., object], *arguments: Any) -> None:
        """Call it over there, and do not wait."""
        self._loop.call_soon_threadsafe(call, *arguments)

    def close(self) -> None:
        """End the thread; what still runs there is given up."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def back_here(call: Callable[..., object]) -> Callable[..., None]:
    """The same call for another thread to make: it is carried out on the event loop that runs here now, in order."""
    loop = asyncio.get_running_loop()

    def soon(*arguments: Any) -> None:
        loop.call_soon_threadsafe(call, *arguments)

    return soon
