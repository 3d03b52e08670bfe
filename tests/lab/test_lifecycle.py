"""A lab comes, goes, and leaves nothing: also after `up` was killed at any moment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from pyroute2 import IPRoute, netns

from aftr_lab.processes import Identity, end, identify, parse_stat, recorded
from aftr_lab.record import crowd_namespace
from running_lab import AFTR_LAB, SAMPLE, aftr_lab, lab_up

pytestmark = pytest.mark.lab

NAME = f"lifecycle-{os.getpid()}"
FOLDER = Path("/run/dslite-lab") / NAME


def links() -> set[str]:
    with IPRoute() as netlink:
        return {link.get_attr("IFLA_IFNAME") for link in netlink.get_links()}


def traces() -> dict[str, object]:
    """Whatever of a lab named NAME can be seen on this machine."""
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return {
        "namespaces": [name for name in netns.listnetns() if name.startswith(f"dsl-{NAME}-")],
        "mounts": [line for line in mounts if f"dsl-{NAME}-" in line],
        "processes": [line for line in listing if f"dslite-lab/{NAME}/" in line or f"dsl-{NAME}-" in line],
        "files": [FOLDER] if FOLDER.exists() else [],
    }


NOTHING: dict[str, object] = {"namespaces": [], "mounts": [], "processes": [], "files": []}


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    aftr_lab(NAME, "down")
    before = links()
    yield
    aftr_lab(NAME, "down")
    assert links() == before


def pids_of(lab: dict[str, list[dict[str, int]]]) -> list[int]:
    return [process["pid"] for process in lab["processes"]]


def test_down_leaves_nothing() -> None:
    with lab_up("lifecycle", SAMPLE) as lab:
        pids = pids_of(lab.state)
        assert all(process["running"] for process in lab.state["processes"])
        netns.create(crowd_namespace(NAME))  # what a killed `chaos` leaves
        with lab.running("host-1", "sleep", "1000") as forgotten:
            down = aftr_lab(NAME, "down")
            assert forgotten.wait(timeout=5) == -signal.SIGTERM
    assert down.returncode == 0, down.stderr
    assert traces() == NOTHING
    assert not any(identify(pid) for pid in pids)


def namespaces() -> int:
    return len([name for name in netns.listnetns() if name.startswith(f"dsl-{NAME}-")])


def processes() -> int:
    return len(list((FOLDER / "processes").glob("*")))


def test_down_after_the_aftr_was_killed_and_up_too() -> None:
    """The AFTR's devices are attached, its slots open: the kernel takes everything back with its processes."""
    command = [str(AFTR_LAB), "--lab", NAME, "up", str(SAMPLE)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as up:
        log = FOLDER / "log" / "aftr-1"
        while not (log.exists() and "serving" in log.read_text()):
            assert up.poll() is None
        up.kill()
    aftr = recorded(FOLDER / "processes" / "aftr-1")
    assert aftr is not None
    os.kill(aftr.pid, signal.SIGKILL)
    assert aftr_lab(NAME, "down").returncode == 0
    assert traces() == NOTHING


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(FOLDER.exists, id="folder"),
        pytest.param((FOLDER / "state.json").exists, id="state"),
        pytest.param(lambda: namespaces() >= 1, id="first-namespace"),
        pytest.param(lambda: namespaces() >= 5, id="some-namespaces"),
        pytest.param(lambda: namespaces() >= 8, id="all-namespaces"),
        pytest.param(lambda: processes() >= 1, id="first-process"),
        pytest.param(lambda: processes() >= 3, id="all-processes"),
    ],
)
def test_down_after_up_was_killed(moment: Callable[[], bool]) -> None:
    command = [str(AFTR_LAB), "--lab", NAME, "up", str(SAMPLE), "--without-aftr"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as up:
        while not moment():
            assert up.poll() is None
        up.kill()
    down = aftr_lab(NAME, "down")
    assert down.returncode == 0, down.stderr
    assert traces() == NOTHING


def test_down_twice_is_fine() -> None:
    assert aftr_lab(NAME, "down").stdout == f"there is no lab '{NAME}'\n"


def test_up_twice_is_refused_and_exec_runs_a_command_in_a_node() -> None:
    with lab_up("lifecycle", SAMPLE, "--without-aftr") as lab:
        again = aftr_lab(NAME, "up", str(SAMPLE), "--without-aftr")
        assert again.returncode == 1
        assert "exists" in again.stderr
        assert json.loads(aftr_lab(NAME, "status", "-o", "json").stdout) == lab.state
        assert "192.168.1.10/24" in aftr_lab(NAME, "exec", "host-2", "--", "ip", "-4", "address").stdout
        assert aftr_lab(NAME, "exec", "host-2", "--", "false").returncode == 1
        unknown = aftr_lab(NAME, "exec", "host-9", "--", "true")
        assert unknown.returncode == 1
        assert "no node 'host-9'" in unknown.stderr


def test_a_namespace_of_somebody_else_is_refused_and_kept() -> None:
    foreign = f"dsl-{NAME}-router"
    netns.create(foreign)
    try:
        refused = aftr_lab(NAME, "up", str(SAMPLE), "--without-aftr")
        assert refused.returncode == 1
        assert foreign in refused.stderr
        aftr_lab(NAME, "down")
        assert foreign in netns.listnetns()
    finally:
        netns.remove(foreign)


def test_an_up_that_fails_leaves_nothing_and_says_why(tmp_path: Path) -> None:
    documents = list(yaml.safe_load_all(SAMPLE.read_text()))
    documents[1]["spec"]["prefixes"] = ["2001:db8:ffff::/56"]  # the router's own link: two routes to one place
    file = tmp_path / "clash.yaml"
    file.write_text(yaml.safe_dump_all(documents))
    up = aftr_lab(NAME, "up", str(file), "--without-aftr", "--b4s", "3")
    assert up.returncode == 1
    assert up.stderr.startswith("aftr-lab: ")
    assert traces() == NOTHING


@pytest.mark.parametrize(("field", "value"), [("replicas", 2), ("logging", {"blocks": True})])
def test_fields_of_later_issues_are_refused_by_name(field: str, value: object, tmp_path: Path) -> None:
    documents = list(yaml.safe_load_all(SAMPLE.read_text()))
    documents[0]["spec"][field] = value
    file = tmp_path / "later.yaml"
    file.write_text(yaml.safe_dump_all(documents))
    refused = aftr_lab(NAME, "up", str(file))
    assert refused.returncode == 1
    assert f"spec.{field}" in refused.stderr
    assert traces() == NOTHING


def test_a_device_can_be_attached_to_the_access_bridge() -> None:
    """As `status` describes it: any address of a registered prefix reaches the rest by the gateway."""
    with lab_up("lifecycle", SAMPLE, "--without-aftr") as lab:
        bridge = lab.state["bridges"]["access"]
        device = f"dsl-{NAME}-mine"
        netns.create(device)
        try:
            inside = [
                "ip",
                "-n",
                bridge["namespace"],
                "link",
                "add",
                "mine",
                "type",
                "veth",
                "peer",
                "name",
                "wan",
                "netns",
                device,
            ]
            subprocess.run(inside, check=True)
            subprocess.run(
                ["ip", "-n", bridge["namespace"], "link", "set", "mine", "master", bridge["device"], "up"], check=True
            )
            subprocess.run(["ip", "-n", device, "link", "set", "wan", "up"], check=True)
            address = "2001:db8:2abc:de00::77/128"
            subprocess.run(["ip", "-n", device, "address", "add", address, "dev", "wan", "nodad"], check=True)
            route = ["ip", "-n", device, "-6", "route", "add", "default", "via", bridge["gateway"], "dev", "wan"]
            subprocess.run(route, check=True)
            reach = ["ip", "netns", "exec", device, "ping", "-c3", "-i0.2", "-W2", "2001:db8:ffff::11"]
            subprocess.run(reach, check=True, stdout=subprocess.DEVNULL)
        finally:
            netns.remove(device)


def test_a_stranger_with_a_recorded_pid_is_left_alone() -> None:
    with subprocess.Popen(["sleep", "1000"]) as stranger:
        found = identify(stranger.pid)
        assert found is not None
        assert end([Identity(found.pid, found.start - 1)]) == []
        assert stranger.poll() is None
        assert end([found]) == []
        assert stranger.wait() == -signal.SIGTERM


def test_what_ignores_sigterm_is_killed() -> None:
    script = "trap '' TERM; echo ready; while :; do sleep 1000; done"
    with subprocess.Popen(["bash", "-c", script], stdout=subprocess.PIPE, start_new_session=True) as stubborn:
        assert stubborn.stdout is not None
        stubborn.stdout.readline()
        found = identify(stubborn.pid)
        assert found is not None
        assert end([found], grace_s=0.2) == []
        os.killpg(stubborn.pid, signal.SIGKILL)  # its sleep


def test_a_process_is_named_by_pid_and_start_time() -> None:
    line = "4242 (a ) name) S 1 4242 4242 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1000 10"
    assert parse_stat(line) == Identity(4242, 987654)
