"""The arena: one anonymous mapping, touched lazily, on huge pages where asked for."""

from __future__ import annotations

import ctypes
import mmap

import numpy as np

from aftr.lowlevel.bits import ArenaArray, Memory
from dslite_contract.tables import HUGE_PAGE, round_up

_MADV_POPULATE_WRITE = 23  # of Linux; not in `mmap`
_LIBC = ctypes.CDLL(
    None
)  # its calls release the GIL, which `mmap.madvise` holds: zeroing a slot's memory takes tenths of a second
PIECE = 8 << 20  # bytes: other threads map memory in between


class Arena:
    """`memory`: uint8 array of `size` bytes, zero, page-aligned; `close` gives it back (no view may be used after)."""

    def __init__(self, size: int, *, huge_pages: bool) -> None:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0x4000)
        self._mapping = mmap.mmap(-1, round_up(size, HUGE_PAGE), flags=flags)
        self._mapping.madvise(mmap.MADV_HUGEPAGE if huge_pages else mmap.MADV_NOHUGEPAGE)
        self.memory: Memory = np.frombuffer(self._mapping, np.uint8).view(ArenaArray)

    def populate(self, start: int, size: int) -> None:
        """Have the pages of `size` bytes from `start` on (both multiples of 4096) now, not one by one when packets touch them."""
        for at in range(start, start + size, PIECE):
            place, length = self.memory.ctypes.data + at, min(PIECE, start + size - at)
            if _LIBC.madvise(ctypes.c_void_p(place), ctypes.c_size_t(length), _MADV_POPULATE_WRITE):
                return  # before Linux 5.14: they come when they are touched

    def clear(self, start: int, size: int) -> None:
        """Make these pages zero, and give them back."""
        self._mapping.madvise(mmap.MADV_DONTNEED, start, size)

    def close(self) -> None:
        """Return all pages to the system."""
        self._mapping.madvise(mmap.MADV_DONTNEED)
