"""Ten minutes of new flows from 300 B4s with mutated packets in between, and a process that is killed once (Packets, Done-when 5)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import yaml

from aftr_lab.chaos.crowd import Crowd, crowd_of
from aftr_lab.server import digest_of
from packets import Side
from properties.mutants import Numbers, mutants, seeds
from rig import Endpoint
from running_lab import AFTR, SAMPLE, URL, Lab, lab_up
from veths import Peer, mac_of

MINUTES = float(os.environ.get("SOAK_MINUTES", "10"))
B4S, FLOWS_PER_S, MUTANTS_PER_S = 300, 2000, 500
TICK_S = 0.01
UDP_S, HOLD_DOWN_S = 120, 60
KILL_AT, SLOPE_FROM = 0.2, 0.5  # parts of the whole time
SAMPLE_S = 5.0
SETTLE_S = 3.0  # after a kill: flows of this long are not judged
BACK_S = 2.0
MIB = 1 << 20


def configuration(file: Path) -> Path:
    """The sample with the timers of the soak, and room for its mappings.  The B4 is of the group in whose name no mutant comes."""
    pool, north, south = yaml.safe_load_all(SAMPLE.read_text())
    nat = pool["spec"]["nat"]
    nat["timeouts"] = {"udpSeconds": UDP_S}
    nat["portBlock"] = {"holdDownSeconds": HOLD_DOWN_S}
    pool["spec"]["capacity"] = {"mappingsPerSlot": 131072}
    file.write_text(yaml.safe_dump_all([pool, south, north]))
    return file


@dataclass
class Supervised:
    """`aftr run` in the lab's AFTR node."""

    lab: Lab
    config: Path
    log: Path
    process: subprocess.Popen[bytes] = field(init=False)
    started: float = field(init=False)  # time.monotonic()

    def start(self) -> None:
        options = ["--config", str(self.config), "--access", "access", "--internet", "internet"]
        options += ["--status", "[::]:9464", "--socket", self.lab.state["aftrs"][0]["socket"]]
        inside_node = ["ip", "netns", "exec", self.lab.namespace("aftr-1")]
        self.started = time.monotonic()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([*inside_node, str(AFTR), "run", *options], stdout=log, stderr=log)

    def serving(self) -> int:
        """The process that serves: the child of the one that was started."""
        parent = self.process.pid
        (child,) = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return int(child)

    def kill(self) -> None:
        """Kill the process that serves; its parent starts another one."""
        self.started = time.monotonic()
        os.kill(self.serving(), signal.SIGKILL)

    def resident(self) -> int:
        """Bytes of memory that the serving process has."""
        words = Path(f"/proc/{self.serving()}/statm").read_text().split()
        return int(words[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def supervised(lab: Lab, config: Path, log: Path) -> Iterator[Supervised]:
    one = Supervised(lab, config, log)
    one.start()
    try:
        yield one
    finally:
        one.process.terminate()
        one.process.wait(30)


class Mutants:
    """Mutated frames, put on the AFTR's own links."""

    def __init__(self, lab: Lab) -> None:
        router, aftr = lab.namespace("router"), lab.namespace("aftr-1")
        self.ways = {"access": Peer(router, "aftr-1-access"), "internet": Peer(router, "aftr-1-inet")}
        self.macs = {side: bytes.fromhex(mac_of(aftr, side).replace(":", "")) for side in self.ways}
        self.numbers, self.good, self.sent = Numbers(6333), list[tuple[Side, bytes]](), 0

    def aim(self, crowd: Crowd) -> None:
        """At mappings that live now."""
        endpoints = [Endpoint(IPv4Address(address), port) for address, port in islice(crowd.newest_endpoints(), 3)]
        if len(endpoints) == 3:
            self.good = seeds(dict(zip(("udp", "tcp", "icmp"), endpoints, strict=True)))

    def send(self, number: int) -> None:
        for side, frame in mutants(self.good, self.numbers, number) if self.good else ():
            if 14 <= len(frame) <= 1514:
                self.ways[side].socket.send(self.macs[side] + frame[6:])
                self.sent += 1

    def close(self) -> None:
        for peer in self.ways.values():
            peer.socket.close()


@dataclass
class Report:
    """What the soak saw, printed as JSON."""

    first_start_s: float = 0.0
    back_s: float = 0.0
    lost_in_outage: int = 0
    resident: list[tuple[float, int]] = field(default_factory=list)  # (s, bytes)

    def slope(self) -> float:
        """MiB per minute, by least squares, over the later part."""
        times, sizes = np.array(self.resident[int(len(self.resident) * SLOPE_FROM) :], float).T
        return float(np.polyfit(times / 60, sizes / MIB, 1)[0])


def first_answer(crowd: Crowd, since: float, limit_s: float) -> float:
    """Seconds from `since` until a new flow is answered."""
    while time.monotonic() < since + limit_s:
        crowd.open_flow()
        time.sleep(TICK_S)
        crowd.serve()
        if crowd.collect():
            return time.monotonic() - since
    pytest.fail(f"no flow passed in {limit_s:g} s")


def soak(crowd: Crowd, wild: Mutants, aftr: Supervised, report: Report, seconds: float) -> None:
    """New flows and mutants, tick by tick; the process is killed once and must be back."""
    began = time.monotonic()
    kill_at, due, sample_at, judged_from = began + seconds * KILL_AT, began, began, began
    while (now := time.monotonic()) < began + seconds:
        behind = int((now - due) / TICK_S) + 1
        due += behind * TICK_S
        for _ in range(min(behind, 10) * int(FLOWS_PER_S * TICK_S)):
            crowd.open_flow()
        wild.send(min(behind, 10) * int(MUTANTS_PER_S * TICK_S))
        crowd.serve()
        crowd.collect()
        lost = crowd.give_up()
        if now < judged_from:
            report.lost_in_outage += lost
            crowd.outcome.lost -= lost
        if now >= kill_at:
            kill_at = float("inf")
            aftr.kill()
            crowd.forget()
            report.back_s = first_answer(crowd, aftr.started, 60)
            judged_from = time.monotonic() + SETTLE_S
            due = sample_at = time.monotonic()
        if now >= sample_at:
            sample_at += SAMPLE_S
            report.resident.append((now - began, aftr.resident()))
            wild.aim(crowd)
            assert aftr.process.poll() is None, "the process ended by itself"
        time.sleep(max(0.0, due - time.monotonic()))


def all_is_given_back(lab: Lab) -> bool:
    """No subscriber of the crowd has a mapping or a port block any more."""
    return not any(
        one["mappings"] or one["blocks"]
        for one in lab.aftr_json("show", "subscribers")
        if one["subscriber"].startswith("2001:db8:18")
    )


@pytest.mark.soak
def test_ten_minutes_of_new_flows_and_mutants(tmp_path: Path) -> None:
    config = configuration(tmp_path / "soak.yaml")
    report = Report()
    with (
        lab_up("soak", config, "--b4s", "1", "--without-aftr") as lab,
        supervised(lab, config, tmp_path / "aftr.log") as aftr,
        crowd_of(lab.state, B4S, UDP_S - 1, HOLD_DOWN_S) as crowd,
    ):
        wild = Mutants(lab)
        report.first_start_s = first_answer(crowd, aftr.started, 120)
        with lab.running("host-1", "bash", "-c", f"while sleep 0.2; do curl -s -m 5 -o /dev/null {URL}bytes/1M; done"):
            soak(crowd, wild, aftr, report, MINUTES * 60)
        wild.close()
        deadline = time.monotonic() + 2 * UDP_S + HOLD_DOWN_S
        while not all_is_given_back(lab) and time.monotonic() < deadline:
            time.sleep(SAMPLE_S)
        out = crowd.outcome
        summary = {
            "flows": out.sent, "answered": out.answered, "lost": out.lost, "lostInOutage": report.lost_in_outage,
            "mutants": wild.sent, "firstStartSeconds": round(report.first_start_s, 2), "backAfterKillSeconds": round(report.back_s, 2),
            "residentMiB": round(report.resident[-1][1] / MIB, 1), "slopeMiBPerMinute": round(report.slope(), 3),
            "misdelivered": out.misdelivered[:5], "doubled": out.doubled[:5],
        }  # fmt: skip
        print(json.dumps(summary, indent=2))
        assert out.misdelivered == []
        assert out.doubled == []
        assert out.lost <= out.sent / 1000
        assert report.back_s <= BACK_S
        assert report.slope() <= 1.0
        assert all_is_given_back(lab)
        assert lab.aftr_json("verify") == []
        lab.check_books()
        assert lab.shell("host-1", f"curl -sS -m 30 {URL}bytes/16M | sha256sum").split()[0] == digest_of(16 * MIB)
        assert aftr.process.poll() is None
