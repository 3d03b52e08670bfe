"""Counters of one worker: traffic and drops per side, events.  The books (docs/counters.md):

per side        rx = forwarded + merged + consumed + dropped + held
over both sides tx = forwarded + split + originated
"""

from __future__ import annotations

from typing import Any

import numpy as np

from aftr.lowlevel.bits import Memory, load64, store64
from aftr.lowlevel.kernel import inline_kernel, kernel
from aftr.state.layout import worker_at
from dslite_contract.counters import DROP_NAMES, EVENT_NAMES, SIDES, TRAFFIC, TRAFFIC_NUMBER

TRAFFIC_WORDS, DROP_WORDS, EVENT_WORDS = 16, 64, 64  # capacity of each part, in 8-byte words
COUNTER_WORDS = 2 * TRAFFIC_WORDS + 2 * DROP_WORDS + EVENT_WORDS
_DROPS, _EVENTS = 2 * TRAFFIC_WORDS, 2 * TRAFFIC_WORDS + 2 * DROP_WORDS
RX = TRAFFIC_NUMBER["rx"]
FORWARDED = TRAFFIC_NUMBER["forwarded"]
MERGED = TRAFFIC_NUMBER["merged"]
CONSUMED = TRAFFIC_NUMBER["consumed"]
DROPPED = TRAFFIC_NUMBER["dropped"]
HELD = TRAFFIC_NUMBER["held"]
TX = TRAFFIC_NUMBER["tx"]
SPLIT = TRAFFIC_NUMBER["split"]
ORIGINATED = TRAFFIC_NUMBER["originated"]


@inline_kernel
def count(memory: Memory, worker: int, side: int, what: int, amount: int) -> None:
    """Add to a traffic counter of a side."""
    at = worker_at(memory, worker).counters + 8 * (TRAFFIC_WORDS * side + what)
    store64(memory, at, load64(memory, at) + amount)


@kernel
def count_drops(memory: Memory, worker: int, side: int, reason: int, amount: int) -> None:
    """Count `amount` dropped frames of `side` under their reason."""
    count(memory, worker, side, DROPPED, amount)
    at = worker_at(memory, worker).counters + 8 * (_DROPS + DROP_WORDS * side + reason)
    store64(memory, at, load64(memory, at) + amount)


@inline_kernel
def count_event(memory: Memory, worker: int, event: int, amount: int) -> None:
    """Count something that is not part of the books."""
    at = worker_at(memory, worker).counters + 8 * (_EVENTS + event)
    store64(memory, at, load64(memory, at) + amount)


def add_event(memory: Memory, control: int, event: int, amount: int) -> None:
    """Count what the control thread did, in its own worker record."""
    at = worker_at(memory, control).counters + 8 * (_EVENTS + event)
    memory[at : at + 8].view(np.int64)[0] += amount


def read_events(memory: Memory, control: int, events: tuple[int, ...]) -> dict[str, int]:
    """What the control thread counted of these."""
    at = worker_at(memory, control).counters + 8 * _EVENTS
    words = memory[at : at + 8 * EVENT_WORDS].view(np.int64)
    return {EVENT_NAMES[event]: int(words[event]) for event in events}


def read_counters(memory: Memory, workers: list[int]) -> dict[str, Any]:
    """Sum over workers, in the JSON of docs/counters.md: {"access", "internet", "drops", "events"}."""
    total = np.zeros(COUNTER_WORDS, np.int64)
    for worker in workers:
        at = worker_at(memory, worker).counters
        total += memory[at : at + 8 * COUNTER_WORDS].view(np.int64)
    words = [int(word) for word in total]
    result: dict[str, Any] = {}
    for number, side in enumerate(SIDES):
        result[side] = dict(zip(TRAFFIC, words[TRAFFIC_WORDS * number :], strict=False))
    drops = [words[_DROPS + number] + words[_DROPS + DROP_WORDS + number] for number in range(len(DROP_NAMES))]
    result["drops"] = dict(zip(DROP_NAMES, drops, strict=True))
    result["events"] = dict(zip(EVENT_NAMES, words[_EVENTS:], strict=False))
    return result
