"""Asking the cluster's API server, as a person would."""

import json
import subprocess
from pathlib import Path
from typing import Any

from dslite_cluster.binaries import binary
from dslite_cluster.errors import ClusterError


def kubectl(kubeconfig: Path, *words: str, stdin: str | None = None) -> str:
    """What kubectl prints. Raises `ClusterError` with what it complains about."""
    command = [str(binary("kubectl")), "--kubeconfig", str(kubeconfig), *words]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"`kubectl {' '.join(words)}` failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def answers(kubeconfig: Path, *words: str) -> bool:
    """Whether kubectl succeeds."""
    try:
        kubectl(kubeconfig, *words)
    except ClusterError:
        return False
    return True


def apply(kubeconfig: Path, documents: list[dict[str, Any]]) -> None:
    """Create or change these objects."""
    listing = {"apiVersion": "v1", "kind": "List", "items": documents}
    kubectl(kubeconfig, "apply", "--server-side", "-f", "-", stdin=json.dumps(listing))


def node_is_ready(kubeconfig: Path, node: str) -> bool:
    """Whether the kubelet says so."""
    condition = 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'
    try:
        return kubectl(kubeconfig, "get", "node", node, "-o", condition) == "True"
    except ClusterError:
        return False
