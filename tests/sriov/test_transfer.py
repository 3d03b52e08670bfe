"""Packets of B4s and a server outside, through virtual functions."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from aftr_lab.server import digest_of, pieces
from qemu_guest.served import Served
from qemu_guest.virtual_function import VirtualFunction
from running_lab import URL, Lab

pytestmark = pytest.mark.sriov

SIZE, TRANSFER_S = 100_000_000, 900


def test_the_devices_are_virtual_functions_in_the_best_mode_that_they_have(
    aftr: Served, functions: dict[str, VirtualFunction]
) -> None:
    """igbvf has no XDP of its own: the generic hook, and the log says why not a better one."""
    for side, function in functions.items():
        driver = aftr.guest.run("readlink", f"/sys/class/net/{function.name}/device/driver").strip()
        assert driver.endswith("/igbvf")
        found = next(one for one in aftr.status()["interfaces"] if one["side"] == side)
        refused = "the native XDP hook refused the steering program: Operation not supported"
        sentence = (
            f"interface {side} on {function.name}: generic AF_XDP with one copy, 1 queue"
            f" (zero-copy AF_XDP: {refused}; native AF_XDP with one copy: {refused})"
        )
        assert (found["mode"], found["sentence"]) == ("generic", sentence)
        assert sentence in aftr.log()


def test_a_b4_and_a_server_exchange_100_mb(outside: Lab, aftr: Served, tmp_path: Path) -> None:
    payload, expected, began = tmp_path / "payload", digest_of(SIZE), time.monotonic()
    with payload.open("wb") as out:
        out.writelines(pieces(SIZE))
    curl = ("curl", "-sS", "--max-time", str(TRANSFER_S))
    upload = json.loads(outside.run("host-1", *curl, "-T", str(payload), f"{URL}upload", timeout=TRANSFER_S))
    assert (upload["bytes"], upload["sha256"]) == (SIZE, expected)
    print(f"{SIZE} bytes up after {time.monotonic() - began:.0f} s")
    download = f"{' '.join(curl)} {URL}bytes/{SIZE} | sha256sum"
    assert outside.shell("host-1", download, timeout=TRANSFER_S).split()[0] == expected
    print(f"and down after {time.monotonic() - began:.0f} s")
    frames = {one["side"]: one["counters"]["rx_frames"] for one in aftr.status()["interfaces"]}
    assert min(frames.values()) > SIZE // 1500
    aftr.check_books()
