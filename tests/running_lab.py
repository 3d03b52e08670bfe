"""A lab for tests: `aftr-lab` as a user runs it, and programs inside its nodes."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pyroute2 import netns

from aftr_lab.chaos.served import owners_of, slots_of
from aftr_lab.record import RUN

ROOT = Path(__file__).parents[1]
LOGS = ROOT / "build" / "logs"
SAMPLE = ROOT / "samples" / "lab.yaml"
FAILOVER = ROOT / "samples" / "failover.yaml"  # three AFTRs, BGP, a store
HOMES, HOMES_DIVIDED = ROOT / "samples" / "homes.yaml", ROOT / "samples" / "homes-divided.yaml"  # told by Kea
LAYER2 = ROOT / "samples" / "layer2.yaml"  # three AFTRs, a store, no BGP
REPLICATED = ROOT / "samples" / "replicated.yaml"  # the same behind a Redis with replicas
AFTR_LAB = Path(sys.executable).with_name("aftr-lab")
AFTR = Path(sys.executable).with_name("aftr")
SERVER = "198.18.0.80"
URL = f"http://{SERVER}/"


def aftr_lab(name: str, *words: str, timeout: float = 180) -> subprocess.CompletedProcess[str]:
    """Run the command line `aftr-lab --lab NAME …`."""
    command = [str(AFTR_LAB), "--lab", name, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


@dataclass(frozen=True)
class Lab:
    """A lab that is up."""

    name: str
    state: dict[str, Any]

    def namespace(self, node: str) -> str:
        return str(self.state["namespaces"][node])

    def run(self, node: str, *command: str, timeout: float = 60) -> str:
        """What a program prints in a node; fails the test if the program fails."""
        inside = ["ip", "netns", "exec", self.namespace(node), *command]
        done = subprocess.run(inside, capture_output=True, text=True, timeout=timeout, check=False)
        assert done.returncode == 0, f"{' '.join(command)} in {node}: {done.stdout}{done.stderr}"
        return done.stdout

    def shell(self, node: str, script: str, timeout: float = 60) -> str:
        return self.run(node, "bash", "-o", "pipefail", "-c", script, timeout=timeout)

    @contextmanager
    def running(self, node: str, *command: str) -> Iterator[subprocess.Popen[str]]:
        """A program that runs in a node while the block runs."""
        inside = ["ip", "netns", "exec", self.namespace(node), *command]
        with subprocess.Popen(inside, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            try:
                yield process
            finally:
                process.terminate()

    def socket(self, node: str, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """A socket that lives in a node's network namespace."""
        made: socket.socket = netns.create_socket(self.namespace(node), family, kind, protocol, flags=0)
        made.settimeout(5)
        return made

    def aftr_json(self, *words: str) -> Any:
        """`aftr WORDS -o json` against this lab's AFTR."""
        path = self.state["aftrs"][0]["socket"]
        command = [str(AFTR), *words, "-o", "json", "--socket", path]
        return json.loads(subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout)

    def counters(self) -> dict[str, dict[str, int]]:
        counters: dict[str, dict[str, int]] = self.aftr_json("show", "counters")
        return counters

    def check_books(self) -> None:
        """Both balance equations (docs/counters.md), once nothing is on its way any more."""
        deadline = time.monotonic() + 5
        while (problem := imbalance(self.counters())) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert problem is None, problem


def imbalance(counters: dict[str, dict[str, int]]) -> str | None:
    """What does not balance."""
    access, internet = counters["access"], counters["internet"]
    for name, side in (("access", access), ("internet", internet)):
        if side["rx"] != sum(side[part] for part in ("forwarded", "merged", "consumed", "dropped", "held")):
            return f"{name}: {side}"
    total = {part: access[part] + internet[part] for part in access}
    if total["tx"] != total["forwarded"] + total["split"] + total["originated"]:
        return f"both: {total}"
    drops = sum(counters["drops"].values())
    return None if total["dropped"] == drops else f"dropped {total['dropped']}, but {counters['drops']}"


@contextmanager
def lab_up(name: str, file: Path, *options: str) -> Iterator[Lab]:
    """A lab for the time of the block; its `down` must succeed. Its name gets the pid: test runs do not meet.

    What its programs logged stays in build/logs when the block fails.
    """
    name = f"{name}-{os.getpid()}"
    up = aftr_lab(name, "up", str(file), *options)
    assert up.returncode == 0, up.stderr
    try:
        yield Lab(name, json.loads(aftr_lab(name, "status", "-o", "json").stdout))
    except BaseException:
        shutil.copytree(RUN / name / "log", LOGS / name, dirs_exist_ok=True)
        raise
    finally:
        down = aftr_lab(name, "down")
        assert down.returncode == 0, down.stderr


def sample_with(file: Path, **softwire: Any) -> Path:
    """The sample configuration with other fields in `spec.softwire`, written to `file`."""
    documents = list(yaml.safe_load_all(SAMPLE.read_text()))
    documents[0]["spec"]["softwire"].update(softwire)
    file.write_text(yaml.safe_dump_all(documents))
    return file


def until(true: Callable[[], Any], what: str, seconds: float = 20.0) -> None:
    """Wait for it; fails the test in words after so many seconds."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not after {seconds:g} s: {what}"
        time.sleep(0.02)


def until_settled(lab: Lab) -> None:
    """Until every slot is served once, and the AFTRs have as many as they should."""
    deadline = time.monotonic() + 20
    while not owners_of(lab.state):
        assert time.monotonic() < deadline, slots_of(lab.state)
        time.sleep(0.1)


def owner_of(lab: Lab, slot: int, seconds: float = 20.0) -> str:
    """The AFTR that serves a slot, once one does."""
    deadline = time.monotonic() + seconds
    while not (found := [name for name, slots in slots_of(lab.state).items() if slot in slots]):
        assert time.monotonic() < deadline, f"nobody serves slot {slot}"
        time.sleep(0.1)
    return found[0]


def reported(lab: Lab, *words: str, timeout: float = 300) -> tuple[int, dict[str, Any]]:
    """How `aftr-lab chaos WORDS` ended, and what it reports of a lab."""
    done = aftr_lab(lab.name, "chaos", "-o", "json", *words, timeout=timeout)
    print(done.stderr, done.stdout)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def chaos(lab: Lab, *words: str, timeout: float = 300) -> dict[str, Any]:
    """What `aftr-lab chaos WORDS` reports; fails the test if anything was lost."""
    status, report = reported(lab, *words, timeout=timeout)
    assert status == 0, report
    return report
