"""Worker threads are brought to a halt and go on, whenever that is asked of them."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from aftr.ops import workers as module
from aftr.ops.workers import Workers

TIMES, PATIENCE_S = 2000, 30.0


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What a worker has in the arena; the loop, as far as a halt goes: it notes when it is inside."""
    made = SimpleNamespace(stop=0, event_fd=0, inside=False)

    def loop(*_: Any) -> int:
        made.inside = True
        while made.stop == 0:
            time.sleep(0)
        made.inside = False
        return 0

    monkeypatch.setattr(module, "work", loop)
    monkeypatch.setattr(module, "worker_at", lambda *_: made)
    return made


def halts(workers: Workers, record: SimpleNamespace, times: int) -> None:
    """So many halts, one right after another; in each the worker is outside of the loop."""
    for _ in range(times):
        with workers.halted():
            assert not record.inside


@pytest.mark.parametrize("late", [0.0, 0.2])
def test_a_halt_waits_for_no_worker_that_has_not_begun(
    late: float, record: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that the machine starts late, as a busy one does; and halts faster than a worker turns around."""
    monkeypatch.setattr(module, "cores_for", lambda _: [0])
    monkeypatch.setattr("os.sched_setaffinity", lambda *_: time.sleep(late))
    workers = Workers(SimpleNamespace(memory=None, workers=[0]))  # type: ignore[arg-type]
    workers.start()
    halting = threading.Thread(target=halts, args=(workers, record, TIMES), daemon=True)
    halting.start()
    halting.join(PATIENCE_S)
    assert not halting.is_alive(), "a halt waits for ever"
    workers.end()
    assert not record.inside


def test_a_worker_goes_on_after_a_halt(record: SimpleNamespace) -> None:
    workers = Workers(SimpleNamespace(memory=None, workers=[0]))  # type: ignore[arg-type]
    workers.start()
    halts(workers, record, 1)
    deadline = time.monotonic() + PATIENCE_S
    while not record.inside:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    workers.end()
