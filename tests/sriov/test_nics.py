"""docs/nics.md says of each driver what the modules of Debian's kernel can do."""

from __future__ import annotations

import functools
import lzma
import re
from pathlib import Path

import pytest

from aftr.io.device import WITHOUT_REDIRECT
from qemu_guest.debian import tree
from running_lab import ROOT

pytestmark = pytest.mark.sriov

# Functions of the kernel that a driver calls, by the mode that they mean.
SOCKETS_SEND = (b"xsk_tx_peek_desc", b"xsk_tx_peek_release_desc_batch")
SOCKETS_RECEIVE = (b"xp_alloc", b"xp_alloc_batch")
REDIRECT, ANY_XDP = (b"xdp_do_redirect",), (b"bpf_warn_invalid_xdp_action",)


def modules() -> dict[str, Path]:
    """Network drivers of the kernel."""
    return {file.name.split(".")[0]: file for file in tree().glob("usr/lib/modules/*/kernel/drivers/net/**/*.ko.xz")}


@functools.cache
def content(module: Path) -> bytes:
    return lzma.decompress(module.read_bytes())


def calls(module: Path, names: tuple[bytes, ...]) -> bool:
    """Whether one of these is among the module's symbols."""
    return any(b"\0" + name + b"\0" in content(module) for name in names)


def best_mode(module: Path) -> str:
    if not calls(module, REDIRECT):
        return "generic"
    return "zerocopy" if calls(module, SOCKETS_SEND) and calls(module, SOCKETS_RECEIVE) else "native"


def test_drivers_are_in_the_mode_that_the_document_says() -> None:
    text = (ROOT / "docs" / "nics.md").read_text().split("## Drivers\n")[1].split("\n## ")[0]
    said = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| (\w+) \|$", text, re.MULTILINE))
    assert len(said) > 20
    assert said == {driver: best_mode(modules()[driver]) for driver in said}


def test_drivers_that_cannot_redirect_are_not_driven_natively() -> None:
    found = {name for name, file in modules().items() if calls(file, ANY_XDP) and not calls(file, REDIRECT)}
    assert found == WITHOUT_REDIRECT
