"""AFTRs struck one after another under load: no binding may be lost, no endpoint doubled, no transfer broken, and the outage be short.

A fault that hits an AFTR without a slot says nothing: it is void, and repeated.  What is judged comes from B4s, the server, and frames and
routes at the router; the AFTRs themselves are asked only whether they took slots from one that was alive.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from datetime import datetime

from aftr_lab.chaos.faults import FAULTS, HOWS
from aftr_lab.chaos.load import Load, verify
from aftr_lab.chaos.probes import Probes
from aftr_lab.chaos.report import AFTER_S, BEFORE_S, PlannedMove, Report, Strike, cpu_waiting
from aftr_lab.chaos.routes import Move
from aftr_lab.chaos.scene import Scene
from aftr_lab.chaos.transfers import PATIENCE_S
from aftr_lab.errors import LabError
from aftr_lab.network import run

SETTLE_S = 40.0  # for all slots to be served and spread again
STEADY_S = 1.0  # without a move, after the old owner has left: until then it would help out
SPURIOUS = re.compile(r'dslite_events_total\{event="takeover-spurious"\} (\d+)')
Say = Callable[[str], None]


def strike_out(scene: Scene, faults: Sequence[str], times: int, say: Say) -> Report:
    """So many AFTRs struck, one after another, by these faults in turn."""
    load, report, watch = scene.load, Report(), Spurious(scene)
    began, waited = time.monotonic(), cpu_waiting()
    load.begin()
    load.last(2.0)
    while len(report.strikes) < times:
        settle(scene)
        fault = faults[len(report.strikes) % len(faults)]
        victim = scene.chance.choice(load.routes.aftrs)
        slots = load.routes.table.slots_of(victim)
        if not slots:
            report.void += 1
            continue
        strike = Strike(victim, scene.chance.choice(HOWS) if fault == "crash" else "", slots)
        strike_once(scene, fault, strike, report)
        report.spurious += watch.more()
        say(sentence(fault, len(report.strikes), strike))
    load.transfers.ending = True
    load.run(lambda: load.transfers.is_idle, PATIENCE_S)
    report.seconds, report.waited_s = time.monotonic() - began, cpu_waiting() - waited
    return report


def strike_once(scene: Scene, fault: str, strike: Strike, report: Report) -> None:
    """One fault, and what became of everything."""
    load = scene.load
    since, moves = time.monotonic(), len(load.routes.moves)
    load.retires, strike.flows = False, len(load.crowd.endpoints)
    FAULTS[fault](scene, strike)
    until = time.monotonic()
    if fault == "leave":
        settle(scene)
        load.last(AFTER_S)
        report.moves += [planned(load, move) for move in load.routes.moves[moves:]]
    report.strikes.append(strike)
    report.checked += strike.flows
    strike.lost = verify(load)
    measure(strike, load.probes, since, until)  # now that no answer to these probes is on its way any more
    load.retires = True


def measure(strike: Strike, probes: Probes, since: float, until: float) -> None:
    """How long slots were silent: those that were struck, and, where another fault came first, any of them before that."""
    killed = since if strike.killed is None else strike.killed
    strike.outage_ms = max(probes.outage(slot, killed, until) for slot in strike.slots) * 1000
    strike.outage_before_ms = max(probes.outage(slot, since, killed) for slot in range(len(probes.newest))) * 1000


def planned(load: Load, move: Move) -> PlannedMove:
    """What a move cost the flow that is probed in its slot."""
    since, until = move.when - BEFORE_S, move.when + AFTER_S
    of_slot = move.slot, since, until
    clock = datetime.fromtimestamp(time.time() - time.monotonic() + move.when).time()
    what = f"slot {move.slot} from {move.origin} to {move.target} at {clock}"
    outage, stall = load.probes.outage(*of_slot), load.probes.stall(*of_slot)
    return PlannedMove(what, outage * 1000, load.probes.lost(*of_slot), stall * 1000)


def settle(scene: Scene) -> None:
    """Until the router's routes are spread evenly over all AFTRs, and stay so for a moment.  Raises LabError."""
    load = scene.load

    quiet_s = scene.plan.pool.spec.failover.drain_seconds + STEADY_S

    def steady() -> bool:
        quiet = not load.routes.moves or time.monotonic() - load.routes.moves[-1].when > quiet_s
        return quiet and load.routes.is_even()

    if not load.run(steady, SETTLE_S):
        raise LabError(f"the slots are not spread within {SETTLE_S:g} s: {load.routes.table.owners}")


def sentence(fault: str, number: int, strike: Strike) -> str:
    """One strike, for people."""
    how = f" {strike.how}" if strike.how else ""
    late = (
        "" if strike.late_packets is None else f", {strike.late_packets} of {strike.waiting_packets} packets too late"
    )
    before = "" if strike.killed is None else f" ({strike.outage_before_ms:.0f} ms before the kill)"
    return (
        f"{fault} {number}: {strike.victim}{how}, slots {strike.slots}: outage {strike.outage_ms:.0f} ms{before}, "
        f"{strike.lost} of {strike.flows} bindings lost{late}"
    )


class Spurious:
    """How many slots AFTRs took from ones that were alive, over the lives of all."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._last: dict[str, int] = {}
        self.more()

    def more(self) -> int:
        """Since the last call; what an AFTR had counted when it was killed went with it."""
        found: dict[str, int] = {}
        self._scene.during(lambda: found.update(self._read()))
        new = {
            name: value - last if value >= (last := self._last.get(name, 0)) else value for name, value in found.items()
        }
        self._last = found
        return sum(new.values())

    def _read(self) -> dict[str, int]:
        found = {}
        for aftr in self._scene.state["aftrs"]:
            try:
                text = run(aftr["namespace"], ["curl", "-sgf", "-m", "2", f"{aftr['status']}/metrics"])
            except LabError:
                continue
            match = SPURIOUS.search(text)
            found[aftr["name"]] = int(match[1]) if match else 0
        return found
