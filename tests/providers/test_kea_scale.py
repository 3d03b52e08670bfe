"""Proof 3: a Kea with 10,000 subnets and 10,000 classes of ours: how long, how silent, how large.  Part of `make soak`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from ipaddress import IPv6Network
from pathlib import Path
from typing import Any

import pytest

from assignments import spread
from dhcp_network import SERVERS, Network
from dslite_operator.distribution.maps import Area
from dslite_operator.distribution.providers.kea.change import Changer
from dslite_operator.distribution.providers.kea.provider import KeaProvider
from dslite_operator.distribution.providers.probe import Prober
from dslite_operator.distribution.providers.provider import Assignment
from kea_servers import HOOKS, OWNER, RunningKea, configuration, running_kea

SUBNETS, SLOTS = 10_000, 4  # a group has as many subnets as slots: as many classes as subnets
BLOCK = IPv6Network("2001:db8:8000::/48")


def place(number: int) -> IPv6Network:
    return IPv6Network((int(BLOCK.network_address) + (number << 64), 64))


def groups() -> list[Assignment]:
    names = [f"s{slot}.east.aftr.example.net" for slot in range(SLOTS)]
    areas = [[Area(place(number)) for number in range(first, first + SLOTS)] for first in range(0, SUBNETS, SLOTS)]
    return [spread(names, "lastNibble", *its, group=f"isp/g{number:04}") for number, its in enumerate(areas)]


def with_a_move(found: list[Assignment]) -> list[Assignment]:
    """One bucket of one group goes to another slot."""
    first, *rest = found
    names = (first.parts[0].names[1], *first.parts[0].names[1:])
    return [replace(first, parts=(replace(first.parts[0], names=names),)), *rest]


@dataclass
class Silence:
    """The longest time between two answers."""

    longest_s: float = 0.0


@contextmanager
def listening() -> Iterator[Silence]:
    """A process beside asks all the time: what this one computes keeps it from nothing."""
    found = Silence()
    script = Path(__file__).parents[1] / "dhcp_listener.py"
    command = [sys.executable, str(script), str(SERVERS["kea-1"]), str(place(SUBNETS - 1)[1])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "listens\n"
        try:
            yield found
        finally:
            process.terminate()
            found.longest_s = float(process.stdout.readline())


def usage(server: RunningKea) -> tuple[int, float]:
    """Resident memory of that Kea in MiB, and the seconds that it has computed: what a busy machine does not stretch."""
    for status in Path("/proc").glob("[0-9]*/status"):
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        command = (status.parent / "cmdline").read_bytes()
        if lines["Name"].strip() == "kea-dhcp6" and str(server.file.name).encode() in command:
            fields = (status.parent / "stat").read_text().rpartition(")")[2].split()
            return int(lines["VmRSS"].split()[0]) // 1024, sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
    raise AssertionError("no Kea runs")


@pytest.mark.soak
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("version", ["2.2", "2.6", "3.0"])
async def test_ten_thousand_subnets_and_classes(network: Network, version: str) -> None:
    subnets = [{"id": number + 1, "subnet": str(place(number))} for number in range(SUBNETS)]
    classes = [{"library": f"{HOOKS}/libdhcp_class_cmds.so"}]
    hooks: dict[str, Any] = {"hooks-libraries": classes} if version == "3.0" else {}
    with running_kea(network, version, configuration(version, "kea-1", *subnets, **hooks)) as server:
        patient = Prober(SERVERS["kea-1"], first_wait_s=2.0)
        provider, wanted = KeaProvider(OWNER, [Changer(server.kea, patient)], 0.0), groups()
        for name, step in (("all", wanted), ("nothing", wanted), ("one bucket", with_a_move(wanted))):
            plan, (before, computed) = provider.render(step), usage(server)
            with listening() as silence:
                begun = time.monotonic()
                done = await provider.apply(plan)
                took = time.monotonic() - begun
            assert bool(done.changed) == (name != "nothing")
            after, now = usage(server)
            sizes = f"{before} → {after} MiB, {now - computed:.1f} s of Kea's CPU"
            print(f"Kea {version}, {SUBNETS} subnets, {name}: {took:.1f} s, silent {silence.longest_s:.2f} s, {sizes}")
        begun = time.monotonic()
        found = await server.kea.configuration()
        print(f"Kea {version}: config-get {time.monotonic() - begun:.1f} s, ", end="")
        begun = time.monotonic()
        assert await server.kea.hash() == found.hash
        print(f"hash {time.monotonic() - begun:.1f} s")
