"""Where the router sends each slot's softwires, by route or by neighbour, and when that changed: news of its kernel, not of pods."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from aftr_lab.network import run

ROUTE = re.compile(r"^(Deleted )?(\S+) (?:via (\S+) dev access\b|dev access lladdr (\S+))")  # or a neighbour


class Move(NamedTuple):
    """A slot went from one AFTR to another; `when` in seconds of CLOCK_MONOTONIC."""

    when: float
    slot: int
    origin: str
    target: str


class Table:
    """By slot: the AFTR that the router sends to, "" for none.  `gateways`: an AFTR by its address, and by its MAC address.  Pure."""

    def __init__(self, slots: list[str], gateways: dict[str, str]) -> None:
        self._slots = {address: number for number, address in enumerate(slots)}
        self._gateways = gateways
        self.owners = [""] * len(slots)
        self._last = [""] * len(slots)

    def read(self, lines: Iterable[str], now: float) -> list[Move]:
        """What lines of `ip -6 route`, `neighbour` or `monitor` say; a route that goes and comes back is no move."""
        moves = []
        for line in lines:
            found = ROUTE.match(line)
            slot = self._slots.get(found[2].removesuffix("/128"), -1) if found else -1
            if found is None or slot < 0:
                continue
            gateway = found[3] or found[4]
            owner = self._gateways.get(gateway, gateway)
            if found[1]:
                self.owners[slot] = "" if self.owners[slot] == owner else self.owners[slot]
                continue
            if self._last[slot] not in ("", owner):
                moves.append(Move(now, slot, self._last[slot], owner))
            self.owners[slot] = self._last[slot] = owner
        return moves

    def slots_of(self, aftr: str) -> list[int]:
        """The slots whose route leads to this AFTR."""
        return [slot for slot, owner in enumerate(self.owners) if owner == aftr]


def read_table(state: dict[str, Any]) -> Table:
    """The router's table as it is now."""
    gateways = {aftr["access"]["address"]: aftr["name"] for aftr in state["aftrs"]}
    for aftr in state["aftrs"]:
        mac = run(aftr["namespace"], ["cat", f"/sys/class/net/{aftr['access']['device']}/address"])
        gateways[mac.strip()] = aftr["name"]
    table = Table([slot["tunnelAddress"] for slot in state["slots"]], gateways)
    for what in ("route", "neighbour"):
        table.read(run(state["namespaces"]["router"], ["ip", "-6", what]).splitlines(), time.monotonic())
    return table


class Routes:
    """The router's table, followed."""

    def __init__(self, state: dict[str, Any]) -> None:
        router = state["namespaces"]["router"]
        self.aftrs = [aftr["name"] for aftr in state["aftrs"]]
        self.moves: list[Move] = []
        command = ["ip", "netns", "exec", router, "ip", "-6", "monitor", "route", "neigh"]
        self._monitor = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert self._monitor.stdout is not None
        self._news = self._monitor.stdout.fileno()
        os.set_blocking(self._news, False)
        self._rest = ""
        self.table = read_table(state)

    def follow(self) -> None:
        """Take in what has happened since the last call."""
        try:
            text = self._rest + os.read(self._news, 1 << 16).decode()
        except BlockingIOError:
            return
        *lines, self._rest = text.split("\n")
        self.moves += self.table.read(lines, time.monotonic())

    def is_even(self) -> bool:
        """Whether every slot has a route, and all AFTRs have as many as they should."""
        loads = [len(self.table.slots_of(aftr)) for aftr in self.aftrs]
        return "" not in self.table.owners and max(loads) - min(loads) <= 1

    def close(self) -> None:
        """End."""
        self._monitor.terminate()
        self._monitor.wait()
        assert self._monitor.stdout is not None
        self._monitor.stdout.close()
