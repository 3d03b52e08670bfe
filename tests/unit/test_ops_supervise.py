"""The parent of a serving process: what it does when that ends, in a real program."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PROGRAM = """
import os, sys, time
import structlog
from aftr.ops import supervise
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
status = supervise.supervise("json")
if status is not None:
    sys.exit(status)
print(os.getpid(), flush=True)
if len(sys.argv) > 1:
    sys.exit(int(sys.argv[1]))
while True:
    time.sleep(0.05)  # not signal.pause(), which a signal just before it does not wake
"""


@contextmanager
def program(*words: str) -> Iterator[subprocess.Popen[str]]:
    command = ["env", "--default-signal=INT", sys.executable, "-c", PROGRAM, *words]  # a shell's `&` ignores it
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as parent:
        try:
            yield parent
        finally:
            parent.kill()


def serving(parent: subprocess.Popen[str]) -> int:
    """The pid that the next child prints."""
    assert parent.stdout is not None
    return int(parent.stdout.readline())


def gone(pid: int) -> None:
    """Wait until a process that is not our child has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    assert select.select([descriptor], [], [], 10)[0]
    os.close(descriptor)


def test_a_killed_child_is_replaced() -> None:
    with program() as parent:
        first = serving(parent)
        os.kill(first, signal.SIGKILL)
        second = serving(parent)
        assert second not in (first, parent.pid)
        os.kill(second, signal.SIGSEGV)
        assert serving(parent) not in (first, second)
        parent.send_signal(signal.SIGTERM)
        assert parent.wait(10) == 0


@pytest.mark.parametrize("status", [0, 1, 78])
def test_a_child_that_ends_by_itself_ends_the_parent_with_its_status(status: int) -> None:
    with program(str(status)) as parent:
        serving(parent)
        assert parent.wait(10) == status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_are_passed_on(number: signal.Signals) -> None:
    with program() as parent:
        child = serving(parent)
        parent.send_signal(number)
        parent.wait(10)
        gone(child)


def test_a_hangup_before_the_child_can_read_files_ends_nothing() -> None:
    with program() as parent:
        child = serving(parent)
        parent.send_signal(signal.SIGHUP)
        os.kill(child, signal.SIGKILL)
        parent.send_signal(signal.SIGHUP)
        assert serving(parent) != child
        parent.send_signal(signal.SIGTERM)
        assert parent.wait(10) == 0


def test_a_child_ends_with_its_parent() -> None:
    with program() as parent:
        child = serving(parent)
        parent.kill()
        parent.wait(10)
        gone(child)


def test_it_gives_up_when_killed_too_often() -> None:
    with program() as parent:
        for _ in range(6):
            os.kill(serving(parent), signal.SIGKILL)
        assert parent.wait(10) == 1
        assert "killed too often" in (parent.stderr.read() if parent.stderr else "")


def test_the_module_for_later_is_imported_by_the_parent(tmp_path: Path) -> None:
    (tmp_path / "afterwards.py").write_text(f"import pathlib; pathlib.Path({str(tmp_path / 'seen')!r}).touch()")
    with program() as parent:
        serving(parent)
        parent.send_signal(signal.SIGTERM)
        parent.wait(10)
    text = PROGRAM.replace('"json"', '"afterwards"')
    done = subprocess.run([sys.executable, "-c", text, "0"], cwd=tmp_path, capture_output=True, timeout=20, check=False)
    assert done.returncode == 0
    assert (tmp_path / "seen").exists()
