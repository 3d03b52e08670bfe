"""The programs of a lab: which runs where, and when each is ready."""

import sys
from collections.abc import Callable
from pathlib import Path

from aftr_lab.plan import B4, ROUTER_IPV4, ROUTER_IPV6, SERVER_ADDRESS, STATUS_PORT, Aftr, Plan
from aftr_lab.processes import start
from aftr_lab.ready import Program, answers_echo, answers_http, has_written, wait_until
from aftr_lab.record import Record

AFTR_READY_S = 120.0  # a cold compile may take 60 s on an idle machine
PROGRAM_READY_S = 20.0

Say = Callable[[str], None]


def start_programs(plan: Plan, record: Record, say: Say) -> None:
    """Start every program at once, then wait for each. Raises `NotReadyError` with what the program said."""
    server = _start(plan, record, "internet", _server_command())
    aftrs = [(aftr, _start(plan, record, aftr.name, _aftr_command(plan, record, aftr))) for aftr in _wanted_aftrs(plan)]
    b4s = [(b4, _start(plan, record, b4.name, _b4_command(b4))) for b4 in plan.b4s]
    url = f"http://{SERVER_ADDRESS}/"
    wait_until(answers_http(plan.namespace("router"), url), f"{url} answers", PROGRAM_READY_S, server)
    for b4, program in b4s:
        wait_until(has_written(program.log, '"ready"'), f"{b4.name} is up", PROGRAM_READY_S, program)
    for aftr, program in aftrs:
        say(f"waiting for {aftr.name}")
        _await_aftr(plan, aftr, program)
        _await_ways(plan, aftr, program)


def _start(plan: Plan, record: Record, node: str, command: list[str]) -> Program:
    log = record.log_file(node)
    return Program(node, start(plan.namespace(node), command, record.process_file(node), log), log)


def _wanted_aftrs(plan: Plan) -> tuple[Aftr, ...]:
    return plan.aftrs if plan.options.with_aftr else ()


def _server_command() -> list[str]:
    return [sys.executable, "-m", "aftr_lab.server", "--address", str(SERVER_ADDRESS)]


def _aftr_command(plan: Plan, record: Record, aftr: Aftr) -> list[str]:
    options = {
        "--config": str(record.config_file),
        "--access": "access",
        "--internet": "internet",
        "--workers": str(plan.options.workers),
        "--mode": plan.options.mode,
        "--status": f"[::]:{STATUS_PORT}",
        "--socket": str(record.socket_file(aftr.name)),
    }
    program = Path(sys.executable).with_name("aftr")
    return [str(program), "run", *(word for option in options.items() for word in option)]


def _b4_command(b4: B4) -> list[str]:
    return [sys.executable, "-m", "aftr.b4", "--aftr", str(b4.tunnel_address), "--wan", "wan", "-o", "json"]


def _await_aftr(plan: Plan, aftr: Aftr, program: Program) -> None:
    url = f"http://[::1]:{STATUS_PORT}/readyz"
    wait_until(answers_http(plan.namespace(aftr.name), url), f"{aftr.name} answers {url}", AFTR_READY_S, program)


def _await_ways(plan: Plan, aftr: Aftr, program: Program) -> None:
    """The AFTR knows its neighbours, and each B4 reaches its slot's tunnel address: the first packet of a test is not lost."""
    for neighbour in (ROUTER_IPV6, ROUTER_IPV4, SERVER_ADDRESS):
        known = answers_echo(plan.namespace(aftr.name), str(neighbour))
        wait_until(known, f"{aftr.name} reaches {neighbour}", PROGRAM_READY_S, program)
    for b4 in plan.b4s:
        reached = answers_echo(plan.namespace(b4.name), str(b4.tunnel_address))
        wait_until(reached, f"{b4.name} reaches {b4.tunnel_address}", PROGRAM_READY_S, program)
