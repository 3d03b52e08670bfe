"""How long a change that a server will not have waits before it is tried again: each time twice as long.  Pure."""

from __future__ import annotations


class Patience:
    """`first_s` at first and `longest_s` at most; times are seconds of one clock."""

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_s, self._longest_s = first_s, longest_s
        self._waits_s = self._ends_at = 0.0

    def lengthen(self, now: float) -> None:
        """It has failed once more."""
        self._waits_s = min(max(2 * self._waits_s, self._first_s), self._longest_s)
        self._ends_at = now + self._waits_s

    def end(self) -> None:
        """Nothing waits any more: it has not failed, or there is something new to be tried."""
        self._waits_s = self._ends_at = 0.0

    def left(self, now: float) -> float:
        """Seconds until the next try; 0 when it may be made."""
        return max(0.0, self._ends_at - now)
