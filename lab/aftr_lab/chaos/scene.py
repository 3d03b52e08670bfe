"""Where faults happen: the lab, its load, and what can be done to its nodes while the load goes on."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyroute2 import netns

from aftr_lab.chaos.crowd import Crowd
from aftr_lab.chaos.load import LOOK_S, Load
from aftr_lab.chaos.report import Strike
from aftr_lab.chaos.routes import Routes
from aftr_lab.chaos.served import told_by
from aftr_lab.chaos.transfers import Transfers
from aftr_lab.errors import LabError
from aftr_lab.network import run
from aftr_lab.plan import Plan
from aftr_lab.processes import Identity, await_end, identify, recorded, session_of
from aftr_lab.programs import kill_node, start_node
from aftr_lab.record import Record

RECOVER_S = 20.0  # for all slots to answer again
AFTERWARDS_S = 2.0  # between a fault and its end
CHILDREN_S = 1.0  # for a killed parent's children to be gone


@dataclass
class Scene:
    """A lab under load."""

    plan: Plan
    record: Record
    state: dict[str, Any]
    load: Load
    chance: random.Random

    def during(self, act: Callable[[], object]) -> None:
        """Do something that takes a while, and keep the load up meanwhile.  Raises what it raises."""
        self.load.during(act)

    def run(self, node: str, *command: str) -> str:
        """What a program prints in a node."""
        said: list[str] = []
        self.during(lambda: said.append(run(self.plan.namespace(node), command)))
        return said[0]

    def start(self, node: str) -> None:
        """Start a node's program again."""
        self.during(lambda: start_node(self.plan, self.record, node))

    def kill(self, node: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Signal a node's program."""
        self.during(lambda: kill_node(self.record, node, number))

    def kill_after(self, strike: Strike) -> None:
        """Kill the victim while, or after, something else is wrong, by which no slot was to stop."""
        strike.killed = time.monotonic()
        self.kill(strike.victim)

    def recover(self, seconds: float = AFTERWARDS_S) -> None:
        """Until every slot answers again, and a while longer.  LabError if one never does."""
        probes, struck = self.load.probes, time.monotonic() + 0.1
        if not self.load.run(lambda: not probes.silent_since(struck), RECOVER_S):
            raise LabError(f"slots {probes.silent_since(struck)} answer no B4 {RECOVER_S:g} s after the fault")
        self.load.last(seconds)

    def slots(self, node: str) -> list[dict[str, Any]]:
        """What an AFTR says of its slots; [] when it does not answer."""
        return told_by(next(one for one in self.state["aftrs"] if one["name"] == node))

    def until_stored(self) -> None:
        """Until every slot is served with the store again: one fault at a time."""

        def served() -> bool:
            phases = [(entry["slot"], entry["phase"]) for aftr in self.load.routes.aftrs for entry in self.slots(aftr)]
            return all((slot, "serving") in phases for slot in range(len(self.state["slots"])))

        self.until(served, "every slot is served with the store")

    def until(self, true: Callable[[], bool], what: str) -> None:
        """Until something is so.  LabError if it never is."""

        def wait() -> None:
            deadline = time.monotonic() + RECOVER_S
            while not true():
                if time.monotonic() > deadline:
                    raise LabError(f"{what}: not after {RECOVER_S:g} s")
                time.sleep(LOOK_S)

        self.during(wait)

    # ------------------------------------------------------------ processes
    def leader(self, node: str) -> Identity:
        """The first process of a node's program."""
        found = recorded(self.record.process_file(node))
        if found is None:
            raise LabError(f"no program runs in node {node}")
        return found

    def await_end(self, node: str) -> None:
        """Until a node's program has ended by itself."""
        leader = self.leader(node)
        self.during(lambda: await_end([leader]))

    def serving(self, node: str) -> Identity:
        """The process that serves: the first one's child."""
        leader = self.leader(node)
        others = [one for one in session_of(leader) if one != leader]
        if not others:
            raise LabError(f"no process serves in node {node}")
        return others[0]

    def processes(self, node: str) -> list[Identity]:
        """All processes in a node."""
        pids = netns.ns_pids().get(self.plan.namespace(node), [])
        return [one for pid in pids if (one := identify(pid)) is not None]

    def kill_one(self, strike: Strike, process: Identity, spared: Sequence[Identity] = ()) -> None:
        """SIGKILL to one process of the victim; its children must end by themselves, all but those spared."""
        there: list[Identity] = []
        self.during(lambda: there.extend(self.processes(strike.victim)))
        names = {one: name_of(one.pid) for one in there}
        os.kill(process.pid, signal.SIGKILL)
        left: list[Identity] = []
        self.during(lambda: left.extend(await_end([one for one in there if one not in spared], CHILDREN_S)))
        strike.survivors = [f"{names[one]} ({one.pid}) of {strike.victim}" for one in left]


@contextmanager
def scene_of(
    plan: Plan, record: Record, state: dict[str, Any], crowd: Crowd, *, rate: float, flows: int, seed: int
) -> Iterator[Scene]:
    """A lab with a load of so many new flows a second, the newest `flows` of which are asked for again after each fault."""
    routes, transfers = Routes(state), Transfers(state)
    try:
        yield Scene(plan, record, state, Load(crowd, routes, transfers, rate, flows), random.Random(seed))
    finally:
        transfers.close()
        routes.close()


def name_of(pid: int) -> str:
    """A process's name, "" when it has gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
