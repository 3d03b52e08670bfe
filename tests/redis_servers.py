"""Real Redis servers for tests, each in a temporary directory, on loopback or a unix socket; ended with the `with` block."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import mkdtemp

PATIENCE_S = 20.0
QUIET = ("--save", "", "--appendonly", "no", "--enable-debug-command", "yes", "--repl-diskless-sync-delay", "0")


def free_port() -> int:
    """A TCP port that nobody has, with room for the cluster bus 10,000 above."""
    while True:
        with socket.socket() as one, socket.socket() as bus:
            one.bind(("127.0.0.1", 0))
            port = int(one.getsockname()[1])
            if port < 55000:
                try:
                    bus.bind(("127.0.0.1", port + 10000))
                except OSError:
                    continue
                return port


class Server:
    """One process. `port` 0: only a unix socket."""

    def __init__(self, directory: Path, *options: str, port: int = 0, sentinel: bool = False) -> None:
        self.directory, self.port, self.options = directory, port, options
        self.path = directory / "redis.sock"
        self._sentinel = sentinel
        self._process: subprocess.Popen[str] | None = None
        self._log: list[str] = []
        self._said = threading.Condition()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}" if self.port else f"unix://{self.path}"

    def start(self) -> Server:
        """Begins, empty unless `options` say otherwise; ready when this returns."""
        self._log.clear()
        place = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory), "--logfile", ""]
        if self._sentinel:
            command = ["redis-sentinel", str(self.directory / "sentinel.conf"), *place]
        else:
            command = ["redis-server", *place, "--unixsocket", str(self.path), *QUIET, *self.options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        threading.Thread(target=self._read, args=(self._process,), daemon=True).start()
        self.wait_for(r"Sentinel ID is" if self._sentinel else r"[Rr]eady to accept connections")
        return self

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout
        for line in process.stdout:
            with self._said:
                self._log.append(line)
                self._said.notify_all()
        process.stdout.close()

    def wait_for(self, pattern: str) -> None:
        """Until a line of the log since `start` has `pattern`."""
        with self._said:
            found = self._said.wait_for(lambda: any(re.search(pattern, line) for line in self._log), PATIENCE_S)
            assert found, f"no {pattern!r} in the log:\n{''.join(self._log)}"

    def kill(self) -> None:
        """At once, as a crash."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """It stays connected and answers nothing."""
        self._signal(subprocess.signal.SIGSTOP)  # type: ignore[attr-defined]

    def go_on(self) -> None:
        self._signal(subprocess.signal.SIGCONT)  # type: ignore[attr-defined]

    def _signal(self, number: int) -> None:
        assert self._process
        self._process.send_signal(number)

    def cli(self, *words: str) -> str:
        """What redis-cli prints."""
        place = ["-p", str(self.port)] if self.port else ["-s", str(self.path)]
        return subprocess.run(
            ["redis-cli", *place, *words], check=True, capture_output=True, text=True, timeout=PATIENCE_S
        ).stdout.strip()


@contextmanager
def directories() -> Iterator[Path]:
    """A short path: a unix socket's may have 107 bytes."""
    root = Path(mkdtemp(prefix="dslite-redis-"))
    try:
        yield root
    finally:
        shutil.rmtree(root)


@contextmanager
def servers(*all_options: Sequence[str], tcp: bool = False) -> Iterator[list[Server]]:
    """One running server for each sequence of options."""
    with directories() as root, ExitStack() as stack:
        found = []
        for number, options in enumerate(all_options):
            directory = root / str(number)
            directory.mkdir()
            server = Server(directory, *options, port=free_port() if tcp else 0)
            stack.callback(server.kill)
            found.append(server.start())
        yield found


@contextmanager
def server(*options: str, tcp: bool = False) -> Iterator[Server]:
    """One running server."""
    with servers(options, tcp=tcp) as (one,):
        yield one
