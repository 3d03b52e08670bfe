"""Every way to drive the interfaces, with one worker and with two: the same transfers, and the books balance."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from aftr_lab.server import digest_of, pieces
from running_lab import SAMPLE, SERVER, URL, Lab, lab_up

pytestmark = pytest.mark.lab

SIZE = 16 << 20
MODES = {"native": "native AF_XDP", "generic": "generic AF_XDP", "packet": "AF_PACKET"}


@pytest.fixture(scope="module", params=[("native", 2), ("generic", 1), ("generic", 2), ("packet", 1), ("packet", 2)])
def mode(request: pytest.FixtureRequest) -> tuple[str, int]:
    chosen: tuple[str, int] = request.param
    return chosen


@pytest.fixture(scope="module")
def lab(mode: tuple[str, int]) -> Iterator[Lab]:
    with lab_up(mode[0], SAMPLE, "--mode", mode[0], "--workers", str(mode[1])) as lab:
        yield lab


def test_d01_transfers_and_fragments(lab: Lab, mode: tuple[str, int], tmp_path: Path) -> None:
    """The two B4s have slots of different workers, so that with two of them frames are handed over."""
    payload = tmp_path / "payload"
    with payload.open("wb") as file:
        file.writelines(pieces(SIZE))
    for host in ("host-1", "host-2"):
        received = lab.shell(host, f"curl -sS --max-time 30 {URL}bytes/{SIZE} | sha256sum").split()[0]
        assert received == digest_of(SIZE)
        answer = json.loads(lab.run(host, "curl", "-sS", "--max-time", "30", "-T", str(payload), URL + "upload"))
        assert answer["sha256"] == digest_of(SIZE)
        printed = lab.run(host, "ping", "-n", "-c5", "-i0.2", "-W2", "-M", "dont", "-s", "1472", SERVER)
        assert " 0% packet loss" in printed
    events = lab.counters()["events"]
    assert events["reassembled"] >= 10
    assert (events["handed-over"] > 0) == (mode[1] > 1)
    lab.check_books()


def test_the_log_says_how_interfaces_are_driven(lab: Lab, mode: tuple[str, int]) -> None:
    log = next(process["log"] for process in lab.state["processes"] if process["node"] == "aftr-1")
    queues = f"{mode[1]} queue" + ("s" if mode[1] > 1 else "")
    for side in ("access", "internet"):
        line = next(line for line in Path(log).read_text().splitlines() if f"interface {side} on {side}" in line)
        assert MODES[mode[0]] in line
        assert queues in line
