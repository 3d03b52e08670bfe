"""`python -m bench.store`: proof 5 of issue 4, as a table and as JSON."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import json
import os
import pathlib
import sys
import time
from collections.abc import Iterator
from typing import Any

import structlog
from rich.console import Console
from rich.table import Table

from aftr.ops.run import PRIORITY
from aftr.ops.warm import warm
from aftr.store.settings import Durability
from bench.machine import RESULTS, about
from bench.store import measures
from bench.store.figures import aims

FLOWS, SLOTS = 1 << 20, 16
console = Console(width=140)


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.store", description=__doc__)
    names = [one.value for one in Durability]
    parser.add_argument(
        "--durability", nargs="*", choices=names, default=names, help="only these; none to leave them out"
    )
    parser.add_argument(
        "--flows", type=lambda text: 1 << int(text), default=FLOWS, metavar="BITS", help="2^BITS flows (default 20)"
    )
    parser.add_argument("--slots", type=int, default=SLOTS, help="of the pool, for rates and delays (default 16)")
    parser.add_argument(
        "--takeover-slots", type=int, nargs="*", default=[1], help="takeovers of all flows in so many slots"
    )
    parser.add_argument("--out", type=pathlib.Path, help="JSON file (default bench/results/<date>-store.json)")
    return parser.parse_args()


def measure(chosen: argparse.Namespace) -> dict[str, Any]:
    """Everything that was chosen, one after another."""
    moments = measures.Moments()
    structlog.configure(processors=[structlog.processors.add_log_level, moments, structlog.dev.ConsoleRenderer()])
    result: dict[str, Any] = {"durabilities": {}, "takeovers": [], "failed": []}
    begun = time.monotonic()
    with console.status("kernels") as status:
        warm(lambda _: None)
        for name in chosen.durability:
            status.update(f"durability {name}; {time.monotonic() - begun:.0f} s")
            with noted(result):
                found = asyncio.run(measures.durability(Durability(name), chosen.flows, chosen.slots))
                result |= {key: found.pop(key) for key in ("established", "redis") if key in found}
                result["durabilities"][name] = found
        for slots in chosen.takeover_slots:
            status.update(f"takeover, {slots} slot(s); {time.monotonic() - begun:.0f} s")
            with noted(result):
                result["takeovers"].append(asyncio.run(measures.takeover(chosen.flows, slots, moments)))
    return result


@contextlib.contextmanager
def noted(result: dict[str, Any]) -> Iterator[None]:
    """A part that fails leaves its sentence, and the others are measured all the same."""
    try:
        yield
    except RuntimeError as error:
        result["failed"].append(str(error))
        console.print(f"[red]failed[/] {error}")


# ---------------------------------------------------------------- showing
def show(result: dict[str, Any]) -> None:
    """Tables and aims."""
    show_durabilities(result["durabilities"])
    if "established" in result:
        one = result["established"]
        mpps = ", ".join(f"{value:.1f} {name}" for name, value in one["mpps"].items())
        console.print(
            f"established flows, million packets per second of work, {one['newPerSecond']} new flows/s: {mpps}"
        )
    if "redis" in result:
        parts = ", ".join(f"{name} {value:.2f}" for name, value in result["redis"].items())
        console.print(f"Redis: {parts}")
    for one in result["takeovers"]:
        for kind in ("warm", "cold"):
            parts = ", ".join(f"{name} {value:.1f}" for name, value in one[kind].items())
            console.print(f"{kind} takeover of {one['mappings']:,} mappings in {one['slots']} slot(s), ms: {parts}")
    for what, value, wanted, reached in aims(result):
        console.print(f"{'[green]yes[/]' if reached else '[red]no [/]'} {what}: {value:,.2f} ({wanted})")


def show_durabilities(found: dict[str, Any]) -> None:
    """A row for each."""
    table = Table(title="One local Redis; first packets from ring to ring, ms: median / p99", title_justify="left")
    rates = [str(rate) for rate in measures.RATES]
    for heading in ("durability", "new mappings/s", "journal B/mapping", *(f"at {rate}/s" for rate in rates)):
        table.add_column(heading, justify="right")
    for name, one in found.items():
        cells = [
            f"{one['firstPackets'][rate]['median']:.2f} / {one['firstPackets'][rate]['p99']:.2f}" for rate in rates
        ]
        if one["wrong"]:
            console.print(f"[red]{name}: not all was right[/] {one['wrong']}")
        table.add_row(name, f"{one['perSecond']:,.0f}", f"{one['journalBytesPerMapping']:.1f}", *cells)
    console.print(table)


def main() -> None:
    """Measure, show, write."""
    chosen = options()
    with contextlib.suppress(OSError):  # without CAP_SYS_NICE; as `aftr run`
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
    result = {"about": about(), **measure(chosen)}
    show(result)
    RESULTS.mkdir(exist_ok=True)
    path = chosen.out or RESULTS / f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d-%H%M%S}-store.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    console.print(f"written: {path}")
    if result["failed"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
