"""The Debian tree that QEMU and the guest's kernel come from: made once by `scripts/chroot.sh`, kept outside the checkout."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
SUITE = "trixie"  # the first with QEMU 8 or newer, which has the 82576 (`igb`)
PACKAGES = ("qemu-system-x86", "linux-image-amd64", "busybox-static")


@functools.cache
def tree() -> Path:
    """The tree's root.  Fails the test when Debian does not give it."""
    made = subprocess.run(
        [ROOT / "scripts" / "chroot.sh", SUITE, *PACKAGES], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, f"no Debian {SUITE}: {made.stderr}"
    return Path(made.stdout.strip())


def kernel() -> Path:
    """The kernel's image, as a path in the tree."""
    return Path("/boot", next(tree().glob("boot/vmlinuz-*")).name)


def modules(*names: str) -> list[Path]:
    """Files of these modules and of all that they need, in the order in which the kernel takes them (modules.dep(5))."""
    folder = next(tree().glob("usr/lib/modules/*"))
    lines = (folder / "modules.dep").read_text().splitlines()
    needs = {name: needed.split() for name, needed in (line.split(":") for line in lines)}
    wanted = [file for name in names for file in needs if Path(file).name.split(".")[0] == name]
    assert len(wanted) == len(names), f"{', '.join(names)}: not all are modules of {folder.name}"
    ordered = [folder / file for name in wanted for file in (*reversed(needs[name]), name)]
    return list(dict.fromkeys(ordered))
