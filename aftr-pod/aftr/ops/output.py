"""How commands print: tables for people, with colours only on a terminal, or JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click
from rich import box
from rich.console import Console, RenderableType
from rich.table import Table

REPORT_WIDTH = 160  # when no terminal says how wide it is
Command = TypeVar("Command", bound=Callable[..., Any])


def output_option(command: Command) -> Command:
    """`-o json|table`, as the parameter `output`."""
    kinds = click.Choice(["table", "json"])
    return click.option("-o", "output", type=kinds, default="table", show_default=True, help="Form of the output.")(
        command
    )


def print_json(document: object) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(document, indent=2))


def print_tables(*tables: RenderableType) -> None:
    """Tables on stdout."""
    width = None if sys.stdout.isatty() else REPORT_WIDTH
    console = Console(width=width, emoji=False, highlight=False)  # ":100:" is part of an address
    for table in tables:
        console.print(table)


def new_table(title: str, *columns: str, right: tuple[str, ...] = ()) -> Table:
    """An empty table; the columns in `right` hold numbers."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE, header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=True, justify="right" if column in right else "left")
    return table


def counter_tables(counters: dict[str, dict[str, int]]) -> list[Table]:
    """The counters as people read them: traffic by side, and of drops and events those that happened."""
    traffic = new_table("Frames", "side", *counters["access"], right=tuple(counters["access"]))
    for side in ("access", "internet"):
        traffic.add_row(side, *(str(number) for number in counters[side].values()))
    tables = [traffic]
    for part in ("drops", "events"):
        happened = {name: number for name, number in counters[part].items() if number}
        table = new_table(part.capitalize(), "name", "number", right=("number",))
        for name, number in happened.items():
            table.add_row(name, str(number))
        if happened:
            tables.append(table)
    return tables
