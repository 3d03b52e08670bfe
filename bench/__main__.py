"""`python -m bench`: the curve of issue 3, Done when 6, as a table and as JSON."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import pathlib
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.machine import RESULTS, about
from bench.prototype import Prototype
from bench.workload import DIRECTIONS, FRAMES, Workload, bytes_per_mapping, time_creation

LAWS = ("uniform", "zipf")
FLOWS = (1, 10_000, 100_000, 1_000_000, 4_000_000)
ROUNDS, WARM_UP = 9, 1
CREATION_FLOWS, CREATION_ROUNDS = 1 << 20, 3
# Done when 6: at 1M flows
GOAL_FLOWS = 1_000_000
GOALS = {"out": 0.65, "in": 0.75}
GOAL_CREATION, GOAL_BYTES, GOAL_FLOOR = 0.6, 160, 0.9
console = Console(width=140)


def number(text: str) -> int:
    """10000, 10k, 4M or 1e6."""
    units = {"k": 1_000, "M": 1_000_000}
    return int(float(text[:-1]) * units[text[-1]]) if text[-1] in units else int(float(text))


def name_of(flows: int) -> str:
    """The other way round."""
    for unit, size in (("M", 1_000_000), ("k", 1_000)):
        if flows >= size and flows % size == 0:
            return f"{flows // size}{unit}"
    return str(flows)


def numbers(text: str) -> list[int]:
    """A list with commas."""
    return [number(part) for part in text.split(",")]


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--flows", type=numbers, default=list(FLOWS), help="such as 1,10k,1M")
    parser.add_argument("--slots", type=numbers, default=[1, 16], help="all flows over so many slots: 1,16")
    parser.add_argument("--laws", type=lambda text: text.split(","), default=list(LAWS), help="uniform,zipf")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="interleaved rounds of everything (at least 7)")
    parser.add_argument("--quick", action="store_true", help="one slot, uniform, no new mappings, no bytes")
    parser.add_argument("--prototype", type=pathlib.Path, help="folder of the prototype: its columns, in the same run")
    parser.add_argument("--cpu", type=int, default=max(os.sched_getaffinity(0)), help="the core to measure on")
    parser.add_argument("--out", type=pathlib.Path, help="JSON file (default bench/results/<date>.json)")
    return parser.parse_args()


# ---------------------------------------------------------------- measuring
def summary(values: list[float]) -> dict[str, float]:
    """Median and spread."""
    low, _, high = statistics.quantiles(values, n=4) if len(values) > 1 else (values[0],) * 3
    return {
        "median": statistics.median(values),
        "quartile1": low,
        "quartile3": high,
        "least": min(values),
        "most": max(values),
    }


def rates(times: list[int]) -> dict[str, float]:
    """Mpps of the rounds' nanoseconds."""
    return summary([FRAMES / nanoseconds * 1e3 for nanoseconds in times])


def ratios(slow: list[int], fast: list[int]) -> dict[str, float]:
    """How many times `fast` is as fast as `slow`, round by round."""
    return summary([a / b for a, b in zip(slow, fast, strict=True)])


def measures(load: Workload, prototype: Prototype | None) -> dict[str, Callable[[str, str], int]]:
    """What a round times, by name: functions of direction and law to nanoseconds."""
    found: dict[str, Callable[[str, str], int]] = {
        "floor": load.time_floor,
        "product": load.time_product,
        "twin": lambda direction, law: load.time_product(direction, law, twin=True),
    }
    if prototype:
        found["floor of the prototype's lines"] = lambda direction, law: load.time_floor(
            direction, law, as_prototype=True
        )
        for kind in ("floor", "product", "twin"):
            found[f"prototype {kind}"] = lambda direction, law, kind=kind: prototype.ask(  # type: ignore[misc]
                kind=kind, direction=direction, law=law
            )
    return found


def measure(flows: int, slots: int, laws: list[str], rounds: int, prototype: Prototype | None) -> list[dict[str, Any]]:
    """The rounds of one pod, interleaved: one entry per law and direction."""
    load = Workload(flows, slots)
    if prototype:
        prototype.ask(setup=flows)
    what = measures(load, prototype)
    times: dict[tuple[str, str], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for turn in range(WARM_UP + rounds):
        for law in laws:
            for direction in DIRECTIONS:
                for name, function in what.items():
                    taken = function(direction, law)
                    if turn >= WARM_UP:
                        times[law, direction][name].append(taken)
    load.close()
    return [
        {"flows": flows, "slots": slots, "law": law, "direction": direction} | entry(times[law, direction])
        for law in laws
        for direction in DIRECTIONS
    ]


def entry(times: dict[str, list[int]]) -> dict[str, Any]:
    """Rates and ratios of one law and direction."""
    found: dict[str, Any] = {"mpps": {name: rates(values) for name, values in times.items()}}
    found["ofFloor"] = ratios(times["floor"], times["product"])
    found["ofTwin"] = ratios(times["twin"], times["product"])
    if "prototype floor" in times:
        found["prototypeOfFloor"] = ratios(times["prototype floor"], times["prototype product"])
        found["floorOfPrototypeFloor"] = ratios(times["prototype floor"], times["floor of the prototype's lines"])
    return found


def measure_creation(prototype: Prototype | None) -> dict[str, Any]:
    """New mappings per second, and what the prototype's bench_create.py says in between."""
    found: dict[str, Any] = {"flows": CREATION_FLOWS}
    theirs: dict[str, list[float]] = defaultdict(list)
    ours: list[float] = []
    for _ in range(CREATION_ROUNDS):
        rate, load = time_creation(CREATION_FLOWS, 1)
        load.close()
        ours.append(rate / 1e6)
        if prototype and len(theirs) == 0:
            for block, value in prototype.create(CREATION_FLOWS).items():
                theirs[block].append(value)
    found["millionPerSecond"] = summary(ours)
    if prototype:
        found["prototypeMillionPerSecond"] = {block: statistics.median(values) for block, values in theirs.items()}
        found["ofPrototype"] = statistics.median(ours) / max(statistics.median(values) for values in theirs.values())
    return found


# ---------------------------------------------------------------- showing
def cell(values: dict[str, float], digits: int = 1) -> str:
    """Median and half the distance of the quartiles."""
    spread = (values["quartile3"] - values["quartile1"]) / 2
    return f"{values['median']:.{digits}f} [dim]±{spread:.{digits}f}[/]"


def show_curve(entries: list[dict[str, Any]]) -> None:
    """The table."""
    table = Table(
        title="Mpps on one core: median ± half the distance of the quartiles, of interleaved rounds",
        title_justify="left",
    )
    for heading in ("slots", "flows", "law", "way", "Mpps", "floor", "of floor", "twin", "x twin"):
        table.add_column(heading, justify="right")
    theirs = any("prototypeOfFloor" in item for item in entries)
    if theirs:
        for heading in ("prototype", "its floor", "of its floor", "floors"):
            table.add_column(heading, justify="right")
    for item in entries:
        mpps = item["mpps"]
        cells = [str(item["slots"]), name_of(item["flows"]), item["law"], item["direction"]]
        cells += [
            cell(mpps["product"]),
            cell(mpps["floor"]),
            cell(item["ofFloor"], 2),
            cell(mpps["twin"]),
            cell(item["ofTwin"]),
        ]
        if theirs:
            cells += [cell(mpps["prototype product"]), cell(mpps["prototype floor"])]
            cells += [cell(item["prototypeOfFloor"], 2), cell(item["floorOfPrototypeFloor"], 2)]
        table.add_row(*cells)
    console.print(table)


def goals(result: dict[str, Any]) -> list[tuple[str, float, str, bool]]:
    """What issue 3 asks for: (what, value, wanted, reached)."""
    found = []
    for item in result["curve"]:
        where = f"{item['direction']}, {name_of(item['flows'])} {item['law']}, {item['slots']} slot(s)"
        if item["flows"] == GOAL_FLOWS:
            value, least = item["ofFloor"]["median"], GOALS[item["direction"]]
            found.append((f"of the floor: {where}", value, f">= {least}", value >= least))
            if "floorOfPrototypeFloor" in item and item["law"] == "uniform":
                value = item["floorOfPrototypeFloor"]["median"]
                found.append((f"our floor of the prototype's: {where}", value, f">= {GOAL_FLOOR}", value >= GOAL_FLOOR))
    if "ofPrototype" in result.get("creation", {}):
        value = result["creation"]["ofPrototype"]
        found.append(("new mappings, of the prototype", value, f">= {GOAL_CREATION}", value >= GOAL_CREATION))
    if "bytes" in result:
        value = result["bytes"]["resident"]
        found.append(("bytes per mapping", value, f"<= {GOAL_BYTES}", value <= GOAL_BYTES))
    return found


def show(result: dict[str, Any]) -> None:
    """Everything."""
    show_curve(result["curve"])
    if "creation" in result:
        creation = result["creation"]
        line = f"new mappings (first packets of {creation['flows']:,} flows): {cell(creation['millionPerSecond'], 2)} million/s"
        if "ofPrototype" in creation:
            blocks = ", ".join(
                f"{rate:.2f} with blocks of {block}" for block, rate in creation["prototypeMillionPerSecond"].items()
            )
            line += f"; prototype {blocks}"
        console.print(line)
    if "bytes" in result:
        parts = ", ".join(f"{name} {value:.1f}" for name, value in result["bytes"]["parts"].items())
        filled = result["bytes"]["full"]
        console.print(
            f"bytes per mapping, tables {filled:.0%} full: {result['bytes']['resident']:.1f} resident; by table: {parts}"
        )
    for what, value, wanted, reached in goals(result):
        console.print(f"{'[green]yes[/]' if reached else '[red]no [/]'} {what}: {value:.2f} ({wanted})")


def main() -> None:
    """Measure, show, write."""
    chosen = options()
    os.sched_setaffinity(0, {chosen.cpu})
    result: dict[str, Any] = {"about": about() | {"frames": FRAMES}, "rounds": chosen.rounds, "curve": []}
    laws, slots = (["uniform"], [1]) if chosen.quick else (chosen.laws, chosen.slots)
    prototype = Prototype(chosen.prototype) if chosen.prototype else None
    begun = time.monotonic()
    with console.status("kernels") as status:
        for share in slots:
            for flows in chosen.flows:
                status.update(f"{name_of(flows)} flows, {share} slot(s); {time.monotonic() - begun:.0f} s")
                result["curve"] += measure(flows, share, laws, chosen.rounds, prototype)
        if not chosen.quick:
            status.update(f"new mappings; {time.monotonic() - begun:.0f} s")
            result["creation"] = measure_creation(prototype)
            result["bytes"] = bytes_per_mapping(GOAL_FLOWS)
    if prototype:
        prototype.close()
    show(result)
    RESULTS.mkdir(exist_ok=True)
    path = chosen.out or RESULTS / f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d-%H%M%S}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    console.print(f"written: {path}")


if __name__ == "__main__":
    main()
