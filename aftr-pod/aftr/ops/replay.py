"""`aftr replay`: capture files through the engine, with the captures' times as its clock.

The same configuration, inputs and seed give the same outputs, byte for byte.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from typing import Any

import click

from aftr.io.pcap import Capture, CaptureWriter, merge
from aftr.ops.engine import BURST, Engine
from aftr.ops.output import Command, counter_tables, output_option, print_json, print_tables
from dslite_contract.counters import SIDES
from dslite_contract.errors import DsliteError
from dslite_contract.load import load_config

NS_PER_MS = 1_000_000
LARGEST_FRAME = 14 + 4 + 40 + 65535  # Ethernet, a VLAN tag, the longest IPv6 packet; what follows is padding
IGNORED = ("interfaces", "routing", "store")  # parts of the configuration that belong to a process with devices
Timed = tuple[int, str, bytes]  # time in ns, side, frame


class ReplayError(DsliteError):
    """Files of `aftr replay` that cannot be used."""


def bursts(captures: dict[str, Capture]) -> Iterator[list[Timed]]:
    """The frames in the order of their times, in runs of one side and one millisecond of the engine's clock.

    A run goes through the engine as one burst; the engine treats its frames as if they came one by one.
    """
    sides, origin = list(captures), min(int(capture.times.min()) for capture in captures.values() if len(capture))
    frames = ((time, sides[place], frame[:LARGEST_FRAME]) for time, place, frame in merge(*captures.values()))
    for _, run in groupby(frames, lambda one: (one[1], (one[0] - origin) // NS_PER_MS)):
        burst: list[Timed] = []
        for one in run:
            burst.append(one)
            if len(burst) == BURST:
                yield burst
                burst = []
        if burst:
            yield burst


def pass_through(engine: Engine, captures: dict[str, Capture]) -> Iterator[Timed]:
    """What the engine sends, in order, each frame with the time of the frame that caused it.

    Frames that are due because the clock moved carry the time of the frame that moved it and come before its own.
    """
    if not any(len(capture) for capture in captures.values()):
        return
    for burst in bursts(captures):
        caused = engine.process([(side, frame) for _, side, frame in burst], burst[0][0])
        yield from ((burst[0][0], side, frame) for side, frame in engine.timed)
        for (time, _, _), outputs in zip(burst, caused, strict=True):
            yield from ((time, side, frame) for side, frame in outputs)


def read_bindings(path: Path) -> list[dict[str, Any]]:
    """The JSON that `aftr show bindings -o json` prints."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReplayError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ReplayError(f"{path} is not JSON: {error}") from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ReplayError(f"{path}: a list of bindings is needed, as `aftr show bindings -o json` prints it")
    return entries


def write_counters(path: Path, counters: dict[str, Any]) -> None:
    """The JSON of docs/counters.md."""
    try:
        path.write_text(json.dumps(counters, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise ReplayError(f"{path} cannot be written: {error.strerror}") from error


def refuse_same_file(read: dict[str, Path | None], written: dict[str, Path | None]) -> None:
    """No file is both read and written, or written twice; devices such as /dev/null may be."""
    holders = {path.resolve(): option for option, path in read.items() if path}
    for option, path in written.items():
        if path is None or (path.exists() and not path.is_file()):
            continue
        other = holders.setdefault(path.resolve(), option)
        if other != option:
            raise ReplayError(f"{other} and {option} name the same file, {path}: give each its own")


def file_option(option: str, help_text: str, *, required: bool = False) -> Callable[[Command], Command]:
    """A click option for a file; whether it can be used is asked when it is opened."""
    return click.option(option, type=click.Path(path_type=Path), metavar="FILE", help=help_text, required=required)


@click.command("replay")
@file_option("--config", "AftrPool and B4Groups (YAML); interfaces, routing and store are ignored.", required=True)
@file_option("--access", "Frames of the access (IPv6) side, pcap with times in µs or ns.")
@file_option("--internet", "Frames of the internet (IPv4) side, likewise.")
@file_option("--access-out", "What leaves on the access side: written as pcap with times in ns.", required=True)
@file_option("--internet-out", "What leaves on the internet side, likewise.", required=True)
@file_option("--bindings", "Mappings to begin with, as `aftr show bindings -o json` prints them.")
@file_option("--counters", "Write all counters to this file, as JSON.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Fixes every random choice.")
@output_option
def replay(
    config: Path, access: Path | None, internet: Path | None, access_out: Path, internet_out: Path,
    bindings: Path | None, counters: Path | None, seed: int, output: str,
) -> None:  # fmt: skip
    """Send capture files through the engine.

    Frames of both captures go in the order of their times (at equal times access first), which are also the engine's
    clock: timers expire between frames, and time ends with the last one. Prints the counters.
    """
    inputs = {side: path for side, path in zip(SIDES, (access, internet), strict=True) if path}
    if not inputs:
        raise click.UsageError("there is nothing to replay: give --access FILE, --internet FILE or both")
    refuse_same_file(
        {"--config": config, "--access": access, "--internet": internet, "--bindings": bindings},
        {"--access-out": access_out, "--internet-out": internet_out, "--counters": counters},
    )
    configuration = load_config(config, ignore=IGNORED)
    captures = {side: Capture(path) for side, path in inputs.items()}
    preloaded = read_bindings(bindings) if bindings else []
    engine = Engine(configuration, seed=seed)
    engine.preload(preloaded)
    with ExitStack() as stack:
        outputs = zip(SIDES, (access_out, internet_out), strict=True)
        writers = {side: stack.enter_context(CaptureWriter(path)) for side, path in outputs}
        for time, side, frame in pass_through(engine, captures):
            writers[side].write(time, frame)
    counted = engine.counters()
    engine.close()
    if counters:
        write_counters(counters, counted)
    if output == "json":
        print_json(counted)
    else:
        print_tables(*counter_tables(counted))
