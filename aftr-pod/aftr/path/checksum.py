"""Internet checksums (RFC 1071, RFC 1624) over bytes of the arena."""

from __future__ import annotations

from aftr.lowlevel.bits import Memory, be16, be32, load8, put_be16
from aftr.lowlevel.kernel import inline_kernel, kernel
from aftr.nat.mapping import fold
from aftr.state.layout import PROTOCOL_UDP


@kernel
def sum_bytes(memory: Memory, at: int, size: int) -> int:
    """Sum of the big-endian 16-bit words, an odd last byte padded with zero; below 2**48 for packets."""
    total = 0
    end = at + (size & ~3)
    while at < end:
        word = be32(memory, at)
        total += (word >> 16) + (word & 0xFFFF)
        at += 4
    if size & 2:
        total += be16(memory, at)
        at += 2
    if size & 1:
        total += load8(memory, at) << 8
    return total


@inline_kernel
def adjust(checksum: int, delta: int) -> int:
    """The checksum after its covered words changed by the one's complement sum `delta` (RFC 1624, equation 3)."""
    return fold((checksum ^ 0xFFFF) + delta) ^ 0xFFFF


@kernel
def put_header_checksum(memory: Memory, ip: int) -> None:
    """Compute and write the checksum of an IPv4 header."""
    put_be16(memory, ip + 10, 0)
    put_be16(memory, ip + 10, fold(sum_bytes(memory, ip, (load8(memory, ip) & 15) * 4)) ^ 0xFFFF)


@kernel
def put_icmp_checksum(memory: Memory, icmp: int, size: int) -> None:
    """Compute and write the checksum of an ICMPv4 message of `size` bytes."""
    put_be16(memory, icmp + 2, 0)
    put_be16(memory, icmp + 2, fold(sum_bytes(memory, icmp, size)) ^ 0xFFFF)


@kernel
def adjust_transport(memory: Memory, at: int, protocol: int, delta: int) -> None:
    """Adjust the TCP or UDP checksum at `at`: a UDP checksum of 0 stays 0 and none becomes 0 (RFC 768, row N10)."""
    old = be16(memory, at)
    if protocol == PROTOCOL_UDP:
        if old == 0:
            return
        new = adjust(old, delta)
        put_be16(memory, at, new if new != 0 else 0xFFFF)
    else:
        put_be16(memory, at, adjust(old, delta))


@kernel
def ipv6_sum(memory: Memory, source: int, destination: int, size: int, next_header: int) -> int:
    """Sum of the IPv6 pseudo-header (RFC 8200 section 8.1); addresses as byte offsets."""
    return sum_bytes(memory, source, 16) + sum_bytes(memory, destination, 16) + size + next_header
