"""A virtual function is taken away under traffic and given back: no binding is lost, and nobody starts anything again."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aftr_lab.server import digest_of
from qemu_guest.served import Served, until
from qemu_guest.virtual_function import VirtualFunction
from running_lab import SERVER, URL, Lab, imbalance

pytestmark = pytest.mark.sriov

PORT, FLOWS = 6333, 16
BINDING = ("slot", "softwire", "internalAddress", "internalPort", "externalAddress", "externalPort")
SIZE, RATE, TRANSFER_S = 20_000_000, "500K", 600  # 40 s: longer than the function is away
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
        shown = [one for one in aftr.show("show", "bindings") if one["protocol"] == "udp"]
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


def gone(aftr: Served, device: str) -> int:
    counters = [one["counters"] for one in aftr.status()["interfaces"] if one["device"] == device]
    return int(counters[0]["gone"])


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_function_that_goes_and_returns_costs_no_binding(
    way: Way, outside: Lab, functions: dict[str, VirtualFunction], aftr: Served, flows: Flows
) -> None:
    side, take, give = way
    function = functions[side]
    before, endpoints = aftr.status(), flows.until_all(NOTICED_S)
    log, times = aftr.log(), gone(aftr, function.name)
    download = f"curl -sS --max-time {TRANSFER_S} --limit-rate {RATE} {URL}bytes/{SIZE} | sha256sum"
    with outside.running("host-1", "bash", "-o", "pipefail", "-c", download) as transfer:
        assert transfer.stdout is not None
        bindings = flows.bindings(aftr)
        assert len(bindings) == FLOWS
        assert transfer.poll() is None
        take(function)
        aftr.said(f"{function.name} is gone: its queues are closed until it returns", NOTICED_S, log)
        assert f"interface device {function.name} is gone" in aftr.missing()
        assert gone(aftr, function.name) == times + 1
        assert flows.endpoints() == {}
        assert flows.bindings(aftr) == bindings
        give(function)
        aftr.said(f"{function.name} is back: interface {side} on {function.name}: generic AF_XDP", BACK_S, log)
        aftr.ready(BACK_S)
        assert flows.until_all(BACK_S) == endpoints
        assert transfer.stdout.read().split()[0] == digest_of(SIZE)
    assert flows.bindings(aftr) == bindings
    check(aftr, before)


def check(aftr: Served, before: dict[str, Any]) -> None:
    """The same process, whose tables agree and whose books balance."""
    after = aftr.status()
    assert (after["pid"], after["startedSeconds"]) == (before["pid"], before["startedSeconds"])
    assert aftr.show("verify") == []
    until(lambda: imbalance(aftr.show("show", "counters")) is None, lambda: str(aftr.show("show", "counters")), BACK_S)
