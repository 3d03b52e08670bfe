"""The load during faults: new flows, probes, transfers; and the question whether every flow still has its binding."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from itertools import islice

from aftr_lab.chaos.crowd import Crowd
from aftr_lab.chaos.probes import Probes
from aftr_lab.chaos.routes import Routes
from aftr_lab.chaos.transfers import Transfers
from aftr_lab.errors import LabError

PROBE_S = 0.005
LOOK_S = 0.1  # at transfers
ATTEMPTS = 5  # packets of a flow before its binding counts as lost
VERIFY_RATE = 8000  # packets/s
DONE_S = 180.0  # for anything that is done under load


class Load:
    """New flows at a rate, and a packet of one flow per slot each few milliseconds, for as long as somebody runs it.

    `most` of them, the newest, are asked for again after each fault.
    """

    def __init__(self, crowd: Crowd, routes: Routes, transfers: Transfers, rate: float, most: int) -> None:
        self.crowd, self.routes, self.transfers, self.rate, self.most = crowd, routes, transfers, rate, most
        self.probed = dict.fromkeys(range(len(crowd.slots)), 0)  # by slot: the flow
        self.probes = Probes(len(crowd.slots))
        self.heard: set[int] = set()  # flows that were answered
        self.retires = True  # not while there is a fault: all flows that lived then are asked for after it
        self._due = self._probe_due = self._look_due = time.monotonic()

    def begin(self) -> None:
        """One flow in each slot that is probed, and a transfer on every host."""
        for _ in range(self.crowd.number):
            flow = self.crowd.open_flow()
            self.probed[self.crowd.slot_of(flow)] = flow

    def run(self, until: Callable[[], bool], limit_s: float) -> bool:
        """Load until that is so; False when it was not within `limit_s`."""
        deadline = time.monotonic() + limit_s
        while not (done := until()) and time.monotonic() < deadline:
            self.tick()
        return done

    def last(self, seconds: float) -> None:
        """Load for so long."""
        self.run(lambda: False, seconds)

    def repeat(self, number: int) -> None:
        """A packet of each of so many flows, at once."""
        for flow in islice(self.crowd.endpoints, number):
            self.crowd.send(flow)

    def during(self, act: Callable[[], object], limit_s: float = DONE_S) -> None:
        """Load while something is done in another thread.  Raises what it raises, and LabError when it takes longer."""
        errors: list[BaseException] = []

        def work() -> None:
            try:
                act()
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        if not self.run(lambda: not thread.is_alive(), limit_s):
            raise LabError(f"something that was done under load takes longer than {limit_s:g} s")
        if errors:
            raise errors[0]

    def tick(self) -> None:
        """What is due."""
        now = time.monotonic()
        while self._due <= now:
            self.crowd.open_flow()
            self._due += 1 / self.rate
        if self.retires:
            self._retire()
        self._due = max(self._due, now - 0.1)
        if self._probe_due <= now:
            for slot, flow in self.probed.items():
                self.probes.sent(slot, self.crowd.send(flow), now)
            self._probe_due = now + PROBE_S
        if self._look_due <= now:
            self.transfers.judge()
            self.transfers.begin()
            self._look_due = now + LOOK_S
        self.exchange()
        time.sleep(max(0.0, min(self._probe_due, self._due) - time.monotonic(), 0.0005))

    def _retire(self) -> None:
        """Only the newest flows are asked for again: to ask for all would take longer with every fault."""
        endpoints = self.crowd.endpoints
        while len(endpoints) > self.most:
            oldest = next(iter(endpoints))
            if oldest in self.probed.values():
                endpoints.move_to_end(oldest)
            else:
                del endpoints[oldest]

    def exchange(self) -> None:
        """Let the server answer, and note what was answered, and where the router sends slots."""
        self.crowd.serve()
        for packet, flow in self.crowd.collect():
            self.heard.add(flow)
            self.probes.answered(packet)
        self.crowd.give_up()
        self.routes.follow()


def verify(load: Load) -> int:
    """A packet of every flow that has an endpoint; how many have lost their binding, or answer no more."""
    crowd = load.crowd
    left = set(crowd.endpoints)
    load.heard.clear()
    for _ in range(ATTEMPTS):
        pace = time.monotonic()
        for number, flow in enumerate(sorted(left)):
            crowd.send(flow)
            if number % 64 == 63:
                load.tick()
                pace += 64 / VERIFY_RATE
                time.sleep(max(0.0, pace - time.monotonic()))
        load.last(0.3)
        left -= load.heard
        if not left:
            return 0
    return len(left)
