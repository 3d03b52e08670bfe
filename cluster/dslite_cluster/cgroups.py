"""The containers' cgroup, which is the machine's, of version 1 or 2: its weight, and its end."""

import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from dslite_cluster.errors import ClusterError

ROOT = Path("/sys/fs/cgroup")
GROUP = "k8s.io"  # as containerd names it
WEIGHTS = {"cpu.shares": 1 << 18, "cpu.weight": 10_000}  # file of version 1, of version 2: the most that it takes
EMPTY_S = 10.0  # until the kernel has let go of the last process


def give_weight() -> None:
    """Containers stand behind no other program, as on a machine that is a node; else all together weigh as much as one program."""
    parent = ROOT / "cpu" if (ROOT / "cpu").exists() else ROOT
    with suppress(OSError):  # a machine that lets nobody make cgroups runs no containers either, and says why
        (parent / GROUP).mkdir(exist_ok=True)
        for file, weight in WEIGHTS.items():
            if (parent / GROUP / file).exists():
                (parent / GROUP / file).write_text(str(weight))


def remove(containers: Iterable[str]) -> None:
    """Those of containers that have ended with their node, and their parent with the last. Raises `ClusterError`."""
    for container in containers:
        for cgroup in (ROOT / GROUP / container, *ROOT.glob(f"*/{GROUP}/{container}")):
            _remove_empty(cgroup)
    for parent in (ROOT / GROUP, *ROOT.glob(f"*/{GROUP}")):
        with suppress(OSError):  # another cluster's are in it
            parent.rmdir()


def _remove_empty(cgroup: Path) -> None:
    deadline = time.monotonic() + EMPTY_S
    while True:
        try:
            cgroup.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise ClusterError(f"cgroup {cgroup} cannot be removed ({error}): look at its cgroup.procs") from error
            time.sleep(0.05)
        else:
            return
