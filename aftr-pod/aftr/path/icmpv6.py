"""ICMPv6 to a tunnel address: echo (row D24) and errors about the softwire (row D25, RFC 2473 section 8)."""

from __future__ import annotations

from aftr.lowlevel.bits import Memory, be16, be32, be64, load8, put_be16
from aftr.lowlevel.kernel import kernel
from aftr.nat.limits import take_internet_icmp_token
from aftr.nat.mapping import find_any_mapping, fold, mapping_key, port_key
from aftr.nat.subscriber import find_softwire
from aftr.path.checksum import ipv6_sum, put_header_checksum, sum_bytes
from aftr.path.icmp import HOST, QUOTE_LIMIT, UNREACHABLE, new_reply, softwire_mtu, to_internet
from aftr.path.icmp_errors import quoted_port_place, rewrite_quote
from aftr.path.ipv4 import OFFSET_MASK, header_size
from aftr.path.locate import AFTR_ADDRESS
from aftr.path.send import NEXT_FRAGMENT, NEXT_ICMPV6, NEXT_IPV4, copy, drop, release, send_softwire
from aftr.state.counters import CONSUMED, count, count_event
from aftr.state.layout import (
    PROTOCOL_ICMP,
    PROTOCOL_TCP,
    PROTOCOL_UDP,
    SLOT_SOFTWIRES,
    mapping_at,
    packet_at,
    slot_at,
    softwire_at,
    worker_at,
)
from aftr.state.reasons import (
    ICMP_CHECKSUM,
    ICMP_QUOTE,
    ICMP_SENT,
    ICMP_TYPE,
    NO_FRAME,
    PATH_MTU_IGNORED,
    PATH_MTU_LOWERED,
    RATE_LIMITED,
    TRUNCATED,
)
from aftr.state.table import record_number

DESTINATION_UNREACHABLE, PACKET_TOO_BIG, TIME_EXCEEDED, PARAMETER_PROBLEM, ECHO_REQUEST, ECHO_REPLY = (
    1,
    2,
    3,
    4,
    128,
    129,
)
MIN_MTU = 1280  # RFC 8200 section 5


@kernel
def icmpv6(memory: Memory, worker: int, packet: int, ip6: int, at: int, end: int) -> None:
    """An ICMPv6 message of bytes `at` … `end` from the packet's `hi`:`lo`; its IPv6 header (for the checksum) is at `ip6`."""
    size = end - at
    if size < 8:
        drop(memory, worker, packet, TRUNCATED)
        return
    if fold(ipv6_sum(memory, ip6 + 8, ip6 + 24, size, NEXT_ICMPV6) + sum_bytes(memory, at, size)) != 0xFFFF:
        drop(memory, worker, packet, ICMP_CHECKSUM)
        return
    kind = load8(memory, at)
    if kind == ECHO_REQUEST:
        echo(memory, worker, packet, ip6, at, size)
    elif kind == PACKET_TOO_BIG:
        packet_too_big(memory, worker, packet, at, end)
    elif kind in (DESTINATION_UNREACHABLE, TIME_EXCEEDED, PARAMETER_PROBLEM):
        relay(memory, worker, packet, at, end)
    else:
        drop(memory, worker, packet, ICMP_TYPE)


@kernel
def echo(memory: Memory, worker: int, packet: int, ip6: int, at: int, size: int) -> None:
    """Answer an echo request to a tunnel address, with the request's data."""
    record = packet_at(memory, packet)
    if not take_internet_icmp_token(memory, record.slot, worker_at(memory, worker).now):
        drop(memory, worker, packet, RATE_LIMITED)
        return
    reply = new_reply(memory, worker, packet, ICMP_SENT, size)
    if reply == 0:
        drop(memory, worker, packet, NO_FRAME)
        return
    answer = packet_at(memory, reply)
    copy(memory, answer.ip, at, size)
    put_be16(memory, answer.ip, ECHO_REPLY << 8)
    put_be16(memory, answer.ip + 2, 0)
    total = ipv6_sum(memory, ip6 + 8, ip6 + 24, size, NEXT_ICMPV6) + sum_bytes(memory, answer.ip, size)
    put_be16(memory, answer.ip + 2, fold(total) ^ 0xFFFF)
    answer.length = size
    send_softwire(
        memory,
        worker,
        reply,
        NEXT_ICMPV6,
        0,
        softwire_mtu(memory, find_softwire(memory, record.slot, record.hi, record.lo)),
    )
    count(memory, worker, record.side, CONSUMED, 1)
    release(memory, worker, packet)


@kernel
def quoted_softwire(memory: Memory, packet: int, quote: int, end: int) -> int:
    """The softwire that the quoted IPv6 packet was sent into by this slot, or 0: then the message is not about a packet of ours."""
    record = packet_at(memory, packet)
    slot = slot_at(memory, record.slot)
    if quote + 40 > end or load8(memory, quote) >> 4 != 6:
        return 0
    if be64(memory, quote + 8) != slot.tunnel_hi or be64(memory, quote + 16) != slot.tunnel_lo:
        return 0
    return find_softwire(memory, record.slot, be64(memory, quote + 24), be64(memory, quote + 32))


@kernel
def packet_too_big(memory: Memory, worker: int, packet: int, at: int, end: int) -> None:
    """Lower the path MTU of a B4 for 600 s; values below 1280 count as 1280, larger ones than known change nothing."""
    record = packet_at(memory, packet)
    softwire = quoted_softwire(memory, packet, at + 8, end)
    if softwire == 0:
        count_event(memory, worker, PATH_MTU_IGNORED, 1)
    else:
        mtu = max(be32(memory, at + 4), MIN_MTU)
        if mtu <= softwire_mtu(memory, softwire):
            target = softwire_at(memory, softwire)
            target.path_mtu = mtu
            target.path_mtu_seconds = worker_at(memory, worker).now // 1000
            count_event(memory, worker, PATH_MTU_LOWERED, 1)
    count(memory, worker, record.side, CONSUMED, 1)
    release(memory, worker, packet)


@kernel
def quoted_inner(memory: Memory, quote: int, end: int) -> int:
    """Byte offset of the IPv4 packet inside the quoted IPv6 packet, with at least its header and 8 bytes quoted; 0 otherwise."""
    next_header, inner = load8(memory, quote + 6), quote + 40
    if next_header == NEXT_FRAGMENT:
        if inner + 8 > end or be16(memory, inner + 2) & 0xFFF8 != 0:
            return 0
        next_header, inner = load8(memory, inner), inner + 8
    if next_header != NEXT_IPV4 or inner + 28 > end or load8(memory, inner) >> 4 != 4:
        return 0
    header = header_size(memory, inner)
    if header < 20 or inner + header + 8 > end or be16(memory, inner + 6) & OFFSET_MASK != 0:
        return 0
    return inner if load8(memory, inner + 9) in (PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_ICMP) else 0


@kernel
def relay(memory: Memory, worker: int, packet: int, at: int, end: int) -> None:
    """The B4 cannot be reached: tell the original source on the internet, as host unreachable about its own packet."""
    record = packet_at(memory, packet)
    quote = at + 8
    softwire = quoted_softwire(memory, packet, quote, end)
    inner = quoted_inner(memory, quote, end) if softwire > 0 else 0
    if inner == 0:
        drop(memory, worker, packet, ICMP_QUOTE)
        return
    if be32(memory, inner + 12) != AFTR_ADDRESS:
        port_at = quoted_port_place(memory, inner, False)
        key = mapping_key(record_number(memory, record.slot + SLOT_SOFTWIRES, softwire), be32(memory, inner + 16))
        mapping = find_any_mapping(memory, record.slot, key, port_key(load8(memory, inner + 9), be16(memory, port_at)))
        if mapping == 0:
            drop(memory, worker, packet, ICMP_QUOTE)
            return
        entry = mapping_at(memory, mapping)
        size = min(end - inner, be16(memory, inner + 2))
        rewrite_quote(memory, inner, inner + size, 16, entry.external_address, port_at, entry.external_port)
        put_header_checksum(memory, inner)
        size = min(size, QUOTE_LIMIT)
        to_internet(memory, worker, packet, entry.external_address, UNREACHABLE, HOST, 0, inner, size, ICMP_SENT)
    count(memory, worker, record.side, CONSUMED, 1)
    release(memory, worker, packet)
