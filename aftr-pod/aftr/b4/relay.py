"""The loop between TUN and softwire: drain one side, then the other, sleep when both are empty; change the softwire when told."""

import os
import select
from collections.abc import Callable
from dataclasses import dataclass

from aftr.b4.follow import Follower
from aftr.b4.softwire import LARGEST_PACKET, Softwire, decapsulated_tos

BURST = 64  # packets taken from one side before the other has its turn
IPV4_HEADER_BYTES = 20
NO_DESCRIPTOR = -1


@dataclass
class Counters:
    """What passed and what was dropped, each by its reason."""

    encapsulated: int = 0
    decapsulated: int = 0
    not_ipv4: int = 0  # from the TUN or out of the softwire
    congestion: int = 0  # CE outside, Not-ECT inside (RFC 6040)
    send_refused: int = 0  # by the kernel: no route, no buffer, an ICMPv6 error about the softwire
    receive_refused: int = 0


class Relay:
    """Moves packets between a TUN file descriptor and a softwire; `counters` may be read at any time.

    The softwire is the relay's to close.  A `follower` gives another one in its place, and hosts notice nothing but a pause.
    """

    def __init__(self, tun: int, softwire: Softwire, follower: Follower | None = None) -> None:
        self.counters = Counters()
        self._tun = tun
        self._softwire = softwire
        self._follower = follower
        self._ready = select.poll()
        self._buffer = bytearray(LARGEST_PACKET)
        self._view = memoryview(self._buffer)

    def run(self) -> None:
        """Relay until an exception (of a signal handler, say) ends it."""
        self._ready.register(self._tun, select.POLLIN)
        self._ready.register(self._softwire.socket, select.POLLIN)
        news = self._follower.news if self._follower else NO_DESCRIPTOR
        if self._follower:
            self._ready.register(news, select.POLLIN)
        try:
            while True:
                if any(descriptor == news for descriptor, _ in self._ready.poll()):
                    self._move()
                _drain(self._encapsulate_one)
                _drain(self._decapsulate_one)
        finally:
            self._softwire.close()

    def _move(self) -> None:
        """Go on with another softwire: nothing else changes."""
        assert self._follower is not None
        softwire = self._follower.take()
        self._ready.unregister(self._softwire.socket)
        self._softwire.close()
        self._ready.register(softwire.socket, select.POLLIN)
        self._softwire = softwire

    def _encapsulate_one(self) -> None:
        packet = os.read(self._tun, LARGEST_PACKET)
        if len(packet) < IPV4_HEADER_BYTES or packet[0] >> 4 != 4:
            self.counters.not_ipv4 += 1
            return
        try:
            self._softwire.send(packet)
        except OSError:  # the error may also be about an earlier packet: row B01 leaves retransmission to the hosts
            self.counters.send_refused += 1
        else:
            self.counters.encapsulated += 1

    def _decapsulate_one(self) -> None:
        try:
            size, traffic_class = self._softwire.receive_into(self._view)
        except BlockingIOError:
            raise
        except OSError:  # an ICMPv6 error about the softwire: the AFTR is restarting, say
            self.counters.receive_refused += 1
            return
        if size < IPV4_HEADER_BYTES or self._buffer[0] >> 4 != 4:
            self.counters.not_ipv4 += 1
            return
        if traffic_class != self._buffer[1] and not self._carry_traffic_class(traffic_class):
            self.counters.congestion += 1
            return
        self._deliver(size)

    def _carry_traffic_class(self, traffic_class: int) -> bool:
        """Write the outer DSCP and ECN into the inner header (row D02). False: the packet must be dropped."""
        tos = decapsulated_tos(self._buffer[1], traffic_class)
        if tos is None:
            return False
        replace_tos(self._buffer, tos)
        return True

    def _deliver(self, size: int) -> None:
        try:
            os.write(self._tun, self._view[:size])
        except OSError:  # EINVAL: the kernel does not take it for a packet
            self.counters.not_ipv4 += 1
        else:
            self.counters.decapsulated += 1


def _drain(take_one: Callable[[], None]) -> None:
    """Up to a burst of packets, until there is none."""
    try:
        for _ in range(BURST):
            take_one()
    except BlockingIOError:
        return


def replace_tos(packet: bytearray, tos: int) -> None:
    """Change the TOS byte of an IPv4 header and its checksum with it (RFC 1624, equation 3)."""
    old = packet[0] << 8 | packet[1]
    new = packet[0] << 8 | tos
    checksum = packet[10] << 8 | packet[11]
    total = (~checksum & 0xFFFF) + (~old & 0xFFFF) + new
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    packet[1] = tos
    packet[10:12] = (~total & 0xFFFF).to_bytes(2, "big")
