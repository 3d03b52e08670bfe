"""The provider's traffic while something is done to the cluster, judged by what its B4s and a server see."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from aftr_lab.chaos.crowd import crowd_of
from aftr_lab.chaos.load import Load, verify
from aftr_lab.chaos.routes import Routes
from aftr_lab.chaos.transfers import PATIENCE_S, Transfers
from running_lab import Lab

B4S, RATE, FLOWS = 32, 100.0, 4000  # new flows/s, and at most
UDP_S, HOLD_DOWN_S = 300, 120  # as the sample has them
WARM_S, AFTERWARDS_S = 2.0, 3.0


@contextmanager
def under_load(outside: Lab) -> Iterator[Load]:
    """New flows, probes and downloads for the time of the block; then no binding may be lost, and no download broken."""
    with crowd_of(outside.state, B4S, UDP_S - 1, HOLD_DOWN_S) as crowd:
        routes, transfers = Routes(outside.state), Transfers(outside.state)
        load = Load(crowd, routes, transfers, RATE, FLOWS)
        try:
            load.begin()
            load.last(WARM_S)
            yield load
            load.last(AFTERWARDS_S)
            judge(load)
        finally:
            transfers.close()
            routes.close()


def judge(load: Load) -> None:
    """Every flow that was ever answered still has its endpoint, to itself."""
    load.transfers.ending = True
    load.run(lambda: load.transfers.is_idle, PATIENCE_S)
    lost, outcome = verify(load), load.crowd.outcome
    assert load.transfers.broken == []
    assert (lost, outcome.moved, outcome.doubled, outcome.misdelivered) == (0, [], [], [])
    assert load.transfers.completed
    assert outcome.answered
