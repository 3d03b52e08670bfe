"""The Redis servers of each durability, started here and ended with the `with` block."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import redis

from aftr.store.settings import Durability

PATIENCE_S = 10.0
OPTIONS = ("--save", "", "--maxmemory-policy", "noeviction")  # as the lab's, and the pool's embedded one
ON_DISK = ("--appendonly", "yes", "--appendfsync", "always")


def free_port() -> int:
    """A TCP port that nobody has."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def server(directory: Path, port: int, *options: str) -> Iterator[redis.Redis]:
    """One running Redis on a port of loopback; answers when this returns."""
    directory.mkdir()
    place = ("--bind", "127.0.0.1", "--port", str(port), "--dir", str(directory))
    process = subprocess.Popen(["redis-server", *place, *OPTIONS, *options], stdout=subprocess.DEVNULL)
    client = redis.Redis(port=port)
    try:
        wait_for(client, "server", lambda found: True)
        yield client
    finally:
        client.close()
        process.terminate()
        process.wait()


def wait_for(client: redis.Redis, section: str, fits: Any) -> None:
    """Until a section of INFO is as wanted."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        with suppress(redis.ConnectionError, redis.exceptions.BusyLoadingError):
            if fits(client.info(section)):
                return
        time.sleep(0.02)
    raise RuntimeError(f"Redis is not as wanted after {PATIENCE_S:g} s: INFO {section} fits not")


@contextmanager
def store(durability: Durability) -> Iterator[redis.Redis]:
    """The primary: alone in memory, with one replica, or with each write on disk."""
    with TemporaryDirectory(prefix="dslite-bench-") as root, ExitStack() as stack:
        port = free_port()
        options = ON_DISK if durability is Durability.DISK else ()
        primary = stack.enter_context(server(Path(root, "primary"), port, *options))
        if durability is Durability.REPLICATED:
            following = ("--replicaof", "127.0.0.1", str(port), "--repl-diskless-sync-delay", "0")
            replica = stack.enter_context(server(Path(root, "replica"), free_port(), *following))
            wait_for(replica, "replication", lambda found: found["master_link_status"] == "up")
        yield primary
