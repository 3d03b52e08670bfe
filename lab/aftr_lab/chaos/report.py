"""What faults cost, as B4s and a server saw it."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aftr_lab.chaos.load import Load

BEFORE_S, AFTER_S = 1.0, 2.0  # around a move, for the packets that it cost
BURST = 256  # packets that a worker may have in hand when its lease ends
PRESSURE = Path("/proc/pressure/cpu")


@dataclass
class Strike:
    """One fault and what a B4 saw of it."""

    victim: str
    how: str
    slots: list[int]
    flows: int = 0  # whose bindings are asked for
    killed: float | None = None  # when its AFTR was, if that came after another fault (CLOCK_MONOTONIC, seconds)
    outage_ms: float = 0.0  # of the slots that it struck
    outage_before_ms: float = 0.0  # of any slot, from the other fault until the AFTR was killed
    lost: int = 0  # bindings
    survivors: list[str] = field(default_factory=list)  # children that outlived a killed parent
    late_packets: int | None = None  # that a resumed pod sent of slots which were another's by then
    waiting_packets: int = 0  # that waited for it meanwhile


@dataclass(frozen=True)
class PlannedMove:
    """A slot that was handed over under load."""

    what: str
    outage_ms: float
    lost: int  # packets of established flows
    stall_ms: float = 0.0  # the longest time in which nothing was sent: no outage is measured more finely


@dataclass
class Report:
    """All faults of a run."""

    strikes: list[Strike] = field(default_factory=list)
    moves: list[PlannedMove] = field(default_factory=list)
    void: int = 0
    checked: int = 0
    spurious: int = 0
    seconds: float = 0.0
    waited_s: float = 0.0

    def summary(self, load: Load) -> dict[str, Any]:
        """For JSON."""
        crowd, transfers = load.crowd, load.transfers
        return {
            "kills": len(self.strikes), "void": self.void, "flows": crowd.flow, "bindingsChecked": self.checked,
            "lostBindings": sum(strike.lost for strike in self.strikes) + len(crowd.outcome.moved),
            "duplicateEndpoints": len(crowd.outcome.doubled), "misdelivered": len(crowd.outcome.misdelivered),
            "outageMilliseconds": outages([strike.outage_ms for strike in self.strikes]),
            "outageBeforeKillMilliseconds": outages([strike.outage_before_ms for strike in self.strikes]),
            "moves": moved(self.moves),
            "transfers": {"completed": transfers.completed, "broken": len(transfers.broken)},
            "survivingChildren": sum(len(strike.survivors) for strike in self.strikes),
            "spuriousTakeovers": self.spurious,
            "cpuWaiting": round(self.waited_s / self.seconds, 3) if self.seconds else 0.0,
            **resumed([strike for strike in self.strikes if strike.late_packets is not None]),
            "examples": [
                *crowd.outcome.moved[:5], *crowd.outcome.doubled[:5], *crowd.outcome.misdelivered[:5], *transfers.broken[:5],
                *(name for strike in self.strikes for name in strike.survivors),
            ],
        }  # fmt: skip


def outages(milliseconds: list[float]) -> dict[str, float]:
    """Median, longest, and how many over one second."""
    return {
        "median": round(statistics.median(milliseconds), 1),
        "longest": round(max(milliseconds), 1),
        "overOneSecond": sum(outage > 1000 for outage in milliseconds),
    }


def moved(moves: list[PlannedMove]) -> dict[str, Any]:
    """Outage of planned moves, and the packets of established flows that all of them cost."""
    if not moves:
        return {"planned": 0}
    found = sorted(moves, key=lambda move: move.outage_ms)
    return {
        "planned": len(moves),
        "outageMedian": round(statistics.median(move.outage_ms for move in moves), 1),
        "outageP99": round(found[max(0, -(-len(found) * 99 // 100) - 1)].outage_ms, 1),
        "packetsLost": sum(move.lost for move in moves),
        "senderStallMedian": round(statistics.median(move.stall_ms for move in moves), 1),
        "slowest": [f"{move.what}: {move.outage_ms:.0f} ms, {move.lost} packets" for move in found[:-4:-1]],
    }


def resumed(strikes: list[Strike]) -> dict[str, int]:
    """What resumed pods sent of slots that they had lost: the most of any, of so many that waited for it."""
    if not strikes:
        return {}
    worst = max(strikes, key=lambda strike: strike.late_packets or 0)
    return {"lateBurst": worst.late_packets or 0, "waitedForResumed": max(one.waiting_packets for one in strikes)}


def failures(summary: dict[str, Any], workers: int) -> list[str]:
    """What in a report must not be."""
    none_of = ("lostBindings", "duplicateEndpoints", "misdelivered", "survivingChildren")
    found = [name for name in none_of if summary[name]]
    found += ["transfers"] * bool(summary["transfers"]["broken"])
    return found + ["lateBurst"] * (summary.get("lateBurst", 0) > BURST * workers)


def cpu_waiting() -> float:
    """Seconds since boot in which a task of this machine waited for a CPU; 0 where the kernel does not say (CONFIG_PSI)."""
    try:
        some = PRESSURE.read_text().splitlines()[0]
    except OSError:
        return 0.0
    return int(some.rpartition("=")[2]) / 1e6
