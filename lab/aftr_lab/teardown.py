"""`aftr-lab down`: end what runs, remove what was made, from the record alone; works after a crash of `up` at any point."""

import os
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from pyroute2 import netns

from aftr_lab.errors import LabError
from aftr_lab.processes import GRACE_S, Identity, end, identify, recorded
from aftr_lab.record import Record, crowd_namespace, remove_if_empty

NETNS_FOLDER = Path("/run/netns")
NETNS_MARK = Path("/run/dslite-netns-mounted")  # we were the first to use named namespaces on this machine
LAST = ("router", "store")  # kinds of nodes whose programs an AFTR that ends may still need


def note_mount() -> None:
    """Before the first namespace: remember whether making it will mount the folder of named namespaces."""
    if not os.path.ismount(NETNS_FOLDER):
        NETNS_MARK.touch()


def tear_down(record: Record) -> None:
    """Remove the lab of this record. Raises `LabError` if there is none, or if a program cannot be ended."""
    if not record.exists():
        raise LabError(f"there is no lab {record.name!r}")
    namespaces = [*record.namespaces(), crowd_namespace(record.name)]
    files = record.process_files()
    end_recorded(file for file in files if _kind(file.name) not in LAST)
    end_recorded(file for file in files if _kind(file.name) in LAST)
    remove_namespaces(namespaces)
    record.remove()
    undo_mount()
    remove_if_empty()


def _kind(node: str) -> str:
    return node.partition("-")[0]


def end_recorded(files: Iterable[Path], grace_s: float = GRACE_S) -> None:
    """End the programs that wrote these files. Raises `LabError` if one does not end."""
    found = [recorded(file) for file in files]
    _end([identity for identity in found if identity is not None], grace_s)


def remove_namespaces(namespaces: list[str]) -> None:
    """Remove these network namespaces, after what still runs in them. Raises `LabError` if a program does not end."""
    _end(_living_in(namespaces), GRACE_S)
    for name in namespaces:
        with suppress(FileNotFoundError):
            netns.remove(name)


def _living_in(namespaces: list[str]) -> list[Identity]:
    """What else runs in the namespaces: commands of `aftr-lab exec`, and programs killed together with their record."""
    pids = [pid for name, members in netns.ns_pids().items() if name in namespaces for pid in members]
    found = [identify(pid) for pid in pids if pid != os.getpid()]
    return [identity for identity in found if identity is not None]


def _end(processes: list[Identity], grace_s: float) -> None:
    left = end(processes, grace_s)
    if left:
        pids = ", ".join(str(identity.pid) for identity in left)
        raise LabError(f"processes {pids} do not end, even by SIGKILL: look at them and run `down` again")


def undo_mount() -> None:
    """Unmount the folder of named namespaces if we mounted it and nobody uses it any more."""
    if NETNS_MARK.exists() and not netns.listnetns():
        subprocess.run(["umount", str(NETNS_FOLDER)], check=False, capture_output=True)
        with suppress(OSError):
            NETNS_FOLDER.rmdir()
        NETNS_MARK.unlink()
