"""Frames between an AFTR and the router, taken from the router's ports: what an AFTR sent, by nobody's word."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import Any

from pyroute2 import netns

ETH_P_ALL, PACKET_OUTGOING = 3, 4
RCVBUFFORCE, BUFFER = 33, 32 << 20
ETHERNET, IPV4_ADDRESSES, IPV6_ADDRESSES = 14, 12, 8  # where they begin
IPV4, IPV6 = b"\x08\x00", b"\x86\xdd"


class Slots:
    """Whose slot a frame belongs to.  Pure."""

    def __init__(self, state: dict[str, Any]) -> None:
        self._tunnels = {IPv6Address(slot["tunnelAddress"]).packed: slot["slot"] for slot in state["slots"]}
        parts = [(IPv4Network(part["prefix"]), slot["slot"]) for slot in state["slots"] for part in slot["prefixes"]]
        self._prefixes = parts

    def of(self, frame: bytes, *, to_pod: bool) -> int | None:
        """The slot whose address a frame comes from, or goes to."""
        kind, packet = frame[ETHERNET - 2 : ETHERNET], frame[ETHERNET:]
        if kind == IPV6:
            at = IPV6_ADDRESSES + (16 if to_pod else 0)
            return self._tunnels.get(packet[at : at + 16])
        if kind != IPV4 or len(packet) < 20:
            return None
        at = IPV4_ADDRESSES + (4 if to_pod else 0)
        address = IPv4Address(packet[at : at + 4])
        return next((slot for prefix, slot in self._prefixes if address in prefix), None)


class Capture:
    """Both links of one AFTR, from the moment it is made."""

    def __init__(self, state: dict[str, Any], aftr: str) -> None:
        self._slots = Slots(state)
        self._sockets = [port_socket(state["namespaces"]["router"], f"{aftr}-{arm}") for arm in ("access", "inet")]

    def take(self) -> tuple[list[int], list[int]]:
        """The slots of the frames that the AFTR sent, and of those that went to it, since the last call."""
        sent: list[int] = []
        received: list[int] = []
        for one in self._sockets:
            while True:
                try:
                    frame, (_, _, kind, *_) = one.recvfrom(2048)
                except BlockingIOError:
                    break
                to_pod = kind == PACKET_OUTGOING
                slot = self._slots.of(frame, to_pod=to_pod)
                if slot is not None:
                    (received if to_pod else sent).append(slot)
        return sent, received

    def close(self) -> None:
        """End."""
        for one in self._sockets:
            one.close()


def port_socket(namespace: str, device: str) -> socket.socket:
    """All frames of a device, both ways."""
    made: socket.socket = netns.create_socket(namespace, socket.AF_PACKET, socket.SOCK_RAW, 0, flags=0)
    made.setsockopt(socket.SOL_SOCKET, RCVBUFFORCE, BUFFER)
    made.bind((device, ETH_P_ALL))
    made.setblocking(False)
    return made
