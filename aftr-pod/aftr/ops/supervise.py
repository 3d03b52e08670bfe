"""A process that starts again at once when it is killed.

The parent imports everything and loads the kernels, which is most of a start; then it forks a child that serves.  A child that is killed or
crashes is replaced in a fraction of a second; one that ends by itself (told to, or refused to start) ends the parent with its status.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import signal
import time
from types import FrameType

import structlog

log = structlog.get_logger()

CRASHES, WITHIN_S = 5, 60.0  # more often than that, somebody outside must look
TOLD = (signal.SIGTERM, signal.SIGINT)  # to end
PASSED_ON = (*TOLD, signal.SIGHUP)
_PR_SET_PDEATHSIG = 1


class Supervisor:
    """The parent: its child, and what it was told."""

    def __init__(self) -> None:
        self._child, self._told = 0, False
        self._before = {number: signal.signal(number, self._pass_on) for number in PASSED_ON}
        self._crashes: list[float] = []

    def _pass_on(self, number: int, _: FrameType | None) -> None:
        self._told = self._told or number in TOLD
        if self._child:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child, number)

    def fork(self) -> bool:
        """A child that ends when its parent does; True in the child.  A signal that comes meanwhile waits for both."""
        parent = os.getpid()
        signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
        self._child = os.fork()
        if self._child == 0:
            for number, handler in self._before.items():
                signal.signal(number, handler)
            signal.signal(
                signal.SIGHUP, signal.SIG_IGN
            )  # until it can read a changed file; it reads the file anyway now
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # it ended before we asked to be told
                os._exit(1)
        elif self._told:  # while there was none
            os.kill(self._child, signal.SIGTERM)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
        return self._child == 0

    def wait(self) -> int | None:
        """Until the child ends: the status to end with, None when another child is to take its place."""
        child = self._child
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        self._child = 0
        if status >= 0 or self._told:
            return max(status, 0)
        killed_by, now = signal.Signals(-status).name, time.monotonic()
        self._crashes = [then for then in self._crashes if now - then < WITHIN_S] + [now]
        if len(self._crashes) > CRASHES:
            log.error("killed too often", signal=killed_by, times=len(self._crashes), within_seconds=WITHIN_S)
            return 1
        log.error("killed, starting again", signal=killed_by, pid=child)
        return None


def supervise(later: str) -> int | None:
    """Fork until a child ends by itself: in the parent the exit status, in each child None.

    `later`: a module that a child imports only when it serves; the parent imports it meanwhile, for the next one.  No thread may run yet.
    """
    settle()
    supervisor, status = Supervisor(), None
    while status is None:
        if supervisor.fork():
            return None
        importlib.import_module(later)
        status = supervisor.wait()
    return status


def settle() -> None:
    """Take what was imported out of the garbage collector's sight: its mere number makes full collections rare."""
    gc.collect()
    gc.freeze()
    gc.collect()
