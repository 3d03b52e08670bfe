"""Arithmetic of the store's measurements.  Pure."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

RECORD_BYTES = 32  # dslite_contract.journal.RECORD
JOURNAL_MIN_BYTES = 8 << 20  # aftr.ops.serving.member.CHECKPOINT_BYTES
OVERHEAD = 1.3  # O of docs/scaling.md: what Redis adds to entries of some records, and to chunks
AIMS = {"newMappings": 200_000, "firstPacketMs": 3.0, "warmMs": 100.0, "coldMs": 2000.0, "established": 0.95}
STEPS = ("ASKING", "CLAIMING", "CATCHING_UP", "OPENING", "SERVING")


class Moment(NamedTuple):
    """A slot's state machine came to a phase."""

    nanoseconds: int
    slot: int
    phase: str


def delays(nanoseconds: Iterable[int]) -> dict[str, float]:
    """Milliseconds: median, 99th percentile (the smallest value that 99 % do not exceed) and most of some delays."""
    values = np.sort(np.fromiter(nanoseconds, np.int64)) / 1e6
    if not len(values):
        raise ValueError("no first packet has left")
    p99 = values[math.ceil(0.99 * len(values)) - 1]
    return {"packets": len(values), "median": float(np.median(values)), "p99": float(p99), "most": float(values[-1])}


def steps(moments: Sequence[Moment]) -> dict[str, float]:
    """Milliseconds of a takeover: `total` from the first slot's ASKING to the last one's SERVING, and each step's until its last slot.

    ValueError unless each slot that asks also serves.
    """
    last = {phase: max((one.nanoseconds for one in moments if one.phase == phase), default=0) for phase in STEPS}
    asked = {one.slot for one in moments if one.phase == "ASKING"}
    served = {one.slot for one in moments if one.phase == "SERVING"}
    if not asked or asked - served:
        raise ValueError(f"slots {sorted(asked)} asked, slots {sorted(served)} serve")
    first = min(one.nanoseconds for one in moments if one.phase == "ASKING")
    found = {name: (last[until] - max(last[name], first)) / 1e6 for name, until in itertools.pairwise(STEPS)}
    return {**{name.lower(): value for name, value in found.items()}, "total": (last["SERVING"] - first) / 1e6}


def spent(moments: Sequence[Moment], begin: str, end: str) -> float:
    """Milliseconds from the first slot's phase `begin` to the last one's phase `end` after it."""
    first = min(one.nanoseconds for one in moments if one.phase == begin)
    return (max(one.nanoseconds for one in moments if one.phase == end and one.nanoseconds > first) - first) / 1e6


def per_second(first: tuple[int, int], last: tuple[int, int]) -> float:
    """Packets per second of work, from a worker's (packets, busy nanoseconds) at two moments."""
    packets, busy = last[0] - first[0], last[1] - first[1]
    if busy <= 0:
        raise ValueError("the worker was not busy")
    return packets / busy * 1e9


def ratio(without: Sequence[float], with_: Sequence[float]) -> dict[str, float]:
    """How much of the one rate the other is, round by round: median and quartiles."""
    found = [b / a for a, b in zip(without, with_, strict=True)]
    low, _, high = statistics.quantiles(found, n=4)
    return {"median": statistics.median(found), "quartile1": low, "quartile3": high}


def live_bytes(mappings: int, blocks: int) -> int:
    """Records of a slot's live state: what a checkpoint holds."""
    return RECORD_BYTES * (mappings + blocks)


def checkpoint_due(live: int) -> int:
    """Journal bytes after which a slot writes a checkpoint."""
    return max(JOURNAL_MIN_BYTES, live)


def redis_bytes(mappings: int, blocks: int, overhead: float) -> float:
    """Most bytes that Redis needs for a slot (docs/scaling.md): two checkpoints while one is written, and two journals' lengths."""
    live = live_bytes(mappings, blocks)
    return overhead * (2 * live + 2 * checkpoint_due(live))


def aims(result: Mapping[str, Any]) -> list[tuple[str, float, str, bool]]:
    """What issue 4 wants: (what, value, wanted, reached), of what was measured."""
    found = []
    memory = result.get("durabilities", {}).get("memory")
    if memory:
        found.append(_least("new mappings/s, memory", memory["perSecond"], AIMS["newMappings"]))
        for rate, one in memory["firstPackets"].items():
            found.append(_most(f"first packet p99 at {rate}/s, ms", one["p99"], AIMS["firstPacketMs"]))
    if "established" in result:
        found.append(
            _least("established flows while committing", result["established"]["ratio"]["median"], AIMS["established"])
        )
    for one in result.get("takeovers", ()):
        what = f"{one['mappings']:,} mappings in {one['slots']} slot(s), ms"
        found.append(_most(f"warm takeover of {what}", one["warm"]["total"], AIMS["warmMs"]))
        found.append(_most(f"cold takeover of {what}", one["coldMs"], AIMS["coldMs"]))
    return found


def _least(what: str, value: float, wanted: float) -> tuple[str, float, str, bool]:
    return what, value, f">= {wanted:,g}", value >= wanted


def _most(what: str, value: float, wanted: float) -> tuple[str, float, str, bool]:
    return what, value, f"<= {wanted:,g}", value <= wanted
