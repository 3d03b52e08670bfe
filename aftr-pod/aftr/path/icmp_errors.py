"""ICMP errors that cross the NAT (rows I02, I04; RFC 5508 section 4): outer header, quoted packet and all checksums."""

from __future__ import annotations

from aftr.lowlevel.bits import Memory, be16, be32, load8, put_be16, put_be32
from aftr.lowlevel.kernel import kernel
from aftr.nat.mapping import find_any_mapping, find_reverse, fold, mapping_key, port_key, softwire_of
from aftr.path.checksum import adjust_transport, put_header_checksum, put_icmp_checksum, sum_bytes
from aftr.path.fragments import is_fragment
from aftr.path.ipv4 import OFFSET_MASK, header_size, rewrite_header, transport_at
from aftr.path.locate import find_range, range_external, range_slot
from aftr.state.counters import count_event
from aftr.state.layout import (
    PROTOCOL_ICMP,
    PROTOCOL_TCP,
    PROTOCOL_UDP,
    SLOT_SOFTWIRES,
    mapping_at,
    packet_at,
    slot_at,
    softwire_at,
)
from aftr.state.reasons import ICMP_CHECKSUM, ICMP_ERRORS_TRANSLATED, ICMP_QUOTE
from aftr.state.table import record_number


@kernel
def check_error(memory: Memory, ip: int) -> int:
    """-1, or why the ICMP error at `ip` is refused: checksums of message and quoted header, a quote without ports."""
    header, total = header_size(memory, ip), be16(memory, ip + 2)
    icmp, size = ip + header, total - header
    if is_fragment(memory, ip) or size < 36:
        return ICMP_QUOTE
    if fold(sum_bytes(memory, icmp, size)) != 0xFFFF:
        return ICMP_CHECKSUM
    quote = icmp + 8
    quoted = header_size(memory, quote)
    if load8(memory, quote) >> 4 != 4 or quoted < 20 or size < 8 + quoted + 8:
        return ICMP_QUOTE
    if fold(sum_bytes(memory, quote, quoted)) != 0xFFFF:
        return ICMP_CHECKSUM
    if be16(memory, quote + 6) & OFFSET_MASK != 0:
        return ICMP_QUOTE
    protocol = load8(memory, quote + 9)
    return -1 if protocol in (PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_ICMP) else ICMP_QUOTE


@kernel
def quoted_port_place(memory: Memory, quote: int, from_us: bool) -> int:
    """Byte offset of the quoted packet's port on the translated side: source when the quoted packet came from us, else destination."""
    at = transport_at(memory, quote)
    if load8(memory, quote + 9) == PROTOCOL_ICMP:
        return at + 4
    return at if from_us else at + 2


@kernel
def rewrite_quote(memory: Memory, quote: int, end: int, address_at: int, address: int, port_at: int, port: int) -> None:
    """New endpoint in the quoted packet; its header checksum anew, its transport checksum adjusted where it was quoted."""
    protocol, transport = load8(memory, quote + 9), transport_at(memory, quote)
    old_address, old_port = be32(memory, quote + address_at), be16(memory, port_at)
    put_be32(memory, quote + address_at, address)
    put_be16(memory, port_at, port)
    put_header_checksum(memory, quote)
    delta = (old_port ^ 0xFFFF) + port
    if protocol != PROTOCOL_ICMP:
        delta += (
            ((old_address >> 16) ^ 0xFFFF) + ((old_address & 0xFFFF) ^ 0xFFFF) + (address >> 16) + (address & 0xFFFF)
        )
    place = transport + (16 if protocol == PROTOCOL_TCP else (6 if protocol == PROTOCOL_UDP else 2))
    if place + 2 <= end:
        adjust_transport(memory, place, protocol, fold(delta))


@kernel
def translate_error_out(memory: Memory, worker: int, packet: int) -> int:
    """An error from inside about a packet that came in: translate it in place; -1, or the drop reason."""
    record = packet_at(memory, packet)
    ip, slot = record.ip, record.slot
    reason = check_error(memory, ip)
    if reason >= 0:
        return reason
    icmp, end = transport_at(memory, ip), ip + be16(memory, ip + 2)
    quote = icmp + 8
    port_at = quoted_port_place(memory, quote, False)
    key = mapping_key(record_number(memory, slot + SLOT_SOFTWIRES, record.softwire), be32(memory, quote + 16))
    mapping = find_any_mapping(memory, slot, key, port_key(load8(memory, quote + 9), be16(memory, port_at)))
    if mapping == 0:
        return ICMP_QUOTE
    entry = mapping_at(memory, mapping)
    rewrite_quote(memory, quote, end, 16, entry.external_address, port_at, entry.external_port)
    put_icmp_checksum(memory, icmp, end - icmp)
    record.mapping = mapping
    record.interface = entry.interface
    rewrite_header(memory, ip, 12, entry.external_address, -1)
    count_event(memory, worker, ICMP_ERRORS_TRANSLATED, 1)
    return -1


@kernel
def translate_error_in(memory: Memory, worker: int, packet: int) -> int:
    """An error from the internet about a packet of ours: translate it in place, note the softwire; -1, or the drop reason."""
    record = packet_at(memory, packet)
    ip = record.ip
    reason = check_error(memory, ip)
    if reason >= 0:
        return reason
    icmp, end = transport_at(memory, ip), ip + be16(memory, ip + 2)
    quote = icmp + 8
    address = be32(memory, quote + 12)
    entry_range = find_range(memory, address)
    if entry_range == 0 or range_slot(memory, entry_range, address) != slot_at(memory, record.slot).number:
        return ICMP_QUOTE
    port_at = quoted_port_place(memory, quote, True)
    external = range_external(memory, entry_range, address)
    mapping = find_reverse(memory, record.slot, external, load8(memory, quote + 9), be16(memory, port_at))
    if mapping == 0 or be32(memory, ip + 16) != address:
        return ICMP_QUOTE
    entry = mapping_at(memory, mapping)
    rewrite_quote(memory, quote, end, 12, entry.internal_address, port_at, entry.internal_port)
    put_icmp_checksum(memory, icmp, end - icmp)
    record.mapping = mapping
    record.softwire = softwire_of(memory, record.slot, mapping)
    softwire = softwire_at(memory, record.softwire)
    record.hi = softwire.hi
    record.lo = softwire.lo
    put_be32(memory, ip + 16, entry.internal_address)
    put_header_checksum(memory, ip)
    count_event(memory, worker, ICMP_ERRORS_TRANSLATED, 1)
    return -1
