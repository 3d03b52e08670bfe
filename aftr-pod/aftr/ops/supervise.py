"""A process that starts again at once when it is killed.

The parent imports everything and loads the kernels, which is most of a start; then it forks a child that serves.  A child that is killed or
crashes is replaced in a fraction of a second; one that ends by itself (told to, or refused to start) ends the parent with its status.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import signal
import time
from collections.abc import Callable
from types import FrameType

import structlog

log = structlog.get_logger()

CRASHES, WITHIN_S = 5, 60.0  # more often than that, somebody outside must look
TOLD = (signal.SIGTERM, signal.SIGINT)  # to end
_PR_SET_PDEATHSIG = 1


def supervise(later: str) -> int | None:
    """Fork until a child ends by itself: in the parent the exit status, in each child None.

    `later`: a module that a child imports only when it serves; the parent imports it meanwhile, for the next one.  No thread may run yet.
    """
    settle()
    crashes: list[float] = []
    while (child := fork()) != 0:
        passed_on = {number: signal.signal(number, passing_to(child)) for number in (*TOLD, signal.SIGHUP)}
        importlib.import_module(later)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        for number, before in passed_on.items():
            signal.signal(number, before)
        if status >= 0 or -status in TOLD:
            return max(status, 0)
        killed_by, now = signal.Signals(-status).name, time.monotonic()
        crashes = [then for then in crashes if now - then < WITHIN_S] + [now]
        if len(crashes) > CRASHES:
            log.error("killed too often", signal=killed_by, times=len(crashes), within_seconds=WITHIN_S)
            return 1
        log.error("killed, starting again", signal=killed_by, pid=child)
    return None


def settle() -> None:
    """Take what was imported out of the garbage collector's sight: its mere number makes full collections rare."""
    gc.collect()
    gc.freeze()
    gc.collect()


def passing_to(child: int) -> Callable[[int, FrameType | None], None]:
    """A signal handler that passes the signal on."""
    return lambda number, _: os.kill(child, number)


def fork() -> int:
    """A child that ends when its parent does: its pid in the parent, 0 in the child."""
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it can read a changed file, which it reads anyway now
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before we asked to be told
            os._exit(1)
    return child
