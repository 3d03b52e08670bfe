"""AFTRs on links that they share with their router, without BGP: who is asked for, who is told, and what a dead one costs."""

from __future__ import annotations

import asyncio
import json
import os
import re
import select
import socket
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import pytest
from pyroute2 import netns

import packets
from aftr.announce.layer2 import Layer2Announcer
from aftr.io.errors import DeviceError
from aftr.io.groups import SolicitedNodeGroups
from aftr_lab.chaos.served import owners_of
from dslite_contract.load import load_config
from packets import ETHERTYPE_ARP, mac
from rig import config_text
from running_lab import LAYER2, URL, Lab, aftr_lab, chaos, lab_up, until
from veths import inside, plug, run, two_namespaces

pytestmark = pytest.mark.lab

SLOTS, ADDRESSES = 8, 32  # external ones of a slot
STRANGER = "02:00:00:00:00:77"
HIGHEST = (
    "fe:ff:ff:ff:ff:ff"  # a bridge takes the lowest station of its ports, and when that changes forgets its neighbours
)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_up("layer2", LAYER2, "--b4s", "2") as made:
        yield made


def settled(lab: Lab) -> dict[int, str]:
    """The AFTR that serves each slot, once every slot is where it stays: two looks in succession find the same."""
    looks: list[dict[int, str]] = [{}]

    def stay() -> bool:
        looks.append(owners_of(lab.state))
        return bool(looks[-1]) and looks[-1] == looks[-2]

    until(stay, "every slot is served, and load is even")
    return looks[-1]


def station(lab: Lab, aftr: str, device: str) -> str:
    links = json.loads(lab.run(aftr, "ip", "-j", "link", "show", "dev", device))
    return str(links[0]["address"])


def neighbours(lab: Lab, device: str) -> dict[str, str]:
    """What the router believes: address → station."""
    entries = json.loads(lab.run("router", "ip", "-j", "neigh", "show", "dev", device))
    return {entry["dst"]: entry["lladdr"] for entry in entries if "lladdr" in entry}


def tunnel(slot: int) -> str:
    return f"2001:db8:64::{slot + 1}"


def external(slot: int, number: int = 1) -> str:
    return f"192.0.2.{ADDRESSES * slot + number}"


def listening(lab: Lab, device: str, protocol: int) -> socket.socket:
    """A socket on the router's link, with all its frames of that type, also those of groups."""
    one = lab.socket("router", socket.AF_PACKET, socket.SOCK_RAW, socket.htons(protocol))
    one.bind((device, protocol))
    return one


def received(one: socket.socket, seconds: float) -> list[tuple[float, bytes]]:
    """Frames that come in the time, each with its moment."""
    found, deadline = [], time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if select.select([one], [], [], left)[0]:
            found.append((time.monotonic(), one.recv(2048)))
    return found


def announced(frames: list[tuple[float, bytes]], of: str) -> list[tuple[float, str]]:
    """Of ARP announcements by that station: moment and address."""
    claims = [(when, frame[14:]) for when, frame in frames if frame[6:12] == mac(of) and frame[28:32] == frame[38:42]]
    return [(when, socket.inet_ntoa(packet[14:18])) for when, packet in claims]


@contextmanager
def stranger(lab: Lab, device: str) -> Iterator[socket.socket]:
    """A further station on one of the router's links."""
    lab.run(
        "router", "ip", "link", "add", "stranger", "type", "veth", "peer", "name", "stranger-port", "address", HIGHEST
    )
    lab.run("router", "ip", "link", "set", "stranger-port", "master", device, "up")
    lab.run("router", "ip", "link", "set", "stranger", "up")
    state = ("bridge", "-j", "link", "show", "dev", "stranger-port")
    try:
        until(
            lambda: json.loads(lab.run("router", *state))[0]["state"] == "forwarding", "the bridge forwards its frames"
        )
        with lab.socket("router", socket.AF_PACKET, socket.SOCK_RAW) as one:
            one.bind(("stranger", 0))
            yield one
    finally:
        lab.run("router", "ip", "link", "del", "stranger")


class Beliefs:
    """The stations that the router's kernel says an address has, one after another."""

    def __init__(self, out: IO[str], address: str, device: str) -> None:
        self.out, self.text = out, ""
        self.line = re.compile(rf"^{re.escape(address)} dev {device} lladdr (\S+)", re.MULTILINE)

    def so_far(self) -> list[str]:
        while select.select([self.out], [], [], 0)[0]:
            self.text += os.read(self.out.fileno(), 1 << 16).decode()
        found = self.line.findall(self.text)
        return [one for number, one in enumerate(found) if number == 0 or one != found[number - 1]]


@contextmanager
def believed(lab: Lab, device: str, address: str) -> Iterator[Beliefs]:
    """What the router believes of an address while the block runs."""
    with lab.running("router", "ip", "monitor", "neigh") as monitor:
        assert monitor.stdout is not None
        probe = Beliefs(monitor.stdout, "192.0.2.255", device)
        entry = f"192.0.2.255 dev {device}"
        script = f"ip neigh replace {entry} lladdr {STRANGER} nud permanent; ip neigh del {entry}"
        until(lambda: lab.shell("router", script) == "" and probe.so_far(), "`ip monitor` listens")
        yield Beliefs(monitor.stdout, address, device)


def asked(lab: Lab, address: str) -> None:
    """The router has looked for an address; only a tunnel address answers a ping as well."""
    lab.shell("router", f"ping -c1 -W0.5 {address} || true")


def test_the_router_finds_every_slot_by_asking(lab: Lab) -> None:
    """Each address is answered for by its slot's owner, and by nobody else."""
    owner = settled(lab)
    for slot in range(SLOTS):
        asked(lab, tunnel(slot))
        asked(lab, external(slot))
    by_ipv6, by_ipv4 = neighbours(lab, "access"), neighbours(lab, "internet")
    for slot in range(SLOTS):
        assert by_ipv6[tunnel(slot)] == station(lab, owner[slot], "access")
        assert by_ipv4[external(slot)] == station(lab, owner[slot], "internet")
    groups = lab.run("aftr-1", "ip", "maddr", "show", "dev", "access")
    assert all(f"ff02::1:ff00:{slot + 1}\n" in groups for slot in range(SLOTS))


def test_each_customer_reaches_the_internet(lab: Lab) -> None:
    for number in (1, 2):
        assert json.loads(lab.run(f"host-{number}", "curl", "-s", "-m", "5", f"{URL}whoami"))["address"].startswith(
            "192.0.2."
        )


def test_who_looks_for_a_duplicate_of_a_slots_address_finds_it(lab: Lab) -> None:
    """Another node may not use it (RFC 4862)."""
    script = f"""
        ip link add dad type veth peer name dad-port address {HIGHEST}
        ip link set dad-port master access up
        sysctl -qw net.ipv6.conf.dad.accept_dad=1 net.ipv6.conf.dad.dad_transmits=1
        ip link set dad up
        ip address add {tunnel(3)}/64 dev dad
    """
    lab.shell("router", f"set -e; {script}")
    try:
        until(lambda: "dadfailed" in lab.run("router", "ip", "-6", "address", "show", "dev", "dad"), "it is taken", 5.0)
    finally:
        lab.run("router", "ip", "link", "del", "dad")


@pytest.mark.parametrize("device", ["internet", "access"])
def test_a_false_claim_is_put_right(lab: Lab, device: str) -> None:
    """As one of an AFTR that stood still while its slot went to another."""
    slot = 2
    address = external(slot) if device == "internet" else tunnel(slot)
    asked(lab, address)
    ours = station(lab, settled(lab)[slot], device)
    assert neighbours(lab, device)[address] == ours
    if device == "internet":
        claim = packets.arp(1, STRANGER, address, "00:00:00:00:00:00", address)
        frame = packets.eth(claim, dst="ff:ff:ff:ff:ff:ff", src=STRANGER, ethertype=ETHERTYPE_ARP)
    else:
        claim = packets.advertisement(address, options=packets.link_option(2, STRANGER), src="fe80::77")
        frame = packets.eth(claim, dst="33:33:00:00:00:01", src=STRANGER)
    with stranger(lab, device) as one, believed(lab, device, address) as beliefs:
        sent = time.monotonic()
        one.send(frame)
        until(lambda: STRANGER in beliefs.so_far(), "the router has heard the claim", 3.0)
        until(lambda: beliefs.so_far()[-1] != STRANGER, "an owner has announced its address", 3.0)
        print(f"{address}: put right within {1000 * (time.monotonic() - sent):.0f} ms of the claim")
    assert neighbours(lab, device)[address] == station(lab, settled(lab)[slot], device)


def test_a_slots_addresses_are_announced_at_once_and_again(lab: Lab) -> None:
    """Of every slot that moves: 32 external addresses, and once more two seconds later."""
    served = settled(lab)
    victim = served[0]
    moved = [slot for slot, owner in served.items() if owner == victim]
    others = [station(lab, aftr["name"], "internet") for aftr in lab.state["aftrs"] if aftr["name"] != victim]
    with listening(lab, "internet", ETHERTYPE_ARP) as one:
        assert aftr_lab(lab.name, "kill", victim).returncode == 0
        frames = received(one, 4.0)
    assert aftr_lab(lab.name, "start", victim).returncode == 0
    told = [(when, address) for taker in others for when, address in announced(frames, taker)]
    for slot in moved:
        mine = sorted(
            when for when, address in told if address in [external(slot, number) for number in range(ADDRESSES)]
        )
        assert len(mine) == 2 * ADDRESSES
        first, second = mine[:ADDRESSES], mine[ADDRESSES:]
        assert 1.5 < second[0] - first[0] < 3.0


def test_a_slot_of_256_addresses_is_announced_within_milliseconds() -> None:
    """On the wire, from the call on; measured again and again."""
    nat = {"nat": {"pools": [{"name": "default", "prefixes": ["192.0.2.0/24"]}]}, "slots": 1, "routing": {"layer2": {}}}
    devices = {"access": "access", "internet": "internet"}
    announcer = Layer2Announcer(
        load_config(config_text(nat)), devices, devices, owns=lambda _: True, claims=lambda _: 0
    )
    took = []
    with two_namespaces() as (aftr, peer):
        for device in devices:
            plug(aftr, peer, device)
        wire: socket.socket = netns.create_socket(
            peer, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE_ARP), flags=0
        )
        with wire, inside(aftr):
            wire.bind(("internet-peer", ETHERTYPE_ARP))
            wire.settimeout(1.0)
            for _ in range(20):
                began = time.monotonic()
                asyncio.run(announcer.announce(0, 1))
                took.append(time.monotonic() - began)
                heard = [wire.recv(64)[28:32] for _ in range(256)]
                assert heard == [address.packed for address in packets.IPv4Network("192.0.2.0/24")]
    print(f"256 addresses: {1000 * statistics.median(took):.1f} ms (median), {1000 * max(took):.1f} ms (longest of 20)")
    assert statistics.median(took) < 0.1


def test_groups_of_a_thousand_slots_are_joined_and_left() -> None:
    def joined(aftr: str) -> int:
        shown = subprocess.run(
            ["ip", "-n", aftr, "-6", "maddr", "show", "dev", "access"], capture_output=True, text=True, check=True
        )
        return shown.stdout.count(" ff02::1:ff00:")

    with two_namespaces() as (aftr, peer):
        plug(aftr, peer, "access")
        run("ip", "netns", "exec", aftr, "sysctl", "-qw", "net.ipv6.conf.access.disable_ipv6=0")
        with inside(aftr):
            groups = SolicitedNodeGroups(socket.if_nametoindex("access"), packets.v6(tunnel(0)), 1024)
            assert joined(aftr) == 1024
            groups.close()
            assert joined(aftr) == 0
            with pytest.raises(
                DeviceError, match="solicited-node groups of 2001:db8:64::1 and those after it cannot be joined"
            ):
                SolicitedNodeGroups(socket.if_nametoindex("lo") + 1000, packets.v6(tunnel(0)), 1)


@pytest.mark.parametrize("mode", ["generic", "packet"])
def test_each_mode_hears_who_asks(mode: str) -> None:
    """`up` itself waits until the B4 reaches its slot, which the router finds by its group."""
    with lab_up(f"layer2-{mode}", LAYER2, "--b4s", "1", "--mode", mode) as lab:
        assert lab.run("host-1", "curl", "-s", "-m", "5", "--retry", "3", f"{URL}whoami")
        for aftr in lab.state["aftrs"]:
            found = json.loads(lab.run(aftr["name"], "curl", "-sg", f"{aftr['status']}/status"))
            assert [one["mode"] for one in found["interfaces"]] == [mode, mode]


def test_d22_no_binding_is_lost_when_aftrs_are_killed_layer2(lab: Lab) -> None:
    report = chaos(lab, "--kills", "3", "--seed", "22", "--flows", "3000")
    assert report["kills"] == 3
    assert report["bindingsChecked"] > 2000
    assert report["lostBindings"] == report["duplicateEndpoints"] == report["misdelivered"] == 0


@pytest.mark.parametrize(("fault", "times"), [("leave", 2), ("stop", 1)])
def test_d22_no_binding_is_lost_when_aftrs_leave_or_stand_still_layer2(lab: Lab, fault: str, times: int) -> None:
    report = chaos(lab, "--fault", fault, "--kills", str(times), "--seed", "3", "--flows", "3000")
    assert report["bindingsChecked"] > 1000 * times
    assert report["lostBindings"] == report["duplicateEndpoints"] == report["misdelivered"] == 0
