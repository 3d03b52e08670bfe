"""Builders and parsers of test frames.

Every builder fills in right lengths and checksums, and takes an argument to lie about each of them.  Checksums are
computed from scratch, on purpose: the engine updates them incrementally, so that each finds the other's mistakes.

Addresses are strings or `ipaddress` objects, everything else ints and bytes.  Lengths are bytes, also fragment offsets.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Side = Literal["access", "internet"]
IPv4Address = ipaddress.IPv4Address
IPv6Address = ipaddress.IPv6Address
IPv4Network = ipaddress.IPv4Network
V4 = str | int | IPv4Address
V6 = str | int | IPv6Address

ETHERTYPE_IPV4, ETHERTYPE_ARP = 0x0800, 0x0806
ETHERTYPE_IPV6 = 0x86DD
ICMP, IPIP, TCP, UDP, IPV6, ROUTING, FRAGMENT, GRE, ESP, AH, ICMPV6, NO_NEXT, DESTINATION, SCTP = (
    1, 4, 6, 17, 41, 43, 44, 47, 50, 51, 58, 59, 60, 132,
)  # fmt: skip
HOP_BY_HOP = 0

FIN, SYN, RST, PSH, ACK, URG = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
NOT_ECT, ECT1, ECT0, CE = 0, 1, 2, 3

# What the engine writes when it has no devices (docs/design, Engine API).
ACCESS_MAC = "02:00:00:00:00:01"
INTERNET_MAC = "02:00:00:00:00:02"
ENGINE_MAC = "02:00:00:00:00:0a"
SENDER_MAC = "02:00:00:00:00:99"

TUNNEL_ENCAPSULATION_LIMIT = bytes([4, 1, 4, 1, 1, 0])  # RFC 2473 5.1 with PadN: what Linux ip6tnl sends
DONT_FRAGMENT, MORE_FRAGMENTS = 0x4000, 0x2000


# ---------------------------------------------------------------------------------------------- checksums
def ones_sum(data: bytes, start: int = 0) -> int:
    """One's complement sum of 16-bit words (RFC 1071), odd data padded with zero."""
    total: int = start + sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def checksum(data: bytes, start: int = 0) -> int:
    return ~ones_sum(data, start) & 0xFFFF


def pseudo4(src: V4, dst: V4, protocol: int, length: int) -> bytes:
    return v4(src).packed + v4(dst).packed + struct.pack("!HH", protocol, length)


def pseudo6(src: V6, dst: V6, next_header: int, length: int) -> bytes:
    return v6(src).packed + v6(dst).packed + struct.pack("!II", length, next_header)


def v4(address: V4) -> IPv4Address:
    return IPv4Address(address)


def v6(address: V6) -> IPv6Address:
    return IPv6Address(address)


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


# ---------------------------------------------------------------------------------------------- transport
@dataclass(frozen=True)
class Segment:
    """A transport segment whose checksum is filled in when its IP header is known."""

    protocol: int
    data: bytes
    checksum_at: int | None = None  # None: leave the bytes as they are
    pseudo: bool = True  # the pseudo header counts (not for ICMPv4)

    def seal4(self, src: V4, dst: V4) -> bytes:
        start = ones_sum(pseudo4(src, dst, self.protocol, len(self.data))) if self.pseudo else 0
        return self._seal(start)

    def seal6(self, src: V6, dst: V6) -> bytes:
        return self._seal(ones_sum(pseudo6(src, dst, self.protocol, len(self.data))))

    def _seal(self, start: int) -> bytes:
        if self.checksum_at is None:
            return self.data
        value = checksum(self.data, start)
        if self.protocol == UDP and value == 0:
            value = 0xFFFF  # RFC 768: zero means "none"
        return self.data[: self.checksum_at] + struct.pack("!H", value) + self.data[self.checksum_at + 2 :]


def udp(
    sport: int, dport: int, payload: bytes = b"", *, checksum: int | None = None, length: int | None = None
) -> Segment:
    size = 8 + len(payload) if length is None else length
    header = struct.pack("!HHHH", sport, dport, size, checksum or 0)
    return Segment(UDP, header + payload, 6 if checksum is None else None)


def tcp(
    sport: int,
    dport: int,
    flags: int = ACK,
    payload: bytes = b"",
    *,
    seq: int = 1000,
    ack: int = 0,
    mss: int | None = None,
    options: bytes = b"",
    window: int = 65535,
    offset: int | None = None,
    checksum: int | None = None,
    urgent: int = 0,
) -> Segment:
    if mss is not None:
        options = struct.pack("!BBH", 2, 4, mss) + options
    options += b"\1" * (-len(options) % 4)
    words = 5 + len(options) // 4 if offset is None else offset
    header = struct.pack("!HHIIBBHHH", sport, dport, seq, ack, words << 4, flags, window, checksum or 0, urgent)
    return Segment(TCP, header + options + payload, 16 if checksum is None else None)


def icmp4(kind: int, code: int = 0, rest: int = 0, payload: bytes = b"", *, checksum: int | None = None) -> Segment:
    """`rest` is the second 32-bit word of the header."""
    data = struct.pack("!BBHI", kind, code, checksum or 0, rest) + payload
    return Segment(ICMP, data, 2 if checksum is None else None, pseudo=False)


def echo(identifier: int, sequence: int = 1, payload: bytes = b"ping", **lies: int) -> Segment:
    return icmp4(8, 0, identifier << 16 | sequence, payload, **lies)


def echo_reply(identifier: int, sequence: int = 1, payload: bytes = b"ping", **lies: int) -> Segment:
    return icmp4(0, 0, identifier << 16 | sequence, payload, **lies)


def unreachable(code: int, quote: bytes, *, mtu: int = 0, **lies: int) -> Segment:
    return icmp4(3, code, mtu, quote, **lies)


def time_exceeded(quote: bytes, code: int = 0, **lies: int) -> Segment:
    return icmp4(11, code, 0, quote, **lies)


def icmp6(kind: int, code: int = 0, rest: int = 0, payload: bytes = b"", *, checksum: int | None = None) -> Segment:
    data = struct.pack("!BBHI", kind, code, checksum or 0, rest) + payload
    return Segment(ICMPV6, data, 2 if checksum is None else None)


def link_option(kind: int, station: str, length: int = 1) -> bytes:
    """A link-layer address option (RFC 4861 4.6.1): 1 the source's, 2 the target's; `length` in 8-byte units."""
    return bytes([kind, length]) + mac(station)


def solicited_node(target: V6) -> IPv6Address:
    """RFC 4291 2.7.1."""
    return IPv6Address(int(v6("ff02::1:ff00:0")) | int(v6(target)) & 0xFFFFFF)


def solicitation(
    target: V6,
    *,
    src: V6,
    dst: V6 | None = None,
    options: bytes = b"",
    code: int = 0,
    hop_limit: int = 255,
    **lies: int,
) -> bytes:
    """A neighbour solicitation (RFC 4861 4.3), to the target's group unless told otherwise."""
    body = icmp6(135, code, 0, v6(target).packed + options, **lies)
    return ipv6(body, src=src, dst=solicited_node(target) if dst is None else dst, hop_limit=hop_limit)


def advertisement(
    target: V6, *, dst: V6 = "ff02::1", src: V6 | None = None, flags: int = 1 << 29, options: bytes = b"", code: int = 0
) -> bytes:
    """A neighbour advertisement (RFC 4861 4.4) of the target itself; flags: router, solicited, override from bit 31 down."""
    body = icmp6(136, code, flags, v6(target).packed + options)
    return ipv6(body, src=target if src is None else src, dst=dst, hop_limit=255)


def arp(
    operation: int, sender: str, src: V4, target: str, dst: V4, *, head: bytes = bytes.fromhex("000108000604")
) -> bytes:
    """An ARP packet (RFC 826): stations and addresses of sender and target."""
    return head + struct.pack("!H", operation) + mac(sender) + v4(src).packed + mac(target) + v4(dst).packed


def raw(protocol: int, data: bytes = b"") -> Segment:
    """Any other protocol, bytes as they are."""
    return Segment(protocol, data)


# ---------------------------------------------------------------------------------------------- IPv4
def ipv4(
    body: Segment,
    *,
    src: V4,
    dst: V4,
    ttl: int = 64,
    tos: int = 0,
    identification: int = 0x1234,
    df: bool = True,
    mf: bool = False,
    evil: bool = False,
    offset: int = 0,
    options: bytes = b"",
    version: int = 4,
    ihl: int | None = None,
    length: int | None = None,
    checksum: int | None = None,
) -> bytes:
    """An IPv4 packet.  `offset` in bytes; `checksum` overrides the header's, `length` the total length."""
    payload = body.seal4(src, dst)
    options += b"\0" * (-len(options) % 4)
    words = 5 + len(options) // 4 if ihl is None else ihl
    total = 20 + len(options) + len(payload) if length is None else length
    flags = (0x8000 if evil else 0) | (DONT_FRAGMENT if df else 0) | (MORE_FRAGMENTS if mf else 0) | offset // 8
    header = struct.pack(
        "!BBHHHBBH4s4s", version << 4 | words, tos, total & 0xFFFF, identification, flags, ttl, body.protocol, 0,
        v4(src).packed, v4(dst).packed,
    ) + options  # fmt: skip
    value = checksum4(header) if checksum is None else checksum
    return header[:10] + struct.pack("!H", value) + header[12:] + payload


def checksum4(header: bytes) -> int:
    return checksum(header[:10] + b"\0\0" + header[12:])


def with_checksum4(packet: bytes) -> bytes:
    """The packet with its IPv4 header checksum computed anew."""
    size = (packet[0] & 15) * 4
    return packet[:10] + struct.pack("!H", checksum4(packet[:size])) + packet[12:]


def fragment4(packet: bytes, sizes: Iterable[int] | None = None, *, mtu: int | None = None) -> list[bytes]:
    """IPv4 fragments (RFC 791) with payloads of `sizes` bytes (multiples of 8; the rest is the last), or filling `mtu`.

    Options are copied to every fragment if their copied flag is set (here: all or nothing, by the first).
    """
    head = (packet[0] & 15) * 4
    header, payload = packet[:head], packet[head : int.from_bytes(packet[2:4])]
    later = header if head == 20 or header[20] & 0x80 else bytes([0x45]) + header[1:20]
    if mtu is not None:
        sizes = _even_sizes(len(payload), (mtu - head) // 8 * 8, (mtu - len(later)) // 8 * 8)
    first_field = int.from_bytes(packet[6:8])
    fragments = []
    start = 0
    for size in _with_rest(sizes or [], len(payload)):
        piece = payload[start : start + size]
        more = start + size < len(payload) or bool(first_field & MORE_FRAGMENTS)
        place = (first_field & 0x1FFF) + start // 8
        field = (first_field & ~(MORE_FRAGMENTS | 0x1FFF)) | (MORE_FRAGMENTS if more else 0) | place
        top = header if start == 0 else later
        top = top[:2] + struct.pack("!H", len(top) + len(piece)) + top[4:6] + struct.pack("!H", field) + top[8:]
        fragments.append(with_checksum4(top + piece))
        start += size
    return fragments


def _even_sizes(total: int, first: int, later: int) -> list[int]:
    sizes = [first]
    while sum(sizes) + later < total:
        sizes.append(later)
    return sizes if first < total else []


def _with_rest(sizes: Iterable[int], total: int) -> Iterator[int]:
    done = 0
    for size in sizes:
        yield size
        done += size
    if done < total or total == 0:
        yield total - done


# ---------------------------------------------------------------------------------------------- IPv6
def ipv6(
    body: bytes | Segment,
    *,
    src: V6,
    dst: V6,
    next_header: int = IPIP,
    traffic_class: int = 0,
    flow_label: int = 0,
    hop_limit: int = 64,
    version: int = 6,
    length: int | None = None,
) -> bytes:
    """An IPv6 packet; bytes as body are taken as they are (`next_header` tells what they are), a Segment is sealed."""
    if isinstance(body, Segment):
        payload = body.seal6(src, dst)
        next_header = body.protocol if next_header == IPIP else next_header
    else:
        payload = body
    size = len(payload) if length is None else length
    word = version << 28 | traffic_class << 20 | flow_label
    return struct.pack("!IHBB", word, size & 0xFFFF, next_header, hop_limit) + v6(src).packed + v6(dst).packed + payload


def options_header(next_header: int, options: bytes = TUNNEL_ENCAPSULATION_LIMIT, length: int | None = None) -> bytes:
    """A Hop-by-Hop or Destination Options header (RFC 8200 4.3, 4.6); `length` in 8-byte units beyond the first."""
    options += b"\1\0" if (len(options) + 2) % 8 == 6 else b""
    options += b"\0" * (-(len(options) + 2) % 8)
    units = (len(options) + 2) // 8 - 1 if length is None else length
    return bytes([next_header, units]) + options


def fragment_header(next_header: int, offset: int, more: bool, identification: int, reserved: int = 0) -> bytes:
    return struct.pack("!BBHI", next_header, reserved, offset & 0xFFF8 | (1 if more else 0), identification)


def fragment6(
    packet: bytes, sizes: Iterable[int] | None = None, *, identification: int = 0x01020304, mtu: int | None = None
) -> list[bytes]:
    """IPv6 fragments (RFC 8200 4.5) of a packet without extension headers, payload sizes as in `fragment4`."""
    payload = packet[40:]
    if mtu is not None:
        room = (mtu - 48) // 8 * 8
        sizes = _even_sizes(len(payload), room, room)
    fragments = []
    start = 0
    for size in _with_rest(sizes or [], len(payload)):
        piece = payload[start : start + size]
        header = fragment_header(packet[6], start, start + size < len(payload), identification)
        fragments.append(
            packet[:4] + struct.pack("!HB", 8 + len(piece), FRAGMENT) + packet[7:40] + header + piece,
        )
        start += size
    return fragments


# ---------------------------------------------------------------------------------------------- Ethernet
def eth(packet: bytes, *, dst: str = ENGINE_MAC, src: str = SENDER_MAC, ethertype: int | None = None) -> bytes:
    if ethertype is None:
        ethertype = ETHERTYPE_IPV6 if packet[:1] and packet[0] >> 4 == 6 else ETHERTYPE_IPV4
    return mac(dst) + mac(src) + struct.pack("!H", ethertype) + packet


def vlan(frame: bytes, tag: int, ethertype: int = 0x8100) -> bytes:
    return frame[:12] + struct.pack("!HH", ethertype, tag) + frame[12:]


def sent_to_internet(packet: bytes) -> tuple[Side, bytes]:
    """The (side, frame) in which the engine without devices sends this IPv4 packet."""
    return "internet", eth(packet, dst=INTERNET_MAC, src=ENGINE_MAC, ethertype=ETHERTYPE_IPV4)


def sent_to_access(packet: bytes) -> tuple[Side, bytes]:
    return "access", eth(packet, dst=ACCESS_MAC, src=ENGINE_MAC, ethertype=ETHERTYPE_IPV6)


# ---------------------------------------------------------------------------------------------- parsing
@dataclass(frozen=True)
class IPv4:
    """A parsed IPv4 packet (lengths believed only as far as the bytes reach)."""

    raw: bytes

    @property
    def header_length(self) -> int:
        return (self.raw[0] & 15) * 4

    @property
    def header(self) -> bytes:
        return self.raw[: self.header_length]

    @property
    def total_length(self) -> int:
        return int.from_bytes(self.raw[2:4])

    @property
    def payload(self) -> bytes:
        return self.raw[self.header_length : self.total_length]

    @property
    def tos(self) -> int:
        return self.raw[1]

    @property
    def identification(self) -> int:
        return int.from_bytes(self.raw[4:6])

    @property
    def df(self) -> bool:
        return bool(self.raw[6] & 0x40)

    @property
    def mf(self) -> bool:
        return bool(self.raw[6] & 0x20)

    @property
    def offset(self) -> int:
        return (int.from_bytes(self.raw[6:8]) & 0x1FFF) * 8

    @property
    def is_fragment(self) -> bool:
        return self.mf or self.offset > 0

    @property
    def ttl(self) -> int:
        return self.raw[8]

    @property
    def protocol(self) -> int:
        return self.raw[9]

    @property
    def src(self) -> IPv4Address:
        return IPv4Address(self.raw[12:16])

    @property
    def dst(self) -> IPv4Address:
        return IPv4Address(self.raw[16:20])

    @property
    def sport(self) -> int:
        """Source port of TCP and UDP; the identifier of an ICMP query."""
        at = 4 if self.protocol == ICMP else 0
        return int.from_bytes(self.payload[at : at + 2])

    @property
    def dport(self) -> int:
        at = 4 if self.protocol == ICMP else 2
        return int.from_bytes(self.payload[at : at + 2])

    @property
    def header_checksum_right(self) -> bool:
        return ones_sum(self.header) == 0xFFFF

    @property
    def transport_checksum_right(self) -> bool:
        """Of a whole datagram; a UDP checksum of 0 is right, other protocols have none."""
        data = self.payload
        if self.protocol == ICMP:
            return ones_sum(data) == 0xFFFF
        if self.protocol == UDP and data[6:8] == b"\0\0":
            return True
        if self.protocol in (TCP, UDP):
            return ones_sum(data, ones_sum(pseudo4(self.src, self.dst, self.protocol, len(data)))) == 0xFFFF
        return True


@dataclass(frozen=True)
class IPv6:
    raw: bytes

    @property
    def version(self) -> int:
        return self.raw[0] >> 4

    @property
    def traffic_class(self) -> int:
        return int.from_bytes(self.raw[:2]) >> 4 & 0xFF

    @property
    def flow_label(self) -> int:
        return int.from_bytes(self.raw[1:4]) & 0xFFFFF

    @property
    def payload_length(self) -> int:
        return int.from_bytes(self.raw[4:6])

    @property
    def payload(self) -> bytes:
        return self.raw[40 : 40 + self.payload_length]

    @property
    def next_header(self) -> int:
        return self.raw[6]

    @property
    def hop_limit(self) -> int:
        return self.raw[7]

    @property
    def src(self) -> IPv6Address:
        return IPv6Address(self.raw[8:24])

    @property
    def dst(self) -> IPv6Address:
        return IPv6Address(self.raw[24:40])

    @property
    def inner(self) -> IPv4:
        assert self.next_header == IPIP, f"next header {self.next_header} is not IPv4"
        return IPv4(self.payload)

    # with a Fragment header first
    @property
    def fragment_offset(self) -> int:
        assert self.next_header == FRAGMENT
        return int.from_bytes(self.raw[42:44]) & 0xFFF8

    @property
    def fragment_more(self) -> bool:
        assert self.next_header == FRAGMENT
        return bool(self.raw[43] & 1)

    @property
    def fragment_id(self) -> int:
        assert self.next_header == FRAGMENT
        return int.from_bytes(self.raw[44:48])


def dissect(frame: bytes) -> IPv4 | IPv6:
    """The packet in an Ethernet frame."""
    ethertype = int.from_bytes(frame[12:14])
    assert ethertype in (ETHERTYPE_IPV4, ETHERTYPE_IPV6), hex(ethertype)
    return IPv6(frame[14:]) if ethertype == ETHERTYPE_IPV6 else IPv4(frame[14:])


def reassemble6(frames: Iterable[bytes]) -> bytes:
    """The IPv6 packet that was cut into these frames, which must be all of it, each byte once and of one header."""
    parts = sorted((IPv6(frame[14:]) for frame in frames), key=lambda part: part.fragment_offset)
    first = parts[0].raw
    data = b""
    for part in parts:
        assert part.fragment_offset == len(data), "gap or overlap"
        assert part.raw[:4] + part.raw[7:41] == first[:4] + first[7:41], "headers differ"
        assert part.fragment_id == parts[0].fragment_id, "identifications differ"
        assert part.fragment_more == (part is not parts[-1])
        data += part.payload[8:]
        assert part is parts[-1] or len(part.payload) % 8 == 0
    return first[:4] + struct.pack("!HB", len(data), first[40]) + first[7:40] + data


def reassemble4(frames: Iterable[bytes]) -> bytes:
    """The IPv4 packet that was cut into these frames."""
    parts = sorted((IPv4(frame[14:]) for frame in frames), key=lambda part: part.offset)
    first = parts[0].raw
    data = b""
    for part in parts:
        assert part.offset == len(data), "gap or overlap"
        assert part.raw[1:2] + part.raw[4:6] + part.raw[8:10] + part.raw[12:20] == (
            first[1:2] + first[4:6] + first[8:10] + first[12:20]
        )
        assert part.mf == (part is not parts[-1])
        assert part.header_checksum_right
        data += part.payload
    head = parts[0].header_length
    field = int.from_bytes(first[6:8]) & ~(MORE_FRAGMENTS | 0x1FFF)
    return with_checksum4(
        first[:2] + struct.pack("!HHH", head + len(data), parts[0].identification, field) + first[8:head] + data
    )


# ---------------------------------------------------------------------------------------------- pcap
PCAP_MICROSECONDS, PCAP_NANOSECONDS = 0xA1B2C3D4, 0xA1B23C4D


def write_pcap(path: Path, frames: Iterable[tuple[int, bytes]], *, nanoseconds: bool = True) -> None:
    """Frames with their times in ns, to a classic pcap of link type Ethernet."""
    unit = 1 if nanoseconds else 1000
    magic = PCAP_NANOSECONDS if nanoseconds else PCAP_MICROSECONDS
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", magic, 2, 4, 0, 0, 262144, 1))
        for time, frame in frames:
            seconds, rest = divmod(time, 1_000_000_000)
            file.write(struct.pack("<IIII", seconds, rest // unit, len(frame), len(frame)) + frame)


def read_pcap(path: Path) -> list[tuple[int, bytes]]:
    data = path.read_bytes()
    order = "<" if data[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    (magic,) = struct.unpack_from(order + "I", data)
    unit = {PCAP_NANOSECONDS: 1, PCAP_MICROSECONDS: 1000}[magic]
    frames = []
    at = 24
    while at < len(data):
        seconds, rest, size, _ = struct.unpack_from(order + "IIII", data, at)
        frames.append((seconds * 1_000_000_000 + rest * unit, data[at + 16 : at + 16 + size]))
        at += 16 + size
    return frames


# ---------------------------------------------------------------------------------------------- reading a report
FLAG_LETTERS = "FSRPAU"


def describe(frame: bytes) -> str:
    """One line about a frame, for the reports of failed tests; never fails itself."""
    if len(frame) < 34:
        return f"{len(frame)} bytes"
    ethertype = int.from_bytes(frame[12:14])
    if ethertype == ETHERTYPE_IPV6 and len(frame) >= 54:
        return describe6(IPv6(frame[14:]))
    return describe4(IPv4(frame[14:])) if ethertype == ETHERTYPE_IPV4 else f"ethertype {ethertype:#x}"


def describe6(outer: IPv6) -> str:
    start = f"[{outer.src} > {outer.dst} tc {outer.traffic_class:#x}]"
    if outer.next_header == IPIP and len(outer.payload) >= 20:
        return f"{start} {describe4(IPv4(outer.payload))}"
    if outer.next_header == FRAGMENT and len(outer.payload) >= 8:
        more = "+" if outer.fragment_more else ""
        return f"{start} fragment {outer.fragment_id:#x} {outer.fragment_offset}:{len(outer.payload) - 8}{more}"
    return f"{start} next header {outer.next_header}, {outer.payload[:48].hex()}"


def describe4(packet: IPv4) -> str:
    text = f"{packet.src} > {packet.dst} ttl {packet.ttl} tos {packet.tos:#x} id {packet.identification:#x}"
    text += f"{' DF' if packet.df else ''} size {packet.total_length}"
    if packet.is_fragment:
        text += f" fragment {packet.offset}:{len(packet.payload)}{'+' if packet.mf else ''}"
    data = packet.payload
    if packet.offset or len(data) < 8:
        return f"{text} protocol {packet.protocol}"
    if packet.protocol == UDP:
        return f"{text} udp {packet.sport} > {packet.dport}"
    if packet.protocol == TCP and len(data) >= 14:
        flags = "".join(letter for bit, letter in enumerate(FLAG_LETTERS) if data[13] >> bit & 1)
        return f"{text} tcp {packet.sport} > {packet.dport} {flags or 'no flags'}"
    if packet.protocol == ICMP:
        quote = describe4(IPv4(data[8:])) if data[0] in (3, 11, 12) and len(data) >= 28 else ""
        return f"{text} icmp {data[0]}/{data[1]} {packet.sport}{f' about ({quote})' if quote else ''}"
    return f"{text} protocol {packet.protocol}"
