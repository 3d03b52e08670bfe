"""`aftr-lab status`: the plan of a lab with what is alive of it."""

from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from aftr_lab.processes import is_running, recorded
from aftr_lab.provider import kea_socket
from aftr_lab.record import Folder, Record
from aftr_lab.routing import ESTABLISHED, router_sessions


def read_status(record: Record) -> dict[str, Any]:
    """The lab's state with its processes. Raises `LabError` when there is no such lab."""
    state = record.load()
    state["config"] = str(record.config_file)
    state["processes"] = read_processes(record, "node")
    for aftr in state["aftrs"]:
        aftr["socket"] = str(record.socket_file(aftr["name"]))
        aftr["runtime"] = str(record.runtime_directory(aftr["name"]))
    if state["provider"]:
        state["provider"]["dhcp"]["socket"] = str(kea_socket(record.runtime_directory("dhcp")))
    if state["bgp"]:
        _add_session_states(state, record)
    return state


def _add_session_states(state: dict[str, Any], record: Record) -> None:
    """What the router says of its sessions just now."""
    states = router_sessions(state["namespaces"]["router"], record.router_socket)
    state["bgp"]["socket"] = str(record.router_socket)
    for session in state["bgp"]["sessions"]:
        members = [states[name] for name in states if name.startswith(f"{session['name']}-")]
        if session["aftr"] is None and ESTABLISHED in members:  # one of those who came is enough to call the link alive
            session["state"] = ESTABLISHED
        else:
            session["state"] = states.get(session["name"], "Down")


def read_processes(folder: Folder, key: str) -> list[dict[str, Any]]:
    """What was started, named by `key`, its pid, whether it runs, and its log."""
    return [_describe_process(folder, key, file.name) for file in sorted(folder.process_files())]


def _describe_process(folder: Folder, key: str, name: str) -> dict[str, Any]:
    identity = recorded(folder.process_file(name))
    return {
        key: name,
        "pid": identity.pid if identity else None,
        "running": identity is not None and is_running(identity),
        "log": str(folder.log_file(name)),
    }


def show_processes(processes: list[dict[str, Any]], key: str, heading: str) -> Table:
    """The same for people."""
    programs = table("Programs", heading, "pid", "state", "log")
    for process in processes:
        word = Text("running", "green") if process["running"] else Text("ended", "red")
        programs.add_row(process[key], str(process["pid"] or ""), word, process["log"])
    return programs


def render(state: dict[str, Any]) -> Group:
    """Tables for people."""
    b4s = table("B4s", "B4", "IPv6 address", "slot", "tunnel address", "group", "host")
    for b4 in state["b4s"]:
        host = f"{b4['host']['name']} {b4['host']['address']}"
        told = (str(b4["slot"]), b4["tunnelAddress"]) if b4["slot"] is not None else ("", "told outside")
        b4s.add_row(b4["name"], b4["address"], *told, b4["group"], host)
    programs = show_processes(state["processes"], "node", "node")
    aftrs = "; ".join(f"{a['name']} {a['access']['address']} {a['internet']['address']}" for a in state["aftrs"])
    head = f"Lab {state['lab']}, pool {state['pool']}: {aftrs}"
    if state["store"]:
        head += f"; store {state['store']['url']} ({state['store']['durability']})"
    tail = f"Run a program in a node: aftr-lab exec host-1 -- curl {state['server']['url']}"
    sessions = [_render_sessions(state["bgp"])] if state["bgp"] else []
    return Group(Text(head, "bold"), b4s, *sessions, programs, Text(tail, "dim"))


def _render_sessions(bgp: dict[str, Any]) -> Table:
    sessions = table("BGP sessions of the router", "session", "AFTR", "announces", "state")
    for session in bgp["sessions"]:
        word = Text(session["state"], "green" if session["state"] == ESTABLISHED else "red")
        sessions.add_row(session["name"], session["address"], ", ".join(session["families"]), word)
    return sessions


def table(title: str, *columns: str) -> Table:
    """An empty table for people."""
    made = Table(title=title, title_justify="left", box=box.SIMPLE)
    for column in columns:
        made.add_column(column, no_wrap=True)
    return made
