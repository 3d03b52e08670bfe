"""What a lab consists of, on disk before any of it is made, so that `down` finds all of it after a crash of `up`.

Everything of a lab is under `/run/dslite-lab/NAME/`:

    state.json        the plan: namespaces, bridges, nodes; written whole before the first namespace
    built.yaml        the copy of the configuration that the lab was built from
    config.yaml       that of the one that the AFTRs run with
    processes/NODE    `/proc/PID/stat` of each program, written by that very process before it becomes the program
    log/NODE          what it printed
    NODE.sock         the AFTR's control socket
    NODE.run/         the AFTR's runtime files: its BIRD's configuration and socket
    router.conf       the router's BIRD, if the pool has BGP peers, and its socket router.ctl
    stores/NODE       a Redis's files, if the pool has a store
"""

import json
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aftr_lab.errors import LabError

RUN = Path("/run/dslite-lab")


@dataclass(frozen=True)
class Folder:
    """A folder `name` below `base` that says what was made under that name, and which programs run for it."""

    name: str
    base: Path = RUN

    @property
    def directory(self) -> Path:
        return self.base / self.name

    @property
    def state_file(self) -> Path:
        return self.directory / "state.json"

    def process_file(self, node: str) -> Path:
        return self.directory / "processes" / node

    def process_files(self) -> list[Path]:
        folder = self.directory / "processes"
        return list(folder.iterdir()) if folder.exists() else []

    def log_file(self, node: str) -> Path:
        return self.directory / "log" / node

    def exists(self) -> bool:
        return self.directory.exists()

    def create(self, state: dict[str, Any]) -> None:
        """Make the folder and write the state, before anything else exists."""
        for folder in ("processes", "log"):
            (self.directory / folder).mkdir(parents=True)
        self.write(state)

    def write(self, state: dict[str, Any]) -> None:
        """The state, whole."""
        write_whole(self.state_file, json.dumps(state, indent=2) + "\n")

    def namespaces(self) -> list[str]:
        """None, if the process that made the folder ended before it wrote the state: then it had made nothing else either."""
        if not self.state_file.exists():
            return []
        return list(json.loads(self.state_file.read_text())["namespaces"].values())

    def remove(self) -> None:
        """Remove the files, last of all."""
        shutil.rmtree(self.directory, ignore_errors=True)


def write_whole(file: Path, text: str) -> None:
    """Whoever reads the file has all of it, or what it was before."""
    draft = file.with_suffix(".new")
    draft.write_text(text)
    os.replace(draft, file)


def crowd_namespace(lab: str) -> str:
    """Of the B4s of `aftr-lab chaos`, which may be killed before it removes them."""
    return f"dsl-{lab}-crowd"


@dataclass(frozen=True)
class Record(Folder):
    """The files of the lab `name`."""

    @property
    def built_file(self) -> Path:
        return self.directory / "built.yaml"

    @property
    def config_file(self) -> Path:
        return self.directory / "config.yaml"

    def socket_file(self, node: str) -> Path:
        return self.directory / f"{node}.sock"

    def runtime_directory(self, node: str) -> Path:
        return self.directory / f"{node}.run"

    @property
    def router_file(self) -> Path:
        return self.directory / "router.conf"

    @property
    def router_socket(self) -> Path:
        return self.directory / "router.ctl"

    def store_directory(self, node: str) -> Path:
        return self.directory / "stores" / node

    def load(self) -> dict[str, Any]:
        """The state as written by `up`. Raises `LabError` when there is no such lab."""
        try:
            state: dict[str, Any] = json.loads(self.state_file.read_text())
        except FileNotFoundError:
            raise LabError(f"there is no lab {self.name!r}: start one with `aftr-lab up FILE`") from None
        return state


def remove_if_empty() -> None:
    """Remove the folder of all labs after the last one."""
    with suppress(OSError):
        RUN.rmdir()
