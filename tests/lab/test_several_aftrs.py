"""A lab of several AFTRs: router with BGP, Redis, management network; programs killed and started again."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyroute2 import netns

from aftr_lab.processes import identify, session_of
from running_lab import AFTR, FAILOVER, ROOT, SAMPLE, URL, Lab, aftr_lab, lab_up, until

pytestmark = pytest.mark.lab

AGENT = ROOT / "tests" / "announcing_aftr.py"
STORE = "redis://10.64.0.1:6379/0"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_up("several", FAILOVER, "--without-aftr") as made:
        yield made


def has_ended(number: int) -> bool:
    return identify(number) is None


def status(lab: Lab) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(aftr_lab(lab.name, "status", "-o", "json").stdout)
    return found


def pid(lab: Lab, node: str) -> int:
    found = next(process for process in status(lab)["processes"] if process["node"] == node)
    assert found["running"]
    return int(found["pid"])


def sessions(lab: Lab) -> dict[str, str]:
    return {session["name"]: session["state"] for session in status(lab)["bgp"]["sessions"]}


def gateways(lab: Lab) -> dict[str, int]:
    """How many of the router's routes lead to each AFTR."""
    routes = lab.run("router", "ip", "-6", "route") + lab.run("router", "ip", "route")
    owner = {aftr[side]["address"]: aftr["name"] for aftr in lab.state["aftrs"] for side in ("access", "internet")}
    return Counter(owner[address] for address in re.findall(r" via (\S+)", routes))


@contextmanager
def announcing(lab: Lab, aftr: dict[str, Any]) -> Iterator[Callable[..., Any]]:
    """The announcer in an AFTR's node: a function that sends it a command and returns its answer."""
    command = [sys.executable, str(AGENT), str(FAILOVER), aftr["runtime"]]
    inside = ["ip", "netns", "exec", aftr["namespace"], "env", f"PYTHONPATH={os.pathsep.join(sys.path)}", *command]
    with subprocess.Popen(inside, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        into, out = process.stdin, process.stdout
        assert into is not None
        assert out is not None

        def tell(*words: object) -> Any:
            print(*words, file=into, flush=True)
            return json.loads(out.readline())

        try:
            assert json.loads(out.readline())["started"]
            yield tell
        finally:
            process.kill()


def test_each_aftr_reaches_the_store_and_the_others(lab: Lab) -> None:
    assert lab.state["store"]["url"] == STORE
    for aftr in lab.state["aftrs"]:
        assert lab.run(aftr["name"], "redis-cli", "-u", STORE, "ping") == "PONG\n"
        for other in lab.state["aftrs"]:
            lab.run(aftr["name"], "ping", "-c1", "-W2", other["mgmt"]["address"])


def test_the_store_keeps_nothing_on_disk_and_refuses_when_full(lab: Lab) -> None:
    for setting, value in (("save", ""), ("appendonly", "no"), ("maxmemory-policy", "noeviction")):
        assert lab.run("aftr-1", "redis-cli", "-u", STORE, "config", "get", setting).splitlines() == [setting, value]


def test_the_router_has_no_static_routes_and_learns_slots_from_the_newest_owner(lab: Lab) -> None:
    assert "2001:db8:64:" not in lab.run("router", "ip", "-6", "route")
    assert "192.0.2." not in lab.run("router", "ip", "route")
    first, second = lab.state["aftrs"][:2]
    with announcing(lab, first) as old, announcing(lab, second) as new:
        until(lambda: list(sessions(lab).values()).count("Established") == 4, "four sessions are up")
        for slot in range(8):
            old("announce", slot, 1)
        new("announce", 5, 2)
        until(lambda: gateways(lab) == {first["name"]: 14, second["name"]: 2}, "slot 5 is at the second")
        assert f"2001:db8:64::6 via {second['access']['address']} " in lab.run("router", "ip", "-6", "route")
        assert f"192.0.2.160/27 via {second['internet']['address']} " in lab.run("router", "ip", "route")
    until(lambda: set(sessions(lab).values()).isdisjoint({"Established"}), "no session is up")


def test_a_b4_reaches_the_internet_through_the_aftr_that_announces_its_slot(lab: Lab, tmp_path: Path) -> None:
    """BGP goes past the engine on its own interfaces, and leads packets to it on both sides."""
    documents = list(yaml.safe_load_all(FAILOVER.read_text()))
    for field in ("replicas", "store", "routing", "failover"):
        del documents[0]["spec"][field]
    file = tmp_path / "alone.yaml"
    file.write_text(yaml.safe_dump_all(documents))
    first = lab.state["aftrs"][0]
    command = ["--config", str(file), "--access", "access", "--internet", "internet", "--socket", first["socket"]]
    with (
        lab.running(first["name"], str(AFTR), "run", *command, "--status", "[::]:9464"),
        announcing(lab, first) as tell,
    ):
        for slot in range(2):
            tell("announce", slot, 1)
        ready = [
            "curl",
            "-s",
            "-f",
            "-g",
            "-o",
            "/dev/null",
            "--retry",
            "100",
            "--retry-all-errors",
            "--retry-delay",
            "1",
        ]
        lab.run(first["name"], *ready, "http://[::1]:9464/readyz", timeout=120)
        until(lambda: gateways(lab)[first["name"]] == 4, "two slots are announced")
        for host in ("host-1", "host-2"):
            answer = lab.run(host, "curl", "-s", "--retry", "5", "--retry-all-errors", f"{URL}whoami", timeout=30)
            assert json.loads(answer)["address"].startswith("192.0.2.")
        assert list(sessions(lab).values()).count("Established") == 2


def test_a_killed_store_comes_back_empty(lab: Lab) -> None:
    lab.run("aftr-1", "redis-cli", "-u", STORE, "set", "key", "value")
    killed = identify(pid(lab, "store"))
    assert killed is not None
    assert aftr_lab(lab.name, "kill", "store").returncode == 0
    assert identify(killed.pid) != killed
    again = aftr_lab(lab.name, "kill", "store")
    assert (again.returncode, again.stderr) == (1, "aftr-lab: no program runs in node store\n")
    assert aftr_lab(lab.name, "start", "store").returncode == 0
    assert lab.run("aftr-1", "redis-cli", "-u", STORE, "dbsize") == "0\n"
    again = aftr_lab(lab.name, "start", "store")
    assert (again.returncode, again.stderr) == (1, f"aftr-lab: store runs already, as process {pid(lab, 'store')}\n")


def test_a_program_is_stopped_and_goes_on(lab: Lab) -> None:
    def state() -> str:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]

    number = pid(lab, "store")
    assert aftr_lab(lab.name, "kill", "store", "--signal", "STOP").returncode == 0
    until(lambda: state() == "T", "the store is stopped")
    assert aftr_lab(lab.name, "kill", "store", "--signal", "cont").returncode == 0
    until(lambda: lab.run("aftr-1", "redis-cli", "-u", STORE, "ping") == "PONG\n", "the store answers")
    assert pid(lab, "store") == number


def test_a_b4_and_the_router_start_again(lab: Lab) -> None:
    for node in ("b4-1", "router"):
        before = pid(lab, node)
        assert aftr_lab(lab.name, "kill", node, "--signal", "TERM").returncode == 0
        until(partial(has_ended, before), "it has ended")
        started = aftr_lab(lab.name, "start", node)
        assert started.returncode == 0, started.stderr
        assert pid(lab, node) != before


def test_nodes_without_a_program_are_refused(lab: Lab) -> None:
    refused = aftr_lab(lab.name, "start", "host-1")
    assert refused.returncode == 1
    assert "node host-1 has no program" in refused.stderr
    assert "no program runs in node aftr-1" in aftr_lab(lab.name, "kill", "aftr-1").stderr
    assert "there is no lab" in aftr_lab("nowhere", "kill", "aftr-1").stderr


def test_all_processes_of_a_program_are_found_and_no_others() -> None:
    script = "sleep 1000 & sleep 1000 & echo ready; wait"
    with (
        subprocess.Popen(["bash", "-c", script], stdout=subprocess.PIPE, start_new_session=True) as program,
        subprocess.Popen(["sleep", "1000"]) as stranger,
    ):
        assert program.stdout is not None
        program.stdout.readline()
        leader, other = identify(program.pid), identify(stranger.pid)
        assert leader is not None
        found = session_of(leader)
        assert (found[0], len(found), other in found) == (leader, 3, False)
        os.killpg(program.pid, signal.SIGKILL)
        stranger.kill()


def test_a_killed_aftr_is_gone_with_all_its_processes_and_starts_again() -> None:
    """Also its child, which serves, and which the first process would replace."""
    with lab_up("several-one", SAMPLE, "--b4s", "1") as lab:
        leader = identify(pid(lab, "aftr-1"))
        assert leader is not None
        processes = session_of(leader)
        assert aftr_lab(lab.name, "kill", "aftr-1").returncode == 0
        assert not any(identify(one.pid) == one for one in processes)
        started = aftr_lab(lab.name, "start", "aftr-1")
        assert started.returncode == 0, started.stderr
        assert lab.run("host-1", "curl", "-s", "-m", "5", f"{URL}whoami")


def test_down_leaves_nothing_of_any_of_it() -> None:
    with (
        lab_up("several-down", FAILOVER, "--without-aftr", "--b4s", "1") as lab,
        announcing(lab, lab.state["aftrs"][2]),
    ):
        pids = [process["pid"] for process in lab.state["processes"]]
        assert aftr_lab(lab.name, "down").returncode == 0
        assert not any(identify(one) for one in pids)
        assert not [name for name in netns.listnetns() if name.startswith(f"dsl-{lab.name}-")]
        assert not (Path("/run/dslite-lab") / lab.name).exists()
        listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
        assert f"dslite-lab/{lab.name}/" not in listing


def test_one_aftr_with_a_store_on_disk_has_static_routes(tmp_path: Path) -> None:
    documents = list(yaml.safe_load_all(SAMPLE.read_text()))
    documents[0]["spec"]["store"] = {"embedded": {}, "durability": "disk"}
    file = tmp_path / "disk.yaml"
    file.write_text(yaml.safe_dump_all(documents))
    with lab_up("several-disk", file, "--without-aftr", "--b4s", "1") as lab:
        assert "2001:db8:64::/64 via 2001:db8:ffff::11 " in lab.run("router", "ip", "-6", "route")
        lab.run("aftr-1", "redis-cli", "-u", STORE, "set", "key", "value")
        assert aftr_lab(lab.name, "kill", "store").returncode == 0
        assert aftr_lab(lab.name, "start", "store").returncode == 0
        assert lab.run("aftr-1", "redis-cli", "-u", STORE, "get", "key") == "value\n"
