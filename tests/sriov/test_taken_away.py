"""A virtual function is taken away under traffic and given back: no binding is lost, and nobody starts anything again."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aftr_lab.server import digest_of
from qemu_guest.served import Served, until
from qemu_guest.virtual_function import VirtualFunction
from running_lab import SERVER, URL, Lab

pytestmark = pytest.mark.sriov

PORT, FLOWS = 6333, 16
BINDING = ("slot", "softwire", "internalAddress", "internalPort", "externalAddress", "externalPort")
SIZE, RATE, TRANSFER_S = 20_000_000, "500K", 600  # 40 s: not at its end when the function goes
NOTICED_S, BACK_S = 60.0, 120.0
WAYS = {
    "access, unbound from its driver": ("access", VirtualFunction.unbind, VirtualFunction.bind),
    "internet, taken off its card": ("internet", VirtualFunction.take, VirtualFunction.give),
}
Way = tuple[str, Callable[[VirtualFunction], None], Callable[[VirtualFunction], None]]


class Flows:
    """UDP flows of a host, and the endpoints from which the server sees them."""

    def __init__(self, outside: Lab, stack: contextlib.ExitStack) -> None:
        self._server = stack.enter_context(outside.socket("internet", socket.AF_INET, socket.SOCK_DGRAM))
        self._server.bind((SERVER, PORT))
        self._server.settimeout(0.5)
        self._flows = [
            stack.enter_context(outside.socket("host-2", socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(FLOWS)
        ]

    def bindings(self, aftr: Served) -> set[tuple[Any, ...]]:
        """What the AFTR has for them."""
        ports = {flow.getsockname()[1] for flow in self._flows}
        shown = [one for one in aftr.ask("bindings") if one["protocol"] == "udp"]
        return {tuple(one[name] for name in BINDING) for one in shown if one["internalPort"] in ports}

    def endpoints(self) -> dict[int, Any]:
        """Each flow's external address and port, from packets sent now; a flow that is not heard is not among them."""
        for number, flow in enumerate(self._flows):
            flow.sendto(bytes([number]), (SERVER, PORT))
        found: dict[int, Any] = {}
        with contextlib.suppress(TimeoutError):
            while len(found) < FLOWS:
                data, endpoint = self._server.recvfrom(64)
                found[data[0]] = endpoint
        return found

    def until_all(self, seconds: float) -> dict[int, Any]:
        """The endpoints, once every flow is heard."""
        until(lambda: len(self.endpoints()) == FLOWS, lambda: f"{FLOWS} flows are heard: {self.endpoints()}", seconds)
        return self.endpoints()


@pytest.fixture
def flows(outside: Lab, aftr: Served) -> Iterator[Flows]:
    with contextlib.ExitStack() as stack:
        yield Flows(outside, stack)


def counted(aftr: Served, device: str) -> int:
    """How often the device went away, as Prometheus sees it."""
    found = re.search(rf'^dslite_device_total{{counter="gone",device="{device}"}} (\d+)', aftr.metrics(), re.MULTILINE)
    assert found, aftr.metrics()
    return int(found[1])


def unresolved(aftr: Served) -> int:
    """Packets without a way on: an interface that is gone has no next hops."""
    return int(aftr.ask("counters")["drops"]["drop-next-hop-unresolved"])


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_function_that_goes_and_returns_costs_no_binding(
    way: Way, outside: Lab, functions: dict[str, VirtualFunction], aftr: Served, flows: Flows
) -> None:
    side, take, give = way
    function, before, endpoints = functions[side], aftr.status(), flows.until_all(NOTICED_S)
    name = function.name
    download = f"curl -sS --max-time {TRANSFER_S} --limit-rate {RATE} {URL}bytes/{SIZE} | sha256sum"
    with outside.running("host-1", "bash", "-o", "pipefail", "-c", download) as transfer:
        bindings, log, times = flows.bindings(aftr), aftr.log(), counted(aftr, name)
        assert len(bindings) == FLOWS
        assert transfer.poll() is None

        take(function)
        began = time.monotonic()
        aftr.said(f"{name} is gone: its queues are closed until it returns", NOTICED_S, log)
        print(f"{name} is gone, said after {time.monotonic() - began:.1f} s")
        assert f"interface device {name} is gone" in aftr.missing()
        assert counted(aftr, name) == times + 1
        dropped = unresolved(aftr)
        assert flows.endpoints() == {}
        until(lambda: unresolved(aftr) > dropped, lambda: "packets without a way are counted", NOTICED_S)
        assert flows.bindings(aftr) == bindings

        give(function)
        aftr.said(f"{name} is back: interface {side} on {name}: generic AF_XDP with one copy", BACK_S, log)
        aftr.ready(BACK_S)
        assert flows.until_all(BACK_S) == endpoints
        print(f"all flows are heard again after {time.monotonic() - began:.1f} s")
        assert transfer.stdout is not None
        assert transfer.stdout.read().split()[0] == digest_of(SIZE)
        print(f"the download is complete after {time.monotonic() - began:.1f} s")
    assert flows.bindings(aftr) == bindings
    check(aftr, before)


def check(aftr: Served, before: dict[str, Any]) -> None:
    """The same process, whose tables agree and whose books balance; its own announcements are nobody else's claims."""
    after = aftr.status()
    assert (after["pid"], after["startedSeconds"]) == (before["pid"], before["startedSeconds"])
    assert aftr.ask("verify") == []
    assert aftr.ask("counters")["events"]["neighbour-conflicts"] == 0
    aftr.check_books()
