"""Waiting for fragments: IPv6 packets are put together, IPv4 fragments wait for their first one (D04, N09)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from packets import CE, ECT0, ECT1, NOT_ECT

Key = tuple[object, ...]


@dataclass(eq=False)
class Context:
    """Fragments of one packet, from the arrival of the first of them to the end of its time."""

    owner: object  # subscriber
    side: str
    start: int
    pieces: dict[int, bytes] = field(default_factory=dict)  # by offset
    end: int | None = None  # of the last fragment
    held: list[Any] = field(default_factory=list)  # IPv6: one entry a fragment; IPv4: those that wait for the first
    ruined: str | None = None  # the reason for which the whole packet is dropped
    ecn: set[int] = field(default_factory=set)
    first: Any = None  # what the first fragment tells the others

    @property
    def complete(self) -> bool:
        """All bytes from 0 to the end were seen."""
        reached = 0
        for offset in sorted(self.pieces):
            if offset > reached:
                return False
            reached = max(reached, offset + len(self.pieces[offset]))
        return self.end is not None and reached >= self.end

    @property
    def held_bytes(self) -> int:
        return sum(len(self.pieces[offset]) for offset in self.pieces) if self.held else 0

    def overlaps(self, offset: int, size: int) -> bool:
        return any(offset < other + len(piece) and other < offset + size for other, piece in self.pieces.items())

    def data(self) -> bytes:
        return b"".join(self.pieces[offset] for offset in sorted(self.pieces))

    def combined_ecn(self) -> int | None:
        """RFC 3168 5.3: CE of any is kept, unless another is not ECN capable (None: drop)."""
        if CE in self.ecn:
            return None if NOT_ECT in self.ecn else CE
        if NOT_ECT in self.ecn:
            return NOT_ECT
        return ECT1 if ECT1 in self.ecn and ECT0 not in self.ecn else ECT0


class Contexts:
    """All of one slot, with the limits of the slot and, at a sixteenth, of each subscriber."""

    def __init__(self, max_contexts: int, max_bytes: int, timeout_ms: int) -> None:
        self.max_contexts, self.max_bytes, self.timeout_ms = max_contexts, max_bytes, timeout_ms
        self.all: dict[Key, Context] = {}

    def refusal(self, owner: object, key: Key, size: int) -> str | None:
        """Why a fragment of `size` bytes may not wait, if so."""
        own = [context for context in self.all.values() if context.owner is owner]
        new = 0 if key in self.all else 1
        if len(own) + new > self.max_contexts // 16 or sum(c.held_bytes for c in own) + size > self.max_bytes // 16:
            return "drop-reassembly-subscriber-limit"
        held = sum(context.held_bytes for context in self.all.values())
        if len(self.all) + new > self.max_contexts or held + size > self.max_bytes:
            return "drop-reassembly-full"
        return None

    def expired(self, now: int) -> list[Context]:
        over = [key for key, context in self.all.items() if now - context.start >= self.timeout_ms]
        return [self.all.pop(key) for key in over]
