"""A cluster for tests: `dslite-cluster` as a user runs it, and kubectl as a user calls it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dslite_cluster.binaries import binary
from dslite_cluster.tools import REPOSITORY

DSLITE_CLUSTER = Path(sys.executable).with_name("dslite-cluster")
UP_S = 3600.0  # what the cache lacks is built first


def dslite_cluster(name: str, *words: str, timeout: float = UP_S) -> subprocess.CompletedProcess[str]:
    """Run the command line `dslite-cluster --cluster NAME …`."""
    command = [str(DSLITE_CLUSTER), "--cluster", name, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


@dataclass(frozen=True)
class Cluster:
    """A cluster that is up."""

    name: str
    kubeconfig: str

    @property
    def nodes(self) -> list[str]:
        """Their names."""
        return [node["metadata"]["name"] for node in self.get("nodes")["items"]]

    def kubectl(self, *words: str, stdin: str | None = None, timeout: float = 180) -> str:
        """What kubectl prints; fails the test if it fails."""
        command = [str(binary("kubectl")), "--kubeconfig", self.kubeconfig, *words]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout, check=False)
        assert done.returncode == 0, f"kubectl {' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout

    def shell(self, line: str, timeout: float = 360) -> str:
        """What a command line prints that a person types in a clone of this repository; fails the test if it fails."""
        programs = [str(binary("kubectl").parent), str(binary("helm").parent), str(DSLITE_CLUSTER.parent)]
        environment = {**os.environ, "KUBECONFIG": self.kubeconfig, "PATH": ":".join([*programs, os.environ["PATH"]])}
        command = ["bash", "-o", "pipefail", "-c", line]
        done = subprocess.run(
            command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=timeout, check=False
        )
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        return done.stdout

    def get(self, *words: str) -> Any:
        """Objects as JSON."""
        return json.loads(self.kubectl("get", *words, "-o", "json"))

    def run(self, part: str, *command: str) -> str:
        """What a program prints on a node."""
        done = dslite_cluster(self.name, "exec", part, "--", *command, timeout=60)
        assert done.returncode == 0, f"{' '.join(command)} on {part}: {done.stdout}{done.stderr}"
        return done.stdout


@contextmanager
def cluster_up(name: str, *options: str) -> Iterator[Cluster]:
    """A cluster for the time of the block; its `down` must succeed. Its name gets the pid: test runs do not meet."""
    name = f"{name}-{os.getpid()}"
    up = dslite_cluster(name, "up", *options)
    assert up.returncode == 0, up.stderr
    try:
        yield Cluster(name, up.stdout.splitlines()[-1])
    finally:
        down = dslite_cluster(name, "down")
        assert down.returncode == 0, down.stderr
