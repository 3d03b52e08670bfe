"""What is done to AFTRs, links and the store; each is undone at its end.

crash       an AFTR is killed: all of it, its first process alone, or the process that serves
stall       killed while the store stands still for a moment, too short for anyone to notice
pair        an AFTR and the one that holds its warm copies are killed
leave       told to end: it hands its slots over first, and gets some back
stop        stands still for longer than its lease, and goes on
cut         loses store and members, while packets still reach it
store-cut   loses the store only
peers-cut   no AFTR reaches another one, and one is killed
bird        its BIRD is killed
link        its link to the internet is lost
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from aftr_lab.chaos import store_faults
from aftr_lab.chaos.captures import Capture
from aftr_lab.chaos.report import Strike
from aftr_lab.chaos.scene import AFTERWARDS_S, RECOVER_S, Scene, name_of
from aftr_lab.errors import LabError
from aftr_lab.processes import is_running, session_of, signal_all

MANAGEMENT_DEVICE = "mgmt"
RESUMED_S = 0.25  # in which a resumed pod sends what it still had; sooner than any slot comes back to it
KNOWN = 4096  # packets of known flows, which need no store and wait for a stopped pod
STALL_S = 0.06
HOWS = ("whole", "whole", "first process", "serving process")  # of a crash: half of them leave children to themselves


def crash(scene: Scene, strike: Strike) -> None:
    """The AFTR is killed, and comes again."""
    kill(scene, strike)
    scene.recover()
    if strike.how != "serving process":  # its parent starts another one
        scene.start(strike.victim)


def kill(scene: Scene, strike: Strike) -> None:
    """All of an AFTR, or one process of it."""
    if strike.how == "whole":
        scene.kill(strike.victim)
    elif strike.how == "first process":
        scene.kill_one(strike, scene.leader(strike.victim))
    else:
        scene.kill_one(strike, scene.serving(strike.victim), spared=[scene.leader(strike.victim)])


def stall(scene: Scene, strike: Strike) -> None:
    """What was let through before it was stored is lost here; nothing may have been."""
    stores = [one for store in scene.plan.stores for one in session_of(scene.leader(store.name))]
    victims = session_of(scene.leader(strike.victim))
    signal_all(stores, signal.SIGSTOP)
    scene.load.last(STALL_S)
    signal_all(victims, signal.SIGKILL)
    signal_all(stores, signal.SIGCONT)
    scene.recover()
    scene.start(strike.victim)


def pair(scene: Scene, strike: Strike) -> None:
    """Owner and warm copy at once: what is left of a slot is in the store."""
    found: list[dict[str, Any]] = []
    scene.during(lambda: found.extend(scene.slots(strike.victim)))
    copy = next(entry["warmCopy"] for entry in found if entry["slot"] == strike.slots[0])
    strike.how = f"with {copy}"
    strike.slots = [*strike.slots, *scene.load.routes.table.slots_of(copy)]
    scene.kill(strike.victim)
    scene.kill(copy)
    scene.recover()
    scene.start(strike.victim)
    scene.start(copy)


def leave(scene: Scene, strike: Strike) -> None:
    """Planned handovers, there and back."""
    leader = scene.leader(strike.victim)
    scene.kill(strike.victim, signal.SIGTERM)
    if not scene.load.run(lambda: not is_running(leader), RECOVER_S):
        raise LabError(f"{strike.victim} does not end within {RECOVER_S:g} s of SIGTERM")
    scene.load.last(AFTERWARDS_S)
    scene.start(strike.victim)


def stop(scene: Scene, strike: Strike) -> None:
    """What has waited for it must not leave when it goes on: others serve its slots by then."""
    capture = Capture(scene.state, strike.victim)
    try:
        scene.kill(strike.victim, signal.SIGSTOP)
        scene.load.repeat(KNOWN)
        scene.recover()
        _, received = capture.take()
        strike.waiting_packets = sum(slot in strike.slots for slot in received)
        scene.kill(strike.victim, signal.SIGCONT)
        scene.load.last(RESUMED_S)
        sent, _ = capture.take()
        theirs = scene.load.routes.table.slots_of(strike.victim)
        strike.late_packets = sum(slot in strike.slots and slot not in theirs for slot in sent)
    finally:
        capture.close()
    scene.load.last(AFTERWARDS_S)


def cut(scene: Scene, strike: Strike) -> None:
    """The management network is gone."""
    scene.run(strike.victim, "ip", "link", "set", MANAGEMENT_DEVICE, "down")
    scene.recover()
    scene.run(strike.victim, "ip", "link", "set", MANAGEMENT_DEVICE, "up")
    scene.load.last(AFTERWARDS_S)


def store_cut(scene: Scene, strike: Strike) -> None:
    """The store's answers go nowhere."""
    aftr = next(one for one in scene.plan.aftrs if one.name == strike.victim)
    for store in scene.plan.stores:
        scene.run(store.name, "ip", "route", "add", "blackhole", f"{aftr.management_address}/32")
    scene.recover()
    for store in scene.plan.stores:
        scene.run(store.name, "ip", "route", "delete", "blackhole", f"{aftr.management_address}/32")
    scene.load.last(AFTERWARDS_S)


def peers_cut(scene: Scene, strike: Strike) -> None:
    """Ports of the management bridge that are isolated reach the store's own, and not each other."""
    isolate(scene, "on")
    scene.load.last(AFTERWARDS_S)
    scene.kill_after(strike)
    scene.recover()
    isolate(scene, "off")
    scene.start(strike.victim)


def isolate(scene: Scene, state: str) -> None:
    """All AFTRs from each other."""
    for aftr in scene.plan.aftrs:
        scene.run(scene.plan.stores[0].name, "bridge", "link", "set", "dev", aftr.name, "isolated", state)


def bird(scene: Scene, strike: Strike) -> None:
    """The AFTR starts another one."""
    found = [one for one in scene.processes(strike.victim) if name_of(one.pid) == "bird"]
    if not found:
        raise LabError(f"no BIRD runs in node {strike.victim}")
    os.kill(found[0].pid, signal.SIGKILL)
    scene.recover()


def link(scene: Scene, strike: Strike) -> None:
    """The router's end goes down, and both ends see it."""
    port = f"{strike.victim}-inet"
    scene.run("router", "ip", "link", "set", port, "down")
    scene.recover()
    scene.run("router", "ip", "link", "set", port, "up")
    scene.load.last(AFTERWARDS_S)


FAULTS: dict[str, Callable[[Scene, Strike], None]] = {
    "crash": crash, "stall": stall, "pair": pair, "leave": leave, "stop": stop, "cut": cut, "store-cut": store_cut, "peers-cut": peers_cut,
    "bird": bird, "link": link, **store_faults.FAULTS,
}  # fmt: skip
