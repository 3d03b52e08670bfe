"""The provider's traffic while something is done to the cluster, judged by what its B4s and a server see."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from aftr_lab.chaos.crowd import crowd_of
from aftr_lab.chaos.load import Load, verify
from aftr_lab.chaos.probes import KEPT_S
from aftr_lab.chaos.routes import Routes
from aftr_lab.chaos.transfers import PATIENCE_S, Transfers
from running_lab import Lab

B4S, RATE, FLOWS = 32, 100.0, 4000  # new flows/s, and at most
UDP_S, HOLD_DOWN_S = 300, 120  # as the sample has them
WARM_S, AFTERWARDS_S = 2.0, 3.0
ROUTED_S = 10.0


@contextmanager
def under_load(outside: Lab) -> Iterator[Load]:
    """New flows, probes and downloads for the time of the block; then no binding may be lost, and no download broken."""
    with crowd_of(outside.state, B4S, UDP_S - 1, HOLD_DOWN_S) as crowd:
        routes, transfers = Routes(outside.state), Transfers(outside.state)
        load = Load(crowd, routes, transfers, RATE, FLOWS)
        try:
            load.begin()
            load.last(WARM_S)
            began = time.monotonic()
            yield load
            load.last(AFTERWARDS_S)
            judge(load, began)
        finally:
            transfers.close()
            routes.close()


def judge(load: Load, began: float) -> None:
    """Every flow that was ever answered still has its endpoint, to itself."""
    ended = time.monotonic()
    since = max(began, ended - KEPT_S)
    outage = max(load.probes.outage(slot, since, ended) for slot in range(len(load.crowd.slots)))
    load.transfers.ending = True
    load.run(lambda: load.transfers.is_idle, PATIENCE_S)
    lost, outcome, transfers = verify(load), load.crowd.outcome, load.transfers
    print(
        f"{ended - began:.0f} s, longest outage of a slot {outage * 1000:.0f} ms, {outcome.lost} of {outcome.sent} packets lost, "
        f"{lost} of {len(load.crowd.endpoints)} bindings lost, {transfers.completed} downloads, broken: {transfers.broken}"
    )
    assert (lost, outcome.moved, outcome.doubled, outcome.misdelivered) == (0, [], [], [])
    assert transfers.broken == []
    assert transfers.completed
    assert outcome.answered


def routed_to(load: Load, number: int) -> None:
    """Until the router sends all slots, to so many AFTRs."""
    owners = load.routes.table.owners
    assert load.run(lambda: "" not in owners and len(set(owners)) == number, ROUTED_S), owners
