"""From a softwire to the internet: admit, translate out, send (docs/design/0001, 10: the order of the checks).

`packet.ip` is the decapsulated IPv4 packet; `hi`, `lo`, `softwire`, `slot` say where it came from.
"""

from __future__ import annotations

from aftr.lowlevel.bits import M32, Memory, be16, be32, load8, load64, put_be16
from aftr.lowlevel.kernel import kernel
from aftr.nat.blocks import EXTERNAL_SIZE
from aftr.nat.mapping import (
    add_session,
    claim_bypass,
    create_mapping,
    find_mapping,
    find_session,
    fold,
    is_first_session,
    journal_session,
    mapping_key,
    needs_session,
    open_session,
    port_key,
    session_port,
    store_mapping,
)
from aftr.nat.tcp import ACK, FIN, RST, SYN, flags_after
from aftr.path.checksum import adjust_transport
from aftr.path.fragments import (
    end_waiting,
    end_when_complete,
    first_of_datagram,
    is_fragment,
    later_of_datagram,
    next_waiting,
)
from aftr.path.handover import turn_inbound
from aftr.path.icmp import (
    ECHO_REPLY,
    ECHO_REQUEST,
    PORT,
    PROTOCOL,
    TIME_EXCEEDED,
    TOO_BIG,
    UNREACHABLE,
    icmp_error,
    into_softwire,
)
from aftr.path.icmp_errors import translate_error_out
from aftr.path.ipv4 import (
    DONT_FRAGMENT,
    OFFSET_MASK,
    check_transport,
    checksum_place,
    clamp_mss,
    header_size,
    rewrite_header,
    transport_at,
)
from aftr.path.locate import (
    AFTR_ADDRESS,
    BYPASS_SIZE,
    OCTET_PLAIN,
    find_range,
    in_prefixes,
    is_shared,
    is_unroutable,
    octet_class,
    range_external,
    range_slot,
)
from aftr.path.park import awaited, awaited_by_fragment, may_create, park
from aftr.path.send import drop, interface_offset, release, send_internet
from aftr.path.syns import cancel_syn
from aftr.state.counters import CONSUMED, count, count_event
from aftr.state.frames import fresh_room
from aftr.state.hashing import hash_pair
from aftr.state.layout import (
    ALLOWED_PRIVATE,
    BYPASSED,
    HELD_LANE,
    IN_SEEN,
    LANE_SIZE,
    NO_TRANSLATION,
    PRE_AUTHORIZED,
    PROTOCOL_ICMP,
    PROTOCOL_TCP,
    PUBLIC_SOURCE,
    RESTORED,
    SLOT_SOFTWIRES,
    UNTRANSLATED_KEY,
    WAS_ESTABLISHED,
    bypass_at,
    context_at,
    external_at,
    interface_at,
    mapping_at,
    packet_at,
    pod_at,
    session_at,
    slot_at,
    softwire_at,
    worker_at,
)
from aftr.state.reasons import AFTR_ADDRESS as DROP_AFTR_ADDRESS
from aftr.state.reasons import (
    BYPASS_SLOT,
    DESTINATION,
    HAIRPINNED,
    ICMP_SENT,
    ICMP_TYPE,
    ICMP_UNSOLICITED,
    IPV4_FRAGMENTS_TRANSLATED,
    MEMORY_LIMIT,
    MSS_CLAMPED,
    NO_FRAME,
    NO_PORT_BLOCK,
    PORT_LIMIT,
    RATE_LIMITED,
    SESSION_LIMIT,
    SESSION_RATE,
    SOURCE_NOT_PRIVATE,
    SOURCE_RESERVED,
    TABLE_FULL,
    TCP_NO_SESSION,
)
from aftr.state.reasons import BYPASSED as EVENT_BYPASSED
from aftr.state.reasons import PROTOCOL as DROP_PROTOCOL
from aftr.state.reasons import TOO_BIG as DROP_TOO_BIG
from aftr.state.reasons import TTL as DROP_TTL
from aftr.state.table import record_number

TRANSLATE = -1  # `treatment`: translate; otherwise the external number of an address that keeps itself


# ---------------------------------------------------------------- admit
@kernel
def bypass_matches(memory: Memory, packet: int) -> int:
    """Slot number of the bypass entry (row D17) that the packet matches; -1 when only its address and B4 do, -2 when not even these."""
    record, pod = packet_at(memory, packet), pod_at(memory, 0)
    ip = record.ip
    source, destination, protocol = be32(memory, ip + 12), be32(memory, ip + 16), load8(memory, ip + 9)
    later = be16(memory, ip + 6) & OFFSET_MASK != 0
    best = -2
    port = 0 if later else be16(memory, transport_at(memory, ip))
    for number in range(pod.bypasses):
        entry = bypass_at(memory, pod.bypass_table + number * BYPASS_SIZE)
        if entry.address != source or record.hi & entry.mask_hi != entry.hi or record.lo & entry.mask_lo != entry.lo:
            continue
        best = -1
        same = entry.protocol == protocol and (later or entry.port == port)
        if same and destination & entry.destination_mask == entry.destination:
            return entry.slot
    return best


@kernel
def treatment(memory: Memory, packet: int) -> int:
    """What becomes of the inner source (rows D08, D17, D18, C09): TRANSLATE, an external number >= 0, or -2 - drop reason."""
    record = packet_at(memory, packet)
    source = be32(memory, record.ip + 12)
    if source == 0xC0000000 or source == AFTR_ADDRESS:
        return -2 - SOURCE_RESERVED
    if is_shared(source):
        return TRANSLATE
    slot = bypass_matches(memory, packet)
    authorized = in_prefixes(memory, PRE_AUTHORIZED, source)
    if slot == -2 and not authorized:
        return -2 - SOURCE_NOT_PRIVATE
    if slot < 0 and not (authorized and in_prefixes(memory, NO_TRANSLATION, be32(memory, record.ip + 16))):
        return TRANSLATE
    entry = find_range(memory, source)
    if entry == 0 or range_slot(memory, entry, source) != slot_at(memory, record.slot).number:
        return -2 - BYPASS_SLOT
    return range_external(memory, entry, source)


@kernel
def to_aftr(memory: Memory, worker: int, packet: int) -> None:
    """A packet to 192.0.0.1 (row D08): echo is answered, anything else is unreachable."""
    record = packet_at(memory, packet)
    ip = record.ip
    icmp, size = transport_at(memory, ip), record.length - header_size(memory, ip)
    whole = not is_fragment(memory, ip)
    if load8(memory, ip + 9) == PROTOCOL_ICMP and size >= 8 and whole and load8(memory, icmp) == ECHO_REQUEST:
        if size + 20 > fresh_room(memory, worker_at(memory, worker).frames):
            drop(memory, worker, packet, NO_FRAME)
            return
        if not into_softwire(
            memory, worker, packet, ECHO_REPLY, 0, be32(memory, icmp + 4), icmp + 8, size - 8, ICMP_SENT
        ):
            drop(memory, worker, packet, RATE_LIMITED)
            return
        count(memory, worker, record.side, CONSUMED, 1)
        release(memory, worker, packet)
        return
    code = PORT if load8(memory, ip + 9) in (PROTOCOL_TCP, 17) else PROTOCOL
    icmp_error(memory, worker, packet, UNREACHABLE, code, 0)
    drop(memory, worker, packet, DROP_AFTR_ADDRESS)


@kernel
def refuse(memory: Memory, worker: int, packet: int, reason: int) -> None:
    """Drop, and tell the host where limits or resources were the reason (row C08)."""
    limits = (SESSION_RATE, SESSION_LIMIT, MEMORY_LIMIT, TABLE_FULL, PORT_LIMIT, NO_PORT_BLOCK)
    if reason in limits:
        icmp_error(memory, worker, packet, UNREACHABLE, pod_at(memory, 0).refusal_code, 0)
    drop(memory, worker, packet, reason)


@kernel
def outbound(memory: Memory, worker: int, packet: int) -> None:
    """The whole way of a decapsulated IPv4 packet whose header was checked; ends it (sent, consumed or dropped)."""
    record = packet_at(memory, packet)
    ip = record.ip
    softwire = softwire_at(memory, record.softwire)
    softwire.seen_seconds = worker_at(memory, worker).now // 1000
    how = treatment(memory, packet)
    if how < TRANSLATE:
        drop(memory, worker, packet, -2 - how)
        return
    destination = be32(memory, ip + 16)
    if destination == AFTR_ADDRESS:
        to_aftr(memory, worker, packet)
        return
    if is_unroutable(destination) and not in_prefixes(memory, ALLOWED_PRIVATE, destination):
        drop(memory, worker, packet, DESTINATION)
        return
    softwire.out_packets += 1
    softwire.out_bytes += record.length
    if be16(memory, ip + 6) & OFFSET_MASK != 0:
        follow_out(memory, worker, packet)
        return
    reason = check_transport(memory, ip)
    if reason == DROP_PROTOCOL:
        icmp_error(memory, worker, packet, UNREACHABLE, PROTOCOL, 0)
    if reason >= 0:
        drop(memory, worker, packet, reason)
        return
    if load8(memory, ip + 8) <= 1:
        icmp_error(memory, worker, packet, TIME_EXCEEDED, 0, 0)
        drop(memory, worker, packet, DROP_TTL)
        return
    if load8(memory, ip + 9) == PROTOCOL_ICMP:
        kind = load8(memory, transport_at(memory, ip))
        if kind in (UNREACHABLE, TIME_EXCEEDED, 12):
            reason = translate_error_out(memory, worker, packet)
            if reason >= 0:
                drop(memory, worker, packet, reason)
            else:
                leave(memory, worker, packet, 0)
            return
        if kind not in (ECHO_REQUEST, ECHO_REPLY):
            drop(memory, worker, packet, ICMP_TYPE)
            return
    translate_out(memory, worker, packet, how)


# ---------------------------------------------------------------- translate
@kernel
def too_big_for_internet(memory: Memory, worker: int, packet: int, interface: int) -> bool:
    """Whether DF forbids what the internet side's MTU would need (row D03); the host is told and the packet dropped."""
    record = packet_at(memory, packet)
    mtu = interface_at(memory, interface_offset(memory, interface)).mtu
    if record.length <= mtu or be16(memory, record.ip + 6) & DONT_FRAGMENT == 0:
        return False
    if find_range(memory, be32(memory, record.ip + 16)) > 0:
        return False  # hairpinned: it never sees that interface
    icmp_error(memory, worker, packet, UNREACHABLE, TOO_BIG, mtu)
    drop(memory, worker, packet, DROP_TOO_BIG)
    return True


@kernel
def control_bits(memory: Memory, ip: int) -> int:
    """TCP control bits."""
    return load8(memory, transport_at(memory, ip) + 13)


@kernel
def inner_port(memory: Memory, ip: int) -> int:
    """Source port, or ICMP identifier, of a packet from inside."""
    at = transport_at(memory, ip)
    return be16(memory, at + 4) if load8(memory, ip + 9) == PROTOCOL_ICMP else be16(memory, at)


@kernel
def remote_port(memory: Memory, ip: int) -> int:
    """Destination port of a packet from inside; 0 for ICMP."""
    return 0 if load8(memory, ip + 9) == PROTOCOL_ICMP else be16(memory, transport_at(memory, ip) + 2)


@kernel
def may_open(memory: Memory, ip: int) -> int:
    """-1, or why this packet may not make a mapping."""
    protocol = load8(memory, ip + 9)
    if protocol == PROTOCOL_TCP:
        control = control_bits(memory, ip)
        opens = control & (SYN | ACK) == SYN or pod_at(memory, 0).tcp_loose != 0
        return TCP_NO_SESSION if control & RST != 0 or not opens else -1
    if protocol == PROTOCOL_ICMP and load8(memory, transport_at(memory, ip)) == ECHO_REPLY:
        return ICMP_UNSOLICITED
    return -1


@kernel
def mapping_for(memory: Memory, worker: int, packet: int, how: int) -> int:
    """The mapping, and its session, of a packet from inside: found and refreshed, or made; or -1 - drop reason."""
    record = packet_at(memory, packet)
    ip, slot = record.ip, record.slot
    protocol = load8(memory, ip + 9)
    key = mapping_key(record_number(memory, slot + SLOT_SOFTWIRES, record.softwire), be32(memory, ip + 12))
    port = port_key(protocol, inner_port(memory, ip))
    if how != TRANSLATE:
        key |= UNTRANSLATED_KEY
    mapping = find_mapping(memory, slot, key, port)
    if mapping > 0:
        reason = refresh_out(memory, worker, packet, mapping)
        return mapping if reason < 0 else -1 - reason
    reason = may_open(memory, ip)
    if reason < 0:
        reason = may_create(memory, slot)
    if reason >= 0:
        return -1 - reason
    if how == TRANSLATE:
        mapping = create_mapping(memory, worker, slot, record.softwire, key, port)
    else:
        mapping = claim_bypass(memory, worker, slot, record.softwire, key, port, how)
    if mapping > 0 and not is_shared(be32(memory, ip + 12)):
        mapping_at(memory, mapping).flags |= PUBLIC_SOURCE
    if mapping > 0 and needs_session(memory, protocol):
        far = session_port(memory, protocol, remote_port(memory, ip))
        open_session(memory, worker, slot, mapping, be32(memory, ip + 16), far, first_flags(memory, ip))
    if mapping > 0 and slot_at(memory, slot).journaling != 0:
        store_mapping(memory, worker, slot, mapping)
    return mapping


@kernel
def first_flags(memory: Memory, ip: int) -> int:
    """Session flags after a session's first segment, from inside."""
    return flags_after(0, control_bits(memory, ip) if load8(memory, ip + 9) == PROTOCOL_TCP else 0, True)


@kernel
def refresh_out(memory: Memory, worker: int, packet: int, mapping: int) -> int:
    """Refresh a mapping and its session by a packet from inside, opening the session when it is new: -1, or the drop reason."""
    record, entry, now = packet_at(memory, packet), mapping_at(memory, mapping), worker_at(memory, worker).now
    ip, slot, protocol = record.ip, record.slot, entry.protocol
    if protocol == PROTOCOL_ICMP and load8(memory, transport_at(memory, ip)) == ECHO_REPLY:
        return -1
    if needs_session(memory, protocol):
        control = control_bits(memory, ip) if protocol == PROTOCOL_TCP else 0
        address, port = be32(memory, ip + 16), session_port(memory, protocol, remote_port(memory, ip))
        if is_first_session(memory, mapping, address, port):
            before, after = entry.session_flags, flags_after(entry.session_flags, control, True)
            entry.session_flags = after
            entry.session_seen = now & M32
            journal_session(memory, worker, slot, mapping, before, after)
        else:
            session = find_session(memory, slot, mapping, address, port)
            if session > 0:
                extra = session_at(memory, session)
                before, after = extra.flags, flags_after(extra.flags, control, True)
                extra.flags = after
                extra.seen = now & M32
                journal_session(memory, worker, slot, mapping, before, after)
            elif control & RST:
                return -1
            else:
                flags = first_flags(memory, ip)
                if entry.flags & WAS_ESTABLISHED and control & (SYN | FIN) == 0:
                    flags |= IN_SEEN  # taken over in mid-stream: both ways were seen, by another pod
                reason = add_session(memory, worker, slot, mapping, address, port, flags)
                if reason >= 0:
                    return reason
                entry.flags &= ~(RESTORED | WAS_ESTABLISHED)  # the inside spoke
    entry.seen = now & M32
    return -1


@kernel
def next_identification(memory: Memory, slot: int, external: int, ip: int) -> int:
    """A new IPv4 ID from the external address's counter, or -1 for an atomic datagram (row C06, RFC 6864)."""
    if be16(memory, ip + 6) & DONT_FRAGMENT != 0 and not is_fragment(memory, ip):
        return -1
    address = external_at(memory, slot_at(memory, slot).externals + external * EXTERNAL_SIZE)
    address.ip_id = (address.ip_id + 1) & 0xFFFF
    return address.ip_id


@kernel
def translate_out(memory: Memory, worker: int, packet: int, how: int) -> None:
    """Translate a TCP, UDP or ICMP query packet (or first fragment) from inside and send it on."""
    record = packet_at(memory, packet)
    ip, slot = record.ip, record.slot
    mapping = mapping_for(memory, worker, packet, how)
    if mapping < 0:
        refuse(memory, worker, packet, -1 - mapping)
        return
    entry = mapping_at(memory, mapping)
    record.mapping = mapping
    record.interface = entry.interface
    if too_big_for_internet(memory, worker, packet, entry.interface):
        return
    protocol, at = entry.protocol, transport_at(memory, ip)
    pod = pod_at(memory, 0)
    if protocol == PROTOCOL_TCP:
        control = control_bits(memory, ip)
        if control & SYN:
            if pod.mss_clamping and clamp_mss(memory, ip, pod.tunnel_mtu - 80):
                count_event(memory, worker, MSS_CLAMPED, 1)
            if control & ACK == 0:
                cancel_syn(memory, worker, slot, mapping, be32(memory, ip + 16), be16(memory, at + 2))
    identification = next_identification(memory, slot, entry.external, ip)
    context = first_of_datagram(memory, worker, packet)
    if context < 0:
        return
    if context > 0:
        state, entry = context_at(memory, context), mapping_at(memory, record.mapping)
        state.source = entry.external_address
        state.identification = identification
        state.interface = entry.interface
    delta = entry.transport_delta
    if protocol == PROTOCOL_ICMP:
        put_be16(memory, at + 4, entry.external_port)
        adjust_transport(memory, at + 2, protocol, fold((entry.internal_port ^ 0xFFFF) + entry.external_port))
    else:
        put_be16(memory, at, entry.external_port)
        adjust_transport(memory, checksum_place(memory, ip, protocol), protocol, delta)
    rewrite_header(memory, ip, 12, entry.external_address, identification)
    if entry.flags & BYPASSED:
        count_event(memory, worker, EVENT_BYPASSED, 1)
    record.flow = (
        hash_pair(load64(memory, mapping), entry.external_port, pod.secret0, pod.secret1, pod.secret2) & 0xFFFFF
    )
    leave(memory, worker, packet, awaited(memory, slot, mapping))
    if context > 0:
        release_waiting_out(memory, worker, packet, context)


@kernel
def leave(memory: Memory, worker: int, packet: int, commit: int) -> None:
    """Out of the internet side, or back in when the destination is an address of this pod (hairpin, row N06).

    Not before record `commit` of the slot's journal is stored.
    """
    if commit > 0:
        park(memory, worker, packet, commit)
        return
    record = packet_at(memory, packet)
    destination = be32(memory, record.ip + 16)
    if octet_class(memory, destination) != OCTET_PLAIN:
        own = find_range(memory, destination)
        if own > 0:
            count_event(memory, worker, HAIRPINNED, 1)
            turn_inbound(memory, worker, packet, range_slot(memory, own, destination))
            return
    send_internet(memory, worker, packet)


# ---------------------------------------------------------------- later fragments
@kernel
def follow_out(memory: Memory, worker: int, packet: int) -> None:
    """A later fragment from inside: translated like its first, or waiting for it."""
    context = later_of_datagram(memory, worker, packet)
    if context > 0:
        send_later_out(memory, worker, packet, context)
        end_when_complete(memory, packet_at(memory, packet).slot, context)


@kernel
def send_later_out(memory: Memory, worker: int, packet: int, context: int) -> None:
    """Rewrite and send one later fragment."""
    record, state = packet_at(memory, packet), context_at(memory, context)
    if load8(memory, record.ip + 8) <= 1:
        drop(memory, worker, packet, DROP_TTL)
        return
    record.interface = state.interface
    record.flow = state.identification
    if too_big_for_internet(memory, worker, packet, state.interface):
        return
    rewrite_header(memory, record.ip, 12, state.source, state.identification)
    count_event(memory, worker, IPV4_FRAGMENTS_TRANSLATED, 1)
    leave(memory, worker, packet, awaited_by_fragment(memory, record.slot))


@kernel
def release_waiting_out(memory: Memory, worker: int, packet: int, context: int) -> None:
    """The fragments that waited for their first leave after it."""
    held, slot = worker_at(memory, worker).lanes + HELD_LANE * LANE_SIZE, packet_at(memory, packet).slot
    place = next_waiting(memory, worker, packet, context, 0)
    while place >= 0:
        send_later_out(memory, worker, held, context)
        place = next_waiting(memory, worker, packet, context, place)
    end_waiting(memory, slot, context)
