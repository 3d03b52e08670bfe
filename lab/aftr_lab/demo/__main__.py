"""`python -m aftr_lab.demo [FILE]`: the whole demo. Ends with 0 if all that it showed is so, and leaves nothing behind."""

import sys
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from aftr_lab.demo import steps
from aftr_lab.demo.stage import Stage
from aftr_lab.record import Record
from aftr_lab.teardown import tear_down
from dslite_contract.errors import DsliteError

SAMPLE = Path(__file__).parents[3] / "samples" / "lab.yaml"
FAILOVER = SAMPLE.with_name("failover.yaml")
HOMES, HOMES_DIVIDED = SAMPLE.with_name("homes.yaml"), SAMPLE.with_name("homes-divided.yaml")
LAB = "demo"
REPORT_WIDTH = 120  # when no terminal says how wide it is


@click.command()
@click.argument("file", default=SAMPLE, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(file: Path) -> None:
    """Show and check a DS-Lite network built from FILE, in under two minutes."""
    console = Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else REPORT_WIDTH)
    stage = Stage(LAB, console)
    _remove()  # what a demo left that was killed
    try:
        _show(stage, _short(file))
    except DsliteError as error:
        console.print(Text(f"✗ {stage.step}: {error}", "bold red"), soft_wrap=True)
        sys.exit(1)
    finally:
        _remove()
    console.print(
        Text(f"\nThe demo took {stage.seconds():.0f} s. Nothing of it is left on this machine.", "bold green")
    )


def _show(stage: Stage, sample: Path) -> None:
    steps.show_network(stage, sample)
    steps.show_ping(stage)
    steps.show_traceroute(stage)
    steps.show_overlap(stage)
    steps.show_whole_packets(stage)
    steps.show_bindings(stage)
    steps.show_counters(stage)
    steps.show_fragments(stage, sample)
    steps.show_failover(stage, _short(FAILOVER))
    steps.show_division(stage, _short(HOMES), _short(HOMES_DIVIDED))
    steps.show_what_next(stage, sample)


def _short(file: Path) -> Path:
    """The path as one would type it here."""
    here = Path.cwd()
    return file.relative_to(here) if file.is_relative_to(here) else file


def _remove() -> None:
    if Record(LAB).exists():
        tear_down(Record(LAB))


if __name__ == "__main__":
    main()
