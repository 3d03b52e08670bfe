"""Hundreds of B4s in one process, and a server that they talk to: new UDP flows at a rate, each one answered and judged.

The crowd is a device on the lab's access network with a prefix of its own: its kernel takes every address of it (a local
route), and one raw socket carries IPv4-in-IPv6 for all of its B4s.  Each flow's packet names the flow; the server, outside,
sees which external endpoint it got, and echoes it.
"""

from __future__ import annotations

import socket
import struct
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_interface

from pyroute2 import netns

from aftr_lab.network import End, add_link, add_namespace, add_route, inside
from packets import ipv4, udp
from rig import Endpoint
from running_lab import SERVER, Lab

PREFIX = IPv6Network("2001:db8:1800::/37")  # the upper half of the sample's group north
SUBSCRIBER_BITS = 56
LINK_LOCAL = "fe80::b4"
HOST = "192.168.1.10"  # the same behind every B4
ECHO_PORT = 7
FIRST_PORT = 1024
IN6_PKTINFO = struct.Struct("=16sI")
PAYLOAD = struct.Struct("!8sQ")  # a mark, the flow's number
MARK = b"crowd b4"
PATIENCE_S = 1.0  # an answer that takes longer is lost
BUFFER = 16 << 20


@dataclass
class Outcome:
    """What the crowd and its server saw."""

    sent: int = 0
    answered: int = 0
    lost: int = 0
    misdelivered: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)  # endpoints that went from one flow to another too soon


class Crowd:
    """`number` B4s; an external endpoint is its flow's for `live_s` after a packet, and goes to no other B4 for `rest_s` more."""

    def __init__(self, lab: Lab, namespace: str, number: int, live_s: float, rest_s: float) -> None:
        self.number, self.live_s, self.rest_s, self.outcome = number, live_s, rest_s, Outcome()
        self.slots = [str(slot["tunnelAddress"]) for slot in lab.state["slots"]]
        self.socket = raw_socket(namespace)
        self.server = lab.socket("internet", socket.AF_INET, socket.SOCK_DGRAM)
        self.server.setsockopt(socket.SOL_SOCKET, 33, BUFFER)  # SO_RCVBUFFORCE
        self.server.bind((SERVER, ECHO_PORT))
        self.server.setblocking(False)
        self.waiting: deque[tuple[float, int]] = deque()  # when sent, flow
        self.unanswered: set[int] = set()
        self.owners: dict[Endpoint, tuple[int, float]] = {}
        self.flow = 0

    def address(self, b4: int) -> IPv6Address:
        return PREFIX[(b4 << 128 - SUBSCRIBER_BITS) + 1]

    def open_flow(self) -> None:
        """The first packet of a new flow, of the next B4."""
        flow, self.flow = self.flow, self.flow + 1
        turn, b4 = divmod(flow, self.number)
        body = udp(FIRST_PORT + turn % (65536 - FIRST_PORT), ECHO_PORT, PAYLOAD.pack(MARK, flow))
        packet = ipv4(body, src=HOST, dst=SERVER)
        source = IN6_PKTINFO.pack(self.address(b4).packed, 0)
        to = (self.slots[b4 % len(self.slots)], 0)
        self.socket.sendmsg([packet], [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, source)], 0, to)
        self.outcome.sent += 1
        self.unanswered.add(flow)
        self.waiting.append((time.monotonic(), flow))

    def serve(self) -> None:
        """Echo what has come to the server, and judge the endpoints that it came from."""
        for data, (address, port) in drained(self.server):
            if len(data) == PAYLOAD.size and data.startswith(MARK):
                self.judge(Endpoint(IPv4Address(address), port), PAYLOAD.unpack(data)[1])
                self.server.sendto(data, (address, port))

    def judge(self, endpoint: Endpoint, flow: int) -> None:
        now = time.monotonic()
        owner, since = self.owners.get(endpoint, (flow, now))
        same_b4 = owner % self.number == flow % self.number
        if owner != flow and now - since < self.live_s + (0 if same_b4 else self.rest_s):
            self.outcome.doubled.append(f"{endpoint}: flow {flow} {now - since:.1f} s after flow {owner}")
        self.owners[endpoint] = flow, now

    def collect(self) -> list[int]:
        """Flows that were answered since the last call."""
        answered = []
        for packet, ancillary in received(self.socket):
            payload = packet[28:]
            if len(payload) != PAYLOAD.size or not payload.startswith(MARK):
                continue  # an answer to somebody else's malformed question
            flow = PAYLOAD.unpack(payload)[1]
            turn, b4 = divmod(flow, self.number)
            port = int.from_bytes(packet[22:24])
            if ancillary != self.address(b4) or port != FIRST_PORT + turn % (65536 - FIRST_PORT):
                self.outcome.misdelivered.append(f"flow {flow} at {ancillary} port {port}")
            elif flow in self.unanswered:
                self.unanswered.discard(flow)
                answered.append(flow)
        self.outcome.answered += len(answered)
        return answered

    def give_up(self) -> int:
        """Count flows lost whose answer took too long; how many those are."""
        lost, deadline = 0, time.monotonic() - PATIENCE_S
        while self.waiting and self.waiting[0][0] < deadline:
            flow = self.waiting.popleft()[1]
            if flow in self.unanswered:
                self.unanswered.discard(flow)
                lost += 1
        self.outcome.lost += lost
        return lost

    def endpoints(self) -> Iterator[Endpoint]:
        """External endpoints, the newest first."""
        return reversed(self.owners)

    def forget_endpoints(self) -> None:
        """The AFTR has lost its memory: endpoints may be given out anew."""
        self.owners.clear()

    def close(self) -> None:
        self.socket.close()
        self.server.close()


def raw_socket(namespace: str) -> socket.socket:
    """IPv4-in-IPv6, from and to any address of the namespace."""
    made: socket.socket = netns.create_socket(namespace, socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_IPIP, flags=0)
    made.setsockopt(socket.SOL_SOCKET, 33, BUFFER)  # SO_RCVBUFFORCE
    made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    made.setblocking(False)
    return made


def drained(sock: socket.socket) -> Iterator[tuple[bytes, tuple[str, int]]]:
    while True:
        try:
            yield sock.recvfrom(2048)
        except BlockingIOError:
            return


def received(sock: socket.socket) -> Iterator[tuple[bytes, IPv6Address]]:
    """Inner packets, and the B4 that each came to."""
    while True:
        try:
            data, ancillary, _, _ = sock.recvmsg(2048, 64)
        except BlockingIOError:
            return
        yield data, IPv6Address(IN6_PKTINFO.unpack(ancillary[0][2])[0])


@contextmanager
def crowd_of(lab: Lab, number: int, live_s: float, rest_s: float) -> Iterator[Crowd]:
    """A crowd on the access network of a lab, for the time of the block."""
    namespace, access = f"{lab.name}-crowd", lab.state["bridges"]["access"]
    add_namespace(namespace, {"net.ipv6.ip_nonlocal_bind": 1})
    try:
        port = End(access["namespace"], "crowd", bridge=access["device"])
        add_link(End(namespace, "wan", (ip_interface(f"{LINK_LOCAL}/64"),)), port, access["mtu"])
        add_route(namespace, "::/0", gateway=access["gateway"], device="wan")
        with inside(namespace) as netlink:
            netlink.route("add", dst=str(PREFIX), oif=netlink.link_lookup(ifname="lo")[0], table=255, type="local")
        add_route(lab.namespace("router"), str(PREFIX), gateway=LINK_LOCAL, device="subscribers")
        crowd = Crowd(lab, namespace, number, live_s, rest_s)
        try:
            yield crowd
        finally:
            crowd.close()
    finally:
        netns.remove(namespace)
