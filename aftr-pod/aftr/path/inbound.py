"""From the internet (or hairpinned) into a softwire: find the mapping, translate in, encapsulate.

`packet.ip` is an IPv4 packet whose header was checked, to an address of the open slot `packet.slot` (number `packet.external` in it).
An inbound packet never creates state.
"""

from __future__ import annotations

from aftr.lowlevel.bits import M32, Memory, be16, be32, load8, put_be16, put_be32
from aftr.lowlevel.kernel import kernel
from aftr.nat.mapping import (
    find_reverse,
    find_session,
    fold,
    is_first_session,
    journal_session,
    session_port,
    softwire_of,
)
from aftr.nat.subscriber import find_softwire
from aftr.nat.tcp import ACK, RST, SYN, flags_after
from aftr.path.checksum import adjust_transport, put_header_checksum
from aftr.path.fragments import (
    end_waiting,
    end_when_complete,
    first_of_datagram,
    later_of_datagram,
    next_waiting,
)
from aftr.path.icmp import (
    ECHO_REPLY,
    ECHO_REQUEST,
    PARAMETER_PROBLEM,
    PROTOCOL,
    TIME_EXCEEDED,
    TOO_BIG,
    UNREACHABLE,
    icmp_error,
    softwire_mtu,
)
from aftr.path.icmp_errors import translate_error_in
from aftr.path.ipv4 import (
    DONT_FRAGMENT,
    OFFSET_MASK,
    check_transport,
    checksum_place,
    clamp_mss,
    rewrite_header,
    transport_at,
)
from aftr.path.park import awaited
from aftr.path.send import NEXT_IPV4, drop, send_softwire
from aftr.path.syns import unsolicited_syn
from aftr.state.counters import count_event
from aftr.state.hashing import hash_pair
from aftr.state.layout import (
    ADDRESS_DEPENDENT,
    BYPASSED,
    ENDPOINT_INDEPENDENT,
    HELD_LANE,
    LANE_SIZE,
    LIVE,
    PROTOCOL_ICMP,
    PROTOCOL_TCP,
    PROTOCOL_UDP,
    RESTORED,
    context_at,
    mapping_at,
    packet_at,
    pod_at,
    session_at,
    slot_at,
    softwire_at,
    worker_at,
)
from aftr.state.reasons import BYPASSED as EVENT_BYPASSED
from aftr.state.reasons import (
    FILTERED,
    ICMP_TYPE,
    ICMP_UNSOLICITED,
    IPV4_FRAGMENTS_TRANSLATED,
    MSS_CLAMPED,
    NO_MAPPING,
    UNSOLICITED_SYN,
)
from aftr.state.reasons import PROTOCOL as DROP_PROTOCOL
from aftr.state.reasons import TOO_BIG as DROP_TOO_BIG
from aftr.state.reasons import TTL as DROP_TTL


@kernel
def inbound(memory: Memory, worker: int, packet: int) -> None:
    """The whole way of a packet to one of our external addresses; ends it (sent, held or dropped)."""
    record = packet_at(memory, packet)
    ip = record.ip
    if be16(memory, ip + 6) & OFFSET_MASK != 0:
        follow_in(memory, worker, packet)
        return
    reason = check_transport(memory, ip)
    if reason == DROP_PROTOCOL:
        icmp_error(memory, worker, packet, UNREACHABLE, PROTOCOL, 0)
    if reason >= 0:
        drop(memory, worker, packet, reason)
        return
    if record.hairpin == 0 and load8(memory, ip + 8) <= 1:
        icmp_error(memory, worker, packet, TIME_EXCEEDED, 0, 0)
        drop(memory, worker, packet, DROP_TTL)
        return
    if load8(memory, ip + 9) == PROTOCOL_ICMP:
        kind = load8(memory, transport_at(memory, ip))
        if kind in (UNREACHABLE, TIME_EXCEEDED, PARAMETER_PROBLEM):
            error_in(memory, worker, packet)
            return
        if kind not in (ECHO_REQUEST, ECHO_REPLY):
            drop(memory, worker, packet, ICMP_TYPE)
            return
    translate_in(memory, worker, packet)


@kernel
def error_in(memory: Memory, worker: int, packet: int) -> None:
    """An ICMP error from the internet side."""
    record = packet_at(memory, packet)
    reason = translate_error_in(memory, worker, packet)
    if reason >= 0:
        drop(memory, worker, packet, reason)
        return
    lower_ttl(memory, packet)
    record.flow = flow_label(memory, packet, 0)
    enter_softwire(memory, worker, packet)


@kernel
def lower_ttl(memory: Memory, packet: int) -> None:
    """TTL one less, unless this crossing has already cost one (hairpin) or the packet was made here."""
    record = packet_at(memory, packet)
    if record.hairpin == 0:
        rewrite_header(memory, record.ip, 16, be32(memory, record.ip + 16), -1)


@kernel
def outer_port(memory: Memory, ip: int) -> int:
    """Destination port, or ICMP identifier, of a packet from the internet."""
    at = transport_at(memory, ip)
    return be16(memory, at + 4) if load8(memory, ip + 9) == PROTOCOL_ICMP else be16(memory, at + 2)


@kernel
def no_mapping(memory: Memory, worker: int, packet: int) -> None:
    """A packet to an endpoint of ours that nobody holds."""
    ip = packet_at(memory, packet).ip
    protocol = load8(memory, ip + 9)
    if packet_at(memory, packet).hairpin == 1:
        drop(memory, worker, packet, NO_MAPPING)
    elif protocol == PROTOCOL_ICMP:
        drop(memory, worker, packet, ICMP_UNSOLICITED)
    elif protocol == PROTOCOL_TCP and is_opening(memory, ip):
        unsolicited_syn(memory, worker, packet, UNSOLICITED_SYN)
    else:
        drop(memory, worker, packet, NO_MAPPING)


@kernel
def is_opening(memory: Memory, ip: int) -> bool:
    """Whether a TCP segment is a SYN without ACK."""
    control = load8(memory, transport_at(memory, ip) + 13)
    return control & (SYN | ACK | RST) == SYN


@kernel
def admits(memory: Memory, worker: int, packet: int, mapping: int) -> bool:
    """Whether the filtering admits this packet (row N05); refreshes its session when it is known (docs/design/0001, 3)."""
    record, entry, pod = packet_at(memory, packet), mapping_at(memory, mapping), pod_at(memory, 0)
    ip, slot, protocol, now = record.ip, record.slot, entry.protocol, worker_at(memory, worker).now
    at = transport_at(memory, ip)
    address = be32(memory, ip + 12)
    port = 0 if protocol == PROTOCOL_ICMP else session_port(memory, protocol, be16(memory, at))
    control = load8(memory, at + 13) if protocol == PROTOCOL_TCP else 0
    refreshes = protocol == PROTOCOL_TCP or (protocol == PROTOCOL_UDP and pod.udp_refresh_by_inbound != 0)
    known = False
    if is_first_session(memory, mapping, address, port):
        known = True
        if refreshes:
            before, after = entry.session_flags, flags_after(entry.session_flags, control, False)
            entry.session_flags = after
            entry.session_seen = now & M32
            journal_session(memory, worker, slot, mapping, before, after)
    elif entry.more_ref > 0:
        session = find_session(memory, slot, mapping, address, port)
        if session > 0:
            known = True
            if refreshes:
                extra = session_at(memory, session)
                before, after = extra.flags, flags_after(extra.flags, control, False)
                extra.flags = after
                extra.seen = now & M32
                journal_session(memory, worker, slot, mapping, before, after)
    if known or pod.filtering == ENDPOINT_INDEPENDENT:
        if refreshes and (known or protocol == PROTOCOL_UDP):
            entry.seen = now & M32
        return True
    if entry.flags & RESTORED and now - slot_at(memory, slot).restored < pod.restored_grace:
        return True
    if pod.filtering == ADDRESS_DEPENDENT:
        first = entry.session_state == LIVE and entry.remote_address == address
        return first or find_session(memory, slot, mapping, address, -1) > 0
    return False


@kernel
def flow_label(memory: Memory, packet: int, port: int) -> int:
    """20-bit hash of the inner flow (row D27, RFC 6438)."""
    record, pod = packet_at(memory, packet), pod_at(memory, 0)
    ip = record.ip
    addresses = be32(memory, ip + 12) << 32 | be32(memory, ip + 16)
    return hash_pair(addresses, port << 8 | load8(memory, ip + 9), pod.secret0, pod.secret2, pod.secret3) & 0xFFFFF


@kernel
def too_big_for_softwire(memory: Memory, worker: int, packet: int, softwire: int) -> bool:
    """Policy for DF packets larger than the softwire takes (row D05): told and dropped, unless `dontFragment: fragment`."""
    record = packet_at(memory, packet)
    mtu = softwire_mtu(memory, softwire)
    if record.length + 40 <= mtu or pod_at(memory, 0).dont_fragment != 0:
        return False
    if be16(memory, record.ip + 6) & DONT_FRAGMENT == 0:
        return False
    icmp_error(memory, worker, packet, UNREACHABLE, TOO_BIG, mtu - 40)
    drop(memory, worker, packet, DROP_TOO_BIG)
    return True


@kernel
def translate_in(memory: Memory, worker: int, packet: int) -> None:
    """Translate a TCP, UDP or ICMP query packet (or first fragment) to its inner endpoint and encapsulate it."""
    record, pod = packet_at(memory, packet), pod_at(memory, 0)
    ip, slot = record.ip, record.slot
    protocol = load8(memory, ip + 9)
    mapping = find_reverse(memory, slot, record.external, protocol, outer_port(memory, ip))
    if mapping == 0:
        no_mapping(memory, worker, packet)
        return
    entry = mapping_at(memory, mapping)
    if not admits(memory, worker, packet, mapping):
        if protocol == PROTOCOL_TCP and is_opening(memory, ip):
            unsolicited_syn(memory, worker, packet, FILTERED)
        else:
            drop(memory, worker, packet, FILTERED)
        return
    awaited(memory, slot, mapping)  # an answer: its mapping is stored, and need not be asked about again
    softwire = softwire_of(memory, slot, mapping)
    if too_big_for_softwire(memory, worker, packet, softwire):
        return
    target = softwire_at(memory, softwire)
    record.mapping = mapping
    record.softwire = softwire
    record.hi = target.hi
    record.lo = target.lo
    at = transport_at(memory, ip)
    port = outer_port(memory, ip)
    far = 0 if protocol == PROTOCOL_ICMP else be16(memory, at)
    record.flow = flow_label(memory, packet, far << 16 | port)
    clamps = protocol == PROTOCOL_TCP and load8(memory, at + 13) & SYN != 0 and pod.mss_clamping != 0
    if clamps and clamp_mss(memory, ip, pod.tunnel_mtu - 80):
        count_event(memory, worker, MSS_CLAMPED, 1)
    context = first_of_datagram(memory, worker, packet)
    if context < 0:
        return
    if context > 0:
        state = context_at(memory, context)
        state.destination = mapping_at(memory, record.mapping).internal_address
        state.hi = record.hi
        state.lo = record.lo
        state.flow = record.flow
    if protocol == PROTOCOL_ICMP:
        put_be16(memory, at + 4, entry.internal_port)
        adjust_transport(memory, at + 2, protocol, fold((entry.external_port ^ 0xFFFF) + entry.internal_port))
    else:
        put_be16(memory, at + 2, entry.internal_port)
        adjust_transport(memory, checksum_place(memory, ip, protocol), protocol, entry.transport_delta ^ 0xFFFF)
    put_destination(memory, packet, entry.internal_address)
    if entry.flags & BYPASSED:
        count_event(memory, worker, EVENT_BYPASSED, 1)
    enter_softwire(memory, worker, packet)
    if context > 0:
        release_waiting_in(memory, worker, packet, context)


@kernel
def put_destination(memory: Memory, packet: int, address: int) -> None:
    """The inner destination; TTL one less unless the packet was hairpinned."""
    record = packet_at(memory, packet)
    if record.hairpin == 0:
        rewrite_header(memory, record.ip, 16, address, -1)
    else:
        put_be32(memory, record.ip + 16, address)
        put_header_checksum(memory, record.ip)


@kernel
def enter_softwire(memory: Memory, worker: int, packet: int) -> None:
    """Encapsulate the translated packet towards its B4."""
    record = packet_at(memory, packet)
    softwire = softwire_at(memory, record.softwire)
    softwire.in_packets += 1
    softwire.in_bytes += record.length
    tos = load8(memory, record.ip + 1)
    if pod_at(memory, 0).dscp_preservation == 0:
        tos = tos & 3
    send_softwire(memory, worker, packet, NEXT_IPV4, tos, softwire_mtu(memory, record.softwire))


# ---------------------------------------------------------------- later fragments
@kernel
def follow_in(memory: Memory, worker: int, packet: int) -> None:
    """A later fragment from the internet: translated like its first, or waiting for it."""
    context = later_of_datagram(memory, worker, packet)
    if context > 0:
        send_later_in(memory, worker, packet, context)
        end_when_complete(memory, packet_at(memory, packet).slot, context)


@kernel
def send_later_in(memory: Memory, worker: int, packet: int, context: int) -> None:
    """Rewrite and send one later fragment."""
    record, state = packet_at(memory, packet), context_at(memory, context)
    if record.hairpin == 0 and load8(memory, record.ip + 8) <= 1:
        drop(memory, worker, packet, DROP_TTL)
        return
    record.hi = state.hi
    record.lo = state.lo
    record.flow = state.flow
    record.softwire = find_softwire(memory, record.slot, state.hi, state.lo)
    if record.softwire == 0:
        drop(memory, worker, packet, NO_MAPPING)
        return
    if too_big_for_softwire(memory, worker, packet, record.softwire):
        return
    put_destination(memory, packet, state.destination)
    count_event(memory, worker, IPV4_FRAGMENTS_TRANSLATED, 1)
    enter_softwire(memory, worker, packet)


@kernel
def release_waiting_in(memory: Memory, worker: int, packet: int, context: int) -> None:
    """The fragments that waited for their first leave after it."""
    held, slot = worker_at(memory, worker).lanes + HELD_LANE * LANE_SIZE, packet_at(memory, packet).slot
    place = next_waiting(memory, worker, packet, context, 0)
    while place >= 0:
        send_later_in(memory, worker, held, context)
        place = next_waiting(memory, worker, packet, context, place)
    end_waiting(memory, slot, context)
