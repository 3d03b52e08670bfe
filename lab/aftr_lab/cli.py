"""The command line `aftr-lab`."""

import json
import os
import re
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import click
from rich.console import Console

from aftr_lab.build import bring_up, plan_of
from aftr_lab.chaos.crowd import crowd_of
from aftr_lab.chaos.faults import FAULTS
from aftr_lab.chaos.report import failures
from aftr_lab.chaos.scene import scene_of
from aftr_lab.chaos.strike import strike_out
from aftr_lab.distribution.distribute import distribute as distribute_b4s
from aftr_lab.errors import LabError
from aftr_lab.plan import Options
from aftr_lab.programs import kill_node, start_node
from aftr_lab.provider import CLIENTS, Client
from aftr_lab.record import Record
from aftr_lab.status import read_status, render
from aftr_lab.stores import STORE_KINDS, StoreKind
from aftr_lab.teardown import tear_down
from dslite_contract.errors import DsliteError

EXIT_REFUSED = 1
REPORT_WIDTH = 120  # when no terminal says how wide it is
LAB_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
SIGNALS = [number.name.removeprefix("SIG") for number in signal.Signals]
MODES = ["auto", "native", "generic", "packet"]


class RefusingGroup(click.Group):
    """Prints an error that a user can meet as its sentence, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except DsliteError as error:
            click.echo(f"aftr-lab: {error}", err=True)
            sys.exit(EXIT_REFUSED)


def _lab_name(ctx: click.Context, param: click.Parameter, value: str) -> str:
    if not LAB_NAME.fullmatch(value):
        raise click.BadParameter(f"{value!r} is not a name: lower-case letters, digits and hyphens, at most 31")
    return value


def _show(state: dict[str, Any]) -> None:
    width = None if sys.stdout.isatty() else REPORT_WIDTH
    Console(emoji=False, highlight=False, width=width).print(render(state))  # ":100:" is part of an address


@click.group(cls=RefusingGroup)
@click.option(
    "--lab", default="lab", show_default=True, envvar="DSLITE_LAB", callback=_lab_name, help="Name of the lab."
)
@click.pass_context
def main(ctx: click.Context, lab: str) -> None:
    """A DS-Lite network on this machine, in network namespaces, from the YAML of an AftrPool and its B4Groups."""
    ctx.obj = Record(lab)


@main.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--b4s", type=click.IntRange(0, 1000), default=2, show_default=True, help="B4s, each with a host behind it."
)
@click.option(
    "--access-mtu", type=click.IntRange(1280, 3400), default=1500, show_default=True, help="MTU of the IPv6 links."
)
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Worker threads of the AFTR.")
@click.option(
    "--mode", type=click.Choice(MODES), default="auto", show_default=True, help="How the AFTR drives its interfaces."
)
@click.option(
    "--store",
    type=click.Choice(STORE_KINDS),
    help="The Redis behind the pool's store: by default one for `embedded`, one with a replica for a `secretRef`.",
)
@click.option(
    "--client",
    "clients",
    type=click.Choice(CLIENTS),
    multiple=True,
    help="B4s learn their AFTR from the lab's Kea and DNS by this DHCPv6 client; given several times: they take them in turn.",
)
@click.option("--without-aftr", is_flag=True, hidden=True, help="Everything but the AFTR's program.")
@click.option("--outside", is_flag=True, help="No AFTRs and no store: they are elsewhere, and so is who tells Kea.")
@click.pass_obj
def up(
    record: Record,
    file: Path,
    b4s: int,
    access_mtu: int,
    workers: int,
    mode: str,
    store: StoreKind | None,
    clients: tuple[Client, ...],
    without_aftr: bool,
    outside: bool,
) -> None:
    """Build the lab of FILE and wait until packets can flow."""
    options = Options(b4s, access_mtu, workers, mode, not without_aftr, store, clients, outside)
    console = Console(stderr=True)
    with console.status("building") as spinner:
        bring_up(record.name, file, options, spinner.update)
    _show(read_status(record))


@main.command()
@click.option(
    "-o", "output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Form of the output."
)
@click.pass_obj
def status(record: Record, output: str) -> None:
    """Show the lab: namespaces, bridges, gateways, slots, B4s, BGP sessions, store, programs."""
    state = read_status(record)
    if output == "json":
        click.echo(json.dumps(state, indent=2))
    else:
        _show(state)


@main.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("node")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_obj
def exec_(record: Record, node: str, command: tuple[str, ...]) -> NoReturn:
    """Run COMMAND in a NODE, such as host-1, b4-1, aftr-1, router, store, access or internet."""
    namespaces = record.load()["namespaces"]
    if node not in namespaces:
        raise LabError(f"there is no node {node!r} in lab {record.name!r}: it has {', '.join(namespaces)}")
    words = command[1:] if command[0] == "--" else command
    os.execvp("ip", ["ip", "netns", "exec", namespaces[node], *words])


@main.command()
@click.argument("node")
@click.pass_obj
def start(record: Record, node: str) -> None:
    """Start the program of NODE again, such as aftr-1, router or store, and wait until it is ready."""
    start_node(plan_of(record), record, node)


@main.command()
@click.argument("node")
@click.option(
    "--signal",
    "name",
    type=click.Choice(SIGNALS, case_sensitive=False),
    default="KILL",
    show_default=True,
    help="Signal.",
)
@click.pass_obj
def kill(record: Record, node: str, name: str) -> None:
    """Send the program of NODE a signal: KILL and STOP to all its processes at once, TERM, INT and HUP to the first."""
    record.load()
    kill_node(record, node, signal.Signals[f"SIG{name}"])


@main.command()
@click.option(
    "--kills", type=click.IntRange(1), default=5, show_default=True, help="AFTRs to strike, one after another."
)
@click.option(
    "--fault",
    "faults",
    type=click.Choice(list(FAULTS)),
    multiple=True,
    default=("crash",),
    show_default=True,
    help="What is done to them (lab/README.md); given several times: one after the other.",
)
@click.option(
    "--durability",
    type=click.Choice(["none", "memory", "replicated", "disk"]),
    help="Refuse a lab whose pool has another one.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Decides which AFTRs, and how.")
@click.option("--b4s", type=click.IntRange(1, 4096), default=64, show_default=True, help="B4s of the crowd.")
@click.option("--rate", type=click.FloatRange(1), default=500, show_default=True, help="New flows a second.")
@click.option(
    "--flows",
    type=click.IntRange(1),
    default=10_000,
    show_default=True,
    help="Flows that are asked for again after each fault: the newest.",
)
@click.option(
    "-o", "output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Form of the output."
)
@click.pass_obj
def chaos(
    record: Record,
    kills: int,
    faults: tuple[str, ...],
    durability: str | None,
    seed: int,
    b4s: int,
    rate: float,
    flows: int,
    output: str,
) -> None:
    """Strike AFTRs of this lab under load, and judge from outside what it cost.  Ends with 1 when anything was lost."""
    plan, state = plan_of(record), read_status(record)
    if durability and durability != plan.durability:
        raise LabError(
            f"--durability {durability}, but the pool of this lab has {plan.durability}: bring up another one"
        )
    nat = plan.pool.spec.nat
    with (
        crowd_of(state, b4s, nat.timeouts.udp_seconds - 1, nat.port_block.hold_down_seconds) as crowd,
        scene_of(plan, record, state, crowd, rate=rate, flows=flows, seed=seed) as scene,
    ):
        report = strike_out(scene, faults, kills, partial(click.echo, err=True)).summary(scene.load)
    report = {"faults": faults, "durability": plan.durability, **report}
    if output == "json":
        click.echo(json.dumps(report, indent=2))
    else:
        click.echo("\n".join(f"{name}: {value}" for name, value in report.items()))
    sys.exit(int(bool(failures(report, plan.options.workers))))


@main.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "-o", "output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Form of the output."
)
@click.pass_obj
def distribute(record: Record, file: Path, output: str) -> None:
    """Bring the lab to a changed FILE: its groups' B4s go where it says, at their next renewals.  Returns when all have moved."""
    report = distribute_b4s(record, file, partial(click.echo, err=output == "json"))
    if output == "json":
        click.echo(json.dumps(report, indent=2))
    else:
        click.echo(f"all are where they should be; sessions lost: {report['sessionsLost']}")


@main.command()
@click.pass_obj
def down(record: Record) -> None:
    """Remove the lab, also what a crashed `up` left."""
    if not record.exists():
        click.echo(f"there is no lab {record.name!r}")
        return
    tear_down(record)


if __name__ == "__main__":
    main()
