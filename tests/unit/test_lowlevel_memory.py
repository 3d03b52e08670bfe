"""The arena: its memory can be had beforehand, while other threads go on."""

from __future__ import annotations

import time
from threading import Event, Thread

from aftr.lowlevel.memory import Arena

SIZE = 256 << 20


def resident() -> int:
    """Bytes of this process that are in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def test_other_threads_go_on_while_memory_is_populated() -> None:
    arena, begun, done = Arena(SIZE, huge_pages=False), Event(), Event()

    def populate() -> None:
        begun.set()
        arena.populate(0, SIZE)
        done.set()

    before = resident()
    Thread(target=populate).start()
    begun.wait()
    first = last = time.monotonic()
    longest = 0.0
    while not done.is_set():
        now = time.monotonic()
        longest, last = max(longest, now - last), now
    assert longest < (last - first) / 2
    assert resident() - before > SIZE / 2
    arena.close()
