"""One guest with two cards for all tests: its AFTR serves on a virtual function of each, for the B4s and the server of a lab outside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from aftr_lab.plan import Aftr
from installed_pool import reaches
from qemu_guest.guest import Guest, running_guest
from qemu_guest.served import Served, serve, until
from qemu_guest.tap import tap
from qemu_guest.virtual_function import DRIVERS, VirtualFunction
from running_lab import SAMPLE, Lab, lab_up

BRIDGES = {"access": "aftrAccess", "internet": "internet"}  # side: the bridge of the lab's router
REACHED_S = 60.0


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample, on links that the AFTR shares with its router: it answers ARP and neighbour discovery on its functions."""
    documents = list(yaml.safe_load_all(SAMPLE.read_text()))
    documents[0]["spec"]["routing"] = {"layer2": {}}
    file = tmp_path_factory.mktemp("sriov") / "pool.yaml"
    file.write_text(yaml.safe_dump_all(documents))
    return file


@pytest.fixture(scope="session")
def outside(config: Path) -> Iterator[Lab]:
    with lab_up("sriov", config, "--outside") as lab:
        yield lab


@pytest.fixture(scope="session")
def guest(outside: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    with ExitStack() as stack:
        bridges = {side: outside.state["bridges"][name] for side, name in BRIDGES.items()}
        ports = {
            side: stack.enter_context(tap(bridge["namespace"], f"guest-{side}", bridge["device"]))
            for side, bridge in bridges.items()
        }
        guest = stack.enter_context(running_guest(tmp_path_factory.mktemp("guest"), ports, *DRIVERS))
        guest.run("ip", "link", "set", "lo", "up")
        guest.run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.default.accept_ra=0")
        yield guest


@pytest.fixture(scope="session")
def functions(outside: Lab, guest: Guest) -> dict[str, VirtualFunction]:
    """One for each side, given."""
    gateways, aftr = outside.state["gateways"], Aftr(1)
    made = {
        "access": VirtualFunction(guest, "access", 1, f"{aftr.access_address}/64", gateways["aftrAccess"]),
        "internet": VirtualFunction(guest, "internet", 2, f"{aftr.internet_address}/24", gateways["aftrInternet"]),
    }
    for function in made.values():
        function.give()
    return made


@pytest.fixture(scope="session")
def aftr(outside: Lab, guest: Guest, functions: dict[str, VirtualFunction], config: Path) -> Served:
    """It serves, and every B4 reaches its slot."""
    served = serve(guest, config, **{f"{side}": function.name for side, function in functions.items()})
    for b4 in outside.state["b4s"]:
        until(lambda b4=b4: reaches(outside, b4), lambda b4=b4: f"{b4['name']}: {served.log()}", REACHED_S)  # type: ignore[misc]
    return served
