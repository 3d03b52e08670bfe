"""Devices over real veth pairs: each mode carries frames intact, and a link that is lost and returns loses no frame."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

import packets
from aftr.io.bpf import OBJECT, Steering
from aftr.io.device import Interface, open_devices
from aftr.io.errors import DeviceError
from aftr.io.layout import queue_at
from aftr.io.links import Link, find_link
from veths import (
    STEERING,
    Names,
    Peer,
    Plane,
    exchange,
    inside,
    internet_frame,
    mac_of,
    plane,
    plug,
    run,
    softwire_frame,
    two_namespaces,
    until,
)  # fmt: skip

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]

MODES = ["native", "generic", "packet"]


def links() -> dict[str, Link]:
    """Our devices that there are, as `Neighbours` reports them."""
    return {name: link for name in ("access", "internet") if (link := find_link(name)) is not None}


COUNT = 10_000


@pytest.fixture
def namespaces() -> Iterator[Names]:
    with two_namespaces() as names:
        yield names


@pytest.fixture
def peers(namespaces: Names) -> Iterator[Callable[[str], Peer]]:
    with contextlib.ExitStack() as stack:

        def make(device: str) -> Peer:
            peer = Peer(namespaces[1], device)
            stack.enter_context(peer.socket)
            return peer

        yield make


@pytest.mark.parametrize("mode", MODES)
def test_each_mode_carries_frames_intact_both_ways(namespaces: Names, peers: Callable[[str], Peer], mode: str) -> None:
    aftr, peer = namespaces
    plug(aftr, peer, "access")
    plug(aftr, peer, "internet")
    with plane(namespaces, mode) as one:
        assert [device.mode for device in one.devices] == [mode, mode]
        access, internet = peers("access-peer"), peers("internet-peer")
        out = [softwire_frame(number, mac_of(aftr, "access"), number % 1400) for number in range(COUNT)]
        assert exchange(access, internet, out) == out
        back = [internet_frame(number, mac_of(aftr, "internet"), number % 1400) for number in range(COUNT)]
        assert exchange(internet, access, back) == back
        statistics = [device.statistics() for device in one.devices]
        assert [numbers["rx_frames"] for numbers in statistics] == [COUNT, COUNT]
        assert [numbers["tx_frames"] for numbers in statistics] == [COUNT, COUNT]


@pytest.mark.parametrize("mode", MODES)
def test_two_workers_share_a_device_by_its_queues(namespaces: Names, peers: Callable[[str], Peer], mode: str) -> None:
    aftr, peer = namespaces
    plug(aftr, peer, "access", 2)
    plug(aftr, peer, "internet", 2)
    with plane(namespaces, mode, workers=2) as one:
        access, internet = peers("access-peer"), peers("internet-peer")
        out = [softwire_frame(number, mac_of(aftr, "access")) for number in range(2000)]
        assert sorted(exchange(access, internet, out)) == sorted(out)
        taken = [queue_at(one.room, queues[0]).rx_frames for queues in one.devices[0].queues]
        assert sum(taken) == 2000
        if mode == "packet":  # which queue a veth's sender chooses is up to the CPU it runs on
            assert min(taken) > 200


@pytest.mark.parametrize("mode", MODES)
def test_what_is_not_ours_goes_to_the_kernel_only(namespaces: Names, peers: Callable[[str], Peer], mode: str) -> None:
    aftr, peer = namespaces
    plug(aftr, peer, "access")
    plug(aftr, peer, "internet")
    run("ip", "-n", aftr, "address", "add", "198.18.0.11/24", "dev", "internet")
    run("ip", "-n", peer, "address", "add", "198.18.0.1/24", "dev", "internet-peer")
    with plane(namespaces, mode) as one:
        run("ip", "netns", "exec", peer, "ping", "-c3", "-i0.1", "-W2", "198.18.0.11")
        access, internet = peers("access-peer"), peers("internet-peer")
        mac = mac_of(aftr, "access")
        foreign = [softwire_frame(1, "02:00:00:00:00:77"), softwire_frame(2, mac, slot=16), internet_frame(3, mac)]
        assert exchange(access, internet, foreign) == []
        assert [device.statistics()["rx_frames"] for device in one.devices] == [0, 0]


@pytest.mark.parametrize("mode", MODES)
def test_the_kernel_answers_nothing_for_us(namespaces: Names, peers: Callable[[str], Peer], mode: str) -> None:
    aftr, peer = namespaces
    plug(aftr, peer, "access")
    plug(aftr, peer, "internet")
    run("ip", "-n", aftr, "address", "add", "198.18.0.11/24", "dev", "internet")
    run("ip", "-n", aftr, "route", "add", "default", "via", "198.18.0.1")
    with plane(namespaces, mode):
        access, internet = peers("access-peer"), peers("internet-peer")
        frames = [internet_frame(number, mac_of(aftr, "internet")) for number in range(5)]
        assert exchange(internet, access, frames) == frames
        assert internet.receive(1, 0.5) == []


@pytest.mark.parametrize("mode", MODES)
def test_steering_changes_live(namespaces: Names, peers: Callable[[str], Peer], mode: str) -> None:
    aftr, peer = namespaces
    plug(aftr, peer, "access")
    plug(aftr, peer, "internet")
    with plane(namespaces, mode) as one:
        access, internet = peers("access-peer"), peers("internet-peer")
        frame, last = (softwire_frame(1, mac_of(aftr, "access"), slot=slot) for slot in (16, 0))
        assert exchange(access, internet, [frame]) == []
        for device in one.devices:
            device.steer(Steering(STEERING.first_slot, 32, ()))
        assert exchange(access, internet, [frame, last]) == [frame, last]
        assert exchange(internet, access, [internet_frame(1, mac_of(aftr, "internet"))]) == []


@pytest.mark.parametrize("mode", ["native", "generic"])
def test_vlan_tags_stay_in_the_frames(namespaces: Names, peers: Callable[[str], Peer], mode: str) -> None:
    aftr, peer = namespaces
    plug(aftr, peer, "access")
    plug(aftr, peer, "internet")
    with plane(namespaces, mode, vlan=100) as one:
        assert one.devices[0].ports[0].vlan == 100
        access, internet = peers("access-peer"), peers("internet-peer")
        frame = softwire_frame(1, mac_of(aftr, "access"))
        tagged = packets.vlan(frame, 100)
        exchange(access, internet, [frame, packets.vlan(frame, 101)])
        access.socket.send(tagged)
        assert internet.receive(1, 1) == [frame]  # the tag came through: the peer's kernel has taken it off
        assert one.devices[0].statistics()["rx_frames"] == 1
        assert one.devices[1].statistics()["tx_frames"] == 1


@pytest.mark.parametrize("mode", MODES)
def test_lost_link_returns_and_no_frame_is_missing(namespaces: Names, peers: Callable[[str], Peer], mode: str) -> None:
    aftr, peer = namespaces
    plug(aftr, peer, "access")
    plug(aftr, peer, "internet")
    with plane(namespaces, mode) as one:
        device = one.devices[1]
        for _ in range(2):
            access, internet = peers("access-peer"), peers("internet-peer")
            out = [softwire_frame(number, mac_of(aftr, "access")) for number in range(500)]
            assert exchange(access, internet, out) == out
            for frame in out:
                access.socket.send(frame)
            run("ip", "-n", peer, "link", "del", "internet-peer")
            for frame in out:
                access.socket.send(frame)
            with inside(aftr):
                assert device.refresh(links()) == "internet is gone: its queues are closed until it returns"
                assert device.lost
                assert until(lambda: device.refresh(links()) or not device._closing)
                access.socket.send(out[0])  # nobody to send it to
                plug(aftr, peer, "internet")
                assert until(lambda: device.refresh(links())).startswith("internet is back: interface i on internet: ")
            assert not device.lost
        assert exchange(peers("access-peer"), peers("internet-peer"), out) == out
        assert device.statistics()["gone"] == 2
        assert (device.statistics()["recovered"] > 0) == (mode != "packet")


@pytest.mark.parametrize("mode", MODES)
def test_changed_mac_and_mtu_are_followed(namespaces: Names, peers: Callable[[str], Peer], mode: str) -> None:
    aftr, peer = namespaces
    plug(aftr, peer, "access")
    plug(aftr, peer, "internet")
    with plane(namespaces, mode) as one:
        access, internet = peers("access-peer"), peers("internet-peer")
        run("ip", "-n", aftr, "link", "set", "access", "address", "02:00:00:00:00:aa", "mtu", "1400")
        with inside(aftr):
            assert one.devices[0].refresh(links()) == "access is up, MTU 1400, MAC 02:00:00:00:00:aa"
            assert one.devices[0].refresh(links()) is None
        assert one.devices[0].ports[0].link.mtu == 1400
        frame = softwire_frame(1, "02:00:00:00:00:aa")
        assert exchange(access, internet, [frame]) == [frame]
        run("ip", "-n", aftr, "link", "set", "access", "down")
        with inside(aftr):
            assert str(one.devices[0].refresh(links())).startswith("access is down")
        run("ip", "-n", aftr, "link", "set", "access", "up")
        with inside(aftr):
            assert str(one.devices[0].refresh(links())).startswith("access is up")
        assert exchange(access, internet, [frame]) == [frame]


@pytest.mark.parametrize("mode", MODES)
def test_flood_loses_packets_but_no_frame(namespaces: Names, peers: Callable[[str], Peer], mode: str) -> None:
    aftr, peer = namespaces
    plug(aftr, peer, "access")
    plug(aftr, peer, "internet")
    with plane(namespaces, mode) as one:
        access, internet = peers("access-peer"), peers("internet-peer")
        there, back = softwire_frame(1, mac_of(aftr, "access")), internet_frame(1, mac_of(aftr, "internet"))
        for _ in range(30_000):
            access.socket.send(there)
            internet.socket.send(back)
        frames = [softwire_frame(number, mac_of(aftr, "access")) for number in range(100)]
        access.receive(100_000, 0.5)
        internet.receive(100_000, 0.5)
        assert exchange(access, internet, frames) == frames
        inward, outward = (device.statistics() for device in one.devices)
        assert inward["rx_frames"] == outward["tx_frames"] + outward["tx_refused"]
        assert outward["rx_frames"] == inward["tx_frames"] + inward["tx_refused"]


@pytest.mark.parametrize("mode", ["native", "generic"])
def test_steering_leaves_with_a_killed_process(namespaces: Names, mode: str) -> None:
    aftr, peer = namespaces
    plug(aftr, peer, "access")
    code = (
        "import ipaddress, sys, time\n"
        "from aftr.io.bpf import Program\n"
        "from aftr.io.links import need_link\n"
        "program = Program()\n"
        "program.attach(need_link('access').index, native=sys.argv[1] == 'native')\n"
        "print('attached', flush=True)\n"
        "time.sleep(60)\n"
    )
    command = ["ip", "netns", "exec", aftr, sys.executable, "-c", code, mode]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "attached\n"
        assert "xdp" in link_flags(aftr, "access")
        process.kill()
        process.wait()
    assert until(lambda: "xdp" not in link_flags(aftr, "access"))


def link_flags(namespace: str, device: str) -> str:
    command = ["ip", "-n", namespace, "link", "show", "dev", device]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_auto_takes_the_best_mode_and_says_why(namespaces: Names) -> None:
    aftr, peer = namespaces
    plug(aftr, peer, "access")
    plug(aftr, peer, "internet")
    with plane(namespaces, "auto") as one:
        assert [device.mode for device in one.devices] == ["native", "native"]
        assert one.devices[0].mode_sentence == (
            "interface a on access: native AF_XDP with one copy, 1 queue"
            " (zero-copy AF_XDP: queue 0: Operation not supported)"
        )
        assert "ethtool -K PEER tx off" in one.devices[0].warnings[0]


def test_a_driver_that_cannot_redirect_is_driven_generically(
    namespaces: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    aftr, peer = namespaces
    plug(aftr, peer, "access")
    plug(aftr, peer, "internet")
    monkeypatch.setattr("aftr.io.device.WITHOUT_REDIRECT", {"veth"})
    with plane(namespaces, "auto") as one:
        assert [device.mode for device in one.devices] == ["generic", "generic"]
        assert (
            "native AF_XDP with one copy: the driver veth cannot give packets to sockets"
            in one.devices[0].mode_sentence
        )


def test_auto_falls_back_to_packet_sockets(namespaces: Names) -> None:
    aftr, peer = namespaces
    plug(aftr, peer, "access")
    plug(aftr, peer, "internet")
    with plane(namespaces, "auto", workers=2) as one:
        assert [device.mode for device in one.devices] == ["packet", "packet"]
        assert "1 queue for 2 workers: try `ethtool -L access rx 2 tx 2`" in one.devices[0].mode_sentence


def test_refusals_say_what_to_do(namespaces: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    aftr, peer = namespaces
    plug(aftr, peer, "access")

    def refusal(mode: str, device: str = "access") -> str:
        one = Plane()
        with inside(aftr), pytest.raises(DeviceError) as caught:
            open_devices([Interface("a", "access", device)], mode, one.table, STEERING)
        os.close(one.eventfd)
        return str(caught.value)

    assert refusal("fast") == "mode 'fast': choose one of auto, zerocopy, native, generic, packet"
    assert refusal("native", "absent") == "there is no interface absent"
    assert "Operation not supported" in refusal("zerocopy")
    run("ip", "-n", aftr, "link", "set", "access", "mtu", "9000")
    assert "has MTU 9000, a frame has room for 1774: lower the MTU or use frames of 4 KiB" in refusal("auto")
    run("ip", "-n", aftr, "link", "set", "access", "mtu", "1500", "down")
    assert refusal("native") == "interface access is down: run `ip link set access up`"
    run("ip", "-n", aftr, "link", "set", "access", "up")
    monkeypatch.setattr("aftr.io.device.OBJECT", OBJECT.with_name("absent.bpf.o"))
    assert "absent.bpf.o is missing: run `make bpf`" in refusal("native")


def test_a_frame_too_long_for_the_device_does_not_stop_the_others(
    namespaces: Names, peers: Callable[[str], Peer]
) -> None:
    aftr, peer = namespaces
    plug(aftr, peer, "access")
    plug(aftr, peer, "internet")
    run("ip", "-n", aftr, "link", "set", "internet", "mtu", "1000")
    with plane(namespaces, "packet") as one:
        frames = [softwire_frame(number, mac_of(aftr, "access"), 1200 * (number % 5 == 0)) for number in range(64)]
        assert exchange(peers("access-peer"), peers("internet-peer"), frames) == [
            frame for frame in frames if len(frame) < 1000
        ]
        statistics = one.devices[1].statistics()
        assert (statistics["tx_too_long"], statistics["tx_frames"]) == (13, 51)
