"""What is measured, each with the product's own threads, connections and kernels."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import redis
import structlog

from aftr.failover.machine import Phase
from aftr.state.layout import PARK_CAPACITY
from aftr.store.settings import Durability
from bench.kernels import FLOWS_PER_SUBSCRIBER
from bench.store.aftr import Aftr, member
from bench.store.figures import OVERHEAD, Moment, delays, per_second, ratio, redis_bytes, spent, steps
from bench.store.servers import store

WINDOW = 1536  # first packets on their way: what a device's ring of 2048 takes if all are stored at once
KNOWN_WINDOW = 1024  # packets of flows that exist on their way
RATES, RATE_S = (200, 2000), 6.0
ROUNDS, ROUND_S = 9, 0.5
COMMITTING = 2000  # new flows a second in the rounds that commit
FILL_S = 8.0  # longest that first packets come as fast as they can
LATE_S = 1.0  # a packet that has not left by then was dropped
PROBE = 1 << 14  # flows left for what comes after filling


class Moments:
    """A processor of the log that keeps when slots came to which phase, and drops the line unless it is a warning."""

    def __init__(self) -> None:
        self.found: list[Moment] = []

    def __call__(self, _: Any, level: str, event: dict[str, Any]) -> dict[str, Any]:
        if "phase" in event and "slot" in event:
            self.found.append(Moment(time.monotonic_ns(), event["slot"], event["phase"]))
        if level in ("warning", "error", "critical"):
            return event
        raise structlog.DropEvent


def url_of(client: redis.Redis) -> str:
    """The address of a server."""
    return f"redis://127.0.0.1:{client.connection_pool.connection_kwargs['port']}"


# ---------------------------------------------------------------- one member
async def first_packets(one: Aftr, rate: int) -> dict[str, float]:
    """Delays, from ring to ring, of first packets that come at a mean rate."""
    first, arrived, count = one.wire.offered, one.wire.arrived, int(rate * RATE_S)
    one.wire.offer(count, per_second=rate)
    await one.until_arrived(arrived + count, RATE_S + LATE_S)
    return delays(one.wire.delays(first, first + count))


async def fill(one: Aftr, flows: int) -> dict[str, float]:
    """New mappings per second, as many at once as fit, and what the journal took for each."""
    first, written = one.wire.arrived, journal_bytes(one)
    begun = time.monotonic()
    dropped = one.wire.offered - first
    one.wire.offer(flows, window=dropped + min(WINDOW, PARK_CAPACITY * len(one.member.slots) * 3 // 4))
    await one.until_arrived(first + flows, FILL_S)
    taken, made = time.monotonic() - begun, one.wire.arrived - first
    one.wire.offer(0)
    await asyncio.sleep(LATE_S)
    entries = journal_bytes(one) - written
    return {"flows": made, "perSecond": made / taken, "journalBytesPerMapping": entries / (one.wire.arrived - first)}


def journal_bytes(one: Aftr) -> int:
    """Bytes of entries since the slots' last checkpoints."""
    return sum(slot.written for slot in one.member.slots)


async def established(one: Aftr) -> dict[str, Any]:
    """Packets of flows that exist per second of the worker's work: rounds with and without new flows between them, in turn."""
    without: list[float] = []
    committing: list[float] = []
    one.wire.offer_known(KNOWN_WINDOW)
    for turn in range(2 * (ROUNDS + 1)):
        arrived, new = one.wire.arrived, int(COMMITTING * ROUND_S) if turn % 2 else 0
        one.wire.offer(new, per_second=COMMITTING)
        before = one.effort
        await asyncio.sleep(ROUND_S)
        (committing if turn % 2 else without).append(per_second(before, one.effort))
        await one.until_arrived(arrived + new, LATE_S)
    one.wire.offer_known(0)
    return {
        "mpps": {
            "without": sorted(without[1:])[ROUNDS // 2] / 1e6,
            "committing": sorted(committing[1:])[ROUNDS // 2] / 1e6,
        },
        "newPerSecond": COMMITTING,
        "ratio": ratio(without[1:], committing[1:]),
    }


def wrong(one: Aftr) -> str:
    """Which first packets did not leave, or made no mapping; "" for none.  A machine too busy for heartbeats loses leases."""
    drops = {name: value for name, value in one.counters["drops"].items() if value}
    if drops or one.wire.arrived != one.wire.offered or one.mappings != one.wire.arrived:
        return f"{one.wire.offered} flows offered, {one.wire.arrived} left, {one.mappings} mappings: {drops}"
    return ""


async def durability(wanted: Durability, flows: int, slots: int) -> dict[str, Any]:
    """One durability: delays, rate, and, where all is in memory, the established flows."""
    with store(wanted) as client:
        async with member("a", url_of(client), wanted, flows, slots) as one:
            await one.until(Phase.SERVING)
            await fill(one, PROBE)
            found: dict[str, Any] = {"firstPackets": {str(rate): await first_packets(one, rate) for rate in RATES}}
            room = one.wire.flows - one.wire.offered - 2 * PROBE
            found |= await fill(one, room)
            if wanted is Durability.MEMORY:
                found["established"] = await established(one)
                found["redis"] = await memory(one, client)
            found["wrong"] = wrong(one)
    return found


async def memory(one: Aftr, client: redis.Redis) -> dict[str, float]:
    """Redis' bytes for each mapping: in the journal, and in a checkpoint, whose writing is timed."""
    keys = list(client.scan_iter(match="*:journal"))
    journal = sum(int(client.memory_usage(key, samples=0)) for key in keys)
    entries = journal_bytes(one)
    begun = time.monotonic()
    for slot in one.member.slots:
        await slot.shorten()
    taken = time.monotonic() - begun
    keys = list(client.scan_iter(match="*:checkpoint:*"))
    chunks = sum(int(client.memory_usage(key, samples=0)) for key in keys)
    size = sum(int(client.strlen(key)) for key in keys)
    slots = len(one.member.slots)
    most = slots * redis_bytes(one.mappings // slots, one.mappings // FLOWS_PER_SUBSCRIBER // slots, OVERHEAD)
    return {
        "ofFormula": (journal + chunks) / most,
        "journalBytesPerMapping": journal / one.mappings,
        "journalOverhead": journal / entries,
        "checkpointBytesPerMapping": chunks / one.mappings,
        "checkpointOverhead": chunks / size,
        "checkpointSeconds": taken,
    }


# ---------------------------------------------------------------- takeovers
async def takeover(flows: int, slots: int, moments: Moments) -> dict[str, Any]:
    """A member dies with `flows` mappings: its warm copy takes them; then the same of one that had to read everything first."""
    with store(Durability.MEMORY) as client:
        place = (url_of(client), Durability.MEMORY, flows, slots)
        async with member("a", *place) as first:
            await first.until(Phase.SERVING)
            await fill(first, flows - PROBE)
            for slot in first.member.slots:
                await slot.shorten()
            await fill(first, PROBE)
            if sentence := wrong(first):
                raise RuntimeError(sentence)
            mappings = first.mappings
            async with member("b", *place) as second:
                await second.until(Phase.WARM)
                warm = await taken_over(first, second, moments)
                moments.found.clear()
                async with member("c", *place) as third:
                    await third.until(Phase.WARM)
                    copied = spent(moments.found, "COPYING", "WARM")
                    after = await taken_over(second, third, moments)
                    lost = [mappings - one.mappings for one in (second, third)]
    if any(lost):
        raise RuntimeError(f"{lost} mappings of {mappings} were lost")
    cold = {"copied": copied, **after}
    return {"mappings": mappings, "slots": slots, "warm": warm, "cold": cold, "coldMs": copied + after["total"]}


async def taken_over(old: Aftr, new: Aftr, moments: Moments) -> dict[str, float]:
    """The steps by which `new` takes what `old` served."""
    moments.found.clear()
    await old.die()
    await new.until(Phase.SERVING)
    return steps(moments.found)
