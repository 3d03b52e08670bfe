"""The softwire: IPv4 in IPv6 (RFC 2473) through a raw IPv6 socket of next header 4.

The kernel builds and takes off the IPv6 header, fragments the outer packet to the WAN's or the path's MTU, and reassembles
(bounded by `net.ipv6.ip6frag_high_thresh`, timed by `ip6frag_time`, overlaps dropped): row B01 by a well-kept library.
"""

import socket
import sys
from ipaddress import IPv6Address

from aftr.b4.errors import SoftwireError

IPPROTO_IPIP = 4  # IPv4 encapsulation, RFC 2003
SOFTWIRE_HOP_LIMIT = 64
RECEIVE_BUFFER_BYTES = 8 << 20  # a burst of a full TCP window of several hosts
LARGEST_PACKET = 65535

IPV6_FLOWINFO_SEND = 33  # linux/in6.h; not named by Python's socket module
SO_RCVBUFFORCE = 33  # asm-generic/socket.h

OPTION_TUNNEL_ENCAPSULATION_LIMIT = 4  # RFC 2473 §4.1.1
OPTION_PADN = 1

TRAFFIC_CLASS_SPACE = socket.CMSG_SPACE(4)
ECN = 0b11
ECN_NOT_ECT, ECN_ECT_1, ECN_ECT_0, ECN_CE = range(4)


def encapsulation_limit_options(limit: int) -> bytes:
    """The Destination Options header that Linux ip6tnl sends: the limit, then PadN up to 8 bytes. The kernel fills in byte 0."""
    limit_option = bytes([OPTION_TUNNEL_ENCAPSULATION_LIMIT, 1, limit])
    padding = bytes([OPTION_PADN, 1, 0])
    return bytes([0, 0]) + limit_option + padding


def flow_label(packet: bytes) -> int:
    """A label from 1 to 2²⁰−1 from addresses, protocol and ports of an IPv4 packet (RFC 6438), the same for all its fragments.

    Python's own hash of bytes is a SipHash with a secret of this process.
    """
    fragment = packet[6] & 0x3F or packet[7]  # more fragments, or an offset: only the first one has ports
    endpoints = packet[12:20] if fragment or packet[0] != 0x45 else packet[12:24]
    return (hash(endpoints + packet[9:10]) & 0xFFFFF) or 1


def decapsulated_tos(inner: int, outer: int) -> int | None:
    """TOS of the inner packet after decapsulation, or None to drop it.

    DSCP comes from the outer header (RFC 2983, uniform model), ECN from both (RFC 6040 §4.2, figure 4: congestion seen on the
    way is kept, and so is its milder mark ECT(1); a packet that cannot carry congestion is dropped).
    """
    inner_ecn, outer_ecn = inner & ECN, outer & ECN
    if outer_ecn == ECN_CE:
        return None if inner_ecn == ECN_NOT_ECT else outer
    marked = (inner_ecn, outer_ecn) == (ECN_ECT_0, ECN_ECT_1)
    return (outer & ~ECN) | (ECN_ECT_1 if marked else inner_ecn)


def _raw_socket() -> socket.socket:
    try:
        return socket.socket(socket.AF_INET6, socket.SOCK_RAW, IPPROTO_IPIP)
    except OSError as error:
        raise SoftwireError(f"a raw IPv6 socket is refused ({error.strerror}): a B4 needs root") from error


class Softwire:
    """One end of a softwire from `source` to `aftr`; only packets of that AFTR are received.

    `encapsulation_limit` adds the Destination Options header of row D24 to each packet. Raises `SoftwireError`.
    """

    def __init__(self, source: IPv6Address, aftr: IPv6Address, encapsulation_limit: int | None = None) -> None:
        self.source, self.aftr = str(source), str(aftr)
        self.socket = _raw_socket()
        self.socket.setblocking(False)
        self._traffic_class = 0
        options = self.socket.setsockopt
        options(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
        options(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, SOFTWIRE_HOP_LIMIT)
        options(socket.IPPROTO_IPV6, IPV6_FLOWINFO_SEND, 1)
        options(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
        if encapsulation_limit is not None:
            options(socket.IPPROTO_IPV6, socket.IPV6_DSTOPTS, encapsulation_limit_options(encapsulation_limit))
        try:
            self.socket.bind((self.source, 0))
            self.socket.connect((self.aftr, 0))
        except OSError as error:
            self.socket.close()
            raise SoftwireError(
                f"no softwire from {source} to {aftr} ({error.strerror}): give an address of this machine, and a route"
            ) from error

    def send(self, packet: bytes) -> None:
        """Encapsulate one IPv4 packet: traffic class := TOS (D02), flow label := hash of the flow (D27)."""
        if packet[1] != self._traffic_class:
            self._traffic_class = packet[1]
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, self._traffic_class)
        self.socket.sendto(packet, (self.aftr, 0, flow_label(packet), 0))

    def receive_into(self, buffer: memoryview) -> tuple[int, int]:
        """Length of the next decapsulated packet, and the traffic class of its outer header.

        A fragment's traffic class is that of the reassembled packet. Raises BlockingIOError when there is none.
        """
        size, ancillary, _, _ = self.socket.recvmsg_into([buffer], TRAFFIC_CLASS_SPACE)
        return size, int.from_bytes(ancillary[0][2], sys.byteorder)

    def close(self) -> None:
        self.socket.close()
