"""Programs of a lab: started so that a crash never loses one, ended so that a stranger is never hit.

A process is known by its pid *and* its start time (`/proc/PID/stat`), and signalled through a pidfd: a pid that the kernel has
given to another process since is left alone.
"""

import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

GRACE_S = 10.0  # from SIGTERM to SIGKILL
KILLED_S = 5.0  # from SIGKILL to giving up

APPARMOR = Path("/sys/module/apparmor/parameters/enabled")

# The shell writes its own identity and then becomes the program: there is no moment in which the program runs unrecorded.
RECORD_AND_BECOME = 'read -r stat < /proc/$$/stat; printf "%s\\n" "$stat" > "$0"; exec "$@"'


def unconfined() -> list[str]:
    """What comes before a program whose AppArmor profile, Debian's, lets it have its usual files and hooks alone."""
    enforced = APPARMOR.exists() and APPARMOR.read_text().startswith("Y") and shutil.which("aa-exec")
    return ["aa-exec", "--profile", "unconfined", "--"] if enforced else []


@dataclass(frozen=True)
class Identity:
    """A process: its pid and its start time in clock ticks since boot."""

    pid: int
    start: int


def parse_stat(text: str) -> Identity:
    """Identity from a line of `/proc/PID/stat` (proc(5): fields 1 and 22; the name in between may hold spaces and brackets)."""
    pid = int(text.split(" ", 1)[0])
    fields_from_3 = text.rpartition(")")[2].split()
    return Identity(pid, int(fields_from_3[19]))


def identify(pid: int) -> Identity | None:
    """The process that has this pid now; None also for one that has exited and waits for its parent."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state = text.rpartition(")")[2].split()[0]
    return None if state == "Z" else parse_stat(text)


def recorded(file: Path) -> Identity | None:
    """The process that wrote `file` when it started; None if it did not get that far."""
    try:
        return parse_stat(file.read_text())
    except (FileNotFoundError, ValueError, IndexError):
        return None


def is_running(identity: Identity) -> bool:
    """Whether it is still this process that has its pid."""
    return identify(identity.pid) == identity


def await_end(processes: Iterable[Identity], seconds: float = KILLED_S) -> list[Identity]:
    """Those of these processes that have not ended after so many seconds."""
    with _opened(processes) as running:
        _await_exit(running, seconds)
        return list(running.values())


def session_of(leader: Identity) -> list[Identity]:
    """A program that `start` started, first, and the processes that it made in its session: a supervised AFTR is two."""
    found = [identify(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    members = [identity for identity in found if identity and identity != leader and _session(identity) == leader.pid]
    return [leader, *members] if is_running(leader) else []


def _session(identity: Identity) -> int | None:
    with suppress(ProcessLookupError):
        return os.getsid(identity.pid)
    return None


def signal_all(processes: Sequence[Identity], number: signal.Signals) -> None:
    """Signal these processes, in this order, and no stranger that has got one of their pids."""
    with _opened(processes) as running:
        _signal(running, number)


def start(namespace: str | None, command: Sequence[str], process_file: Path, log_file: Path) -> subprocess.Popen[bytes]:
    """Start `command` in a network namespace (None: our own), in a session of its own, with its output going to `log_file`."""
    inside = ["ip", "netns", "exec", namespace, *command] if namespace else command
    with log_file.open("ab") as log:
        return subprocess.Popen(
            ["sh", "-c", RECORD_AND_BECOME, str(process_file), *inside],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def end(processes: Iterable[Identity], grace_s: float = GRACE_S) -> list[Identity]:
    """End these processes: SIGTERM to all, after `grace_s` seconds SIGKILL to the rest. Returns those that still run."""
    with _opened(processes) as running:
        _signal(running, signal.SIGTERM)
        _await_exit(running, grace_s)
        _signal(running, signal.SIGKILL)
        _await_exit(running, KILLED_S)
        return list(running.values())


@contextmanager
def _opened(processes: Iterable[Identity]) -> Iterator[dict[int, Identity]]:
    """A pidfd for each process that still is the one we mean."""
    running: dict[int, Identity] = {}
    try:
        for identity in processes:
            with suppress(ProcessLookupError):
                running[os.pidfd_open(identity.pid)] = identity
        for descriptor, identity in list(running.items()):
            if not is_running(identity):  # asked after the pidfd was opened: the answer cannot become wrong any more
                _forget(running, descriptor)
        yield running
    finally:
        for descriptor in list(running):
            _forget(running, descriptor)


def _forget(running: dict[int, Identity], descriptor: int) -> None:
    del running[descriptor]
    os.close(descriptor)


def _signal(running: dict[int, Identity], number: signal.Signals) -> None:
    for descriptor in running:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, number)


def _await_exit(running: dict[int, Identity], seconds: float) -> None:
    """Drop from `running` what exits within `seconds`."""
    deadline = time.monotonic() + seconds
    exits = select.poll()
    for descriptor in running:
        exits.register(descriptor, select.POLLIN)
    while running and (left := deadline - time.monotonic()) > 0:
        for descriptor, _ in exits.poll(left * 1000):
            exits.unregister(descriptor)
            _forget(running, descriptor)
