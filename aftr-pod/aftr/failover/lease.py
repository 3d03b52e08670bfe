"""How long an owner may serve on its own clock.

A renewal reaches the store after it was sent, and an observer sees it later still; so an owner that counts from the sending,
and for less than `deadAfter`, has stopped before anyone can hold it dead, as long as clocks differ by less than 30 %.
"""

from __future__ import annotations

LEASE_TENTHS = 7  # of deadAfter


def lease_ms(dead_after_ms: int) -> int:
    """How long one renewal lasts."""
    return dead_after_ms * LEASE_TENTHS // 10


def renewed(until_ms: int, sent_ms: int, dead_after_ms: int) -> int:
    """The end of a lease after a renewal sent at `sent_ms` was acknowledged; late acknowledgements shorten nothing."""
    return max(until_ms, sent_ms + lease_ms(dead_after_ms))
