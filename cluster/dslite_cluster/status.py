"""`dslite-cluster status`: the plan of a cluster with what is alive of it."""

from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from aftr_lab.processes import is_running, recorded
from dslite_cluster.record import Record


def read_status(record: Record) -> dict[str, Any]:
    """The cluster's state with its processes. Raises `ClusterError` when there is no such cluster."""
    state = record.load()
    state["kubeconfig"] = str(record.kubeconfig)
    state["processes"] = [_describe_process(record, file.name) for file in sorted(record.process_files())]
    return state


def _describe_process(record: Record, name: str) -> dict[str, Any]:
    identity = recorded(record.process_file(name))
    return {
        "name": name,
        "pid": identity.pid if identity else None,
        "running": identity is not None and is_running(identity),
        "log": str(record.log_file(name)),
    }


def is_whole(state: dict[str, Any]) -> bool:
    """Whether all that was started still runs."""
    return bool(state["processes"]) and all(process["running"] for process in state["processes"])


def render(state: dict[str, Any]) -> Group:
    """Tables for people."""
    nodes = _table("Nodes", "node", "addresses", "pods", "namespace")
    for node in state["nodes"]:
        namespace = state["namespaces"][node["name"]]
        nodes.add_row(node["name"], ", ".join(node["addresses"]), ", ".join(node["pods"]), namespace)
    programs = _table("Programs", "program", "pid", "state", "log")
    for process in state["processes"]:
        word = Text("running", "green") if process["running"] else Text("ended", "red")
        programs.add_row(process["name"], str(process["pid"] or ""), word, process["log"])
    head = f"Cluster {state['cluster']}: {state['devices']} devices of each side on each node"
    return Group(Text(head, "bold"), nodes, programs, Text(f"export KUBECONFIG={state['kubeconfig']}", "dim"))


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE)
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table
