"""Changing a packet: new bytes from old, checksums from scratch where the old one was right.

A checksum that was wrong stays wrong by as much (RFC 1624 equation 3), and one that cannot be checked, because only a part
of the datagram is here, is changed by the difference.
"""

from __future__ import annotations

import struct

from packets import ICMP, TCP, UDP, IPv4, IPv4Address, checksum, ones_sum, pseudo4, with_checksum4

CHECKSUM_AT = {TCP: 16, UDP: 6, ICMP: 2}
PORT_AT = {TCP: (0, 2), UDP: (0, 2), ICMP: (4, 4)}


def difference(value: int, old: bytes, new: bytes) -> int:
    """RFC 1624: HC' = ~(~HC + ~m + m')."""
    inverted = bytes(byte ^ 0xFF for byte in old)
    return ~ones_sum(inverted + new, ~value & 0xFFFF) & 0xFFFF


def with_fields(
    raw: bytes, *, src: IPv4Address | None = None, dst: IPv4Address | None = None, tos: int | None = None,
    ttl: int | None = None, identification: int | None = None,
) -> bytes:  # fmt: skip
    """The packet with fields of its IPv4 header changed, and nothing else."""
    header = bytearray(raw[:20])
    if tos is not None:
        header[1] = tos
    if identification is not None:
        header[4:6] = identification.to_bytes(2)
    if ttl is not None:
        header[8] = ttl
    if src is not None:
        header[12:16] = src.packed
    if dst is not None:
        header[16:20] = dst.packed
    return with_checksum4(bytes(header) + raw[20:])


def translate(
    raw: bytes, *, src: IPv4Address | None = None, dst: IPv4Address | None = None, sport: int | None = None,
    dport: int | None = None,
) -> bytes:  # fmt: skip
    """New addresses and ports; `raw` may be a first fragment or a quote that ends early, but not in its ports."""
    before = IPv4(raw)
    after = IPv4(with_fields(raw, src=src, dst=dst))
    head = before.header_length
    transport = bytearray(raw[head:])
    sport_at, dport_at = PORT_AT[before.protocol]
    if sport is not None:
        transport[sport_at : sport_at + 2] = sport.to_bytes(2)
    if dport is not None:
        transport[dport_at : dport_at + 2] = dport.to_bytes(2)
    at = CHECKSUM_AT[before.protocol]
    if len(transport) >= at + 2:
        old = before.raw[head:]
        value = new_checksum(before, after, old, bytes(transport), at)
        transport[at : at + 2] = value.to_bytes(2)
    return after.header + bytes(transport)


def new_checksum(before: IPv4, after: IPv4, old: bytes, new: bytes, at: int) -> int:
    (value,) = struct.unpack_from("!H", old, at)
    if before.protocol == UDP and value == 0:
        return 0  # RFC 768: none
    size = min(len(old), int.from_bytes(old[4:6])) if before.protocol == UDP else len(old)
    pseudo = before.protocol != ICMP
    covered_old = (pseudo4(before.src, before.dst, before.protocol, size) if pseudo else b"") + old[:size]
    covered_new = (pseudo4(after.src, after.dst, before.protocol, size) if pseudo else b"") + new[:size]
    whole = not before.is_fragment and before.total_length <= len(before.raw)
    if whole and ones_sum(covered_old) == 0xFFFF:
        start = covered_new[: 12 * pseudo] + new[:at] + b"\0\0" + new[at + 2 : size]
        result = checksum(start)
    else:
        changed = before.raw[12:20] + old[:4] if pseudo else old[4:6]
        becomes = after.raw[12:20] + new[:4] if pseudo else new[4:6]
        result = difference(value, changed, becomes)
    return 0xFFFF if before.protocol == UDP and result == 0 else result


def with_lower_mss(raw: bytes, most: int) -> tuple[bytes, bool]:
    """A SYN with its MSS option lowered to `most`; whether it was."""
    packet = IPv4(raw)
    head = packet.header_length
    segment = bytearray(raw[head:])
    at, end = 20, min((segment[12] >> 4) * 4, len(segment))
    while at < end and segment[at] != 0:
        if segment[at] == 1:
            at += 1
            continue
        if at + 1 >= end or segment[at + 1] < 2 or at + segment[at + 1] > end:
            break
        if (segment[at], segment[at + 1]) == (2, 4) and int.from_bytes(segment[at + 2 : at + 4]) > most:
            old = bytes(segment)
            segment[at + 2 : at + 4] = most.to_bytes(2)
            even = at + 2 & ~1
            (value,) = struct.unpack_from("!H", old, 16)
            value = difference(value, old[even : at + 4 + at % 2], bytes(segment[even : at + 4 + at % 2]))
            segment[16:18] = value.to_bytes(2)
            return raw[:head] + bytes(segment), True
        at += segment[at + 1]
    return raw, False
