"""The arena: one anonymous mapping, touched lazily, on huge pages where asked for."""

from __future__ import annotations

import mmap

import numpy as np

from aftr.lowlevel.bits import ArenaArray, Memory
from dslite_contract.tables import HUGE_PAGE, round_up

_MADV_POPULATE_WRITE = 23  # of Linux; not in `mmap`


class Arena:
    """`memory`: uint8 array of `size` bytes, zero, page-aligned; `close` gives it back (no view may be used after)."""

    def __init__(self, size: int, *, huge_pages: bool) -> None:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0x4000)
        self._mapping = mmap.mmap(-1, round_up(size, HUGE_PAGE), flags=flags)
        self._mapping.madvise(mmap.MADV_HUGEPAGE if huge_pages else mmap.MADV_NOHUGEPAGE)
        self.memory: Memory = np.frombuffer(self._mapping, np.uint8).view(ArenaArray)

    def populate(self, start: int, size: int) -> None:
        """Have the pages of `size` bytes from `start` on (both multiples of 4096) now, not one by one when packets touch them."""
        try:
            self._mapping.madvise(_MADV_POPULATE_WRITE, start, size)
        except OSError:  # before Linux 5.14: they come when they are touched
            return

    def clear(self, start: int, size: int) -> None:
        """Make these pages zero, and give them back."""
        self._mapping.madvise(mmap.MADV_DONTNEED, start, size)

    def close(self) -> None:
        """Return all pages to the system."""
        self._mapping.madvise(mmap.MADV_DONTNEED)
