"""Neighbours on a link that AFTRs share (`routing.layer2`): who asks for an address of ours is told this station's own.

Neighbour discovery (RFC 4861) about tunnel addresses and ARP (RFC 826) about external ones.  Only slots that are open here, and
stay, are answered for; the answer leaves like every other frame, and so not past the end of the pod's lease.
"""

from __future__ import annotations

from aftr.lowlevel.bits import M32, Memory, be16, be32, be64, load8, put_be16, put_be32, put_be64, store8
from aftr.lowlevel.kernel import kernel
from aftr.nat.limits import take_neighbour_token
from aftr.nat.mapping import fold
from aftr.path.checksum import ipv6_sum, sum_bytes
from aftr.path.handover import VLAN_SHIFT, hand_over, slot_worker
from aftr.path.icmp import POOL_SIZE, new_reply
from aftr.path.locate import bad_source, find_range, range_slot, slot_offset, tunnel_slot
from aftr.path.send import (
    ETHERTYPE_ARP,
    ETHERTYPE_IPV6,
    NEXT_ICMPV6,
    OWN,
    copy,
    count_own,
    drop,
    emit,
    interface_offset,
    put_ipv6_header,
    put_station_header,
    release,
)
from aftr.state.counters import CONSUMED, count, count_event
from aftr.state.layout import interface_at, packet_at, pod_at, pool_at, range_at, slot_at, worker_at
from aftr.state.reasons import (
    ARP_HEADER,
    ICMP_CHECKSUM,
    IPV6_HEADER,
    NEIGHBOUR_CONFLICTS,
    NEIGHBOUR_ELSEWHERE,
    NEIGHBOUR_HEADER,
    NEIGHBOUR_HOP_LIMIT,
    NEIGHBOUR_OPTION,
    NEIGHBOURS_ANSWERED,
    NO_FRAME,
    NOT_LOCAL,
    RATE_LIMITED,
    SLOT_FROZEN,
    TRUNCATED,
)

SOLICITATION, ADVERTISEMENT = 135, 136
SOURCE_STATION, TARGET_STATION = 1, 2  # options with a link-layer address (RFC 4861 section 4.6.1)
SOLICITED, OVERRIDE = 1 << 30, 1 << 29
HOP_LIMIT = 255
FIXED_SIZE, ANSWER_SIZE = 24, 32  # of a message: without options, and with a station's address
GROUP_HI = (0xFF02 << 48) - (1 << 64)  # of link-local groups, as a signed word
ALL_NODES_LO, ALL_NODES_STATION = 1, 0x333300000001  # RFC 2464 section 7
SOLICITED_NODE_LO = 0x1FF000000  # RFC 4291 section 2.7.1: the low 24 bits are the target's
ARP_SIZE, ARP_REQUEST, ARP_REPLY = 28, 1, 2
ARP_ETHERNET_IPV4 = 0x0001080006040000  # the first eight bytes, less the operation


@kernel
def is_group(station: int) -> bool:
    """Whether a 48-bit address is that of a group."""
    return (station >> 40) & 1 == 1


@kernel
def is_served(memory: Memory, worker: int, packet: int, number: int) -> bool:
    """Whether this worker serves slot `number`, and goes on to; else the packet is handed over or dropped."""
    record = packet_at(memory, packet)
    record.slot = slot_offset(memory, number)
    if record.slot == 0:
        drop(memory, worker, packet, NEIGHBOUR_ELSEWHERE)
        return False
    target = slot_worker(memory, number)
    if target != worker_at(memory, worker).number:
        meta = record.side | record.port << VLAN_SHIFT
        hand_over(memory, worker, target, record.start, record.size, meta, record.cause)
        return False
    if slot_at(memory, record.slot).frozen == 1:
        drop(memory, worker, packet, SLOT_FROZEN)
        return False
    return True


@kernel
def note_claim(memory: Memory, worker: int, packet: int, interface: int, station: int) -> None:
    """Somebody has an address of ours: the control thread is told, and announces it again (RFC 5227 section 2.4).

    What we said ourselves comes back where two of our interfaces are on one link.
    """
    record = packet_at(memory, packet)
    if station != interface_at(memory, interface).mac:
        slot_at(memory, record.slot).claims += 1
        count_event(memory, worker, NEIGHBOUR_CONFLICTS, 1)
    count(memory, worker, record.side, CONSUMED, 1)
    release(memory, worker, packet)


@kernel
def begin_answer(memory: Memory, worker: int, packet: int, size: int) -> int:
    """A packet of `size` bytes to answer with; 0 when the question was dropped."""
    if not take_neighbour_token(memory, packet_at(memory, packet).slot, worker_at(memory, worker).now):
        drop(memory, worker, packet, RATE_LIMITED)
        return 0
    reply = new_reply(memory, worker, packet, NEIGHBOURS_ANSWERED, size)
    if reply == 0:
        drop(memory, worker, packet, NO_FRAME)
    return reply


@kernel
def end_answer(memory: Memory, worker: int, packet: int, reply: int, number: int, start: int, size: int) -> None:
    """Send the frame at `start` by interface `number`; the question is over."""
    record, answer = packet_at(memory, packet), packet_at(memory, reply)
    emit(memory, worker, number, start, size, OWN, record.side, record.side, record.cause)
    count_own(memory, worker, reply)
    answer.frame = 0
    count(memory, worker, record.side, CONSUMED, 1)
    release(memory, worker, packet)


# ---------------------------------------------------------------- IPv6
@kernel
def is_about_neighbour(memory: Memory, ip6: int, end: int) -> bool:
    """Whether an IPv6 packet is a neighbour solicitation or advertisement (fragmented or behind options it is not: RFC 6980)."""
    if end - ip6 < 41 or load8(memory, ip6 + 6) != NEXT_ICMPV6:
        return False
    kind = load8(memory, ip6 + 40)
    return kind == SOLICITATION or kind == ADVERTISEMENT


@kernel
def discovery(memory: Memory, worker: int, packet: int, ip6: int, end: int) -> None:
    """Such a packet: a question about a tunnel address, or another station's claim to one."""
    at, size = ip6 + 40, be16(memory, ip6 + 4)
    if size < FIXED_SIZE or at + size > end:
        drop(memory, worker, packet, TRUNCATED)
        return
    number = tunnel_slot(memory, be64(memory, at + 8), be64(memory, at + 16))
    if number < 0:
        drop(memory, worker, packet, NOT_LOCAL)
        return
    if not is_served(memory, worker, packet, number):
        return
    reason = wrong_discovery(memory, ip6, at, size)
    if reason >= 0:
        drop(memory, worker, packet, reason)
        return
    station = stated_station(memory, packet, ip6, at, size)
    if station < 0:
        drop(memory, worker, packet, NEIGHBOUR_OPTION)
    elif load8(memory, at) == ADVERTISEMENT:
        note_claim(memory, worker, packet, interface_offset(memory, pod_at(memory, 0).access_interface), station)
    else:
        advertise(memory, worker, packet, ip6, station)


@kernel
def is_unspecified(memory: Memory, address: int) -> bool:
    """Whether the IPv6 address at `address` is ::, the sender's before it knows that its own is unique."""
    return be64(memory, address) == 0 and be64(memory, address + 8) == 0


@kernel
def wrong_discovery(memory: Memory, ip6: int, at: int, size: int) -> int:
    """RFC 4861 sections 7.1.1 and 7.1.2, all but the options: the reason to drop the message, -1 when there is none."""
    if load8(memory, ip6 + 7) != HOP_LIMIT:
        return NEIGHBOUR_HOP_LIMIT
    if fold(ipv6_sum(memory, ip6 + 8, ip6 + 24, size, NEXT_ICMPV6) + sum_bytes(memory, at, size)) != 0xFFFF:
        return ICMP_CHECKSUM
    hi, lo = be64(memory, ip6 + 24), be64(memory, ip6 + 32)
    if is_unspecified(memory, ip6 + 8):
        if hi != GROUP_HI or lo != SOLICITED_NODE_LO | (be64(memory, at + 16) & 0xFFFFFF):
            return NEIGHBOUR_HEADER
    elif bad_source(memory, be64(memory, ip6 + 8), be64(memory, ip6 + 16)):
        return IPV6_HEADER
    to_group = (hi >> 56) & 0xFF == 0xFF
    answers_nobody = load8(memory, at) == ADVERTISEMENT and to_group and be32(memory, at + 4) & SOLICITED != 0
    return NEIGHBOUR_HEADER if load8(memory, at + 1) != 0 or answers_nobody else -1


@kernel
def stated_station(memory: Memory, packet: int, ip6: int, at: int, size: int) -> int:
    """The 48-bit address of who asks, or claims: as the options say, else as the frame does; -1 when they are wrong."""
    frame = packet_at(memory, packet).start
    station = be16(memory, frame + 6) << 32 | be32(memory, frame + 8)
    wanted = SOURCE_STATION if load8(memory, at) == SOLICITATION else TARGET_STATION
    option, end = at + FIXED_SIZE, at + size
    while option < end:
        length = load8(memory, option + 1) * 8 if option + 8 <= end else 0
        if length == 0 or option + length > end:
            return -1
        if load8(memory, option) == wanted:
            if length != 8 or is_unspecified(memory, ip6 + 8):
                return -1
            station = be16(memory, option + 2) << 32 | be32(memory, option + 4)
        option += length
    return -1 if is_group(station) else station


@kernel
def advertise(memory: Memory, worker: int, packet: int, ip6: int, station: int) -> None:
    """Answer a solicitation (RFC 4861 section 7.2.4); who has no address yet (RFC 4862 section 5.4) is answered to all nodes."""
    reply = begin_answer(memory, worker, packet, ANSWER_SIZE)
    if reply == 0:
        return
    number, at = pod_at(memory, 0).access_interface, packet_at(memory, reply).ip
    interface, ip = interface_offset(memory, number), at - 40
    hi, lo, flags = be64(memory, ip6 + 8), be64(memory, ip6 + 16), SOLICITED | OVERRIDE
    if is_unspecified(memory, ip6 + 8):
        hi, lo, flags, station = GROUP_HI, ALL_NODES_LO, OVERRIDE, ALL_NODES_STATION
    put_ipv6_header(memory, packet_at(memory, packet).slot, ip, 0, 0, ANSWER_SIZE, NEXT_ICMPV6, hi, lo)
    store8(memory, ip + 7, HOP_LIMIT)
    put_be32(memory, at, ADVERTISEMENT << 24)
    put_be32(memory, at + 4, flags)
    copy(memory, at + 8, ip + 8, 16)  # the target is the sender
    ours = interface_at(memory, interface).mac
    put_be32(memory, at + 24, TARGET_STATION << 24 | 1 << 16 | ours >> 32)
    put_be32(memory, at + 28, ours & M32)
    total = ipv6_sum(memory, ip + 8, ip + 24, ANSWER_SIZE, NEXT_ICMPV6) + sum_bytes(memory, at, ANSWER_SIZE)
    put_be16(memory, at + 2, fold(total) ^ 0xFFFF)
    start = put_station_header(memory, interface, station, ip, ETHERTYPE_IPV6)
    end_answer(memory, worker, packet, reply, number, start, at + ANSWER_SIZE - start)


# ---------------------------------------------------------------- IPv4
@kernel
def arp(memory: Memory, worker: int, packet: int, at: int, end: int) -> None:
    """An ARP packet: a question about an external address, or another station's claim to one (RFC 5227 section 2.3)."""
    if end - at < ARP_SIZE:
        drop(memory, worker, packet, TRUNCATED)
        return
    operation = be64(memory, at) - ARP_ETHERNET_IPV4
    station, sender = be16(memory, at + 8) << 32 | be32(memory, at + 10), be32(memory, at + 14)
    if (operation != ARP_REQUEST and operation != ARP_REPLY) or is_group(station):
        drop(memory, worker, packet, ARP_HEADER)
        return
    about = sender
    entry = find_range(memory, about)
    if entry == 0 and operation == ARP_REQUEST:
        about = be32(memory, at + 24)
        entry = find_range(memory, about)
    if entry == 0:
        drop(memory, worker, packet, NOT_LOCAL)
        return
    if not is_served(memory, worker, packet, range_slot(memory, entry, about)):
        return
    number = pool_at(memory, pod_at(memory, 0).pool_table + range_at(memory, entry).pool * POOL_SIZE).interface
    if about == sender:
        note_claim(memory, worker, packet, interface_offset(memory, number), station)
    else:
        answer_arp(memory, worker, packet, number, about, station, sender)


@kernel
def answer_arp(memory: Memory, worker: int, packet: int, number: int, address: int, station: int, sender: int) -> None:
    """Tell a station, by the interface that the address's packets use."""
    reply = begin_answer(memory, worker, packet, ARP_SIZE)
    if reply == 0:
        return
    at, interface = packet_at(memory, reply).ip, interface_offset(memory, number)
    ours = interface_at(memory, interface).mac
    put_be64(memory, at, ARP_ETHERNET_IPV4 | ARP_REPLY)
    put_be16(memory, at + 8, ours >> 32)
    put_be32(memory, at + 10, ours & M32)
    put_be32(memory, at + 14, address)
    put_be16(memory, at + 18, station >> 32)
    put_be32(memory, at + 20, station & M32)
    put_be32(memory, at + 24, sender)
    start = put_station_header(memory, interface, station, at, ETHERTYPE_ARP)
    end_answer(memory, worker, packet, reply, number, start, at + ARP_SIZE - start)
