"""`dslite-cluster down`: end what runs, remove what was made, from the record alone; works after a crash of `up` at any point."""

import time
from contextlib import suppress
from pathlib import Path

from aftr_lab.teardown import end_recorded, remove_namespaces, undo_mount
from dslite_cluster.errors import ClusterError
from dslite_cluster.record import BASE, Record

CGROUPS = Path("/sys/fs/cgroup")
EMPTY_S = 10.0  # until the kernel has let go of the last process


def tear_down(record: Record) -> None:
    """Remove the cluster of this record. Raises `ClusterError` if there is none, `LabError` if a program cannot be ended."""
    if not record.exists():
        raise ClusterError(f"there is no cluster {record.name!r}")
    nodes = {node["name"] for node in record.load()["nodes"]} if record.state_file.exists() else set()
    # With the first process of a node everything in it ends. No grace for anything: nothing of it is kept.
    end_recorded((file for file in record.process_files() if file.name in nodes), grace_s=0)
    end_recorded(record.process_files(), grace_s=0)
    remove_namespaces(record.namespaces())
    for node in nodes:
        _remove_cgroups(record.directory / node)
    record.remove()
    undo_mount()
    with suppress(OSError):
        BASE.rmdir()


def _remove_cgroups(disk: Path) -> None:
    """Those of the containers that a node still had: containerd's disk names them, nobody is left to remove them."""
    for container in disk.glob("lib/containerd/io.containerd.grpc.v1.cri/*/*"):
        for cgroup in (CGROUPS / "k8s.io" / container.name, *CGROUPS.glob(f"*/k8s.io/{container.name}")):
            _remove_empty(cgroup)
    for parent in (CGROUPS / "k8s.io", *CGROUPS.glob("*/k8s.io")):
        with suppress(OSError):  # another cluster's are in it
            parent.rmdir()


def _remove_empty(cgroup: Path) -> None:
    deadline = time.monotonic() + EMPTY_S
    while True:
        try:
            cgroup.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise ClusterError(f"cgroup {cgroup} cannot be removed ({error}): look at its cgroup.procs") from error
            time.sleep(0.05)
        else:
            return
