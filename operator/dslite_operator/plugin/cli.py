"""`kubectl dslite status|lookup|drain|rebalance|upgrade|report|force-delete`.  Tables for people, `-o json` for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table

from dslite_contract.errors import DsliteError
from dslite_contract.schema import AftrPool, B4Group
from dslite_operator.distribution.config_maps import COMPONENT, MAP_FILE, text_in
from dslite_operator.distribution.ground import drains_of, spelled
from dslite_operator.distribution.maps import map_of, text_of
from dslite_operator.names import DRAIN_SLOTS, child
from dslite_operator.observe import read_asked
from dslite_operator.plugin import moving
from dslite_operator.plugin.cluster import Cluster, ClusterError, NotThereError
from dslite_operator.plugin.report import write
from dslite_operator.plugin.tables import group_table, pool_table, slot_table
from dslite_operator.status import ranges, serving

Object = dict[str, Any]
Kind = TypeVar("Kind", AftrPool, B4Group)

GONE_S, LOOK_S = 300.0, 1.0
output = click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)


class Group(click.Group):
    """Errors of ours as one line."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except DsliteError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=Group)
@click.option("-n", "--namespace", help="Namespace; default: the context's.")
@click.option("--context", help="Context of the kubeconfig.")
@click.version_option(version("dslite-operator"))
@click.pass_context
def main(shell: click.Context, /, namespace: str | None, context: str | None) -> None:
    """DS-Lite AFTRs in a cluster."""
    shell.obj = Cluster(namespace, context)


@main.command()
@click.argument("pool", required=False)
@output
@click.pass_obj
def status(cluster: Cluster, pool: str | None, output: str) -> None:
    """Pools at a glance, or one POOL with its slots and groups."""
    pools = [cluster.pool(pool)] if pool else cluster.pools()
    if output == "json":
        statuses = {one["metadata"]["name"]: one.get("status", {}) for one in pools}
        click.echo(json.dumps(statuses[pool] if pool else statuses))
        return
    console = Console()
    console.print(pool_table(pools))
    for one in pools if pool else ():
        for condition in one.get("status", {}).get("conditions", ()):
            console.print(f"{condition['type']}: {condition['status']}: {condition['message']}", highlight=False)
        console.print(slot_table(one))
        console.print(group_table(cluster.groups_of(one["metadata"]["name"])))


@main.command()
@click.argument("pool")
@click.argument("address")
@click.argument("port", type=click.IntRange(0, 65535))
@click.argument("protocol", type=click.Choice(["tcp", "udp", "icmp"]))
@output
@click.pass_obj
def lookup(cluster: Cluster, pool: str, address: str, port: int, protocol: str, output: str) -> None:
    """Who has an external endpoint now."""
    slots = cluster.pool(pool)["spec"]["slots"]
    found, known, silent = asked(cluster, pool, "lookup", address, str(port), protocol)
    for reason in silent:
        click.echo(f"Warning: {reason}", err=True)
    if not found and (missing := [number for number in range(slots) if number not in known]):
        raise ClusterError(
            f"it is not known who has {address} {port} {protocol}: no AFTR that answers serves slots {ranges(missing)}, ask again"
        )
    if output == "json":
        click.echo(json.dumps(found))
        return
    table = Table("slot", "softwire", "internal", "external", "age", "idle")
    for one in found:
        table.add_row(
            str(one["slot"]), one["softwire"], f"{one['internalAddress']}:{one['internalPort']}",
            f"{one['externalAddress']}:{one['externalPort']}", f"{one['ageSeconds']} s", f"{one['idleSeconds']} s",
        )  # fmt: skip
    Console().print(table if found else f"nobody has {address} {port} {protocol} now")


def asked(cluster: Cluster, pool: str, *words: str) -> tuple[list[Object], set[int], list[str]]:
    """What the AFTRs of a pool list, of which slots that is all, and why some say nothing.  A pod without a process has nothing to list."""
    found, known, silent = list[Object](), set[int](), list[str]()
    for pod in cluster.aftrs(pool):
        if pod["status"]["phase"] != "Running":
            continue
        name = pod["metadata"]["name"]
        try:
            before = slots_of(cluster, name)
            found += cluster.aftr(name, *words)
            known |= before & slots_of(cluster, name)  # what came meanwhile was perhaps with nobody who was asked
        except ClusterError as error:
            silent.append(f"pod {name}: {error}")
    return found, known, silent


def slots_of(cluster: Cluster, pod: str) -> set[int]:
    """The slots that a pod serves."""
    return serving([{"slots": cluster.aftr(pod, "show", "slots")}])


@main.group()
def drain() -> None:
    """Move slots away, without losing a binding."""


@drain.command("pod")
@click.argument("pod")
@click.pass_obj
def drain_pod(cluster: Cluster, pod: str) -> None:
    """Let a POD hand its slots over and end; its Deployment makes another."""
    cluster.evict(pod)
    click.echo(f"pod {pod} hands its slots over and ends")


@drain.command("node")
@click.argument("node")
@click.pass_obj
def drain_node(cluster: Cluster, node: str) -> None:
    """Cordon a NODE and drain its AFTRs, one after another."""
    cluster.cordon(node)
    for pod in cluster.all_pods_on(node, "aftr"):
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        with suppress(NotThereError):  # it ended while another was waited for
            patiently(cluster.within(namespace), pod)
            click.echo(f"pod {namespace}/{name} hands its slots over and ends")
    wait_for_none(cluster, node)
    click.echo(f"node {node} is cordoned and has no AFTR")
    for pod in cluster.all_pods_on(node, "store"):
        where = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        click.echo(
            f"store {where} is still on it: once its pool is ready, `kubectl drain {node}` (docs/runbook.md, *Drain*)"
        )


@drain.command("slot")
@click.argument("slot", metavar="POOL/SLOT")
@click.option("--yes", is_flag=True, help="Move B4s that use it, and end their sessions.")
@click.option("--end", is_flag=True, help="End the drain: B4s may be told the slot again.")
@click.pass_obj
def drain_slot(cluster: Cluster, slot: str, yes: bool, end: bool) -> None:
    """Tell all B4s of a SLOT another one: what that costs first, and how far it is when asked again."""
    name, number = moving.place_of(slot)
    pool, now = cluster.pool(name), datetime.now(UTC).replace(microsecond=0)
    drains, every = drains_of(pool), cluster.groups_of(name)
    groups = list(modelled(every))
    shares = moving.shares_of(number, groups)
    unknown = [*unattended(cluster, now), *moving.not_counted(every)]
    others = list(moving.staying(number, pool, every))
    if end:
        if drains.pop(number, None) is None:
            raise ClusterError(f"slot {slot} is not being drained")
        lines = [f"the drain of slot {slot} is over"]
    elif number in drains:
        click.echo("\n".join(moving.progress(number, drains[number], shares, now, unknown, others)))
        return
    else:
        moving.check(model(pool, AftrPool), number, drains, [one for one, _ in groups])
        lines = [*moving.beforehand(number, shares, now), *unknown, *others]
        if (why := moving.refusal(slot, shares, unknown)) and not yes:
            raise ClusterError("\n".join([*lines, why]))
        lines.append(f"slot {slot} is drained: the same command shows how far it is, with --end it is over")
        drains[number] = now
    version = pool["metadata"]["resourceVersion"]
    cluster.patch_pool(name, {"metadata": {"annotations": {DRAIN_SLOTS: spelled(drains)}, "resourceVersion": version}})
    click.echo("\n".join(lines))


def unattended(cluster: Cluster, now: datetime) -> Iterator[str]:
    """That no operator is at work, or that this is not known."""
    try:
        yield from moving.unattended(cluster.leases(), now)
    except ClusterError as error:
        yield f"whether an operator is at work is not known: {error}"


def modelled(groups: list[Object]) -> Iterator[tuple[B4Group, Object]]:
    """B4Groups that a DHCPv6 server tells, with their statuses, but for those that are wrong."""
    for one in groups:
        found = read_asked(one).model
        if isinstance(found, B4Group) and found.spec.dhcp is not None:
            yield found, one.get("status", {})


def model(body: Object, kind: type[Kind]) -> Kind:
    """An object as the contract has it; raises ClusterError."""
    asked = read_asked(body)
    if not isinstance(asked.model, kind):
        raise ClusterError("; ".join(asked.wrong))
    return asked.model


@main.command()
@click.argument("group")
@click.pass_obj
def rebalance(cluster: Cluster, group: str) -> None:
    """Level the load of a GROUP over its slots once: B4s of the fullest are told others, so many in an hour."""
    most = model(cluster.group(group), B4Group).spec.max_moves_per_hour
    found, name = cluster.config_map(child(group, COMPONENT)), f"{cluster.namespace}/{group}"
    asked = replace(map_of(text_in(found), name), chosen=(), levelled=0)
    metadata = {"resourceVersion": found["metadata"]["resourceVersion"]}
    cluster.patch_config_map(found["metadata"]["name"], {"metadata": metadata, "data": {MAP_FILE: text_of(asked)}})
    click.echo(
        f"B4Group {group}: load is levelled, at most {most:,} B4s an hour; `kubectl describe b4g {group}` says which move, "
        "when, and how many sessions they lose"
    )


def patience(pods: list[Object]) -> float:
    """Seconds in which pods like these end, and others are ready instead: what they have to hand over takes its time."""
    return GONE_S + max(float(pod["spec"].get("terminationGracePeriodSeconds", 0)) for pod in pods)


def patiently(cluster: Cluster, pod: Object) -> None:
    """While a disruption budget refuses, another pod is not yet ready: wait for it."""
    deadline = time.monotonic() + patience([pod])
    while True:
        try:
            return cluster.evict(pod["metadata"]["name"])
        except ClusterError as error:
            if "disruption budget" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(LOOK_S)


def wait_for_none(cluster: Cluster, node: str) -> None:
    """AFTRs that were evicted need their store until they have ended."""
    begun = time.monotonic()
    while found := cluster.all_pods_on(node, "aftr"):
        if time.monotonic() - begun > (most := patience(found)):
            names = ", ".join(pod["metadata"]["name"] for pod in found)
            raise ClusterError(f"node {node} is cordoned, and {names} did not end in {most:g} s: look at its log")
        time.sleep(LOOK_S)


@main.command()
@click.argument("pool")
@click.option("--release", default=lambda: version("dslite-operator"), help="Default: this plugin's own.")
@click.pass_obj
def upgrade(cluster: Cluster, pool: str, release: str) -> None:
    """Bring a POOL to a release: its pods are replaced in turn, after handing their slots over."""
    before = cluster.pool(pool)["spec"].get("release") or "none"
    if before == release:
        raise ClusterError(
            f"pool {pool} asks for release {release} already: a new image comes with a tag of its own, by `helm upgrade` with "
            f"`--set image.aftr.tag=TAG`, and then `kubectl dslite upgrade {pool} --release TAG`"
        )
    cluster.patch_pool(pool, {"spec": {"release": release}})
    click.echo(f"pool {pool}: release {before} → {release}; `kubectl dslite status {pool}` shows how far it is")


@main.command()
@click.option(
    "--file", "path", type=click.Path(path_type=Path), default=Path("dslite-report.tar.gz"), show_default=True
)
@click.pass_obj
def report(cluster: Cluster, path: Path) -> None:
    """Collect what support needs, without passwords and subscribers' addresses."""
    click.echo(f"{path}: {write(cluster, path)} files")


@main.command("force-delete")
@click.argument("pool")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def force_delete(cluster: Cluster, pool: str, yes: bool) -> None:
    """Let a deleted POOL go without waiting for its mappings, also when the operator is gone."""
    found = cluster.pool(pool)
    if "deletionTimestamp" not in found["metadata"]:
        raise ClusterError(f"pool {pool} is not being deleted: run `kubectl delete aftr {pool}` first")
    mappings = found.get("status", {}).get("mappings", "an unknown number of")
    if not yes:
        click.confirm(f"pool {pool} had {mappings} live mappings when last seen: end them?", abort=True)
    cluster.without_finalizer(found)
    click.echo(f"pool {pool} goes")


if __name__ == "__main__":
    sys.exit(main())
