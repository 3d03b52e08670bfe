"""A packet of one flow per slot each few milliseconds, and which of them were answered: what a B4 sees of an outage.  Pure.

Times are seconds of CLOCK_MONOTONIC.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import pairwise

KEPT_S = 120.0


class Probes:
    """All probes of the last two minutes."""

    def __init__(self, slots: int) -> None:
        self._sent: list[deque[tuple[float, int]]] = [deque() for _ in range(slots)]  # when, which packet
        self._open: dict[int, tuple[int, float]] = {}  # packet: slot, when it was sent
        self.newest = [0.0] * slots  # by slot: when the newest one that was answered was sent

    def sent(self, slot: int, packet: int, now: float) -> None:
        """A probe left."""
        sent = self._sent[slot]
        sent.append((now, packet))
        self._open[packet] = slot, now
        while sent[0][0] < now - KEPT_S:
            self._open.pop(sent.popleft()[1], None)

    def answered(self, packet: int) -> None:
        """An answer came; one to another packet than a probe says nothing here."""
        if packet in self._open:
            slot, when = self._open.pop(packet)
            self.newest[slot] = max(self.newest[slot], when)

    def silent_since(self, moment: float) -> list[int]:
        """Slots that have answered no probe that was sent after that."""
        return [slot for slot, newest in enumerate(self.newest) if newest <= moment]

    def _between(self, slot: int, since: float, until: float) -> Iterator[tuple[float, bool]]:
        """When each probe was sent, and whether it was answered."""
        return ((when, packet not in self._open) for when, packet in self._sent[slot] if since <= when <= until)

    def outage(self, slot: int, since: float, until: float) -> float:
        """The longest time without an answered probe, of those sent between `since` and `until`, if one was lost in it; seconds.

        Where none was lost, the sender itself stood still: see `stall`.
        """
        last, lost, longest = since, False, 0.0
        for when, answered in self._between(slot, since, until):
            if answered:
                longest = max(longest, when - last if lost else 0.0)
                last, lost = when, False
            else:
                lost = True
        return max(longest, until - last if lost else 0.0)

    def stall(self, slot: int, since: float, until: float) -> float:
        """The longest time without a probe, between `since` and `until`; seconds: no outage is measured more finely."""
        times = [when for when, _ in self._between(slot, since, until)]
        return max((after - before for before, after in pairwise(times)), default=until - since)

    def lost(self, slot: int, since: float, until: float) -> int:
        """Probes that were sent in that time, and not answered."""
        return sum(not answered for _, answered in self._between(slot, since, until))
