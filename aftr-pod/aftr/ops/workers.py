"""The worker threads: pinned, without the GIL while they serve, and brought to a halt when the control thread must change tables."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

from aftr.ops.loop import work
from aftr.state.layout import worker_at
from aftr.state.pod import Pod


def cores_for(workers: int) -> list[int | None]:
    """A core per worker, the highest first; none is pinned when the control thread would be left without a core of its own."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) <= workers:
        return [None] * workers
    return list(allowed[-workers:])


class Worker:
    """One thread in `run_worker`."""

    def __init__(self, pod: Pod, number: int, core: int | None) -> None:
        self.pod, self.number, self.core = pod, number, core
        self.record = worker_at(pod.memory, pod.workers[number])
        self.event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.record.event_fd = self.event
        self.error: BaseException | None = None
        self._go = threading.Event()
        self._turn = threading.Lock()  # of the worker while it may be in compiled code, else of whoever halts it
        self._ending = False
        self._thread = threading.Thread(target=self._serve, name=f"worker-{number}", daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._go.set()
        self._thread.start()

    def _serve(self) -> None:
        try:
            if self.core is not None:
                os.sched_setaffinity(0, {self.core})
            while not self._ending:
                self._go.wait()
                with self._turn:
                    work(
                        self.pod.memory, self.pod.workers[self.number], True, 0, 0, 0, False
                    )  # not a turn, if it is to stop
        except BaseException as error:  # the control thread ends the process and says why
            self.error = error
            raise

    def halt(self) -> None:
        """Ask the worker to leave compiled code at the end of its turn."""
        self._go.clear()
        self.record.stop = 1
        os.eventfd_write(self.event, 1)

    def wake(self) -> None:
        """End its sleep, if it sleeps."""
        os.eventfd_write(self.event, 1)

    def wait_halted(self) -> None:
        """Until it has, or when it has not begun yet."""
        self._turn.acquire()

    def resume(self) -> None:
        """Serve again."""
        self.record.stop = 0
        self._turn.release()
        self._go.set()

    def end(self) -> None:
        """Leave for good."""
        self._ending = True
        self.halt()
        self._go.set()
        self._thread.join()
        os.close(self.event)

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive() and self.error is None


class Workers:
    """All workers of a pod."""

    def __init__(self, pod: Pod) -> None:
        cores = cores_for(len(pod.workers))
        self.all = [Worker(pod, number, core) for number, core in enumerate(cores)]
        self._lock = threading.Lock()

    def start(self) -> None:
        """Begin to serve."""
        for worker in self.all:
            worker.start()

    @contextlib.contextmanager
    def halted(self) -> Iterator[None]:
        """A moment in which no worker touches the arena; microseconds to a few milliseconds long."""
        with self._lock:
            for worker in self.all:
                worker.halt()
            for worker in self.all:
                worker.wait_halted()
            try:
                yield
            finally:
                for worker in self.all:
                    worker.resume()

    def end(self) -> None:
        """Leave for good, once nobody needs them to stand still any more."""
        with self._lock:
            for worker in self.all:
                worker.end()
