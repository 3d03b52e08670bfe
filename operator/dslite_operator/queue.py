"""Pools that wait to be looked at: each once, not before its time, and never twice at a time."""

from __future__ import annotations

import asyncio
import time

from dslite_operator.names import Key


class Queue:
    """`add` from anywhere on the event loop; `take` gives a pool to one worker, `done` takes it back."""

    def __init__(self) -> None:
        self._due: dict[Key, float] = {}
        self._busy: set[Key] = set()
        self._more = asyncio.Event()

    def add(self, key: Key, after: float = 0.0) -> None:
        """Look at a pool in `after` seconds; the earliest wish counts."""
        due = time.monotonic() + after
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            self._more.set()

    async def take(self) -> Key:
        """The pool that waits longest, when its time has come."""
        while True:
            free = [(due, key) for key, due in self._due.items() if key not in self._busy]
            due, key = min(free, default=(float("inf"), None))
            now = time.monotonic()
            if key is not None and due <= now:
                del self._due[key]
                self._busy.add(key)
                return key
            self._more.clear()
            try:
                await asyncio.wait_for(self._more.wait(), None if key is None else due - now)
            except TimeoutError:
                continue

    def done(self, key: Key) -> None:
        """A worker has finished with a pool."""
        self._busy.discard(key)
        self._more.set()

    @property
    def idle(self) -> bool:
        """Whether nobody is at work and nothing is due."""
        return not self._busy and not any(due <= time.monotonic() for due in self._due.values())
