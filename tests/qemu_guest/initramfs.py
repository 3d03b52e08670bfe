"""The guest's first file system: busybox, the modules it needs before it sees this machine's files, and `init.sh`."""

from __future__ import annotations

import lzma
import subprocess
from pathlib import Path

from qemu_guest.debian import modules, tree

INIT = Path(__file__).with_name("init.sh")
FILES = ("9pnet_virtio", "9p")  # modules for the file system
MOUNTED_ON = ("proc", "sys", "dev", "host")


def write_initramfs(folder: Path, *drivers: str) -> Path:
    """`folder`/initramfs: a cpio archive whose modules are loaded in the order of their names.  The folder must exist."""
    content = folder / "initramfs.d"
    for name in ("bin", "modules", *MOUNTED_ON):
        (content / name).mkdir(parents=True)
    (content / "bin" / "busybox").write_bytes((tree() / "bin" / "busybox").read_bytes())
    (content / "init").write_bytes(INIT.read_bytes())
    for file in (content / "bin" / "busybox", content / "init"):
        file.chmod(0o755)
    for number, module in enumerate(modules(*FILES, *drivers)):
        (content / "modules" / f"{number:02}-{module.stem}").write_bytes(lzma.decompress(module.read_bytes()))
    names = "".join(f"{path.relative_to(content)}\n" for path in sorted(content.rglob("*")))
    archive = folder / "initramfs"
    command = [str(tree() / "bin" / "busybox"), "cpio", "-o", "-H", "newc"]
    with archive.open("wb") as out:
        subprocess.run(command, cwd=content, input=names.encode(), stdout=out, stderr=subprocess.PIPE, check=True)
    return archive
