"""How the demo shows something: the command as one would type it, what it printed, and a sentence that has been checked."""

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from aftr_lab.record import Record
from dslite_contract.errors import DsliteError

COMMAND_S = 90.0
LOOK_S = 0.02  # at a download
PROGRAMS = Path(sys.executable).parent


class DemoFailedError(DsliteError):
    """Something that the demo claims is not so."""


class Stage:
    """Runs commands in the lab `name`, prints them and what they say, and checks."""

    def __init__(self, name: str, console: Console) -> None:
        self.name = name
        self.console = console
        self._step = "start"
        self._began = time.monotonic()

    @property
    def step(self) -> str:
        """The step that is being shown."""
        return self._step

    def seconds(self) -> float:
        """Since the demo began."""
        return time.monotonic() - self._began

    def heading(self, text: str) -> None:
        """Begin a step."""
        self._step = text
        self.console.print()
        self.console.rule(Text(text, "bold cyan"), align="left", style="cyan")

    def say(self, text: str) -> None:
        self.console.print(text, style="dim", markup=False, soft_wrap=True)

    def check(self, true: bool, sentence: str) -> None:
        """A claim: shown with a tick when it is so. Raises `DemoFailedError` when it is not."""
        if not true:
            raise DemoFailedError(f"not so: {sentence}")
        self.console.print(Text.assemble(("✓ ", "bold green"), (sentence, "green")), soft_wrap=True)

    def lab(self, *words: str, show: bool = True) -> None:
        """`aftr-lab WORDS`, with what it printed unless `show` is false."""
        self._run(["aftr-lab", *words], [str(PROGRAMS / "aftr-lab"), "--lab", self.name, *words], show=show)

    def at(self, node: str, *command: str) -> str:
        """`aftr-lab exec NODE -- COMMAND`, shown; returns what it printed."""
        typed = ["aftr-lab", "exec", node, "--", *command]
        return self._run(typed, ["ip", "netns", "exec", f"dsl-{self.name}-{node}", *command])

    def diff(self, before: Path, after: Path) -> None:
        """`diff BEFORE AFTER`, shown."""
        command = ["diff", str(before), str(after)]
        self._run(command, command, fine=(0, 1))

    def begin_at(self, node: str, *command: str) -> subprocess.Popen[str]:
        """`aftr-lab exec NODE -- COMMAND &`, shown; `end` returns what it printed."""
        typed = ["aftr-lab", "exec", node, "--", *command]
        self.console.print(Text.assemble(("$ ", "bold"), (f"{shlex.join(typed)} &", "bold yellow")), soft_wrap=True)
        inside = ["ip", "netns", "exec", f"dsl-{self.name}-{node}", *command]
        return subprocess.Popen(inside, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def end(self, process: subprocess.Popen[str]) -> str:
        """What a command that was begun has printed. Raises `DemoFailedError` if it fails or takes too long."""
        try:
            printed, _ = process.communicate(timeout=COMMAND_S)
        except subprocess.TimeoutExpired as error:
            process.kill()
            raise DemoFailedError(str(error)) from error
        if process.returncode:
            raise DemoFailedError(f"it ended with {process.returncode}:\n{printed}")
        return printed

    def received(self, process: subprocess.Popen[str], file: Path, least: int) -> int:
        """Bytes that a command, begun with `begin_at` and still running, has written to `file`, once they are so many.

        Raises `DemoFailedError` if it ends before, or takes too long.
        """
        deadline = time.monotonic() + COMMAND_S
        while (size := file.stat().st_size) < least and process.poll() is None and time.monotonic() < deadline:
            time.sleep(LOOK_S)
        if size < least or process.poll() is not None:
            raise DemoFailedError(f"{size >> 20} MiB of a download are there, and it does not go on")
        return size

    def aftr(self, *words: str) -> None:
        """`aftr WORDS` against the lab's AFTR, shown."""
        self._run(["aftr", *self._aftr_words(*words)], [str(PROGRAMS / "aftr"), *self._aftr_words(*words)])

    def aftr_json(self, *words: str) -> Any:
        """`aftr WORDS -o json` against the lab's AFTR, not shown."""
        return json.loads(_output_of([str(PROGRAMS / "aftr"), *self._aftr_words(*words, "-o", "json")]))

    def _aftr_words(self, *words: str) -> list[str]:
        return [*words, "--socket", str(Record(self.name).socket_file("aftr-1"))]

    def _run(
        self, typed: Sequence[str], command: Sequence[str], *, show: bool = True, fine: Collection[int] = (0,)
    ) -> str:
        self.console.print(Text.assemble(("$ ", "bold"), (shlex.join(typed), "bold yellow")), soft_wrap=True)
        printed = _output_of(command, fine)
        for line in printed.strip("\n").splitlines() if show else ():
            self.console.print(Text(f"  {line.rstrip()}"), soft_wrap=True)
        return printed


def _output_of(command: Sequence[str], fine: Collection[int] = (0,)) -> str:
    """What a command prints. Raises `DemoFailedError` if it ends with another status than those, or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DemoFailedError(str(error)) from error
    if done.returncode not in fine:
        raise DemoFailedError(f"`{' '.join(command)}` ended with {done.returncode}:\n{done.stderr or done.stdout}")
    return done.stdout
