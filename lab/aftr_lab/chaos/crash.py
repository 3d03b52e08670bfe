"""AFTRs struck one after another under load: no binding may be lost, no endpoint doubled, and the outage be short.

    crash   killed: the whole program, as a pod, or the process that serves, as in a container whose supervisor goes on
    leave   told to end: it hands its slots over first
    stop    stands still for longer than its lease, and goes on
    cut     loses store and members, while packets still reach it

A fault that hits an AFTR without a slot says nothing: it is void, and repeated.
"""

from __future__ import annotations

import json
import os
import random
import signal
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aftr_lab.chaos.crowd import Crowd
from aftr_lab.errors import LabError
from aftr_lab.network import run
from aftr_lab.plan import Plan
from aftr_lab.processes import is_running, recorded, session_of
from aftr_lab.programs import kill_node, start_node
from aftr_lab.record import Record
from aftr_lab.status import read_status

PROBE_S = 0.005
SETTLE_S = 30.0  # for all slots to be served and spread again
MANAGEMENT_DEVICE = "mgmt"
RESTART_S = 2.0  # after a kill, before the pod comes again
ATTEMPTS = 5  # packets of a flow before its binding counts as lost
VERIFY_RATE = 8000  # packets/s


@dataclass
class Kill:
    """One kill and what a B4 saw of it."""

    victim: str
    whole: bool
    slots: list[int]
    outage_ms: float = 0.0
    lost: int = 0  # bindings


@dataclass
class Report:
    """All kills."""

    kills: list[Kill] = field(default_factory=list)
    void: int = 0
    checked: int = 0

    def summary(self, crowd: Crowd) -> dict[str, Any]:
        """For JSON."""
        outages = [kill.outage_ms for kill in self.kills]
        return {
            "kills": len(self.kills), "void": self.void, "flows": crowd.flow, "bindingsChecked": self.checked,
            "lostBindings": sum(kill.lost for kill in self.kills) + len(crowd.outcome.moved),
            "duplicateEndpoints": len(crowd.outcome.doubled), "misdelivered": len(crowd.outcome.misdelivered),
            "outageMilliseconds": {
                "median": round(statistics.median(outages), 1), "longest": round(max(outages), 1),
                "overOneSecond": sum(outage > 1000 for outage in outages),
            },
            "examples": [*crowd.outcome.moved[:5], *crowd.outcome.doubled[:5], *crowd.outcome.misdelivered[:5]],
        }  # fmt: skip


class Load:
    """New flows at a rate, and a packet of one flow per slot each few milliseconds, for as long as somebody runs it."""

    def __init__(self, crowd: Crowd, rate: float, most: int) -> None:
        self.crowd, self.rate, self.most = crowd, rate, most
        self.probes = dict.fromkeys(range(len(crowd.slots)), 0)
        self.answered: dict[int, float] = {}  # by slot: when the last answered probe was sent
        self.gaps: dict[int, float] = {}  # by slot: the longest time between two of them
        self.heard: set[int] = set()  # flows that were answered
        self._sent: dict[int, tuple[int, float]] = {}
        self._due = self._probe_due = time.monotonic()

    def begin(self) -> None:
        """One flow in each slot that is probed."""
        for _ in range(self.crowd.number):
            flow = self.crowd.open_flow()
            self.probes[self.crowd.slot_of(flow)] = flow

    def run(self, until: Callable[[], bool], limit_s: float) -> bool:
        """Load until that is so; False when it was not within `limit_s`."""
        deadline = time.monotonic() + limit_s
        while not (done := until()) and time.monotonic() < deadline:
            self.tick()
        return done

    def last(self, seconds: float) -> None:
        """Load for so long."""
        self.run(lambda: False, seconds)

    def tick(self) -> None:
        """What is due."""
        now = time.monotonic()
        while self._due <= now and self.crowd.flow < self.most:
            self.crowd.open_flow()
            self._due += 1 / self.rate
        self._due = max(self._due, now - 0.1)
        if self._probe_due <= now:
            for slot, flow in self.probes.items():
                self._sent[self.crowd.send(flow)] = slot, now
            self._probe_due = now + PROBE_S
        self.exchange()
        time.sleep(max(0.0, min(self._probe_due, self._due) - time.monotonic(), 0.0005))

    def exchange(self) -> None:
        """Let the server answer, and note what was answered."""
        self.crowd.serve()
        for packet, flow in self.crowd.collect():
            self.heard.add(flow)
            if packet in self._sent:
                slot, sent = self._sent.pop(packet)
                self.gaps[slot] = max(self.gaps.get(slot, 0.0), sent - self.answered.get(slot, sent))
                self.answered[slot] = max(sent, self.answered.get(slot, 0.0))
        self.crowd.give_up()

    def answered_since(self, moment: float) -> bool:
        """Whether every slot has answered a probe that was sent after that."""
        return all(self.answered.get(slot, 0.0) > moment for slot in self.probes)


def verify(load: Load) -> int:
    """A packet of every flow that was ever answered; how many have lost their binding, or answer no more."""
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


# ---------------------------------------------------------------- the lab
def slots_of(state: dict[str, Any]) -> dict[str, list[int]]:
    """Which AFTR serves which slots, as each of them says."""
    served: dict[str, list[int]] = {}
    for aftr in state["aftrs"]:
        try:
            text = run(aftr["namespace"], ["curl", "-sgf", "-m", "1", f"{aftr['status']}/status"])
            entries = json.loads(text)["slots"]
        except LabError:
            entries = []
        served[aftr["name"]] = [entry["slot"] for entry in entries if entry.get("phase") == "serving"]
    return served


def is_settled(state: dict[str, Any]) -> bool:
    """Whether every slot is served once, and the AFTRs have as many as they should."""
    served = slots_of(state)
    numbers = sorted(slot for slots in served.values() for slot in slots)
    loads = [len(slots) for slots in served.values()]
    return numbers == list(range(len(state["slots"]))) and max(loads) - min(loads) <= 1


def kill_serving(record: Record, node: str) -> None:
    """Kill the process that serves, alone: its parent starts another one."""
    leader = recorded(record.process_file(node))
    others = [one.pid for one in session_of(leader) if one.pid != leader.pid] if leader else []
    if not others:
        raise LabError(f"no process serves in node {node}")
    os.kill(others[0], signal.SIGKILL)


def strike_out(
    plan: Plan, record: Record, load: Load, fault: str, kills: int, seed: int, say: Callable[[str], None]
) -> Report:
    """So many AFTRs struck by a fault, one after another."""
    state, chance, report = read_status(record), random.Random(seed), Report()
    load.begin()
    load.last(2.0)
    while len(report.kills) < kills:
        if not settle(state, load):
            raise LabError(f"the slots are not served and spread within {SETTLE_S:g} s: {slots_of(state)}")
        served = slots_of(state)
        victim, whole = chance.choice(sorted(served)), chance.random() < 0.5
        if not served[victim]:
            report.void += 1
            continue
        kill = Kill(victim, whole, served[victim])
        load.last(0.5)  # nobody was probed while the lab was asked who serves what
        load.gaps.clear()
        FAULTS[fault](plan, record, load, kill)
        kill.outage_ms = max(load.gaps.get(slot, 20.0) for slot in kill.slots) * 1000
        report.kills.append(kill)
        report.checked += len(load.crowd.endpoints)
        kill.lost = verify(load)
        what = "" if fault != "crash" else " whole" if whole else " serving process"
        say(
            f"{fault} {len(report.kills)}: {victim}{what}, slots {kill.slots}: outage {kill.outage_ms:.0f} ms, "
            f"{kill.lost} of {len(load.crowd.endpoints)} bindings lost"
        )
    return report


def settle(state: dict[str, Any], load: Load) -> bool:
    """Until all is served and spread evenly; the load goes on."""
    deadline = time.monotonic() + SETTLE_S
    while time.monotonic() < deadline:
        if is_settled(state):
            return True
        load.last(0.5)
    return False


def recover(load: Load) -> None:
    """Until every slot answers again, and a while longer."""
    struck = time.monotonic()
    load.run(lambda: load.answered_since(struck + 0.1), 20.0)
    load.last(RESTART_S)


def crash(plan: Plan, record: Record, load: Load, kill: Kill) -> None:
    """The AFTR is killed, and comes again."""
    if kill.whole:
        kill_node(record, kill.victim, signal.SIGKILL)
    else:
        kill_serving(record, kill.victim)
    recover(load)
    if kill.whole:
        start_node(plan, record, kill.victim)


def leave(plan: Plan, record: Record, load: Load, kill: Kill) -> None:
    """The AFTR is told to end: it hands its slots over first.  Then it comes again, and gets some back."""
    leader = recorded(record.process_file(kill.victim))
    kill_node(record, kill.victim, signal.SIGTERM)
    if not load.run(lambda: leader is None or not is_running(leader), SETTLE_S):
        raise LabError(f"{kill.victim} does not end within {SETTLE_S:g} s of SIGTERM")
    load.last(RESTART_S)
    start_node(plan, record, kill.victim)


def stop(_: Plan, record: Record, load: Load, kill: Kill) -> None:
    """The AFTR stands still for longer than its lease, then goes on."""
    kill_node(record, kill.victim, signal.SIGSTOP)
    recover(load)
    kill_node(record, kill.victim, signal.SIGCONT)
    load.last(RESTART_S)


def cut(plan: Plan, _: Record, load: Load, kill: Kill) -> None:
    """The AFTR loses the management network, and with it store and members; packets still reach it."""
    namespace = plan.namespace(kill.victim)
    run(namespace, ["ip", "link", "set", MANAGEMENT_DEVICE, "down"])
    recover(load)
    run(namespace, ["ip", "link", "set", MANAGEMENT_DEVICE, "up"])
    load.last(RESTART_S)


FAULTS: dict[str, Callable[[Plan, Record, Load, Kill], None]] = {
    "crash": crash, "leave": leave, "stop": stop, "cut": cut,
}  # fmt: skip
