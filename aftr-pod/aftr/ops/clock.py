"""The engine's clock."""

from __future__ import annotations

import time


def boottime_ms() -> int:
    """CLOCK_BOOTTIME in milliseconds: the same for all processes of a machine, and it runs while the machine sleeps."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
