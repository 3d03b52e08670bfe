"""Checks of IPv4 and transport headers, and the rewriting that both directions share."""

from __future__ import annotations

from aftr.lowlevel.bits import Memory, be16, load8, put_be16, put_be32, store8
from aftr.lowlevel.kernel import inline_kernel, kernel
from aftr.nat.mapping import fold
from aftr.path.checksum import adjust_transport, put_header_checksum, sum_bytes
from aftr.state.layout import PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP
from aftr.state.reasons import (
    BAD_FRAGMENT,
    FRAGMENT_TINY,
    IPV4_CHECKSUM,
    IPV4_HEADER,
    PROTOCOL,
    SOURCE_ROUTE,
    TRANSPORT_HEADER,
    TRUNCATED,
)

MORE_FRAGMENTS, DONT_FRAGMENT, OFFSET_MASK = 0x2000, 0x4000, 0x1FFF
OPTION_LOOSE, OPTION_STRICT, OPTION_MSS = 131, 137, 2


@inline_kernel
def header_size(memory: Memory, ip: int) -> int:
    """Bytes of the IPv4 header, options included, as it says itself."""
    return (load8(memory, ip) & 15) * 4


@inline_kernel
def transport_at(memory: Memory, ip: int) -> int:
    """Byte offset of the transport header."""
    return ip + header_size(memory, ip)


@kernel
def check_header(memory: Memory, ip: int, available: int) -> int:
    """-1, or why the IPv4 header at `ip` with `available` bytes behind it is refused."""
    if available < 20:
        return TRUNCATED
    first, total = load8(memory, ip), be16(memory, ip + 2)
    header = (first & 15) * 4
    if first >> 4 != 4 or header < 20 or total < header:
        return IPV4_HEADER
    if total > available:
        return TRUNCATED
    if fold(sum_bytes(memory, ip, header)) != 0xFFFF:
        return IPV4_CHECKSUM
    if (be16(memory, ip + 6) & OFFSET_MASK) * 8 + total > 65535:
        return BAD_FRAGMENT
    return check_options(memory, ip + 20, ip + header)


@kernel
def check_options(memory: Memory, at: int, end: int) -> int:
    """-1, or why the IPv4 options are refused: lengths that lie, source routes (RFC 7126)."""
    while at < end:
        kind = load8(memory, at)
        if kind == 0:
            return -1
        if kind == 1:
            at += 1
            continue
        if kind in (OPTION_LOOSE, OPTION_STRICT):
            return SOURCE_ROUTE
        if at + 1 >= end:
            return IPV4_HEADER
        size = load8(memory, at + 1)
        if size < 2 or at + size > end:
            return IPV4_HEADER
        at += size
    return -1


@kernel
def check_transport(memory: Memory, ip: int) -> int:
    """-1, or why the transport header of a packet (or first fragment) is refused."""
    header, total, protocol = header_size(memory, ip), be16(memory, ip + 2), load8(memory, ip + 9)
    at, size = ip + header, total - header
    is_first = be16(memory, ip + 6) & MORE_FRAGMENTS != 0
    short = FRAGMENT_TINY if is_first else TRANSPORT_HEADER
    if is_first and size & 7 != 0:
        return BAD_FRAGMENT if protocol in (PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_ICMP) else PROTOCOL
    if protocol == PROTOCOL_UDP:
        if size < 8:
            return short
        length = be16(memory, at + 4)
        if length < 8 or (length > size and not is_first):
            return TRANSPORT_HEADER
    elif protocol == PROTOCOL_TCP:
        if size < 20:
            return short
        offset = (load8(memory, at + 12) >> 4) * 4
        if offset < 20:
            return TRANSPORT_HEADER
        if offset > size:
            return short
    elif protocol == PROTOCOL_ICMP:
        return -1 if size >= 8 else short
    else:
        return PROTOCOL
    return -1 if be16(memory, at) != 0 and be16(memory, at + 2) != 0 else TRANSPORT_HEADER


@inline_kernel
def checksum_place(memory: Memory, ip: int, protocol: int) -> int:
    """Byte offset of the transport checksum."""
    at = transport_at(memory, ip)
    return at + (16 if protocol == PROTOCOL_TCP else (6 if protocol == PROTOCOL_UDP else 2))


@kernel
def rewrite_header(memory: Memory, ip: int, address_at: int, address: int, identification: int) -> None:
    """New address at `address_at` (12 source, 16 destination), TTL one less, new identification unless negative."""
    put_be32(memory, ip + address_at, address)
    store8(memory, ip + 8, load8(memory, ip + 8) - 1)
    if identification >= 0:
        put_be16(memory, ip + 4, identification)
    put_header_checksum(memory, ip)


@kernel
def clamp_mss(memory: Memory, ip: int, limit: int) -> bool:
    """Lower the MSS option of a SYN to `limit`, never raise or add it (row D07); whether it was lowered."""
    tcp = transport_at(memory, ip)
    at, end = tcp + 20, tcp + (load8(memory, tcp + 12) >> 4) * 4
    while at < end:
        kind = load8(memory, at)
        if kind == 0:
            return False
        if kind == 1:
            at += 1
            continue
        size = load8(memory, at + 1) if at + 1 < end else 0
        if size < 2 or at + size > end:
            return False
        if kind == OPTION_MSS and size == 4:
            old = be16(memory, at + 2)
            if old <= limit:
                return False
            put_be16(memory, at + 2, limit)
            delta = fold((old ^ 0xFFFF) + limit)
            if (at + 2 - tcp) & 1:
                delta = (delta & 0xFF) << 8 | delta >> 8
            adjust_transport(memory, tcp + 16, PROTOCOL_TCP, delta)
            return True
        at += size
    return False
