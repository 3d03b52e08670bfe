"""Real Redis servers for tests, each in a temporary directory, on loopback or a unix socket; ended with the `with` block."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import mkdtemp

PATIENCE_S = 20.0
QUIET = ("--save", "", "--appendonly", "no", "--enable-debug-command", "yes", "--repl-diskless-sync", "no")


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
        self.tls = "--tls-cert-file" in options
        self._sentinel = sentinel
        self._process: subprocess.Popen[str] | None = None
        self._log: list[str] = []
        self._said = threading.Condition()

    @property
    def url(self) -> str:
        if not self.port:
            return f"unix://{self.path}"
        return f"{'rediss' if self.tls else 'redis'}://127.0.0.1:{self.port}"

    def start(self) -> Server:
        """Begins, empty unless `options` say otherwise; ready when this returns."""
        self._log.clear()
        place = [
            "--tls-port" if self.tls else "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(self.directory),
            "--logfile",
            "",
        ]
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

    def wait_for(self, pattern: str, times: int = 1) -> None:
        """Until so many lines of the log since `start` have `pattern`."""
        with self._said:
            found = self._said.wait_for(
                lambda: sum(bool(re.search(pattern, line)) for line in self._log) >= times, PATIENCE_S
            )
            assert found, f"no {pattern!r} in the log:\n{''.join(self._log)}"

    def until(self, command: str, true_of: Callable[[str], bool]) -> None:
        """Until the answer to a command, asked again and again, is as wanted: what no log tells."""
        end = time.monotonic() + PATIENCE_S
        while not true_of(answer := self.cli(*command.split())):
            assert time.monotonic() < end, f"{command} still says\n{answer}"
            time.sleep(0.02)

    def kill(self) -> None:
        """At once, as a crash."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """It stays connected and answers nothing."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process
        self._process.send_signal(number)

    def cli(self, *words: str) -> str:
        """What redis-cli prints."""
        place = ["-p", str(self.port)] if self.port and not self.tls else ["-s", str(self.path)]
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


# ---------------------------------------------------------------- several that belong together
@contextmanager
def replicated(replicas: int) -> Iterator[tuple[Server, list[Server]]]:
    """A primary and its replicas, in step."""
    with servers((), tcp=True) as (primary,):
        following = ("--replicaof", "127.0.0.1", str(primary.port))
        with servers(*(following for _ in range(replicas)), tcp=True) as found:
            for replica in found:
                replica.wait_for("MASTER <-> REPLICA sync: Finished with success")
            primary.wait_for("Synchronization with replica .* succeeded", times=replicas)
            yield primary, found


@contextmanager
def watched(replicas: int, password: str = "") -> Iterator[tuple[Server, list[Server], list[Server]]]:
    """The same with three Sentinels that call it `pool`, act within half a second, and want their `password`."""
    with replicated(replicas) as (primary, following), directories() as root, ExitStack() as stack:
        sentinels = []
        for number in range(3):
            directory = root / str(number)
            directory.mkdir()
            (directory / "sentinel.conf").write_text(
                f"sentinel monitor pool 127.0.0.1 {primary.port} 2\n"
                "sentinel down-after-milliseconds pool 300\nsentinel failover-timeout pool 1000\n"
                + (f"requirepass {password}\n" if password else "")
            )
            sentinel = Server(directory, port=free_port(), sentinel=True)
            stack.callback(sentinel.kill)
            sentinels.append(sentinel.start())
        for sentinel in sentinels:
            sentinel.wait_for(r"\+sentinel ", times=2)
            sentinel.wait_for(r"\+slave ", times=replicas)
        yield primary, following, sentinels


@contextmanager
def cluster(primaries: int) -> Iterator[list[Server]]:
    """A Redis Cluster: `primaries` nodes, then one replica of each, in the same order."""
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "500", "--cluster-replica-validity-factor", "0")
    with servers(*(options for _ in range(2 * primaries)), tcp=True) as nodes:
        share = -(-16384 // primaries)
        for number, node in enumerate(nodes[:primaries]):
            node.cli("CLUSTER", "ADDSLOTSRANGE", str(number * share), str(min((number + 1) * share, 16384) - 1))
            node.cli("CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))
        for node in nodes[1:]:
            nodes[0].cli("CLUSTER", "MEET", "127.0.0.1", str(node.port))
        for number, node in enumerate(nodes[primaries:]):
            node.until(
                "CLUSTER NODES", lambda text: text.count("connected") >= 2 * primaries and "handshake" not in text
            )
            node.cli("CLUSTER", "REPLICATE", nodes[number].cli("CLUSTER", "MYID"))
        for node in nodes[primaries:]:
            node.wait_for("MASTER <-> REPLICA sync: Finished with success")
        for node in nodes:
            node.until("CLUSTER INFO", lambda text: "cluster_state:ok" in text)
            node.until("CLUSTER NODES", lambda text: text.count("slave") == primaries)
        yield nodes
