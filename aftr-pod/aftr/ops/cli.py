"""The command line `aftr`.

A command's module is imported when the command is used: `aftr show` starts without the packet path, `aftr replay`
without the status port.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import click

from dslite_contract.errors import DsliteError

EXIT_REFUSED = 1
DEFAULT_SOCKET = Path("/run/dslite/aftr.sock")  # of a running AFTR, for the commands that ask it
COMMANDS = {  # name: (module, attribute, what it does)
    "run": ("aftr.ops.run", "run", "Serve softwires: decapsulate, translate, forward."),
    "show": ("aftr.ops.show", "show", "Slots, bindings, subscribers and counters of a running AFTR."),
    "lookup": ("aftr.ops.show", "lookup", "Who has an external address, port and protocol now."),
    "verify": ("aftr.ops.show", "verify", "Check that all tables of a running AFTR agree."),
    "replay": ("aftr.ops.replay", "replay", "Send capture files through the engine."),
    "b4": ("aftr.b4.command", "b4", "Reference B4: carry everything IPv4 over a softwire."),
    "kernels": ("aftr.ops.run", "kernels", "Compile the packet path for this machine, once."),
}


class LazyGroup(click.Group):
    """Imports a command when it is asked for, and prints an error that a user can meet as its sentences."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, sentence) for name, (_, _, sentence) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except DsliteError as error:
            for line in str(error).splitlines():
                click.echo(f"aftr: {line}", err=True)
            sys.exit(EXIT_REFUSED)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="aftr")
def main() -> None:
    """AFTR: the provider's end of DS-Lite softwires and its NAT44 (RFC 6333)."""
