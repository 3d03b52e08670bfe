"""`aftr show`: what a running AFTR has in its tables, asked through its control socket."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from ipaddress import IPv6Network
from pathlib import Path
from typing import Any

import aiohttp
import click
from rich.table import Table

from aftr.ops.cli import DEFAULT_SOCKET
from aftr.ops.output import Command, counter_tables, new_table, output_option, print_json, print_tables
from dslite_contract.errors import DsliteError

SHOWN = 200  # rows of a table for people, unless they ask for more
TIMEOUT_S = 60.0  # between two pieces of an answer
Query = dict[str, str]
Take = Callable[[bytes], None]


class ControlError(DsliteError):
    """The AFTR's control socket does not answer, or refuses."""


# ---------------------------------------------------------------- asking
async def ask(path: Path, page: str, query: Query, take: Take, method: str = "GET") -> None:
    """Give an answer to `take`, piece by piece as it comes.  Raises ControlError."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=TIMEOUT_S)
    connector = aiohttp.UnixConnector(path=str(path))
    async with (
        aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
        session.request(method, f"http://aftr/v1/{page}", params=query) as response,
    ):
        if response.status != 200:
            raise ControlError(refusal(await response.read(), path))
        async for piece in response.content.iter_any():
            take(piece)


def refusal(body: bytes, path: Path) -> str:
    """The sentence of a refusal."""
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return f"{path} does not answer like an AFTR: {body[:200].decode(errors='replace')!r}"


def fetch(path: Path, page: str, query: Query, take: Take, method: str = "GET") -> None:
    """`ask`, with every failure a sentence."""
    try:
        asyncio.run(ask(path, page, query, take, method))
    except TimeoutError as error:
        raise ControlError(f"the AFTR at {path} does not answer for {TIMEOUT_S:g} seconds") from error
    except aiohttp.ClientConnectorError as error:
        reason = error.os_error.strerror or str(error.os_error)
        raise ControlError(f"no AFTR answers at {path} ({reason}): start `aftr run`, or name its --socket") from error
    except aiohttp.ClientError as error:
        raise ControlError(f"the AFTR at {path} ended while it answered ({error}): ask again") from error


def fetch_all(path: Path, page: str, query: Query, method: str = "GET") -> Any:
    """The whole answer."""
    pieces: list[bytes] = []
    fetch(path, page, query, pieces.append, method)
    return json.loads(b"".join(pieces))


def print_list(
    path: Path, page: str, query: Query, limit: int | None, output: str, make: Callable[[Any], Table]
) -> None:
    """A list that may be long: as JSON just as it comes, as a table up to `limit` rows (0: all)."""
    if output == "json":
        everything = query | ({"limit": str(limit)} if limit else {})
        fetch(path, page, everything, lambda piece: click.echo(piece, nl=False))
        return
    limit = SHOWN if limit is None else limit
    entries = fetch_all(path, page, query | ({"limit": str(limit + 1)} if limit else {}))
    more = bool(limit) and len(entries) > limit
    print_tables(make(entries[:limit] if more else entries))
    if more:
        click.echo(f"  and more: --limit 0 shows all, these are the first {limit}")


# ---------------------------------------------------------------- tables
def with_capacity(entry: dict[str, Any], name: str) -> str:
    """Use of a table, like 12 / 4096."""
    return f"{entry[name]} / {entry[f'{name}Capacity']}" if name in entry else ""


def slot_table(entries: list[dict[str, Any]]) -> Table:
    """Slots for people."""
    numbers = ("mappings", "sessions beyond", "subscribers", "port blocks used")
    shared = (
        ("owner", "epoch", "warm copy", "behind", "quarantine") if any("phase" in entry for entry in entries) else ()
    )
    columns = ("slot", "state", *shared, "tunnel address", "NAT prefixes", *numbers)
    table = new_table("Slots", *columns, right=("slot", "epoch", "behind", *numbers))
    for entry in entries:
        used = f"{entry['blocks'] - entry['blocksFree']} / {entry['blocks']}" if "blocks" in entry else ""
        fill = [with_capacity(entry, name) for name in ("mappings", "extraSessions", "subscribers")]
        prefixes = " ".join(entry["prefixes"])
        owned = [
            str(entry.get(name) if entry.get(name) is not None else "")
            for name in ("owner", "epoch", "warmCopy", "warmLag")
        ]
        left = entry.get("quarantineSecondsLeft", 0)
        kept = f"{len(entry['quarantine'])} unreadable, {left} s" if left else ""
        state = [entry.get("phase", entry["state"]), *((*owned, kept) if shared else ())]
        table.add_row(str(entry["slot"]), *state, entry.get("address", ""), prefixes, *fill, used)
    return table


def binding_table(entries: list[dict[str, Any]]) -> Table:
    """Bindings for people."""
    numbers = ("slot", "sessions", "age s", "idle s")
    columns = ("slot", "softwire", "proto", "internal", "external", "sessions", "state", "age s", "idle s")
    table = new_table("Bindings", *columns, right=numbers)
    for entry in entries:
        internal = f"{entry['internalAddress']}:{entry['internalPort']}"
        external = f"{entry['externalAddress']}:{entry['externalPort']}"
        state = "untranslated" if entry.get("bypassed") else entry.get("state", "")
        ages = (str(entry["ageSeconds"]), str(entry["idleSeconds"]))
        head = (str(entry["slot"]), entry["softwire"], entry["protocol"])
        table.add_row(*head, internal, external, str(entry["sessions"]), state, *ages)
    return table


def subscriber_table(entries: list[dict[str, Any]]) -> Table:
    """Subscribers for people."""
    names = ("softwires", "mappings", "sessions", "blocks")
    table = new_table("Subscribers", "slot", "subscriber", "group", *names, right=("slot", *names))
    for entry in entries:
        numbers = (str(entry[name]) for name in names)
        table.add_row(str(entry["slot"]), entry["subscriber"], entry["group"] or "", *numbers)
    return table


# ---------------------------------------------------------------- commands
def socket_option(command: Command) -> Command:
    """`--socket`, as the parameter `path`."""
    kind, text = click.Path(path_type=Path), "Control socket of the running AFTR."
    return click.option("--socket", "path", type=kind, default=DEFAULT_SOCKET, show_default=True, help=text)(command)


def limit_option(command: Command) -> Command:
    """`--limit`, None when not given."""
    text = f"At most so many, 0 for all [default: {SHOWN} in a table, all in JSON]."
    return click.option("--limit", type=click.IntRange(0), help=text)(command)


def slot_option(command: Command) -> Command:
    """`--slot`."""
    return click.option("--slot", type=click.IntRange(0), help="Of this slot only.")(command)


@click.group()
def show() -> None:
    """Slots, bindings, subscribers and counters of a running AFTR."""


@show.command("slots")
@socket_option
@output_option
def show_slots(path: Path, output: str) -> None:
    """Each slot: its addresses and how full its tables are."""
    entries = fetch_all(path, "slots", {})
    if output == "json":
        print_json(entries)
    else:
        print_tables(slot_table(entries))


@show.command("bindings")
@slot_option
@click.option("--softwire", metavar="ADDRESS|PREFIX", help="Of this B4, or of the B4s in this prefix.")
@limit_option
@socket_option
@output_option
def show_bindings(slot: int | None, softwire: str | None, limit: int | None, path: Path, output: str) -> None:
    """NAT mappings; the JSON can be given to `aftr replay --bindings`."""
    query = {} if slot is None else {"slot": str(slot)}
    if softwire is not None:
        try:
            query["softwire"] = str(IPv6Network(softwire, strict=False))
        except ValueError as error:
            raise click.BadParameter(f"{softwire!r} is neither an IPv6 address nor a prefix") from error
    print_list(path, "bindings", query, limit, output, binding_table)


@show.command("subscribers")
@slot_option
@limit_option
@socket_option
@output_option
def show_subscribers(slot: int | None, limit: int | None, path: Path, output: str) -> None:
    """Subscribers: how many softwires, mappings, sessions and port blocks each has."""
    query = {} if slot is None else {"slot": str(slot)}
    print_list(path, "subscribers", query, limit, output, subscriber_table)


@show.command("counters")
@socket_option
@output_option
def show_counters(path: Path, output: str) -> None:
    """Frames by side, drops by reason, events."""
    counters = fetch_all(path, "counters", {})
    if output == "json":
        print_json(counters)
    else:
        print_tables(*counter_tables(counters))


@click.command()
@click.option("--repair", is_flag=True, help="Store anew the slots whose bindings the store holds wrongly.")
@click.option(
    "--accept", is_flag=True, help="End the quarantine: give out blocks that look free although records are missing."
)
@socket_option
@output_option
def verify(repair: bool, accept: bool, path: Path, output: str) -> None:
    """Check that all tables of a running AFTR agree: no frame, port or fragment context is lost.  Packets wait meanwhile.

    With a store, also that it holds the very bindings of each slot served here; new flows wait while a slot is read.
    """
    for wanted, page, done in ((accept, "accept", "accepted"), (repair, "repair", "repaired")):
        found = fetch_all(path, page, {}, "POST") if wanted else []
        for sentence in found or (["nothing, on this AFTR"] if wanted else []):
            click.echo(f"{done}: {sentence}", err=True)
    problems = fetch_all(path, "verify", {})
    if output == "json":
        print_json(problems)
        sys.exit(bool(problems))
    if problems:
        raise ControlError("\n".join(problems))
    click.echo("all tables agree")


@click.command()
@click.argument("address")
@click.argument("port", type=click.IntRange(0, 65535))
@click.argument("protocol", type=click.Choice(["tcp", "udp", "icmp"]))
@socket_option
@output_option
def lookup(address: str, port: int, protocol: str, path: Path, output: str) -> None:
    """Who has this external ADDRESS, PORT (or ICMP identifier) and PROTOCOL now: the binding with its softwire."""
    entries = fetch_all(path, "lookup", {"address": address, "port": str(port), "protocol": protocol})
    if output == "json":
        print_json(entries)
    elif entries:
        print_tables(binding_table(entries))
    else:
        click.echo(f"nobody has {address} {port} {protocol} on this AFTR now")
