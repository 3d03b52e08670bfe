"""Whether a pod from which slots were taken was alive after all: its heartbeat goes on, and it has not started anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Pulse(NamedTuple):
    """A member's heartbeat: when the process started, as it says itself, and its counter."""

    started: str
    counter: int


@dataclass
class Takeovers:
    """By former owner: its last heartbeat when slots were taken from it, and how many."""

    taken: dict[str, tuple[Pulse, int]] = field(default_factory=dict)

    def note(self, owner: str, pulse: Pulse) -> None:
        """A slot was taken from `owner`, whose last heartbeat was this."""
        before, slots = self.taken.get(owner, (pulse, 0))
        self.taken[owner] = (pulse, slots + 1) if before.started == pulse.started else (pulse, 1)

    def settle(self, pulses: Mapping[str, Pulse]) -> dict[str, int]:
        """How many slots were taken from each pod that these heartbeats show to be alive; each is told once."""
        moved = {owner: pulses[owner] for owner, (pulse, _) in self.taken.items() if pulses.get(owner, pulse) != pulse}
        ended = {owner: self.taken.pop(owner) for owner in moved}
        return {owner: slots for owner, (pulse, slots) in ended.items() if moved[owner].started == pulse.started}
