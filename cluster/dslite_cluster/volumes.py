"""Volumes for pods that keep something: folders on each node's disk, as a provider's local disks are. Pure."""

from pathlib import Path
from typing import Any

from dslite_cluster.plan import Node

CLASS = "local"
HOME = Path("/var/lib/volumes")  # as the node sees it
NUMBER, SIZE = 8, "1Gi"  # of a node


def storage_class() -> dict[str, Any]:
    """The class of claims that name none; nothing provisions its volumes, they are there."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    }


def volume_folders() -> list[Path]:
    """Where a node has them."""
    return [HOME / str(number) for number in range(NUMBER)]


def volumes(node: Node) -> list[dict[str, Any]]:
    """A node's PersistentVolumes."""
    return [_volume(node, folder) for folder in volume_folders()]


def _volume(node: Node, folder: Path) -> dict[str, Any]:
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node.name]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"{node.name}-{folder.name}"},
        "spec": {
            "capacity": {"storage": SIZE},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": CLASS,
            "local": {"path": str(folder)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }
