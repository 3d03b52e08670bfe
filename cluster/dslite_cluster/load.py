"""Images into the containerd of a node."""

import subprocess
from collections.abc import Iterable

from dslite_cluster.errors import ClusterError
from dslite_cluster.images import Image
from dslite_cluster.node import inside
from dslite_cluster.plan import Node
from dslite_cluster.record import Record

CTR = ("ctr", "--namespace", "k8s.io")


def containerd_answers(record: Record, node: Node) -> bool:
    """Whether the node's containerd does."""
    done = subprocess.run(inside(record, node, ["ctr", "version"]), capture_output=True, check=False)
    return done.returncode == 0


def load_images(record: Record, node: Node, images: Iterable[Image]) -> None:
    """Bring those that the node lacks, and give each its other names. Raises `ClusterError`."""
    present = set(_ctr(record, node, "images", "list", "--quiet").splitlines())
    for image in images:
        if image.reference not in present:
            with image.archive.open("rb") as archive:
                _ctr(record, node, "images", "import", "-", stdin=archive.fileno())
        _ctr(record, node, "images", "tag", "--force", image.reference, *image.other_references)


def _ctr(record: Record, node: Node, *words: str, stdin: int = subprocess.DEVNULL) -> str:
    done = subprocess.run(
        inside(record, node, [*CTR, *words]), stdin=stdin, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ClusterError(f"`ctr {' '.join(words)}` on {node.name} failed: {done.stderr.strip()}")
    return done.stdout
