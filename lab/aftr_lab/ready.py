"""Waiting for events: something answers, or the program that should make it answer has ended, or it is too late."""

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aftr_lab.errors import LabError, NotReadyError
from aftr_lab.network import run

PROBE_EVERY_S = 0.05
LAST_LINES = 15


@dataclass(frozen=True)
class Program:
    """A program that was started, and where it writes."""

    node: str
    process: subprocess.Popen[bytes]
    log: Path
    written_before: int = 0  # bytes of the log, by an earlier program of this node

    def last_words(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-LAST_LINES:]
        return "\n".join(f"  {self.node}: {line}" for line in lines)


def wait_until(true: Callable[[], bool], what: str, seconds: float, program: Program) -> None:
    """Probe until `true()`. Raises `NotReadyError` with the program's last words when it ends first or time is over."""
    deadline = time.monotonic() + seconds
    while not true():
        if program.process.poll() is not None:
            status = program.process.returncode
            raise NotReadyError(f"{program.node} ended with status {status} before {what}:\n{program.last_words()}")
        if time.monotonic() > deadline:
            raise NotReadyError(f"{what}: not after {seconds:g} s; {program.node} says:\n{program.last_words()}")
        time.sleep(PROBE_EVERY_S)


def succeeds(namespace: str, *command: str) -> Callable[[], bool]:
    """A probe: does this command, run in `namespace`, exit with 0?"""

    def probe() -> bool:
        try:
            run(namespace, command)
        except LabError:
            return False
        return True

    return probe


def answers_http(namespace: str, url: str) -> Callable[[], bool]:
    """A probe: does `url` answer 2xx inside `namespace`?"""
    return succeeds(
        namespace, "curl", "--silent", "--fail", "--globoff", "--max-time", "1", "--output", "/dev/null", url
    )


def answers_echo(namespace: str, address: str) -> Callable[[], bool]:
    """A probe: does `address` answer one ping from `namespace`? Resolves the neighbours of the way at the same time."""
    return succeeds(namespace, "ping", "-n", "-q", "-c", "1", "-W", "0.5", address)


def has_written(program: Program, words: str) -> Callable[[], bool]:
    """A probe: do these words stand in the program's log?"""
    return lambda: words.encode() in program.log.read_bytes()[program.written_before :]
