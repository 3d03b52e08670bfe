"""`dslite-cluster status`: the plan of a cluster with what is alive of it."""

from typing import Any

from rich.console import Group
from rich.text import Text

from aftr_lab.status import read_processes, show_processes, table
from dslite_cluster.record import Record


def read_status(record: Record) -> dict[str, Any]:
    """The cluster's state with its processes. Raises `ClusterError` when there is no such cluster."""
    state = record.load()
    state["kubeconfig"] = str(record.kubeconfig)
    state["processes"] = read_processes(record, "name")
    return state


def is_whole(state: dict[str, Any]) -> bool:
    """Whether all that was started still runs."""
    return bool(state["processes"]) and all(process["running"] for process in state["processes"])


def render(state: dict[str, Any]) -> Group:
    """Tables for people."""
    nodes = table("Nodes", "node", "addresses", "pods", "namespace")
    for node in state["nodes"]:
        namespace = state["namespaces"][node["name"]]
        nodes.add_row(node["name"], ", ".join(node["addresses"]), ", ".join(node["pods"]), namespace)
    programs = show_processes(state["processes"], "name", "program")
    head = f"Cluster {state['cluster']}: {state['devices']} devices of each side on each node"
    return Group(Text(head, "bold"), nodes, programs, Text(f"export KUBECONFIG={state['kubeconfig']}", "dim"))
