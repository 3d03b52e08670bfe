"""The programs of a lab: which runs where, and when each is ready; one of them killed, and started again."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path

from aftr_lab.distribution.telling import tell_b4s
from aftr_lab.errors import LabError
from aftr_lab.network import run
from aftr_lab.plan import (
    B4,
    ROUTER_IPV4,
    ROUTER_IPV6,
    SERVER_ADDRESS,
    STATUS_PORT,
    Aftr,
    Plan,
    bgp_sessions,
)
from aftr_lab.processes import await_end, is_running, recorded, session_of, signal_all, start
from aftr_lab.provisioning import await_host, await_provider, host_command, provider_command
from aftr_lab.ready import Program, answers_echo, answers_http, has_written, succeeds, wait_until
from aftr_lab.record import Record
from aftr_lab.routing import ESTABLISHED, router_command, router_conf, router_sessions
from aftr_lab.stores import StoreNode, cluster_create, sentinel_conf, store_client, store_command, store_url

AFTR_READY_S = 120.0  # a cold compile may take 60 s on an idle machine
PROGRAM_READY_S = 20.0
AS_AFTRS = ("nice", "-n", "-10")  # as AFTRs do themselves: elsewhere the store has processors of its own
TO_THE_PROGRAM = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # which it hands on to its processes itself

Say = Callable[[str], None]


def start_programs(plan: Plan, record: Record, say: Say) -> None:
    """Start every program, then wait for each; B4s that learn their AFTR start when they can be told it.

    Outside they are told later, by others, and not waited for.  Raises `NotReadyError` with what the program said.
    """
    nodes = [node for node in _nodes(plan) if plan.options.with_aftr or node not in _aftrs(plan)]
    learners = {node for b4 in plan.learners for node in (b4.name, b4.host)}
    programs = {node: _start(plan, record, node) for node in nodes if node not in learners}
    for node in plan.provider:
        _await(plan, record, programs[node])
    if plan.provider and not plan.options.outside:
        say("telling Kea which B4 goes to which slot")
        tell_b4s(record, plan, plan.configuration)
    programs |= {node: _start(plan, record, node) for node in nodes if node in learners}
    untold = {b4.name for b4 in plan.told_outside}
    for node in nodes:
        if node not in untold:
            say(f"waiting for {node}")
            _await(plan, record, programs[node])


def start_node(plan: Plan, record: Record, node: str) -> None:
    """Start the program of a node that has none just now, and wait until it is ready. Raises `LabError`."""
    if node not in _nodes(plan):
        raise LabError(f"node {node} has no program: {', '.join(_nodes(plan))} have one")
    before = recorded(record.process_file(node))
    if before and is_running(before):
        raise LabError(f"{node} runs already, as process {before.pid}")
    _await(plan, record, _start(plan, record, node))


def kill_node(record: Record, node: str, number: signal.Signals) -> None:
    """Signal the program of a node with all its processes; after SIGKILL it is gone when this returns. Raises `LabError`.

    A program is told to end, or to read its files again, by its first process alone: it hands that on itself.
    """
    leader = recorded(record.process_file(node))
    processes = session_of(leader) if leader else []
    if not processes:
        raise LabError(f"no program runs in node {node}")
    signal_all(processes[:1] if number in TO_THE_PROGRAM else processes, number)
    if number == signal.SIGKILL and (left := await_end(processes)):
        raise LabError(f"processes {', '.join(str(one.pid) for one in left)} of {node} do not end")


def _nodes(plan: Plan) -> list[str]:
    """Nodes with a program, in the order in which one needs the other."""
    first = [*(["router"] if plan.bgp else []), *_stores(plan), *plan.provider, "internet"]
    return [*first, *(b4.name for b4 in plan.b4s), *_hosts(plan), *_aftrs(plan)]


def _aftrs(plan: Plan) -> dict[str, Aftr]:
    return {aftr.name: aftr for aftr in plan.aftrs}


def _stores(plan: Plan) -> dict[str, StoreNode]:
    return {store.name: store for store in plan.stores}


def _hosts(plan: Plan) -> list[str]:
    """Hosts that ask for their addresses."""
    return [b4.host for b4 in plan.learners]


def _start(plan: Plan, record: Record, node: str) -> Program:
    log = record.log_file(node)
    before = log.stat().st_size if log.exists() else 0
    command = _command(plan, record, node)
    return Program(node, start(plan.namespace(node), command, record.process_file(node), log), log, before)


def _command(plan: Plan, record: Record, node: str) -> list[str]:
    if node == "router":
        assert plan.bgp is not None
        record.router_file.write_text(router_conf(plan.bgp, bgp_sessions(plan.bgp, plan.aftrs)))
        return router_command(record.router_file, record.router_socket)
    if node in _stores(plan):
        return [*AS_AFTRS, *_store_command(plan, record, _stores(plan)[node])]
    if node == "internet":
        return [sys.executable, "-m", "aftr_lab.server", "--address", str(SERVER_ADDRESS)]
    if node in _aftrs(plan):
        return _aftr_command(plan, record, _aftrs(plan)[node])
    if node in plan.provider:
        return provider_command(plan, record, node)
    if node in _hosts(plan):
        return host_command(record, node)
    return _b4_command(record, next(b4 for b4 in plan.b4s if b4.name == node))


def _store_command(plan: Plan, record: Record, store: StoreNode) -> list[str]:
    directory = record.store_directory(store.name)
    directory.mkdir(parents=True, exist_ok=True)
    conf = directory / "sentinel.conf"
    if store.role == "sentinel" and not conf.exists():
        conf.write_text(sentinel_conf())
    assert plan.durability is not None
    return store_command(store, directory, plan.durability)


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
    if plan.durability:
        options |= {"--member": aftr.name, "--store": store_url(plan.store)}
        options |= {"--cluster": plan.lab, "--pool": plan.pool.metadata.name}
    if plan.durability or plan.bgp:
        record.runtime_directory(aftr.name).mkdir(exist_ok=True)
        options["--runtime"] = str(record.runtime_directory(aftr.name))
    program = Path(sys.executable).with_name("aftr")
    return [str(program), "run", *(word for option in options.items() for word in option)]


def _b4_command(record: Record, b4: B4) -> list[str]:
    """Told its AFTR, or a DHCPv6 client with all that a customer's router has beside."""
    told = ["--aftr", str(b4.tunnel_address)]
    if b4.client:
        files = ["--duid", b4.duid.hex(":"), "--folder", str(record.runtime_directory(b4.name))]
        told = ["--client", b4.client, "--lan", "lan", *files]
    return [sys.executable, "-m", "aftr.b4", *told, "--wan", "wan", "-o", "json"]


# ---------------------------------------------------------------- ready
def _await(plan: Plan, record: Record, program: Program) -> None:
    node = program.node
    if node == "router":
        _await_router(plan, record, program)
    elif node in _stores(plan):
        _await_store(plan, _stores(plan)[node], program)
    elif node == "internet":
        url = f"http://{SERVER_ADDRESS}/"
        wait_until(answers_http(plan.namespace("router"), url), f"{url} answers", PROGRAM_READY_S, program)
    elif node in _aftrs(plan):
        _await_aftr(plan, record, _aftrs(plan)[node], program)
    elif node in plan.provider:
        await_provider(plan, program, PROGRAM_READY_S)
    elif node in _hosts(plan):
        await_host(program, PROGRAM_READY_S)
    else:
        wait_until(has_written(program, '"ready"'), f"{node} is up", PROGRAM_READY_S, program)


def _await_router(plan: Plan, record: Record, program: Program) -> None:
    def knows_all() -> bool:
        return sessions <= set(router_sessions(plan.namespace("router"), record.router_socket))

    sessions = {session.name for session in bgp_sessions(plan.bgp, plan.aftrs)} if plan.bgp else set()
    wait_until(knows_all, "the router's BIRD answers", PROGRAM_READY_S, program)


def _await_store(plan: Plan, store: StoreNode, program: Program) -> None:
    """Every AFTR reaches it, and it has found those that it belongs to."""
    for aftr in plan.aftrs:
        answers = succeeds(plan.namespace(aftr.name), "timeout", "1", *store_client(store, "ping"))
        wait_until(answers, f"{store} answers {aftr.name}", PROGRAM_READY_S, program)
    namespace = plan.namespace(store.name)
    if store.role == "replica":
        _await_words(namespace, store, "info replication", "master_link_status:up", program)
    elif store.role == "cluster" and store == plan.stores[-1]:
        if "cluster_known_nodes:1" in run(namespace, store_client(store, "cluster", "info")).splitlines():
            run(namespace, cluster_create())
        for node in plan.stores:
            _await_words(namespace, node, "cluster info", "cluster_state:ok", program)


def _await_words(namespace: str, store: StoreNode, question: str, words: str, program: Program) -> None:
    says = succeeds(namespace, "sh", "-c", f"{' '.join(store_client(store))} {question} | grep -q {words}")
    wait_until(says, f"{store} says {words}", PROGRAM_READY_S, program)


def _await_aftr(plan: Plan, record: Record, aftr: Aftr, program: Program) -> None:
    """It is ready, it and its neighbours know each other, and every B4 reaches its slot: no first packet of a test is lost."""
    namespace = plan.namespace(aftr.name)
    url = f"http://[::1]:{STATUS_PORT}/readyz"
    wait_until(answers_http(namespace, url), f"{aftr.name} answers {url}", AFTR_READY_S, program)

    sessions = [session.name for session in bgp_sessions(plan.bgp, [aftr])] if plan.bgp else []

    def established() -> bool:
        states = router_sessions(plan.namespace("router"), record.router_socket)
        return all(states.get(name) == ESTABLISHED for name in sessions)

    if sessions:
        wait_until(established, f"the router has sessions with {aftr.name}", PROGRAM_READY_S, program)
    for neighbour in (ROUTER_IPV6, ROUTER_IPV4, SERVER_ADDRESS):
        known = answers_echo(namespace, str(neighbour))
        wait_until(known, f"{aftr.name} reaches {neighbour}", PROGRAM_READY_S, program)
    for b4 in plan.b4s:
        reached = answers_echo(plan.namespace(b4.name), str(b4.tunnel_address))
        wait_until(reached, f"{b4.name} reaches {b4.tunnel_address}", PROGRAM_READY_S, program)
