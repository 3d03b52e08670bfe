"""What a cluster consists of, on disk before any of it is made, so that `down` finds all of it after a crash of `up`.

Everything of a cluster is under `/var/lib/dslite-cluster/NAME/`:

    state.json        the plan: namespaces, nodes; written whole before the first namespace
    kubeconfig        for people and tests on this machine
    plane/            certificates, configuration and data of the control plane
    node-N/           the disk of a node: lib and log are its /var/lib and /var/log
    shared/           what all nodes have as /var/lib/cni/shared: addresses of devices are given out once in the cluster
    processes/PART    `/proc/PID/stat` of each program, written by that very process before it becomes the program
    log/PART          what it printed
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aftr_lab.record import Folder
from dslite_cluster.errors import ClusterError
from dslite_cluster.plan import Node

BASE = Path("/var/lib/dslite-cluster")


@dataclass(frozen=True)
class Record(Folder):
    """The files of the cluster `name`."""

    base: Path = BASE

    @property
    def kubeconfig(self) -> Path:
        return self.directory / "kubeconfig"

    @property
    def plane(self) -> Path:
        return self.directory / "plane"

    def disk(self, node: Node) -> Path:
        return self.directory / node.name

    @property
    def shared(self) -> Path:
        return self.directory / "shared"

    def load(self) -> dict[str, Any]:
        """The state as written by `up`. Raises `ClusterError` when there is no such cluster."""
        try:
            state: dict[str, Any] = json.loads(self.state_file.read_text())
        except FileNotFoundError:
            raise ClusterError(f"there is no cluster {self.name!r}: make one with `dslite-cluster up`") from None
        return state
