"""`aftr run`: the pod's process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import click
import structlog

from aftr.io.device import MODES, Interface
from aftr.ops.agent import Agent, Options, digest
from aftr.ops.attachments import wait_for_devices
from aftr.ops.cli import DEFAULT_SOCKET
from aftr.ops.faulthook import read_hooks
from aftr.ops.reload import Apply, decide, mappings_lost
from aftr.ops.supervise import supervise
from aftr.ops.warm import warm
from aftr.ops.watch import Changed, fingerprint, watch
from dslite_contract.errors import DsliteError
from dslite_contract.load import load_config

PRIORITY = -10  # packets, and the heartbeat that lets them flow, go before other programs


class UsageError(DsliteError):
    """Flags that do not fit together."""


def parse_interfaces(
    named: tuple[str, ...], access: str | None, internet: str | None, sides: Mapping[str, str]
) -> tuple[Interface, ...]:
    """Devices of the pool's interfaces: `--interface NAME=DEV` for each, or `--access` and `--internet` (the same: one-armed)."""
    if named and (access or internet):
        raise UsageError("give either --interface NAME=DEV for every interface, or --access and --internet")
    if not named:
        if not access or not internet:
            raise UsageError(
                "give --access DEV and --internet DEV, or --interface NAME=DEV for every interface of the pool"
            )
        if access == internet:
            return (Interface("both", "both", access),)
        return (Interface("access", "access", access), Interface("internet", "internet", internet))
    pairs = dict(one.split("=", 1) for one in named if "=" in one)
    if len(pairs) != len(named) or set(pairs) != set(sides):
        raise UsageError(
            f"--interface wants NAME=DEV for each of {', '.join(sorted(sides)) or 'the interfaces in spec.interfaces'}"
        )
    return tuple(Interface(name, side, pairs[name]) for name, side in sides.items())


def parse_slots(text: str | None, count: int) -> tuple[int, ...] | None:
    """`0-3,7` → numbers; None for all."""
    if text is None:
        return None
    numbers: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        digits = first + (last or first)
        if not (first and digits.isascii() and digits.isdigit()) or int(last or first) < int(first):
            raise UsageError(f"--slots {text!r}: numbers and ranges such as 0-3,7")
        numbers |= set(range(int(first), int(last or first) + 1))
    if max(numbers) >= count:
        raise UsageError(f"--slots {text!r}: the pool has slots 0 to {count - 1}")
    return tuple(sorted(numbers))


def parse_port(address: str | None) -> int:
    """The port of a status address, 0 without one."""
    port = (address or ":0").rpartition(":")[2]
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise UsageError(f"--status {address!r}: an address and a port are needed, such as [::]:9464")
    return int(port)


def set_up_logging(as_json: bool) -> None:
    """Structured lines on stderr."""
    renderer = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso"), renderer],
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),  # a line at once: BIRD writes there too
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )


@contextlib.asynccontextmanager
async def serve(
    agent: Agent, address: str | None, socket: Path, seen: Mapping[Path, bytes | None]
) -> AsyncIterator[None]:
    """Status port and configuration watch, as long as the context lasts."""
    from aftr.ops.status import serve_status  # noqa: PLC0415  half a second of imports, while packets flow already

    async def changed() -> None:
        try:
            decision = decide(
                agent.configuration, agent.options.config, lambda old, new: mappings_lost(agent.pod, old, new)
            )
        except DsliteError as error:
            agent.refuse(str(error))
            return
        if isinstance(decision, Apply):
            agent.apply(decision.configuration, digest(agent.options.config))
        else:
            agent.refuse("; ".join(decision.sentences))

    watched: dict[Path, Changed] = {agent.options.config: changed}
    if agent.options.secrets is not None:
        watched[agent.options.secrets] = agent.log_in
    async with serve_status(agent, address, socket), watch(watched, seen):
        yield


@click.command("run")
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="AftrPool and B4Groups, YAML.",
)
@click.option(
    "--interface", "named", multiple=True, metavar="NAME=DEV", help="Device of an interface in spec.interfaces."
)
@click.option("--access", metavar="DEV", help="Device of the access (IPv6) side.")
@click.option("--internet", metavar="DEV", help="Device of the internet (IPv4) side; the same DEV for one-armed.")
@click.option(
    "--mode", type=click.Choice(["auto", *MODES]), default="auto", show_default=True, help="How to open the devices."
)
@click.option(
    "--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Packet threads, one core each."
)
@click.option("--slots", metavar="LIST", help="Slots to serve, such as 0-3,7; default all.")
@click.option(
    "--status",
    "address",
    metavar="HOST:PORT",
    help="Serve /metrics, /status, /healthz and /readyz here, e.g. [::]:9464.",
)
@click.option(
    "--socket",
    type=click.Path(path_type=Path),
    default=DEFAULT_SOCKET,
    show_default=True,
    help="Socket for `aftr show`.",
)
@click.option("--member", default="", metavar="NAME", envvar="AFTR_MEMBER", help="Our name in the pool (spec.store).")
@click.option("--store", default="", metavar="URL", envvar="AFTR_STORE", help="The pool's Redis, redis://HOST:PORT.")
@click.option("--cluster", default="", metavar="ID", envvar="AFTR_CLUSTER", help="Where the pool is: marks its store.")
@click.option(
    "--pool", "pool_id", default="", metavar="ID", envvar="AFTR_POOL", help="Which pool it is: marks its store."
)
@click.option(
    "--runtime", type=click.Path(file_okay=False, path_type=Path), help="Folder for BIRD's files, this process's own."
)
@click.option(
    "--network-status",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File with a pod's network-status annotation, which names the devices of spec.interfaces.",
)
@click.option(
    "--secrets", type=click.Path(file_okay=False, path_type=Path), help="Mounted Secrets: store, bgp/NAME, operator."
)
@click.option("--huge-pages/--no-huge-pages", default=True, help="Tables and frames on huge pages.")
@click.option("--log-json", is_flag=True, help="Log lines as JSON.")
def run(
    config: Path, named: tuple[str, ...], access: str | None, internet: str | None, mode: str, workers: int, slots: str | None,
    address: str | None, socket: Path, member: str, store: str, cluster: str, pool_id: str, runtime: Path | None,
    network_status: Path | None, secrets: Path | None, huge_pages: bool, log_json: bool,
) -> None:  # fmt: skip
    """Serve softwires: decapsulate, translate, forward."""
    set_up_logging(log_json)
    log = structlog.get_logger()
    pool = load_config(config).pool
    sides = {one.name: one.side for one in pool.spec.interfaces}
    if pool.spec.store is not None and not (member and (store or secrets) and address):
        raise UsageError(
            "the pool has spec.store: give --member NAME, --store URL (or --secrets DIR) and --status HOST:PORT"
        )
    if network_status is not None:
        named = tuple(f"{name}={device}" for name, device in wait_for_devices(pool, network_status).items())
    hooks = read_hooks(os.environ)
    interfaces = parse_interfaces(named, access, internet, sides)
    wanted, port = parse_slots(slots, pool.spec.slots), parse_port(address)
    warm(log.info)
    status = supervise("aftr.ops.status")
    if status is not None:
        sys.exit(status)
    with contextlib.suppress(OSError):  # without CAP_SYS_NICE
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
    options = Options(
        config, interfaces, mode, workers, wanted, huge_pages, member, store, secrets, port, runtime, hooks, cluster, pool_id,
    )  # fmt: skip
    seen = {path: fingerprint(path) for path in (config, secrets) if path is not None}
    agent = Agent(options)
    asyncio.run(agent.run(lambda agent: serve(agent, address, socket, seen)))


@click.command("kernels")
def kernels() -> None:
    """Compile the packet path for this machine, once; later starts take a second."""
    click.echo(f"kernels: ready after {warm(click.echo):.1f} s")
