"""Bulk data through a softwire of 1500 bytes: clamped, answered by ICMP code 4, and fragmented (Done-when 4 of Packets)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aftr_lab.server import digest_of, pieces
from running_lab import URL, Lab, lab_up, sample_with

MIB = 1 << 20
GIB = 1 << 30


@dataclass(frozen=True)
class Mode:
    """How packets that do not fit are dealt with."""

    name: str
    softwire: dict[str, Any]


CLAMPED = Mode("clamped", {"mssClamping": {"enabled": True}})
ICMP = Mode("icmp", {"mssClamping": {"enabled": False}, "dontFragment": "icmp"})
FRAGMENTED = Mode("fragmented", {"mssClamping": {"enabled": False}, "dontFragment": "fragment"})
MODES = [pytest.param(mode, id=mode.name) for mode in (CLAMPED, ICMP, FRAGMENTED)]


@pytest.fixture(scope="module")
def mode(request: pytest.FixtureRequest) -> Mode:
    chosen: Mode = request.param
    return chosen


@pytest.fixture(scope="module")
def lab(mode: Mode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    file = sample_with(tmp_path_factory.mktemp(mode.name) / "lab.yaml", **mode.softwire)
    with lab_up(mode.name, file, "--b4s", "1") as lab:
        yield lab


def download(lab: Lab, size: int, seconds: float) -> str:
    """SHA-256 of what host 1 received."""
    script = f"curl -sS --max-time {seconds} {URL}bytes/{size} | sha256sum"
    return lab.shell("host-1", script, timeout=seconds + 5).split()[0]


def upload(lab: Lab, file: Path, seconds: float) -> str:
    """SHA-256 of what the server received from host 1."""
    answer = lab.run(
        "host-1", "curl", "-sS", "--max-time", str(seconds), "-T", str(file), URL + "upload", timeout=seconds + 5
    )
    received: str = json.loads(answer)["sha256"]
    return received


def write_payload(file: Path, size: int) -> Path:
    with file.open("wb") as out:
        out.writelines(pieces(size))
    return file


def check_fragments(mode: Mode, events: dict[str, int]) -> None:
    """What Done-when 4 says of each mode."""
    sent, reassembled, too_big = events["ipv6-fragments-sent"], events["reassembled"], events["icmp-too-big-sent"]
    if mode is CLAMPED:
        assert events["mss-clamped"] > 0
        assert sent == reassembled == 0
    elif mode is ICMP:
        assert too_big > 0
        assert sent == 0
        assert reassembled > 0, "the B4 fragments what the host sends with 1500 bytes"
    else:
        assert too_big == 0
        assert sent > 0
        assert reassembled > 0


def transfer(lab: Lab, mode: Mode, size: int, folder: Path, seconds: float) -> None:
    """Up, then down: a server that has learned the smaller path MTU would offer a smaller MSS to the upload."""
    expected = digest_of(size)
    assert upload(lab, write_payload(folder / "payload", size), seconds) == expected
    assert download(lab, size, seconds) == expected
    lab.check_books()
    check_fragments(mode, lab.counters()["events"])


@pytest.mark.lab
@pytest.mark.parametrize("mode", MODES, indirect=True)
def test_d03_d05_d07_64_mib_each_way(lab: Lab, mode: Mode, tmp_path: Path) -> None:
    transfer(lab, mode, 64 * MIB, tmp_path, seconds=60)


@pytest.mark.soak  # make lab-gigabyte
@pytest.mark.parametrize("mode", MODES, indirect=True)
def test_d03_d05_d07_1_gib_each_way(lab: Lab, mode: Mode, tmp_path: Path) -> None:
    began = time.monotonic()
    transfer(lab, mode, GIB, tmp_path, seconds=600)
    print(f"{mode.name}: 1 GiB each way in {time.monotonic() - began:.0f} s")


@pytest.mark.lab
def test_nothing_fragments_where_the_access_mtu_is_40_larger(tmp_path: Path) -> None:
    """Without clamping: 1500-byte packets fit into a 1540-byte access network."""
    file = sample_with(tmp_path / "lab.yaml", tunnelMtu=1540, mssClamping={"enabled": False})
    with lab_up("roomy", file, "--b4s", "1", "--access-mtu", "1540") as lab:
        assert download(lab, 16 * MIB, seconds=60) == digest_of(16 * MIB)
        events = lab.counters()["events"]
        assert events["ipv6-fragments-sent"] == events["reassembled"] == events["icmp-too-big-sent"] == 0
        lab.check_books()
