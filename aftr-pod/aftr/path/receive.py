"""First stop: link header, outer header, owner; one packet at a time.  The pipelines send here whatever is not plain.

`packet.start`/`packet.size` are the frame; `packet.frame` is set to it: from here on the packet owns its frame.
"""

from __future__ import annotations

from aftr.lowlevel.bits import Memory, be16, be32, be64, load8, put_be32, put_be64, store8
from aftr.lowlevel.kernel import kernel
from aftr.nat.subscriber import admit_softwire
from aftr.path.checksum import put_header_checksum
from aftr.path.contexts import end_context
from aftr.path.handover import INBOUND_BIT, VLAN_SHIFT, hand_over, slot_worker
from aftr.path.icmpv6 import icmpv6
from aftr.path.inbound import inbound
from aftr.path.ipv4 import check_header
from aftr.path.locate import bad_source, find_range, range_external, range_slot, slot_offset, tunnel_slot
from aftr.path.neighbours import arp, discovery, is_about_neighbour
from aftr.path.outbound import outbound
from aftr.path.reassemble import reassemble
from aftr.path.send import (
    ETHERTYPE_ARP,
    ETHERTYPE_IPV4,
    ETHERTYPE_IPV6,
    ETHERTYPE_VLAN,
    NEXT_FRAGMENT,
    NEXT_ICMPV6,
    NEXT_IPV4,
    drop,
)
from aftr.state.layout import ACCESS, INTERNET, packet_at, pod_at, slot_at, worker_at
from aftr.state.reasons import (
    ECN,
    ETHERTYPE,
    EXTENSION_HEADER,
    IPV6_HEADER,
    NOT_LOCAL,
    NOT_SOFTWIRE,
    SLOT_CLOSED,
    TRUNCATED,
)

HOP_BY_HOP, DESTINATION_OPTIONS = 0, 60
OTHER_EXTENSIONS = (43, 51, 135, 139, 140)  # IANA: extension headers that no softwire needs
MAX_EXTENSION_HEADERS = 8
CONGESTION_EXPERIENCED = 3


@kernel
def begin(memory: Memory, worker: int, packet: int, start: int, size: int, side: int, cause: int) -> None:
    """Reset the packet record for a received frame."""
    record = packet_at(memory, packet)
    record.frame = start
    record.start = start
    record.size = size
    record.side = side
    record.inbound = 1 if side == INTERNET else 0
    record.hairpin = 0
    record.originated = 0
    record.softwire = 0
    record.mapping = 0
    record.quote = 0
    record.flow = 0
    record.cause = cause


@kernel
def network_header(memory: Memory, start: int, size: int, vlan: int) -> int:
    """Byte offset of the network header: behind Ethernet and its VLAN (or priority) tag; -1 when too short, -2 for another VLAN."""
    if vlan == 0:
        priority = size >= 18 and be16(memory, start + 12) == ETHERTYPE_VLAN and be16(memory, start + 14) & 0xFFF == 0
        return start + 18 if priority else (start + 14 if size >= 14 else -1)
    if size < 18:
        return -1
    tagged = be16(memory, start + 12) == ETHERTYPE_VLAN and be16(memory, start + 14) & 0xFFF == vlan
    return start + 18 if tagged else -2


@kernel
def receive(memory: Memory, worker: int, packet: int, vlan: int) -> None:
    """A frame from a device, already counted as received on `packet.side`; ends it."""
    record = packet_at(memory, packet)
    record.port = vlan  # for the worker that it may be handed over to
    ip = network_header(memory, record.start, record.size, vlan)
    if ip < 0:
        drop(memory, worker, packet, TRUNCATED if ip == -1 else ETHERTYPE)
        return
    end = record.start + record.size
    kind = be16(memory, ip - 2)
    if record.side == ACCESS and kind == ETHERTYPE_IPV6:
        receive_softwire(memory, worker, packet, ip, end)
    elif record.side == INTERNET and kind == ETHERTYPE_IPV4:
        record.ip = ip
        receive_internet(memory, worker, packet, end)
    elif record.side == INTERNET and kind == ETHERTYPE_ARP and pod_at(memory, 0).answers_neighbours == 1:
        arp(memory, worker, packet, ip, end)
    else:
        drop(memory, worker, packet, ETHERTYPE)


# ---------------------------------------------------------------- IPv6 side
@kernel
def receive_softwire(memory: Memory, worker: int, packet: int, ip6: int, end: int) -> None:
    """An IPv6 packet from the access side whose header begins at `ip6`."""
    record = packet_at(memory, packet)
    if end - ip6 < 40:
        drop(memory, worker, packet, TRUNCATED)
        return
    if load8(memory, ip6) >> 4 != 6:
        drop(memory, worker, packet, IPV6_HEADER)
        return
    if pod_at(memory, 0).answers_neighbours == 1 and is_about_neighbour(memory, ip6, end):
        discovery(memory, worker, packet, ip6, end)
        return
    number = tunnel_slot(memory, be64(memory, ip6 + 24), be64(memory, ip6 + 32))
    if number < 0:
        drop(memory, worker, packet, NOT_LOCAL)
        return
    payload_end = ip6 + 40 + be16(memory, ip6 + 4)
    if payload_end > end:
        drop(memory, worker, packet, TRUNCATED)
        return
    record.hi = be64(memory, ip6 + 8)
    record.lo = be64(memory, ip6 + 16)
    if bad_source(memory, record.hi, record.lo):
        drop(memory, worker, packet, IPV6_HEADER)
        return
    record.slot = slot_offset(memory, number)
    if record.slot == 0:
        drop(memory, worker, packet, SLOT_CLOSED)
        return
    target = slot_worker(memory, number)
    if target != worker_at(memory, worker).number:
        hand_over(memory, worker, target, record.start, record.size, ACCESS | record.port << VLAN_SHIFT, record.cause)
        return
    record.outer_tos = (be16(memory, ip6) >> 4) & 0xFF
    record.next_header = load8(memory, ip6 + 6)
    walk_headers(memory, worker, packet, ip6, ip6 + 40, payload_end)


@kernel
def walk_headers(memory: Memory, worker: int, packet: int, ip6: int, at: int, end: int) -> None:
    """Extension headers from `at` on (row D24), fragments (row D04), then what they carry."""
    record = packet_at(memory, packet)
    reassembled = 0
    headers = 0
    while True:
        next_header = record.next_header
        if next_header in (HOP_BY_HOP, DESTINATION_OPTIONS, NEXT_FRAGMENT):
            headers += 1
            misplaced = next_header == HOP_BY_HOP and at != ip6 + 40
            if headers > MAX_EXTENSION_HEADERS or misplaced or (next_header == NEXT_FRAGMENT and reassembled > 0):
                finish_with(memory, worker, packet, reassembled, EXTENSION_HEADER)
                return
            size = 8
            if at + 8 <= end and next_header != NEXT_FRAGMENT:
                size = (load8(memory, at + 1) + 1) * 8
            if at + size > end:
                finish_with(memory, worker, packet, reassembled, TRUNCATED)
                return
            if next_header == NEXT_FRAGMENT and be16(memory, at + 2) & 0xFFF9 != 0:  # not atomic (RFC 6946)
                softwire = admit(memory, worker, packet)
                if softwire == 0:
                    return
                reassembled = reassemble(memory, worker, packet, at, end)
                if reassembled == 0:
                    return
                at = record.ip
                end = at + record.length
                ip6 = rebuild_header(memory, packet, at)
                continue
            record.next_header = load8(memory, at)
            at += size
            continue
        break
    deliver(memory, worker, packet, ip6, at, end)
    if reassembled > 0:
        end_context(memory, record.slot, reassembled)


@kernel
def finish_with(memory: Memory, worker: int, packet: int, context: int, reason: int) -> None:
    """Drop the packet, and end the context it was put together in."""
    drop(memory, worker, packet, reason)
    if context > 0:
        end_context(memory, packet_at(memory, packet).slot, context)


@kernel
def rebuild_header(memory: Memory, packet: int, at: int) -> int:
    """The addresses of a reassembled packet, in the headroom before it, for checksums that cover them; where its header is."""
    record = packet_at(memory, packet)
    ip6 = at - 40
    slot = slot_at(memory, record.slot)
    put_be32(memory, ip6, 6 << 28 | record.outer_tos << 20)
    put_be64(memory, ip6 + 8, record.hi)
    put_be64(memory, ip6 + 16, record.lo)
    put_be64(memory, ip6 + 24, slot.tunnel_hi)
    put_be64(memory, ip6 + 32, slot.tunnel_lo)
    return ip6


@kernel
def admit(memory: Memory, worker: int, packet: int) -> int:
    """The packet's softwire (rows D09, D20, O06), noted in it; 0 when it was dropped."""
    record = packet_at(memory, packet)
    if record.softwire == 0:
        softwire = admit_softwire(memory, worker, record.slot, record.hi, record.lo)
        if softwire < 0:
            drop(memory, worker, packet, -1 - softwire)
            return 0
        record.softwire = softwire
    return record.softwire


@kernel
def deliver(memory: Memory, worker: int, packet: int, ip6: int, at: int, end: int) -> None:
    """The payload at `at`: an inner IPv4 packet, or ICMPv6 to the tunnel address."""
    record = packet_at(memory, packet)
    if record.next_header == NEXT_ICMPV6:
        icmpv6(memory, worker, packet, ip6, at, end)
        return
    if record.next_header != NEXT_IPV4:
        drop(memory, worker, packet, EXTENSION_HEADER if record.next_header in OTHER_EXTENSIONS else NOT_SOFTWIRE)
        return
    reason = check_header(memory, at, end - at)
    if reason >= 0:
        drop(memory, worker, packet, reason)
        return
    if admit(memory, worker, packet) == 0:
        return
    record.ip = at
    record.length = be16(memory, at + 2)
    if decapsulate(memory, worker, packet):
        outbound(memory, worker, packet)


@kernel
def decapsulate(memory: Memory, worker: int, packet: int) -> bool:
    """Traffic class of the outer header into the inner one (row D02: RFC 2983 uniform model, RFC 6040 section 4.2)."""
    record, pod = packet_at(memory, packet), pod_at(memory, 0)
    ip = record.ip
    tos = load8(memory, ip + 1)
    ecn = decapsulated_ecn(record.outer_tos & 3, tos & 3)
    if ecn < 0:
        drop(memory, worker, packet, ECN)
        return False
    new = (record.outer_tos & 0xFC if pod.dscp_preservation else tos & 0xFC) | ecn
    if new != tos:
        store8(memory, ip + 1, new)
        put_header_checksum(memory, ip)
    return True


@kernel
def decapsulated_ecn(outer: int, inner: int) -> int:
    """RFC 6040 figure 4: the ECN field to forward, -1 to drop."""
    if inner == 0:
        return -1 if outer == CONGESTION_EXPERIENCED else 0
    if outer == CONGESTION_EXPERIENCED:
        return CONGESTION_EXPERIENCED
    return 1 if outer == 1 and inner == 2 else inner


# ---------------------------------------------------------------- IPv4 side
@kernel
def receive_internet(memory: Memory, worker: int, packet: int, end: int) -> None:
    """An IPv4 packet at `packet.ip` from the internet side."""
    record = packet_at(memory, packet)
    ip = record.ip
    if end - ip < 20:
        drop(memory, worker, packet, TRUNCATED)
        return
    destination = be32(memory, ip + 16)
    entry = find_range(memory, destination)
    if entry == 0:
        drop(memory, worker, packet, NOT_LOCAL)
        return
    number = range_slot(memory, entry, destination)
    record.slot = slot_offset(memory, number)
    if record.slot == 0:
        drop(memory, worker, packet, SLOT_CLOSED)
        return
    target = slot_worker(memory, number)
    if target != worker_at(memory, worker).number:
        hand_over(
            memory,
            worker,
            target,
            record.start,
            record.size,
            INTERNET | INBOUND_BIT | record.port << VLAN_SHIFT,
            record.cause,
        )
        return
    reason = check_header(memory, ip, end - ip)
    if reason >= 0:
        drop(memory, worker, packet, reason)
        return
    record.external = range_external(memory, entry, destination)
    record.length = be16(memory, ip + 2)
    inbound(memory, worker, packet)
