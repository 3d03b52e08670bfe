"""The filter of AF_PACKET sockets, run by the kernel on one end of a socket pair: the same frames as the steering program takes."""

from __future__ import annotations

import ctypes
import ipaddress
import socket
import struct
from collections.abc import Iterator

import pytest

import packets
from aftr.io.bpf import ACCESS, INTERNET, Steering
from aftr.io.packet_socket import packet_filter
from packets import ETHERTYPE_ARP, SENDER_MAC, eth, ipv4, ipv6, udp

FIRST, SLOTS = ipaddress.IPv6Address("2001:db8:64::1"), 16
POOLS = tuple(ipaddress.IPv4Network(pool) for pool in ("192.0.2.0/28", "198.51.100.7/32"))
ROUTER, SLOT_0, LAST_SLOT, BEYOND = "2001:db8:ffff::1", "2001:db8:64::1", "2001:db8:64::10", "2001:db8:64::11"
_SO_ATTACH_FILTER = 26


def arp(target: str, operation: int = 1) -> bytes:
    packet = packets.arp(operation, SENDER_MAC, "203.0.113.1", "00:00:00:00:00:00", target)
    return eth(packet, ethertype=ETHERTYPE_ARP)


def down(dst: str) -> bytes:
    return eth(ipv4(udp(53, 5000), src="198.51.100.1", dst=dst))


SOFTWIRE = {
    "to the first slot": (eth(ipv6(b"", src=ROUTER, dst=SLOT_0)), True),
    "to the last slot": (eth(ipv6(b"", src=ROUTER, dst=LAST_SLOT)), True),
    "past the last slot": (eth(ipv6(b"", src=ROUTER, dst=BEYOND)), False),
}
POOL = {
    "to a pool": (down("192.0.2.15"), True),
    "to a pool of one address": (down("198.51.100.7"), True),
    "past the pool": (down("192.0.2.16"), False),
}
NEIGHBOURS = {
    "solicitation for the first slot": (eth(packets.solicitation(SLOT_0, src=ROUTER)), True),
    "solicitation for the last slot": (eth(packets.solicitation(LAST_SLOT, src="::")), True),
    "solicitation past the last slot": (eth(packets.solicitation(BEYOND, src=ROUTER)), False),
    "advertisement of a slot": (eth(packets.advertisement(SLOT_0)), True),
    "router advertisement": (eth(ipv6(packets.icmp6(134, payload=bytes(16)), src=ROUTER, dst="ff02::1")), False),
}
ARP = {
    "request for a pool": (arp("192.0.2.1"), True),
    "answer about a pool": (arp("198.51.100.7", 2), True),
    "request past the pool": (arp("192.0.2.16"), False),
    "request cut off": (arp("192.0.2.1")[:41], False),
}
Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, other:
        one.setblocking(False)
        yield one, other


def passes(pair: Pair, steering: Steering, sides: int, frame: bytes) -> bool:
    one, other = pair
    program = b"".join(struct.pack("=HBBI", *instruction) for instruction in packet_filter(steering, sides))
    buffer = ctypes.create_string_buffer(program, len(program))
    one.setsockopt(
        socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    )
    try:
        other.send(frame)
        return len(one.recv(4096)) == len(frame)
    except (PermissionError, BlockingIOError):  # the sender is told that the filter has refused it
        return False


@pytest.mark.parametrize("sides", [ACCESS, INTERNET, ACCESS | INTERNET])
@pytest.mark.parametrize("answers", [False, True])
def test_ours_pass_and_nothing_else(pair: Pair, sides: int, answers: bool) -> None:
    steering = Steering(FIRST, SLOTS, POOLS, answers)
    for table, side, asked in (
        (SOFTWIRE, ACCESS, True),
        (POOL, INTERNET, True),
        (NEIGHBOURS, ACCESS, answers),
        (ARP, INTERNET, answers),
    ):
        for name, (frame, ours) in table.items():
            assert passes(pair, steering, sides, frame) == (ours and asked and bool(sides & side)), name
