"""Hundreds of B4s in one process, and a server that they talk to: UDP flows, each one answered and judged.

The crowd is a device on the lab's access network with a prefix of its own: its kernel takes every address of it (a local
route), and one raw socket carries IPv4-in-IPv6 for all of its B4s.  Each packet names its flow; the server, outside,
sees which external endpoint the flow has, and echoes it.
"""

from __future__ import annotations

import socket
import struct
import time
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_interface
from typing import Any

from pyroute2 import netns

from aftr_lab.network import End, add_link, add_namespace, add_route, inside
from aftr_lab.record import crowd_namespace

PREFIX = IPv6Network("2001:db8:1800::/37")  # the upper half of the samples' group north
SUBSCRIBER_BITS = 56
LINK_LOCAL = "fe80::b4"
HOST = IPv4Address("192.168.1.10")  # the same behind every B4
ECHO_PORT, FIRST_PORT = 7, 1024
PKTINFO = struct.Struct("=16sI")
IPV4 = struct.Struct("!BBHHHBBH4s4s")
UDP = struct.Struct("!HHHH")
PAYLOAD = struct.Struct("!8sQQ")  # a mark, the flow's number, which of its packets
MARK = b"crowd b4"
SIZE = IPV4.size + UDP.size + PAYLOAD.size
PATIENCE_S = 1.0  # an answer that takes longer is lost
BUFFER, RCVBUFFORCE = 16 << 20, 33
Endpoint = tuple[str, int]


@dataclass
class Outcome:
    """What the crowd and its server saw."""

    sent: int = 0
    answered: int = 0
    lost: int = 0
    misdelivered: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)  # endpoints that went from one flow to another too soon
    moved: list[str] = field(default_factory=list)  # flows that got another endpoint


class Crowd:
    """`number` B4s; an external endpoint is its flow's for `live_s` after a packet, and goes to no other B4 for `rest_s` more."""

    def __init__(self, state: dict[str, Any], namespace: str, number: int, live_s: float, rest_s: float) -> None:
        self.number, self.live_s, self.rest_s, self.outcome = number, live_s, rest_s, Outcome()
        self.slots = [str(slot["tunnelAddress"]) for slot in state["slots"]]
        self.server_address = IPv4Address(state["server"]["address"])
        self.socket = raw_socket(namespace)
        self.server = udp_socket(state["namespaces"]["internet"], str(self.server_address))
        self.flow = self.packet = 0
        # of each flow, as the server saw it; the oldest first
        self.endpoints: OrderedDict[int, Endpoint] = OrderedDict()
        self.owners: dict[Endpoint, tuple[int, float]] = {}
        self.waiting: deque[tuple[float, int]] = deque()  # when sent, packet
        self.unanswered: dict[int, int] = {}  # packet: flow

    # ------------------------------------------------------------ sending
    def address(self, b4: int) -> IPv6Address:
        """A B4's IPv6 address."""
        return PREFIX[(b4 << 128 - SUBSCRIBER_BITS) + 1]

    def slot_of(self, flow: int) -> int:
        """The slot that a flow's B4 uses."""
        return flow % self.number % len(self.slots)

    def open_flow(self) -> int:
        """The first packet of a new flow, of the next B4; the flow's number."""
        flow, self.flow = self.flow, self.flow + 1
        self.send(flow)
        return flow

    def send(self, flow: int) -> int:
        """A packet of a flow; the packet's number."""
        number, self.packet = self.packet, self.packet + 1
        b4 = flow % self.number
        source = PKTINFO.pack(self.address(b4).packed, 0)
        to = (self.slots[b4 % len(self.slots)], 0)
        inner = question(self.server_address, self.port(flow), flow, number)
        self.socket.sendmsg([inner], [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, source)], 0, to)
        self.outcome.sent += 1
        self.unanswered[number] = flow
        self.waiting.append((time.monotonic(), number))
        return number

    def port(self, flow: int) -> int:
        """The inner source port of a flow."""
        return FIRST_PORT + flow // self.number % (65536 - FIRST_PORT)

    # ------------------------------------------------------------ the server
    def serve(self) -> None:
        """Echo what has come to the server, and judge the endpoints that it came from."""
        for data, endpoint in drained(self.server):
            if len(data) == PAYLOAD.size and data.startswith(MARK):
                self.judge(endpoint, PAYLOAD.unpack(data)[1])
                self.server.sendto(data, endpoint)

    def judge(self, endpoint: Endpoint, flow: int) -> None:
        """A packet of a flow came from this endpoint."""
        now = time.monotonic()
        owner, since = self.owners.get(endpoint, (flow, now))
        same_b4 = owner % self.number == flow % self.number
        if owner != flow and now - since < self.live_s + (0 if same_b4 else self.rest_s):
            self.outcome.doubled.append(f"{endpoint}: flow {flow} {now - since:.1f} s after flow {owner}")
        self.owners[endpoint] = flow, now
        before = self.endpoints.setdefault(flow, endpoint)
        if before != endpoint:
            self.outcome.moved.append(f"flow {flow}: {before}, then {endpoint}")
            self.endpoints[flow] = endpoint

    # ------------------------------------------------------------ answers
    def collect(self) -> list[tuple[int, int]]:
        """(packet, flow) that were answered since the last call."""
        answered = []
        for inner, b4 in received(self.socket):
            if len(inner) != SIZE or not inner[-PAYLOAD.size :].startswith(MARK):
                continue  # an answer to somebody else's malformed question
            _, flow, number = PAYLOAD.unpack(inner[-PAYLOAD.size :])
            port = UDP.unpack_from(inner, IPV4.size)[1]
            if b4 != self.address(flow % self.number) or port != self.port(flow):
                self.outcome.misdelivered.append(f"flow {flow} at {b4} port {port}")
            elif self.unanswered.pop(number, None) is not None:
                answered.append((number, flow))
        self.outcome.answered += len(answered)
        return answered

    def give_up(self) -> int:
        """Count packets lost whose answer took too long; how many those are."""
        lost, deadline = 0, time.monotonic() - PATIENCE_S
        while self.waiting and self.waiting[0][0] < deadline:
            lost += self.unanswered.pop(self.waiting.popleft()[1], None) is not None
        self.outcome.lost += lost
        return lost

    def newest_endpoints(self) -> Iterator[Endpoint]:
        """External endpoints, the newest first."""
        return reversed(self.owners)

    def forget(self, flows: Sequence[int] | None = None) -> None:
        """These flows, or all, have ended, or the AFTR has lost its memory: nothing is expected of them any more."""
        if flows is None:
            self.owners.clear()
            self.endpoints.clear()
            return
        for flow in flows:
            self.endpoints.pop(flow, None)

    def close(self) -> None:
        """End."""
        self.socket.close()
        self.server.close()


# ---------------------------------------------------------------- packets and sockets
def question(server: IPv4Address, port: int, flow: int, number: int) -> bytes:
    """An IPv4 packet with a UDP datagram (without a checksum, RFC 768) to the server."""
    header = bytearray(IPV4.pack(0x45, 0, SIZE, 0, 0x4000, 64, 17, 0, HOST.packed, server.packed))
    total = sum(struct.unpack("!10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    header[10:12] = (0xFFFF - ((total & 0xFFFF) + (total >> 16))).to_bytes(2)
    return bytes(header) + UDP.pack(port, ECHO_PORT, UDP.size + PAYLOAD.size, 0) + PAYLOAD.pack(MARK, flow, number)


def raw_socket(namespace: str) -> socket.socket:
    """IPv4-in-IPv6, from and to any address of the namespace."""
    made: socket.socket = netns.create_socket(namespace, socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_IPIP, flags=0)
    made.setsockopt(socket.SOL_SOCKET, RCVBUFFORCE, BUFFER)
    made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    made.setblocking(False)
    return made


def udp_socket(namespace: str, address: str) -> socket.socket:
    """The server's."""
    made: socket.socket = netns.create_socket(namespace, socket.AF_INET, socket.SOCK_DGRAM, flags=0)
    made.setsockopt(socket.SOL_SOCKET, RCVBUFFORCE, BUFFER)
    made.bind((address, ECHO_PORT))
    made.setblocking(False)
    return made


def drained(sock: socket.socket) -> Iterator[tuple[bytes, Endpoint]]:
    """Datagrams and where they came from."""
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
        yield data, IPv6Address(PKTINFO.unpack(ancillary[0][2])[0])


@contextmanager
def crowd_of(state: dict[str, Any], number: int, live_s: float, rest_s: float) -> Iterator[Crowd]:
    """A crowd on the access network of the lab that `state` describes, for the time of the block."""
    access, router = state["bridges"]["access"], state["namespaces"]["router"]
    namespace = crowd_namespace(state["lab"])
    add_namespace(namespace, {"net.ipv6.ip_nonlocal_bind": 1})
    try:
        port = End(access["namespace"], "crowd", bridge=access["device"])
        add_link(End(namespace, "wan", (ip_interface(f"{LINK_LOCAL}/64"),)), port, access["mtu"])
        add_route(namespace, "::/0", gateway=access["gateway"], device="wan")
        with inside(namespace) as netlink:
            netlink.route("add", dst=str(PREFIX), oif=netlink.link_lookup(ifname="lo")[0], table=255, type="local")
        with inside(router) as netlink:
            device = netlink.link_lookup(ifname="subscribers")[0]
            netlink.route("replace", dst=str(PREFIX), gateway=LINK_LOCAL, oif=device)
        crowd = Crowd(state, namespace, number, live_s, rest_s)
        try:
            yield crowd
        finally:
            crowd.close()
    finally:
        netns.remove(namespace)
