"""Downloads that are always under way: curl on every host, behind its B4.  Each must end whole, whatever is done to the AFTRs."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from typing import Any

from aftr_lab.server import digest_of

SIZE, RATE = 2 << 20, "300k"  # bytes, bytes/s for curl: seven seconds each
PATIENCE_S = 90  # of curl, for all of it


@dataclass
class Transfers:
    """One per host, again and again."""

    state: dict[str, Any]
    completed: int = 0
    broken: list[str] = field(default_factory=list)
    ending: bool = False  # those under way are the last
    _running: dict[str, subprocess.Popen[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._digest = digest_of(SIZE)
        self._hosts = {b4["host"]["name"]: b4["host"]["namespace"] for b4 in self.state["b4s"]}

    def begin(self) -> None:
        """A transfer on every host that has none, unless it is time to end."""
        fetch = f"curl -sS --limit-rate {RATE} -m {PATIENCE_S} {self.state['server']['url']}bytes/{SIZE} | sha256sum"
        for host, namespace in self._hosts.items():
            if host not in self._running and not self.ending:
                command = ["ip", "netns", "exec", namespace, "bash", "-o", "pipefail", "-c", fetch]
                self._running[host] = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
                )

    def judge(self) -> None:
        """What has ended: whole, or broken."""
        for host, process in list(self._running.items()):
            if process.poll() is not None:
                self._end(host)

    @property
    def is_idle(self) -> bool:
        """Whether none is under way."""
        return not self._running

    def _end(self, host: str) -> None:
        process = self._running.pop(host)
        said, _ = process.communicate()
        if process.returncode == 0 and said.split()[0] == self._digest:
            self.completed += 1
        else:
            self.broken.append(f"{host}: curl ended with {process.returncode}: {said.strip()}")

    def close(self) -> None:
        """End what still runs."""
        for process in self._running.values():
            process.terminate()
            process.communicate()
        self._running.clear()
