"""A guest: started, given commands, ended.  Its console goes to a file, its commands through a pair of sockets."""

from __future__ import annotations

import io
import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qemu_guest import agent
from qemu_guest.debian import kernel, tree
from qemu_guest.initramfs import write_initramfs

CORES, MEMORY_MIB = 2, 2048
BOOTED_S, ANSWERED_S = 300.0, 300.0  # every instruction is translated: 15 s where cores are free
CONSOLE_LINES = 30
# QEMU sees its own Debian, with this machine's files at /mnt, in mounts of its own.
IN_TREE = 'mount --rbind / "$0/mnt" && exec chroot "$0" qemu-system-x86_64 "$@"'
ENVIRONMENT = {
    "HOME": str(Path.home()),
    "PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
    "PYTHONUNBUFFERED": "1",
}


@dataclass(frozen=True)
class Guest:
    """A guest that answers."""

    channel: io.BufferedRWPair
    console: Path

    def _ask(self, **request: Any) -> dict[str, Any]:
        self.channel.write(json.dumps(request).encode() + b"\n")
        self.channel.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        try:
            line = self.channel.readline()
        except TimeoutError:
            line = b""
        tail = "\n".join(self.console.read_text(errors="replace").splitlines()[-CONSOLE_LINES:])
        assert line, f"the guest has ended, or does not answer:\n{tail}"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def run(self, *command: str) -> str:
        """What a program prints in the guest; fails the test if the program fails."""
        answer = self._ask(command=command)
        assert answer["status"] == 0, f"{' '.join(command)} in the guest: {answer['output']}"
        return str(answer["output"])

    def start(self, log: str, *command: str) -> None:
        """Leave a program running that writes to `log`."""
        self._ask(command=command, log=log)

    def until_booted(self) -> None:
        assert self._answer() == {}


def command_line(initramfs: Path, channel: int, ports: Mapping[str, int]) -> list[str]:
    """QEMU's arguments: each of `ports`, a name and the descriptor of its tap device, is the wire of an Intel 82576 of its own.

    The n-th card is in slot 0 of bus n, from 1.
    """
    boot = f"console=ttyS0 panic=-1 mitigations=off {' '.join(f'{key}={value}' for key, value in ENVIRONMENT.items())}"
    arguments = [
        "-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio", "-monitor", "none",
        "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", str(CORES), "-m", str(MEMORY_MIB),
        "-kernel", str(kernel()), "-initrd", f"/mnt{initramfs}",
        "-append", f"{boot} -- {sys.executable} {agent.__file__}",
        "-fsdev", "local,id=host,path=/mnt,security_model=passthrough,readonly=on,multidevs=remap",
        "-device", "virtio-9p-pci,fsdev=host,mount_tag=host",
        "-chardev", f"socket,id=agent,fd={channel}", "-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent",
    ]  # fmt: skip
    for number, (name, tap) in enumerate(ports.items(), 1):
        arguments += ["-netdev", f"tap,id={name},fd={tap}"]
        arguments += ["-device", f"pcie-root-port,id=port{number},chassis={number},slot={number}"]
        arguments += ["-device", f"igb,bus=port{number},netdev={name},mac=02:00:00:00:{number:02x}:00"]
    return arguments


@contextmanager
def running_guest(folder: Path, ports: Mapping[str, int], *drivers: str) -> Iterator[Guest]:
    """A guest with these cards and kernel modules for the time of the block; `folder` gets its initramfs and console.

    It ends with this process too, if that is killed.
    """
    ours, theirs = socket.socketpair()
    ours.settimeout(BOOTED_S)
    arguments = command_line(write_initramfs(folder, *drivers), theirs.fileno(), ports)
    console = folder / "console"
    with ours, theirs, console.open("wb") as out:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "sh", "-c", IN_TREE, str(tree()), *arguments],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, pass_fds=[theirs.fileno(), *ports.values()],
        )  # fmt: skip
        theirs.close()
        try:
            with ours.makefile("rwb") as channel:
                guest = Guest(channel, console)
                guest.until_booted()
                ours.settimeout(ANSWERED_S)
                yield guest
        finally:
            process.terminate()
            process.wait()
