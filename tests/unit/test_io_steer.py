"""The steering program against a table of frames, by BPF_PROG_TEST_RUN: no interface, no traffic."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterator

import pytest

import packets
from aftr.io.bpf import ACCESS, INTERNET, OBJECT, XDP_PASS, XDP_REDIRECT, Program, Steering
from aftr.io.errors import SteeringError
from packets import eth, fragment4, fragment6, ipv4, ipv6, vlan

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="loading a BPF program needs root"),
    pytest.mark.skipif(not OBJECT.exists(), reason="`make bpf` has not been run"),
]

FIRST, SLOTS = ipaddress.IPv6Address("2001:db8:64::1"), 16
POOLS = tuple(ipaddress.IPv4Network(pool) for pool in ("192.0.2.0/28", "198.51.100.7/32", "203.0.113.128/25"))
STEERING = Steering(FIRST, SLOTS, POOLS)
B4, SLOT_0, LAST_SLOT, BEYOND = "2001:db8:1000::1", "2001:db8:64::1", "2001:db8:64::10", "2001:db8:64::11"
OURS = packets.ENGINE_MAC
MULTICAST = "33:33:ff:00:00:01"
BROADCAST = "ff:ff:ff:ff:ff:ff"
INNER = ipv4(packets.udp(1000, 53, bytes(40)), src="10.0.0.1", dst="198.51.100.1")


def out(dst: str = SLOT_0, **how: object) -> bytes:
    return ipv6(INNER, src=B4, dst=dst, **how)  # type: ignore[arg-type]


def behind(*headers: int, last: int = packets.IPIP, body: bytes = INNER, dst: str = SLOT_0) -> bytes:
    """An IPv6 packet with that chain of options headers."""
    packed = body
    following = last
    for header in reversed(headers):
        packed = packets.options_header(following) + packed
        following = header
    return ipv6(packed, src=B4, dst=dst, next_header=following)


def icmp6(kind: int, dst: str = SLOT_0, payload: bytes = bytes(48)) -> bytes:
    return ipv6(packets.icmp6(kind, payload=payload), src=B4, dst=dst)


def solicitation(target: str, dst: str) -> bytes:
    return packets.solicitation(target, src=B4, dst=dst)


def arp(target: str, operation: int = 1, sender: str = "192.0.2.200") -> bytes:
    return packets.arp(operation, packets.SENDER_MAC, sender, "00:00:00:00:00:00", target)


def down(dst: str = "192.0.2.15", **how: object) -> bytes:
    return ipv4(packets.udp(53, 5000, bytes(40)), src="198.51.100.1", dst=dst, **how)  # type: ignore[arg-type]


HOP, DESTINATION = packets.HOP_BY_HOP, packets.DESTINATION
OURS_TABLE = {
    "4in6 to the first slot": eth(out()),
    "4in6 to the last slot": eth(out(LAST_SLOT)),
    "nothing inside": eth(ipv6(b"", src=B4, dst=SLOT_0)),
    "behind destination options": eth(behind(DESTINATION)),
    "behind hop-by-hop": eth(behind(HOP)),
    "behind both": eth(behind(HOP, DESTINATION)),
    "behind eight": eth(behind(*[DESTINATION] * 8)),
    "behind nine: the engine says no": eth(behind(*[DESTINATION] * 9)),
    "header chain cut off": eth(behind(HOP, DESTINATION)[:50]),
    "options header that lies about its length": eth(
        ipv6(packets.options_header(packets.IPIP, length=255) + INNER, src=B4, dst=SLOT_0, next_header=DESTINATION)
    ),
    "first fragment": eth(fragment6(out(), [24])[0]),
    "later fragment": eth(fragment6(out(), [24])[1]),
    "fragment behind destination options": eth(
        behind(DESTINATION, last=packets.FRAGMENT, body=fragment6(out(), [24])[1][40:])
    ),
    "echo request": eth(icmp6(128)),
    "destination unreachable": eth(icmp6(1)),
    "packet too big": eth(icmp6(2)),
    "time exceeded": eth(icmp6(3)),
    "parameter problem behind hop-by-hop": eth(behind(HOP, last=packets.ICMPV6, body=b"\4\0\0\0" + bytes(48))),
    "icmpv6 without a byte": eth(ipv6(b"", src=B4, dst=SLOT_0, next_header=packets.ICMPV6)),
    "ipv4 to a pool": eth(down()),
    "ipv4 to a pool of one address": eth(down("198.51.100.7")),
    "ipv4 to the last address of a pool": eth(down("203.0.113.255")),
    "first ipv4 fragment": eth(fragment4(down(df=False), [16])[0]),
    "later ipv4 fragment": eth(fragment4(down(df=False), [16])[1]),
    "ipv4 with options": eth(down(options=bytes(8))),
    "ipv4 of an unknown protocol": eth(ipv4(packets.raw(47), src="198.51.100.1", dst="192.0.2.1")),
    "ipv4 with a lying total length": eth(down(length=2000)),
    "priority tag of VLAN 0": vlan(eth(out()), 5 << 13),
    "VLAN of the access side": vlan(eth(out()), 100),
    "VLAN of the access side, with priority": vlan(eth(out()), 7 << 13 | 100),
    "VLAN of the internet side": vlan(eth(down()), 200),
}  # fmt: skip
FOREIGN_TABLE = {
    "empty": b"\0" * 14,
    "4in6 past the last slot": eth(out(BEYOND)),
    "4in6 before the first slot": eth(out("2001:db8:64::")),
    "4in6 to another prefix": eth(out("2001:db8:65::1")),
    "4in6 to another half": eth(out("2001:db8:64:0:1::1")),
    "tcp to a slot": eth(ipv6(packets.tcp(1, 179), src=B4, dst=SLOT_0)),
    "6in6 to a slot": eth(ipv6(out(), src=B4, dst=SLOT_0, next_header=packets.IPV6)),
    "routing header": eth(ipv6(packets.options_header(packets.IPIP) + INNER, src=B4, dst=SLOT_0, next_header=43)),
    "echo reply to a slot": eth(icmp6(129)),
    "neighbour advertisement to a slot": eth(icmp6(136)),
    "neighbour solicitation for a slot": eth(solicitation(SLOT_0, "ff02::1:ff00:1"), dst=MULTICAST),
    "neighbour solicitation to a slot": eth(solicitation(SLOT_0, SLOT_0)),
    "router advertisement": eth(icmp6(134, "ff02::1"), dst=MULTICAST),
    "ipv6 cut off": eth(out()[:39]),
    "ipv4 past the pool": eth(down("192.0.2.16")),
    "ipv4 beside the pool of one": eth(down("198.51.100.8")),
    "ipv4 cut off": eth(down()[:19]),
    "arp": eth(arp("192.0.2.1"), dst=BROADCAST, ethertype=0x0806),
    "another ethertype": eth(out(), ethertype=0x88CC),
    "to another station": eth(out(), dst="02:00:00:00:00:77"),
    "ipv4 to another station": eth(down(), dst="02:00:00:00:00:77"),
    "ipv4 as broadcast": eth(down(), dst=BROADCAST),
    "VLAN that is not ours": vlan(eth(out()), 300),
    "softwire in the VLAN of the internet side": vlan(eth(out()), 200),
    "ipv4 in the VLAN of the access side": vlan(eth(down()), 100),
    "VLAN tag cut off": eth(b"", ethertype=0x8100) + b"\0\1",
    "two tags": vlan(vlan(eth(out()), 100), 100),
    "provider tag": vlan(eth(out()), 100, 0x88A8),
}  # fmt: skip


@pytest.fixture
def program() -> Iterator[Program]:
    """Loaded and filled; queue 0 has a socket, for otherwise bpf_redirect_map says XDP_PASS for all."""
    one = Program()
    with socket.socket(44, socket.SOCK_RAW, 0) as xdp:  # AF_XDP
        one.steer(STEERING, packets.mac(OURS))
        one.set_vlans({0: ACCESS | INTERNET, 100: ACCESS, 200: INTERNET})
        one.set_socket(0, xdp.fileno())
        yield one
        one.close()


@pytest.mark.parametrize("name", OURS_TABLE)
def test_ours_goes_to_the_engine(program: Program, name: str) -> None:
    assert program.test_run(OURS_TABLE[name]) == XDP_REDIRECT


@pytest.mark.parametrize("name", FOREIGN_TABLE)
def test_everything_else_goes_to_the_kernel(program: Program, name: str) -> None:
    assert program.test_run(FOREIGN_TABLE[name]) == XDP_PASS


def test_every_cut_of_every_frame_has_an_answer(program: Program) -> None:
    for frame in (*OURS_TABLE.values(), *FOREIGN_TABLE.values()):
        for size in range(14, min(len(frame), 90)):
            assert program.test_run(frame[:size]) in (XDP_PASS, XDP_REDIRECT)


def test_neighbours_are_ours_when_the_engine_answers_for_them(program: Program) -> None:
    """Questions, and claims of others: all whose target is an address of ours, to us or to a group."""
    program.steer(Steering(FIRST, SLOTS, POOLS, answer_neighbours=True), packets.mac(OURS))
    claim = packets.advertisement(SLOT_0)
    for ours in (
        eth(solicitation(SLOT_0, "ff02::1:ff00:1"), dst=MULTICAST),
        eth(solicitation(LAST_SLOT, LAST_SLOT)),
        eth(claim, dst="33:33:00:00:00:01"),
        eth(arp("192.0.2.1"), dst=BROADCAST, ethertype=0x0806),
        eth(arp("192.0.2.1"), ethertype=0x0806),
        eth(arp("192.0.2.1", 2, "192.0.2.1"), dst=BROADCAST, ethertype=0x0806),
        vlan(eth(arp("192.0.2.1"), dst=BROADCAST, ethertype=0x0806), 200),
    ):
        assert program.test_run(ours) == XDP_REDIRECT
    for foreign in (
        eth(solicitation(BEYOND, "ff02::1:ff00:11"), dst=MULTICAST),
        eth(solicitation(SLOT_0, SLOT_0), dst="02:00:00:00:00:77"),
        eth(packets.advertisement(BEYOND), dst="33:33:00:00:00:01"),
        eth(arp("192.0.2.16"), dst=BROADCAST, ethertype=0x0806),
        eth(arp("192.0.2.1"), dst="02:00:00:00:00:77", ethertype=0x0806),
        eth(arp("192.0.2.1")[:27], dst=BROADCAST, ethertype=0x0806),
        vlan(eth(arp("192.0.2.1"), dst=BROADCAST, ethertype=0x0806), 100),
    ):
        assert program.test_run(foreign) == XDP_PASS


def test_maps_change_live(program: Program) -> None:
    assert program.test_run(eth(out(BEYOND))) == XDP_PASS
    program.steer(Steering(FIRST, 32, POOLS[1:]), packets.mac(OURS))
    assert program.test_run(eth(out(BEYOND))) == XDP_REDIRECT
    assert program.test_run(eth(down())) == XDP_PASS
    assert program.test_run(eth(down("198.51.100.7"))) == XDP_REDIRECT
    program.set_vlans({300: ACCESS})
    assert program.test_run(eth(out())) == XDP_PASS
    assert program.test_run(vlan(eth(out()), 300)) == XDP_REDIRECT


def test_any_station_where_the_mac_is_not_given(program: Program) -> None:
    program.steer(STEERING)
    assert program.test_run(eth(out(), dst="02:00:00:00:00:77")) == XDP_REDIRECT


def test_queue_without_a_socket_goes_to_the_kernel() -> None:
    one = Program()
    one.steer(STEERING)
    one.set_vlans({0: ACCESS | INTERNET})
    assert one.test_run(eth(out())) == XDP_PASS
    one.close()


def test_slots_stay_inside_a_96(program: Program) -> None:
    with pytest.raises(SteeringError, match="choose a shorter softwire prefix"):
        program.steer(Steering(ipaddress.IPv6Address("2001:db8::ffff:fff8"), 16, ()))


def test_refusals_name_the_cause(program: Program) -> None:
    with pytest.raises(SteeringError, match="generic XDP hook refused the steering program: "):
        program.attach(0x7FFFFFFF, native=False)
    garbage = OBJECT.with_name("steer.bpf.c")
    with pytest.raises(SteeringError, match="cannot be read as a BPF object"):
        Program(garbage)
