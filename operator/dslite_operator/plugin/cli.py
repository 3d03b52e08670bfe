"""`kubectl dslite status|lookup|drain|upgrade|report|force-delete`.  Tables for people, `-o json` for programs."""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from dslite_contract.errors import DsliteError
from dslite_operator.plugin.cluster import Cluster, ClusterError
from dslite_operator.plugin.report import write

Object = dict[str, Any]

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
    """Pools at a glance, or one POOL with its slots."""
    pools = [cluster.pool(pool)] if pool else cluster.pools()
    if output == "json":
        click.echo(
            json.dumps(pools[0]["status"] if pool else {one["metadata"]["name"]: one.get("status") for one in pools})
        )
        return
    console = Console()
    console.print(pool_table(pools))
    for one in pools if pool else ():
        for condition in one.get("status", {}).get("conditions", ()):
            console.print(f"{condition['type']}: {condition['status']}: {condition['message']}", highlight=False)
        console.print(slot_table(one))


def pool_table(pools: list[Object]) -> Table:
    """One line a pool."""
    table = Table("pool", "ready", "pods", "slots", "subscribers", "mappings", "ports", "release")
    for one in pools:
        said, spec = one.get("status", {}), one["spec"]
        ready = next((each["status"] for each in said.get("conditions", ()) if each["type"] == "Ready"), "Unknown")
        pods = f"{said.get('readyReplicas', 0)}/{said.get('wantedReplicas', 0)}"
        numbers = (said.get("subscribers", 0), said.get("mappings", 0))
        ports = f"{said.get('portUtilizationPercent', 0)} %"
        table.add_row(
            one["metadata"]["name"], ready, pods, str(spec["slots"]), *map(str, numbers), ports, said.get("release", "")
        )
    return table


def slot_table(pool: Object) -> Table:
    """One line a slot."""
    table = Table("slot", "pod", "epoch", "address", "prefixes", "subscribers", "mappings", "ports")
    for slot in pool.get("status", {}).get("slots", ()):
        table.add_row(
            str(slot["slot"]), slot.get("pod", "–"), str(slot.get("epoch", "")), slot["address"], ", ".join(slot["prefixes"]),
            str(slot.get("subscribers", "")), str(slot.get("mappings", "")), f"{slot.get('portUtilizationPercent', 0)} %",
        )  # fmt: skip
    return table


@main.command()
@click.argument("pool")
@click.argument("address")
@click.argument("port", type=click.IntRange(0, 65535))
@click.argument("protocol", type=click.Choice(["tcp", "udp", "icmp"]))
@output
@click.pass_obj
def lookup(cluster: Cluster, pool: str, address: str, port: int, protocol: str, output: str) -> None:
    """Who has an external endpoint now."""
    found: list[Object] = []
    for pod in cluster.pods(pool):
        answer = cluster.aftr(pod["metadata"]["name"], "lookup", address, str(port), protocol)
        found += answer if isinstance(answer, list) else [answer]
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
    for pod in cluster.all_pods_on(node):
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        there = Cluster(namespace, click.get_current_context().find_root().params.get("context"))
        patiently(there, name)
        click.echo(f"pod {namespace}/{name} hands its slots over and ends")
    click.echo(f"node {node} is cordoned and has no AFTR that stays")


def patiently(cluster: Cluster, pod: str) -> None:
    """While a disruption budget refuses, another pod is not yet ready: wait for it."""
    deadline = time.monotonic() + GONE_S
    while True:
        try:
            return cluster.evict(pod)
        except ClusterError as error:
            if "disruption budget" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(LOOK_S)


@main.command()
@click.argument("pool")
@click.option("--release", default=lambda: version("dslite-operator"), help="Default: this plugin's own.")
@click.pass_obj
def upgrade(cluster: Cluster, pool: str, release: str) -> None:
    """Bring a POOL to a release: its pods are replaced in turn, after handing their slots over."""
    before = cluster.pool(pool)["spec"].get("release") or "none"
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
    mappings = found.get("status", {}).get("mappings", 0)
    if not yes:
        click.confirm(f"pool {pool} had {mappings} live mappings when last seen: end them?", abort=True)
    cluster.without_finalizer(found)
    click.echo(f"pool {pool} goes")


if __name__ == "__main__":
    sys.exit(main())
