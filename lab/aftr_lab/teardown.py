"""`aftr-lab down`: end what runs, remove what was made, from the record alone; works after a crash of `up` at any point."""

import os
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from pyroute2 import netns

from aftr_lab.errors import LabError
from aftr_lab.processes import Identity, end, identify, recorded
from aftr_lab.record import RUN, Record, remove_if_empty

NETNS_FOLDER = Path("/run/netns")
NETNS_MARK = RUN / ".netns-mounted"  # we were the first to use named namespaces on this machine
LAST = ("router", "store")  # kinds of nodes whose programs an AFTR that ends may still need


def note_mount() -> None:
    """Before the first namespace: remember whether making it will mount the folder of named namespaces."""
    if not os.path.ismount(NETNS_FOLDER):
        NETNS_MARK.touch()


def tear_down(record: Record) -> None:
    """Remove the lab of this record. Raises `LabError` if there is none, or if a program cannot be ended."""
    if not record.exists():
        raise LabError(f"there is no lab {record.name!r}")
    namespaces = _namespaces(record)
    files = _process_files(record)
    _end(_recorded(file for file in files if _kind(file.name) not in LAST))
    _end(_recorded(file for file in files if _kind(file.name) in LAST))
    _end(_living_in(namespaces))
    for name in namespaces:
        with suppress(FileNotFoundError):
            netns.remove(name)
    record.remove()
    _undo_mount()
    remove_if_empty()


def _kind(node: str) -> str:
    return node.partition("-")[0]


def _namespaces(record: Record) -> list[str]:
    """None, if `up` crashed before it wrote its plan: then it had made nothing either."""
    if not record.state_file.exists():
        return []
    return list(record.load()["namespaces"].values())


def _process_files(record: Record) -> list[Path]:
    folder = record.directory / "processes"
    return list(folder.iterdir()) if folder.exists() else []


def _recorded(files: Iterable[Path]) -> list[Identity]:
    found = [recorded(file) for file in files]
    return [identity for identity in found if identity is not None]


def _living_in(namespaces: list[str]) -> list[Identity]:
    """What else runs in the lab's namespaces: commands of `aftr-lab exec`, and programs killed together with their record."""
    pids = [pid for name, members in netns.ns_pids().items() if name in namespaces for pid in members]
    found = [identify(pid) for pid in pids if pid != os.getpid()]
    return [identity for identity in found if identity is not None]


def _end(processes: list[Identity]) -> None:
    left = end(processes)
    if left:
        pids = ", ".join(str(identity.pid) for identity in left)
        raise LabError(f"processes {pids} do not end, even by SIGKILL: look at them and run `down` again")


def _undo_mount() -> None:
    """After the last lab: unmount the folder of named namespaces if we mounted it and nobody else uses it by now."""
    if not NETNS_MARK.exists() or any(entry.is_dir() for entry in RUN.iterdir()):
        return
    if not netns.listnetns():
        subprocess.run(["umount", str(NETNS_FOLDER)], check=False, capture_output=True)
        with suppress(OSError):
            NETNS_FOLDER.rmdir()
    NETNS_MARK.unlink()
