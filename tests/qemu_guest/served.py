"""`aftr run` in a guest, and what it says of itself."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qemu_guest.guest import Guest
from running_lab import imbalance

LOG, SOCKET, URL = "/run/aftr.log", "/run/dslite/aftr.sock", "http://[::1]:9464"
SERVED_S, SETTLED_S = 600.0, 30.0  # loads its kernels in a machine that translates every instruction
LOOK_S = 0.2
ENDED = "aftr run ended with"
RUN = f'"$@"; echo "{ENDED} $?"'


def until(true: Callable[[], Any], what: Callable[[], str], seconds: float) -> None:
    """Wait; `what` says, when it is too late, what there is instead."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not after {seconds:g} s: {what()}"
        time.sleep(LOOK_S)


@dataclass(frozen=True)
class Served:
    """An AFTR that was started in a guest."""

    guest: Guest

    def log(self) -> str:
        return self.guest.run("cat", LOG)

    def said(self, words: str, seconds: float, since: str = "") -> None:
        """Wait for these words in its log, after what it had said; fails the test when it ends first."""

        def heard() -> bool:
            log = self.log()
            assert ENDED not in log, log
            return words in log[len(since) :]

        until(heard, lambda: f"{words!r} in its log:\n{self.log()}", seconds)

    def missing(self) -> list[str]:
        """Why it is not ready, as `/readyz` says."""
        text = self.guest.run("curl", "-sg", f"{URL}/readyz")
        return [] if text == "ready\n" else text.splitlines()

    def ready(self, seconds: float) -> None:
        until(lambda: not self.missing(), lambda: f"ready: {self.missing()}, {self.log()}", seconds)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.guest.run("curl", "-sgf", f"{URL}/status"))
        return found

    def metrics(self) -> str:
        return self.guest.run("curl", "-sgf", f"{URL}/metrics")

    def ask(self, page: str) -> Any:
        """What its control socket answers to `aftr show`: /v1/`page`."""
        return json.loads(self.guest.run("curl", "-sf", "--unix-socket", SOCKET, f"http://aftr/v1/{page}"))

    def check_books(self) -> None:
        """Both balance equations (docs/counters.md), once nothing is on its way any more."""
        until(lambda: imbalance(self.ask("counters")) is None, lambda: str(imbalance(self.ask("counters"))), SETTLED_S)


def serve(guest: Guest, config: Path, access: str, internet: str) -> Served:
    """Start it, and return when traffic can pass."""
    flags = ("--config", str(config), "--access", access, "--internet", internet, "--status", "[::]:9464")
    guest.start(LOG, "sh", "-c", RUN, "sh", "aftr", "run", *flags)
    served = Served(guest)
    served.said("serving", SERVED_S)
    served.ready(SERVED_S)
    return served
