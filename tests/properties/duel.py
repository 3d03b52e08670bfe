"""The engine against the reference: the same frames to both, frames and counters compared after every step."""

from __future__ import annotations

from typing import Any

import packets
from packets import Side
from reference import Reference
from rig import SIDES, Output, Rig, config_text

NOT_COMPARED = {"handed-over"}  # which worker did it is nothing that the reference knows


class Duel(Rig):
    """A Rig whose every step is also put to the reference."""

    def __init__(
        self, spec: dict[str, Any], groups: list[dict[str, Any]] | None = None, *, workers: int = 1, seed: int = 0
    ):
        super().__init__(config_text(spec, groups), workers=workers, seed=seed)
        self.reference = Reference(self.text, self.engine.bindings)
        self.reference.advance(self.now)
        self.history: list[str] = []

    def step(self, frames: list[tuple[Side, bytes]]) -> list[list[Output]]:
        result = super().step(frames)
        self.reference.advance(self.now)
        differences = []
        for (side, frame), observed in zip(frames, result, strict=True):
            self.history.append(f"{self.now / 1e9:.3f} {side}: {packets.describe(frame)}")
            self.history += [f"    -> {where}: {packets.describe(sent)}" for where, sent in observed]
            found = self.reference.expect(frame, side, self.now, observed)
            differences += [f"{side}: {packets.describe(frame)}\n{difference}" for difference in found]
        differences += self.counter_differences()
        if differences:
            last = "\n".join(self.history[-12:])
            raise AssertionError(
                "\n".join([*differences, f"--- the last frames of {len(self.history)}:", last, self.text])
            )
        return result

    def counter_differences(self) -> list[str]:
        engine, reference = self.engine.counters(), self.reference.counters()
        found = []
        for part in (*SIDES, "drops", "events"):
            for name in sorted({*engine[part], *reference[part]} - NOT_COMPARED):
                pair = engine[part].get(name, 0), reference[part].get(name, 0)
                if pair[0] != pair[1]:
                    found.append(f"{part} {name}: engine {pair[0]}, reference {pair[1]}")
        return found

    def pass_time(self, milliseconds: int) -> None:
        """Time goes on, at least by so much: a step shorter than a second never has a timer end in it.

        Sweeps look at every entry within a second; a gap of a second makes them look before the next frame.
        """
        if milliseconds < 1000 and not self.reference.settled(self.now, self.now + milliseconds * 1_000_000):
            milliseconds += 1000
        self.wait(milliseconds / 1000)

    def close(self) -> None:
        names = {packets.TCP: "tcp", packets.UDP: "udp", packets.ICMP: "icmp"}
        expected = [(m[0], names[m[1]], *m[2:]) for m in self.reference.live()]
        keys = ("softwire", "protocol", "internalAddress", "internalPort", "externalAddress", "externalPort")
        found = [tuple(binding[key] for key in keys) for binding in self.engine.bindings()]
        assert sorted(found) == sorted(expected)
        super().close()
