"""The command line `dslite-cluster`."""

import json
import os
import re
import signal
import sys
from typing import Any, NoReturn

import click
from rich.console import Console

from aftr_lab.record import Record as LabRecord
from dslite_cluster.again import signal_program, start_again
from dslite_cluster.binaries import build_binaries
from dslite_cluster.build import bring_up, free_port
from dslite_cluster.errors import ClusterError
from dslite_cluster.images import build_images
from dslite_cluster.load import load_images
from dslite_cluster.node import inside
from dslite_cluster.outside import join
from dslite_cluster.plan import Plan, make_plan
from dslite_cluster.record import Record
from dslite_cluster.status import is_whole, read_status, render
from dslite_cluster.teardown import tear_down
from dslite_contract.errors import DsliteError

EXIT_REFUSED = 1
REPORT_WIDTH = 120  # when no terminal says how wide it is
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
SIGNALS = [number.name.removeprefix("SIG") for number in signal.Signals]


class RefusingGroup(click.Group):
    """Prints an error that a user can meet as its sentence, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except DsliteError as error:
            click.echo(f"dslite-cluster: {error}", err=True)
            sys.exit(EXIT_REFUSED)


def _name(ctx: click.Context, param: click.Parameter, value: str) -> str:
    if not NAME.fullmatch(value):
        raise click.BadParameter(f"{value!r} is not a name: lower-case letters, digits and hyphens, at most 31")
    return value


def _plan_of(record: Record) -> Plan:
    """The plan of a cluster that is up, from its record."""
    state = record.load()
    return make_plan(state["cluster"], len(state["nodes"]), state["devices"], state["port"])


@click.group(cls=RefusingGroup)
@click.option(
    "--cluster", default="dev", show_default=True, envvar="DSLITE_CLUSTER", callback=_name, help="Name of the cluster."
)
@click.pass_context
def main(ctx: click.Context, cluster: str) -> None:
    """A real Kubernetes on this machine, in namespaces, with dslite's images loaded."""
    ctx.obj = Record(cluster)


@main.command()
def build() -> None:
    """Build what is missing of its programs, and start none."""
    with Console(stderr=True).status("building") as spinner:
        build_binaries(spinner.update)


@main.command()
@click.option(
    "--nodes", type=click.IntRange(0, 4), default=1, show_default=True, help="Kubelets; 0: the control plane alone."
)
@click.option(
    "--devices", type=click.IntRange(0, 64), default=8, show_default=True, help="Of each side, on each node, for pods."
)
@click.pass_obj
def up(record: Record, nodes: int, devices: int) -> None:
    """Build what is missing, start the cluster, load the images; on one that is up already, load what changed.

    The last line of the output is the path of its kubeconfig.
    """
    console = Console(stderr=True)
    with console.status("building") as spinner:
        build_binaries(spinner.update)
        images = build_images(spinner.update) if nodes else []
        if record.exists() and not is_whole(read_status(record)):
            tear_down(record)
        if not record.exists():
            bring_up(make_plan(record.name, nodes, devices, free_port()), record, images, spinner.update)
        plan = _plan_of(record)
        if (len(plan.nodes), plan.devices) != (nodes, devices):
            here = f"{len(plan.nodes)} nodes and {plan.devices} devices"
            raise ClusterError(f"cluster {record.name!r} is up with {here}: run `dslite-cluster down` first")
        for node in plan.nodes:
            load_images(record, node, images)
    click.echo(record.kubeconfig)


@main.command()
@click.option(
    "-o", "output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Form of the output."
)
@click.pass_obj
def status(record: Record, output: str) -> None:
    """Show the cluster: nodes, namespaces, programs and their logs."""
    state = read_status(record)
    if output == "json":
        click.echo(json.dumps(state, indent=2))
    else:
        Console(highlight=False, width=None if sys.stdout.isatty() else REPORT_WIDTH).print(render(state))


@main.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("part")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_obj
def exec_(record: Record, part: str, command: tuple[str, ...]) -> NoReturn:
    """Run COMMAND on a node, such as node-1, or in the network namespace of plane or fabric."""
    plan = _plan_of(record)
    words = list(command[1:] if command[0] == "--" else command)
    node = next((node for node in plan.nodes if node.name == part), None)
    if node is None and part not in plan.parts():
        raise ClusterError(f"there is no {part!r} in cluster {record.name!r}: it has {', '.join(plan.parts())}")
    whole = inside(record, node, words) if node else ["ip", "netns", "exec", plan.namespace(part), *words]
    os.execvp(whole[0], whole)


@main.command()
@click.argument("program")
@click.pass_obj
def start(record: Record, program: str) -> None:
    """Start PROGRAM again, such as kube-apiserver or node-1.kubelet, and wait until it does its work."""
    start_again(_plan_of(record), record, program)


@main.command()
@click.argument("program")
@click.option(
    "--signal",
    "name",
    type=click.Choice(SIGNALS, case_sensitive=False),
    default="KILL",
    show_default=True,
    help="Signal.",
)
@click.pass_obj
def kill(record: Record, program: str, name: str) -> None:
    """Send PROGRAM a signal: kube-apiserver, node-1.kubelet, …; node-1 loses its power."""
    record.load()
    signal_program(record, program, signal.Signals[f"SIG{name}"])


@main.command("join")
@click.argument("lab")
@click.pass_obj
def join_(record: Record, lab: str) -> None:
    """Join the router of LAB, made by `aftr-lab --lab LAB up FILE --outside`, to the devices of the nodes."""
    join(_plan_of(record), LabRecord(lab).load())


@main.command()
@click.pass_obj
def down(record: Record) -> None:
    """Remove the cluster, also what a crashed `up` left."""
    if not record.exists():
        click.echo(f"there is no cluster {record.name!r}")
        return
    tear_down(record)


if __name__ == "__main__":
    main()
