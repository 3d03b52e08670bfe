"""Proof 3: a Kea with 10,000 subnets and 10,000 classes of ours: how long, how silent, how large (`make soak`).

A short form, with 400 of each and this machine's Kea, is part of `make test`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
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

SUBNETS, FEW, SLOTS = 10_000, 400, 4  # a group has as many subnets as slots: as many classes as subnets
BLOCK = IPv6Network("2001:db8:8000::/48")
SET_CPU_S, MOST_MIB = 40.0, 800  # 10 to 20 s, and 410 to 560 MiB, were measured (docs/dhcp.md)


def place(number: int) -> IPv6Network:
    return IPv6Network((int(BLOCK.network_address) + (number << 64), 64))


def groups(subnets: int) -> list[Assignment]:
    names = [f"s{slot}.east.aftr.example.net" for slot in range(SLOTS)]
    areas = [[Area(place(number)) for number in range(first, first + SLOTS)] for first in range(0, subnets, SLOTS)]
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
def listening(subnet: IPv6Network) -> Iterator[Silence]:
    """A process beside asks all the time from a subnet: what this one computes keeps it from nothing."""
    found = Silence()
    script = Path(__file__).parents[1] / "dhcp_listener.py"
    command = [sys.executable, str(script), str(SERVERS["kea-1"]), str(subnet[1])]
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


@dataclass(frozen=True)
class Cost:
    """Of one `apply`: seconds in all, the longest silence, seconds of Kea's CPU, its memory in MiB before and after, what it was told."""

    took_s: float
    silent_s: float
    cpu_s: float
    mib: tuple[int, int]
    commands: Counter[str]


async def cost_of(server: RunningKea, provider: KeaProvider, wanted: list[Assignment]) -> tuple[bool, Cost]:
    """Whether anything was changed, and what that took."""
    plan, commands, (before, computed) = provider.render(wanted), server.commands(), usage(server)
    with listening(wanted[-1].parts[-1].areas[-1].subnet) as silence:
        begun = time.monotonic()
        done = await provider.apply(plan)
        took_s = time.monotonic() - begun
    after, now = usage(server)
    told = server.commands() - commands
    return bool(done.changed), Cost(took_s, silence.longest_s, now - computed, (before, after), told)


@pytest.mark.parametrize(
    ("version", "size"),
    [
        *(pytest.param(version, SUBNETS, marks=pytest.mark.soak) for version in ("2.2", "2.6", "3.0")),
        pytest.param("2.2", FEW, marks=[pytest.mark.lab, pytest.mark.short]),
    ],
)
@pytest.mark.timeout(1500)
async def test_many_subnets_and_classes(network: Network, version: str, size: int) -> None:
    subnets = [{"id": number + 1, "subnet": str(place(number))} for number in range(size)]
    classes = [{"library": f"{HOOKS}/libdhcp_class_cmds.so"}]
    hooks: dict[str, Any] = {"hooks-libraries": classes} if version == "3.0" else {}
    every = groups(size)
    with running_kea(network, version, configuration(version, "kea-1", *subnets, **hooks)) as server:
        patient = Prober(SERVERS["kea-1"], first_wait_s=2.0)
        provider, costs = KeaProvider(OWNER, [Changer(server.kea, patient)], 0.0), dict[str, Cost]()
        for name, step in (("all", every), ("nothing", every), ("one bucket", with_a_move(every))):
            changed, one = await cost_of(server, provider, step)
            assert changed == (name != "nothing")
            sizes = f"{one.mib[0]} → {one.mib[1]} MiB, {one.cpu_s:.1f} s of Kea's CPU"
            said = f"{one.took_s:.1f} s, silent {one.silent_s:.2f} s, {sizes}"
            print(f"Kea {version}, {size} subnets, {name}: {said}; {dict(one.commands)}")
            costs[name] = one
        begun = time.monotonic()
        found = await server.kea.configuration()
        print(f"Kea {version}: config-get {time.monotonic() - begun:.1f} s, ", end="")
        begun = time.monotonic()
        assert await server.kea.hash() == found.hash
        print(f"hash {time.monotonic() - begun:.1f} s")
    judge(costs, by_class=version == "3.0")


def judge(costs: dict[str, Cost], by_class: bool) -> None:
    """By the way taken, Kea's own CPU and memory, which a busy machine does not stretch; silence against that of all at once."""
    every, none, one = costs["all"], costs["nothing"], costs["one bucket"]
    assert set(none.commands) == {"version-get", "list-commands", "config-get"}
    assert none.commands["config-get"] == 1
    for cost in (every, *(() if by_class else (one,))):
        assert (cost.commands["config-set"], cost.commands["class-update"]) == (1, 0)
        assert cost.cpu_s < SET_CPU_S
    if by_class:  # from one class to another, each told both for a moment; nothing else of Kea is touched
        assert (one.commands["config-set"], one.commands["config-test"], one.commands["class-update"]) == (0, 0, 4)
        assert one.cpu_s < every.cpu_s / 3
        assert one.silent_s < every.silent_s / 3
    assert none.cpu_s < every.cpu_s / 2
    assert max(cost.mib[1] for cost in costs.values()) < MOST_MIB
