"""`aftr-lab status`: the plan of a lab with what is alive of it."""

from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from aftr_lab.processes import is_running, recorded
from aftr_lab.record import Record


def read_status(record: Record) -> dict[str, Any]:
    """The lab's state with its processes. Raises `LabError` when there is no such lab."""
    state = record.load()
    folder = record.directory / "processes"
    state["config"] = str(record.config_file)
    state["processes"] = [_describe_process(record, file.name) for file in sorted(folder.iterdir())]
    for aftr in state["aftrs"]:
        aftr["socket"] = str(record.socket_file(aftr["name"]))
    return state


def _describe_process(record: Record, node: str) -> dict[str, Any]:
    identity = recorded(record.process_file(node))
    return {
        "node": node,
        "pid": identity.pid if identity else None,
        "running": identity is not None and is_running(identity),
        "log": str(record.log_file(node)),
    }


def render(state: dict[str, Any]) -> Group:
    """Tables for people."""
    b4s = _table("B4s", "B4", "IPv6 address", "slot", "tunnel address", "group", "host")
    for b4 in state["b4s"]:
        host = f"{b4['host']['name']} {b4['host']['address']}"
        b4s.add_row(b4["name"], b4["address"], str(b4["slot"]), b4["tunnelAddress"], b4["group"], host)
    programs = _table("Programs", "node", "pid", "state", "log")
    for process in state["processes"]:
        word = Text("running", "green") if process["running"] else Text("ended", "red")
        programs.add_row(process["node"], str(process["pid"] or ""), word, process["log"])
    aftrs = "; ".join(f"{a['name']} {a['access']['address']} {a['internet']['address']}" for a in state["aftrs"])
    head = f"Lab {state['lab']}, pool {state['pool']}: {aftrs}"
    tail = f"Run a program in a node: aftr-lab exec host-1 -- curl {state['server']['url']}"
    return Group(Text(head, "bold"), b4s, programs, Text(tail, "dim"))


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE)
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table
