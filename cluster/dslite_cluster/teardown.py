"""`dslite-cluster down`: end what runs, remove what was made, from the record alone; works after a crash of `up` at any point."""

from contextlib import suppress

from aftr_lab.teardown import end_recorded, remove_namespaces, undo_mount
from dslite_cluster import cgroups
from dslite_cluster.errors import ClusterError
from dslite_cluster.record import BASE, Record


def tear_down(record: Record) -> None:
    """Remove the cluster of this record. Raises `ClusterError` if there is none, `LabError` if a program cannot be ended."""
    if not record.exists():
        raise ClusterError(f"there is no cluster {record.name!r}")
    nodes = {node["name"] for node in record.load()["nodes"]} if record.state_file.exists() else set()
    # With the first process of a node everything in it ends. No grace for anything: nothing of it is kept.
    end_recorded((file for file in record.process_files() if file.name in nodes), grace_s=0)
    end_recorded(record.process_files(), grace_s=0)
    remove_namespaces(record.namespaces())
    disks = [
        record.directory / node for node in nodes
    ]  # of containerd: it names containers that nobody is left to remove
    cgroups.remove(place.name for disk in disks for place in disk.glob("lib/containerd/io.containerd.grpc.v1.cri/*/*"))
    record.remove()
    undo_mount()
    with suppress(OSError):
        BASE.rmdir()
