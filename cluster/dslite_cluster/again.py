"""Faults: one program of a cluster killed, and started again."""

import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

from aftr_lab.processes import Identity, await_end, identify, is_running, recorded, signal_all
from aftr_lab.ready import answers_http, wait_until
from dslite_cluster import controlplane, node
from dslite_cluster.build import PROGRAM_READY_S, READY, start_node_program, start_plane_program
from dslite_cluster.errors import ClusterError
from dslite_cluster.kubectl import answers
from dslite_cluster.load import containerd_answers
from dslite_cluster.plan import Plan
from dslite_cluster.record import Record


def signal_program(record: Record, name: str, number: signal.Signals) -> None:
    """Signal a program, named as in `status`; after SIGKILL it is gone when this returns. Raises `ClusterError`.

    Not what it has started: a containerd that crashes leaves its containers running.
    """
    starter = recorded(record.process_file(name))
    if starter is None or not is_running(starter):
        raise ClusterError(f"no program {name} runs: `dslite-cluster status` shows which do")
    processes = [*_entered(starter), starter] if "." in name else [starter]
    signal_all(processes, number)
    if number == signal.SIGKILL and (left := await_end(processes)):
        raise ClusterError(f"processes {', '.join(str(one.pid) for one in left)} of {name} do not end")


def _entered(starter: Identity) -> list[Identity]:
    """The program that `nsenter` has started inside a node, and waits for."""
    children = Path(f"/proc/{starter.pid}/task/{starter.pid}/children").read_text().split()
    return [identity for pid in children if (identity := identify(int(pid)))]


def start_again(plan: Plan, record: Record, name: str) -> None:
    """Start a program that has ended, named as in `status`, and wait until it does its work. Raises `ClusterError`, `NotReadyError`."""
    before = recorded(record.process_file(name))
    if before and is_running(before):
        raise ClusterError(f"{name} runs already, as process {before.pid}")
    if name in controlplane.PROGRAMS:
        program = start_plane_program(plan, record, name)
        wait_until(partial(answers, record.kubeconfig, *READY), "the API server is ready", PROGRAM_READY_S, program)
        return
    one = next((one for one in plan.nodes if name in [f"{one.name}.{part}" for part in node.PROGRAMS]), None)
    if one is None:
        raise ClusterError(f"{name} cannot be started again: {', '.join(controlplane.PROGRAMS)} and node-1.kubelet can")
    part = name.removeprefix(f"{one.name}.")
    healthy: Callable[[], bool] = partial(containerd_answers, record, one)
    if part in node.HEALTH:
        healthy = answers_http(plan.namespace(one.name), node.HEALTH[part])
    wait_until(healthy, f"{name} works", PROGRAM_READY_S, start_node_program(record, one, part))
