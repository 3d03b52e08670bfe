"""Slots announced by BGP: two AFTRs that only announce, and a router that must send each packet to the newest owner."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyroute2 import netns

from aftr.announce.routes import LARGEST_METRIC, SLOT_TABLE
from aftr_lab.network import End, add_bridge, add_link, add_namespace, run
from aftr_lab.plan import ROUTER_IPV4, ROUTER_IPV6, Aftr, bgp_sessions
from aftr_lab.processes import identify
from aftr_lab.routing import router_conf
from dslite_contract.load import load_config
from running_lab import until

pytestmark = pytest.mark.lab

SAMPLE = Path(__file__).parents[2] / "samples" / "failover.yaml"
AGENT = Path(__file__).parents[1] / "announcing_aftr.py"
PREFIX = f"announce-{os.getpid()}"
ROUTER = f"{PREFIX}-router"
AFTRS = (Aftr(1), Aftr(2))
TUNNEL, EXTERNAL = "2001:db8:64::3", "192.0.2.64/27"  # of slot 2 of 8
SETTLED_S = 20.0


def namespace(aftr: Aftr) -> str:
    return f"{PREFIX}-{aftr.name}"


def end(process: subprocess.Popen[Any]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream:
            stream.close()


@dataclass
class Agent:
    """An AFTR that announces."""

    aftr: Aftr
    process: subprocess.Popen[str]

    def answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"{self.aftr.name} ended"
        return json.loads(line)

    def tell(self, *words: object) -> Any:
        assert self.process.stdin is not None
        print(*words, file=self.process.stdin, flush=True)
        return self.answer()

    def established(self) -> bool:
        states = self.tell("sessions")
        return set(states) == {"tor6", "tor4"} and set(states.values()) == {"Established"}

    def is_linked(self, linked: bool) -> bool:
        return bool(self.tell("linked")) == linked


@contextlib.contextmanager
def agent(aftr: Aftr, folder: Path) -> Iterator[Agent]:
    command = ["ip", "netns", "exec", namespace(aftr), sys.executable, str(AGENT), str(SAMPLE), str(folder / aftr.name)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with (folder / f"{aftr.name}.log").open("a") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
        )
    try:
        made = Agent(aftr, process)
        assert made.answer()["started"]
        yield made
    finally:
        end(process)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Short, since sockets lie in it."""
    path = Path("/run") / PREFIX
    path.mkdir()
    yield path
    subprocess.run(["rm", "-r", str(path)], check=True)


@pytest.fixture(scope="module")
def router(folder: Path) -> Iterator[str]:
    """A router with BIRD, and two AFTRs' namespaces on its two links."""
    names = [ROUTER, *(namespace(aftr) for aftr in AFTRS)]
    bgp = load_config(SAMPLE).pool.spec.routing
    assert bgp is not None
    assert bgp.bgp is not None
    (folder / "router.conf").write_text(router_conf(bgp.bgp, bgp_sessions(bgp.bgp, AFTRS)))
    with contextlib.ExitStack() as stack:
        for name in names:
            add_namespace(name, {})
            stack.callback(netns.remove, name)
        add_bridge(End(ROUTER, "access", (ip_interface(f"{ROUTER_IPV6}/64"),)), 1500)
        add_bridge(End(ROUTER, "internet", (ip_interface(f"{ROUTER_IPV4}/24"),)), 1500)
        for aftr in AFTRS:
            access = End(namespace(aftr), "access", (ip_interface(f"{aftr.access_address}/64"),))
            internet = End(namespace(aftr), "internet", (ip_interface(f"{aftr.internet_address}/24"),))
            add_link(access, End(ROUTER, f"{aftr.name}-access", bridge="access"), 1500)
            add_link(internet, End(ROUTER, f"{aftr.name}-inet", bridge="internet"), 1500)
        log = stack.enter_context((folder / "router.log").open("w"))
        command = ["bird", "-f", "-c", str(folder / "router.conf"), "-s", str(folder / "router.ctl")]
        bird = subprocess.Popen(["ip", "netns", "exec", ROUTER, *command], stderr=log)
        stack.callback(end, bird)
        yield ROUTER


@pytest.fixture
def pair(router: str, folder: Path) -> Iterator[tuple[Agent, Agent]]:
    """Both AFTRs, with their sessions up and nothing announced."""
    with agent(AFTRS[0], folder) as one, agent(AFTRS[1], folder) as two:
        until(lambda: one.established() and two.established(), "sessions are up")
        yield one, two


def gateway(prefix: str) -> str | None:
    """Where the router's kernel sends packets for `prefix`."""
    family = "-6" if ":" in prefix else "-4"
    found = re.search(r" via (\S+)", run(ROUTER, ["ip", family, "route", "show", prefix]))
    return found[1] if found else None


def gateways() -> tuple[str | None, str | None]:
    return gateway(TUNNEL), gateway(EXTERNAL)


def owned_by(aftr: Aftr) -> Callable[[], bool]:
    return lambda: gateways() == (str(aftr.access_address), str(aftr.internet_address))


def slot_table(aftr: Aftr) -> list[str]:
    families = ("-6", "-4")
    shown = [run(namespace(aftr), ["ip", family, "route", "show", "table", "all"]) for family in families]
    return [line for text in shown for line in text.splitlines() if f"table {SLOT_TABLE} " in line]


@contextlib.contextmanager
def route_events() -> Iterator[queue.Queue[tuple[float, str]]]:
    """What happens to the router's routes, each with the time at which it was seen."""
    command = ["ip", "netns", "exec", ROUTER, "ip", "-o", "monitor", "route"]
    watching = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    events: queue.Queue[tuple[float, str]] = queue.Queue()
    lines = watching.stdout
    assert lines is not None

    def read() -> None:
        for line in lines:
            events.put((time.monotonic(), line))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        deadline = time.monotonic() + SETTLED_S  # it listens as soon as it shows a route of ours
        while events.empty():
            assert time.monotonic() < deadline
            run(ROUTER, ["ip", "route", "replace", "blackhole", "203.0.113.1"])
            run(ROUTER, ["ip", "route", "delete", "blackhole", "203.0.113.1"])
            time.sleep(0.05)
        yield events
    finally:
        watching.kill()
        reader.join()
        lines.close()
        watching.wait()


def seen_at(events: queue.Queue[tuple[float, str]], prefix: str, via: object) -> float:
    """When the router's kernel got its route to `prefix` by that gateway."""
    while True:
        moment, line = events.get(timeout=SETTLED_S)
        if line.startswith(f"{prefix} via {via} "):
            return moment


def test_the_newest_owner_wins_while_the_old_one_still_announces(pair: tuple[Agent, Agent]) -> None:
    """And fast: from asking the announcer to the route in the router's kernel, on both arms."""
    pair[0].tell("announce", 2, 1)
    until(owned_by(AFTRS[0]), "the first owner has the slot")
    took: dict[str, list[float]] = {TUNNEL: [], EXTERNAL: []}
    with route_events() as events:
        for epoch in range(2, 22):
            taker = pair[(epoch + 1) % 2]
            began = taker.tell("announce", 2, epoch)["announced"]
            took[TUNNEL].append(seen_at(events, TUNNEL, taker.aftr.access_address) - began)
            until(owned_by(taker.aftr), f"epoch {epoch} has the slot")
            events.queue.clear()
            began = taker.tell("announce", 5, epoch)["announced"]
            took[EXTERNAL].append(seen_at(events, "192.0.2.160/27", taker.aftr.internet_address) - began)
            assert owned_by(taker.aftr)()
            events.queue.clear()
    for prefix, times in took.items():
        worst, middle = max(times), statistics.median(times)
        print(
            f"{prefix}: router switched in {1000 * middle:.1f} ms (median), {1000 * worst:.1f} ms (longest of {len(times)})"
        )
        assert middle < 0.1
        assert worst < 0.5


def test_a_taker_of_all_slots_has_them_within_a_fraction_of_a_second(pair: tuple[Agent, Agent]) -> None:
    """Each slot has an epoch of its own, so an UPDATE of its own: TCP may hold the later ones back for a delayed ACK (40 ms)."""
    longest = []
    for round_ in range(6):
        taker, via = pair[round_ % 2], pair[round_ % 2].aftr.access_address
        with route_events() as events:
            began = taker.tell("announce-all", 100 * round_)["announced"]
            for slot in range(8):
                moment = seen_at(events, f"2001:db8:64::{slot + 1}", via)
            longest.append(moment - began)
    print(f"all 8 slots: {', '.join(f'{1000 * one:.0f}' for one in longest)} ms until the last")
    assert max(longest) < 0.5


def test_a_changed_configuration_keeps_sessions_and_moves_what_it_changes(
    pair: tuple[Agent, Agent], tmp_path: Path
) -> None:
    one = pair[0]
    one.tell("announce", 2, 3)
    until(owned_by(AFTRS[0]), "the owner has the slot")
    documents = list(yaml.safe_load_all(SAMPLE.read_text()))
    host = {"address": "203.0.113.10", "port": 5060, "protocol": "udp", "slot": 2}
    documents[0]["spec"]["nat"]["bypass"] = [{"b4": "2001:db8:1000:7::/64", **host}]
    changed = tmp_path / "changed.yaml"
    changed.write_text(yaml.safe_dump_all(documents))
    before = one.tell("pid")
    assert one.tell("reconfigure", changed) == "reconfigured"
    until(lambda: gateway("203.0.113.10") == str(AFTRS[0].internet_address), "the bypassed host is announced")
    assert owned_by(AFTRS[0])()
    assert one.established()
    assert (one.tell("pid"), len(slot_table(AFTRS[0]))) == (before, 3)
    documents[0]["spec"]["routing"]["bgp"]["peers"][0]["passwordSecret"] = "absent"
    changed.write_text(yaml.safe_dump_all(documents))
    assert one.tell("reconfigure", changed) == "peer tor6: no password was given for secret absent"
    assert one.established()


def test_a_password_changes_and_only_its_session_begins_anew(
    pair: tuple[Agent, Agent], folder: Path, tmp_path: Path
) -> None:
    """First at the AFTR, then at the router; the other session and its routes stay."""
    one, name = pair[0], f"{AFTRS[0].name}-tor6"
    documents = list(yaml.safe_load_all(SAMPLE.read_text()))
    documents[0]["spec"]["routing"]["bgp"]["peers"][0]["passwordSecret"] = "tor"
    (tmp_path / "pool.yaml").write_text(yaml.safe_dump_all(documents))
    with router_password(folder, name, "first") as change:
        assert one.tell("log-in", "tor", "first") == "logged in"
        assert one.tell("reconfigure", tmp_path / "pool.yaml") == "reconfigured"
        until(one.established, "the session is up with the first password")
        one.tell("announce", 2, 1)
        until(owned_by(AFTRS[0]), "the owner has the slot")
        since = up_since(f"{AFTRS[0].name}-tor4")
        assert one.tell("log-in", "tor", "second") == "logged in"
        until(lambda: gateways() == (None, str(AFTRS[0].internet_address)), "the session is down, and it alone")
        change("second")
        until(owned_by(AFTRS[0]), "the session is up with the second password")
        assert up_since(f"{AFTRS[0].name}-tor4") == since


@contextlib.contextmanager
def router_password(folder: Path, session: str, password: str) -> Iterator[Callable[[str], None]]:
    """The router wants this password of a session while the block runs, or another one."""
    file, head = folder / "router.conf", f"protocol bgp '{session}' {{\n"
    before = file.read_text()
    assert head in before

    def configure(text: str) -> None:
        file.write_text(text)
        run(ROUTER, ["birdc", "-s", str(folder / "router.ctl"), "configure"])

    def change(password: str) -> None:
        configure(before.replace(head, f'{head}    password "{password}";\n'))

    change(password)
    try:
        yield change
    finally:
        configure(before)


def up_since(session: str) -> str:
    """When a session of the router came up."""
    shown = run(ROUTER, ["birdc", "-s", f"/run/{PREFIX}/router.ctl", "show", "protocols", f'"{session}"'])
    found = re.search(r"BGP\s+\S+\s+up\s+(\S+)\s+Established", shown)
    assert found, shown
    return found[1]


def test_a_second_router_may_be_away_and_the_last_one_may_not(pair: tuple[Agent, Agent], tmp_path: Path) -> None:
    one, changed = pair[0], tmp_path / "changed.yaml"
    documents = list(yaml.safe_load_all(SAMPLE.read_text()))
    routing = documents[0]["spec"]["routing"]["bgp"]
    tor6, tor4 = routing["peers"]
    away = {**tor6, "name": "tor6b", "address": "2001:db8:ffff::2", "families": ["ipv6"]}  # nobody has it
    for peers, heard in (([tor6, away, tor4], True), ([away, tor4], False), ([tor6, tor4], True)):
        routing["peers"] = peers
        changed.write_text(yaml.safe_dump_all(documents))
        assert one.tell("reconfigure", changed) == "reconfigured"
        until(partial(one.is_linked, heard), f"linked is {heard}")
        assert one.tell("sessions").get("tor6b") != "Established"


def test_bfd_finds_a_link_that_is_cut(pair: tuple[Agent, Agent]) -> None:
    """Not part of the one-second budget: nobody closes a session here, and only silence tells."""
    one, two = pair
    until(lambda: bfd_up() == 4, "each session has BFD")
    one.tell("announce", 2, 1)
    two.tell("announce", 2, 2)
    until(owned_by(AFTRS[1]), "the newer owner has the slot")
    port = [f"{AFTRS[1].name}-access", "nomaster"]  # it stays up on both ends
    with route_events() as events:
        began = time.monotonic()
        run(ROUTER, ["ip", "link", "set", *port])
        try:
            took = seen_at(events, TUNNEL, AFTRS[0].access_address) - began
        finally:
            run(ROUTER, ["ip", "link", "set", port[0], "master", "access"])
    print(f"router switched {1000 * took:.0f} ms after the link was cut")
    assert 0.3 < took < 2
    until(two.established, "the session is up again")


def bfd_up() -> int:
    shown = run(ROUTER, ["birdc", "-s", f"/run/{PREFIX}/router.ctl", "show", "bfd", "sessions"])
    return len(re.findall(r" Up +", shown))


def test_routes_have_the_metric_of_their_epoch_and_the_older_go(pair: tuple[Agent, Agent]) -> None:
    one = pair[0]
    one.tell("announce", 2, 7)
    one.tell("announce", 2, 8)
    table = slot_table(AFTRS[0])
    assert len(table) == 2
    assert all(line.startswith("blackhole ") and f"metric {LARGEST_METRIC - 8} " in line + " " for line in table)
    assert {line.split()[1] for line in table} == {TUNNEL, EXTERNAL}
    one.tell("announce", 2, 8)
    assert slot_table(AFTRS[0]) == table
    shown = ["birdc", "-s", f"/run/{PREFIX}/router.ctl", "show", "route", "all", "for", TUNNEL]
    until(lambda: f"BGP.med: {LARGEST_METRIC - 8}\n" in run(ROUTER, shown), "the router knows the epoch")


def test_what_is_withdrawn_goes_to_the_next_newest_and_then_nowhere(pair: tuple[Agent, Agent]) -> None:
    one, two = pair
    one.tell("announce", 2, 1)
    two.tell("announce", 2, 2)
    until(owned_by(AFTRS[1]), "the newer owner has the slot")
    two.tell("withdraw", 2)
    two.tell("withdraw", 2)
    until(owned_by(AFTRS[0]), "the older owner has it again")
    one.tell("withdraw", 2)
    until(lambda: gateways() == (None, None), "nobody has it")
    assert slot_table(AFTRS[0]) == slot_table(AFTRS[1]) == []


def test_bird_dies_with_a_killed_agent_and_the_router_turns_to_the_other(pair: tuple[Agent, Agent]) -> None:
    one, two = pair
    one.tell("announce", 2, 1)
    two.tell("announce", 2, 2)
    until(owned_by(AFTRS[1]), "the newer owner has the slot")
    child = identify(two.tell("pid"))
    assert child is not None
    began = time.monotonic()
    with route_events() as events:
        began = time.monotonic()
        two.process.send_signal(signal.SIGKILL)
        took = seen_at(events, TUNNEL, AFTRS[0].access_address) - began
    print(f"router switched {1000 * took:.1f} ms after SIGKILL of the newest owner")
    assert took < 0.5
    until(lambda: identify(child.pid) != child, "BIRD has died")
    assert slot_table(AFTRS[1])  # the kernel keeps them: a new agent removes them


def test_a_new_agent_finds_an_empty_table_and_ends_an_orphan(router: str, folder: Path) -> None:
    aftr = AFTRS[1]
    blackhole = ["blackhole", "metric", "5", "table", str(SLOT_TABLE)]
    run(namespace(aftr), ["ip", "-6", "route", "add", *blackhole[:1], TUNNEL, *blackhole[1:]])
    run(namespace(aftr), ["ip", "-4", "route", "add", *blackhole[:1], EXTERNAL, *blackhole[1:]])
    configuration, socket = folder / aftr.name / "bird.conf", folder / aftr.name / "bird.ctl"
    configuration.parent.mkdir(exist_ok=True)
    configuration.write_text("protocol device { }\n")
    orphan = ["ip", "netns", "exec", namespace(aftr), "bird", "-f", "-c", str(configuration), "-s", str(socket)]
    with subprocess.Popen(orphan, stderr=subprocess.DEVNULL) as stranger:
        until(socket.is_socket, "the orphan answers")
        with agent(aftr, folder) as new:
            assert stranger.wait(timeout=5) == 0
            assert slot_table(aftr) == []
            until(new.established, "sessions are up")
            assert gateways() == (None, None)


def test_a_bird_that_ends_comes_back_and_announces_again(pair: tuple[Agent, Agent]) -> None:
    one = pair[0]
    one.tell("announce", 2, 3)
    until(owned_by(AFTRS[0]), "the owner has the slot")
    before = one.tell("pid")
    os.kill(before, signal.SIGKILL)
    until(lambda: one.tell("pid") not in (None, before), "BIRD runs again")
    until(one.established, "sessions are up")
    until(owned_by(AFTRS[0]), "the owner has the slot again")
    established = {"tor6": "Established", "tor4": "Established"}
    until(lambda: one.tell("seen")[-1] == established, "the watcher has told so")
    assert {} in one.tell("seen")


def test_stop_leaves_nothing(pair: tuple[Agent, Agent]) -> None:
    one = pair[0]
    one.tell("announce", 2, 3)
    until(owned_by(AFTRS[0]), "the owner has the slot")
    child = one.tell("pid")
    assert one.tell("stop") == "stopped"
    assert one.process.wait(timeout=5) == 0
    assert identify(child) is None
    assert slot_table(AFTRS[0]) == []
    until(lambda: gateways() == (None, None), "nobody has the slot")
