"""The last stop: next hop, link header, fragmentation, and the worker's list of frames to send.

Whoever calls a `send_…` gives the packet away: it is queued, or counted as dropped and its frame freed.
"""

from __future__ import annotations

from aftr.lowlevel.bits import (
    M32,
    Memory,
    be16,
    be32,
    load8,
    load64,
    put_be16,
    put_be32,
    put_be64,
    store8,
    store32,
    store64,
)
from aftr.lowlevel.kernel import inline_kernel, kernel
from aftr.path.checksum import put_header_checksum
from aftr.path.ipv4 import header_size
from aftr.state.counters import FORWARDED, ORIGINATED, SPLIT, TX, count, count_drops, count_event
from aftr.state.frames import frame_room, frames_at, fresh_room, give_frame, take_frame
from aftr.state.layout import (
    ACCESS,
    HOP,
    INTERFACE,
    INTERNET,
    LINE,
    ROUTE,
    hop_at,
    interface_at,
    output_at,
    packet_at,
    pod_at,
    route_at,
    slot_at,
    worker_at,
)
from aftr.state.random import permute32
from aftr.state.reasons import IPV4_FRAGMENTS_SENT, IPV6_FRAGMENTS_SENT, NEXT_HOP_UNRESOLVED, NO_FRAME, TX_FULL

FORWARD, EXTRA, OWN = 0, 1, 2  # why a frame leaves: a packet received, a further fragment of it, made here
INTERFACE_SIZE, HOP_SIZE, ROUTE_SIZE = INTERFACE.itemsize, HOP.itemsize, ROUTE.itemsize
ETHERTYPE_IPV4, ETHERTYPE_ARP, ETHERTYPE_IPV6, ETHERTYPE_VLAN = 0x0800, 0x0806, 0x86DD, 0x8100
HOP_LIMIT = 64
NEXT_IPV4, NEXT_FRAGMENT, NEXT_ICMPV6 = 4, 44, 58


@inline_kernel
def interface_offset(memory: Memory, number: int) -> int:
    """Byte offset of an interface record."""
    return pod_at(memory, 0).interface_table + number * INTERFACE_SIZE


# ---------------------------------------------------------------- giving packets up
@kernel
def drop(memory: Memory, worker: int, packet: int, reason: int) -> None:
    """End a packet: counted under `reason` on the side where it came in, its frame freed."""
    record = packet_at(memory, packet)
    if record.originated == 0:
        count_drops(memory, worker, record.side, reason, 1)
    release(memory, worker, packet)


@kernel
def release(memory: Memory, worker: int, packet: int) -> None:
    """Free the packet's frame, if it has one."""
    record = packet_at(memory, packet)
    if record.frame > 0:
        give_frame(memory, worker_at(memory, worker).frames, record.frame)
        record.frame = 0


@kernel
def own_frame(memory: Memory, worker: int, packet: int) -> bool:
    """Make sure that the packet lies in a frame of its own (not in a reassembly buffer), copying it if need be."""
    record, frames = packet_at(memory, packet), worker_at(memory, worker).frames
    if record.frame > 0:
        return True
    frame = take_frame(memory, frames)
    if frame < 0:
        return False
    if record.length > frame_room(memory, frames, frame):
        give_frame(memory, frames, frame)
        return False
    copy(memory, frame, record.ip, record.length)
    record.frame = frame
    record.ip = frame
    return True


@kernel
def copy(memory: Memory, to: int, source: int, size: int) -> None:
    """Copy bytes between places that do not overlap."""
    end = size & ~7
    for at in range(0, end, 8):
        store64(memory, to + at, load64(memory, source + at))
    for at in range(end, size):
        store8(memory, to + at, load8(memory, source + at))


# ---------------------------------------------------------------- queueing
@inline_kernel
def queue_frame(memory: Memory, worker: int, interface: int, start: int, size: int, meta: int) -> bool:
    """Append a frame to the interface's list of this burst; meta: why | origin side << 8 | this side << 16 | cause << 32."""
    output = worker_at(memory, worker).outputs + interface * LINE
    record = output_at(memory, output)
    number = record.count
    if number >= record.capacity:
        return False
    store64(memory, record.frames + 16 * number, start)
    store64(memory, record.frames + 16 * number + 8, size)
    store64(memory, record.meta + 8 * number, meta)
    record.count = number + 1
    return True


@inline_kernel
def count_sent(memory: Memory, worker: int, why: int, origin: int, side: int, amount: int) -> None:
    """The books of frames that leave (or, negative, that the device refused)."""
    count(memory, worker, side, TX, amount)
    if why == FORWARD:
        count(memory, worker, origin, FORWARDED, amount)
    elif why == EXTRA:
        count(memory, worker, side, SPLIT, amount)
    else:
        count(memory, worker, side, ORIGINATED, amount)


@kernel
def emit(
    memory: Memory, worker: int, interface: int, start: int, size: int, why: int, origin: int, side: int, cause: int
) -> None:
    """Queue a finished frame, or drop it when the list is full."""
    if queue_frame(memory, worker, interface, start, size, why | origin << 8 | side << 16 | cause << 32):
        count_sent(memory, worker, why, origin, side, 1)
        return
    if why == FORWARD:
        count_drops(memory, worker, origin, TX_FULL, 1)
    give_frame(memory, worker_at(memory, worker).frames, start)


@kernel
def count_own(memory: Memory, worker: int, packet: int) -> None:
    """A packet made here has left: count what it is."""
    record = packet_at(memory, packet)
    if record.originated == 1:
        count_event(memory, worker, record.event, 1)


@kernel
def refuse_frame(memory: Memory, worker: int, start: int, meta: int, reason: int) -> None:
    """Take back a queued frame that cannot leave."""
    why, origin, side = meta & 0xFF, (meta >> 8) & 0xFF, (meta >> 16) & 0xFF
    count_sent(memory, worker, why, origin, side, -1)
    if why == FORWARD:
        count_drops(memory, worker, origin, reason, 1)
    give_frame(memory, worker_at(memory, worker).frames, start)


# ---------------------------------------------------------------- link layer
@kernel
def find_hop(memory: Memory, number: int, hi: int, lo: int, flow: int) -> int:
    """The next hop (longest route first, ECMP by flow) of an address on an interface; 0 when none is resolved.

    IPv4 addresses are `lo` with `hi` 0.
    """
    interface = interface_at(memory, interface_offset(memory, number))
    hops, many = interface.hops, interface.hop_count
    for place in range(interface.route_count):
        route = route_at(memory, interface.routes + place * ROUTE_SIZE)
        if hi & route.mask_hi == route.hi and lo & route.mask_lo == route.lo:
            hops, many = route.hops, route.hop_count
            break
    if many == 0:
        return 0
    hop = hops
    if many > 1:
        hop += ((flow & 0xFFFFF) % many) * HOP_SIZE
    return hop if hop_at(memory, hop).resolved == 1 else 0


@kernel
def unresolved(memory: Memory, worker: int, packet: int, number: int, hi: int, lo: int) -> None:
    """Drop a packet whose next hop is unknown, and leave a note for the control thread, which has the kernel ask for it."""
    me = worker_at(memory, worker)
    me.asked_hi, me.asked_lo, me.asked_interface = hi, lo, number
    me.asked_count += 1
    drop(memory, worker, packet, NEXT_HOP_UNRESOLVED)


@inline_kernel
def put_ethertype(memory: Memory, interface: int, ip: int, ethertype: int) -> int:
    """Write what follows the Ethernet addresses in front of `ip`: the VLAN tag, if any, and the type; where the frame begins."""
    vlan = interface_at(memory, interface).vlan
    put_be16(memory, ip - 2, ethertype)
    if vlan == 0:
        return ip - 14
    put_be16(memory, ip - 6, ETHERTYPE_VLAN)
    put_be16(memory, ip - 4, vlan)
    return ip - 18


@inline_kernel
def put_link_header(memory: Memory, interface: int, hop: int, ip: int, ethertype: int) -> int:
    """Write the Ethernet (and VLAN) header of a frame to a next hop in front of `ip`; where the frame begins."""
    addresses = hop_at(memory, hop)
    start = put_ethertype(memory, interface, ip, ethertype)
    store64(memory, start, addresses.ethernet0)
    store32(memory, start + 8, addresses.ethernet1)
    return start


@kernel
def put_station_header(memory: Memory, interface: int, station: int, ip: int, ethertype: int) -> int:
    """The same for a frame to a station on the link itself, by its 48-bit address."""
    ours = interface_at(memory, interface).mac
    start = put_ethertype(memory, interface, ip, ethertype)
    put_be32(memory, start, station >> 16)
    put_be16(memory, start + 4, station & 0xFFFF)
    put_be16(memory, start + 6, ours >> 32)
    put_be32(memory, start + 8, ours & M32)
    return start


# ---------------------------------------------------------------- to the internet
@kernel
def send_internet(memory: Memory, worker: int, packet: int) -> None:
    """Send the IPv4 packet at `ip` out of its interface; larger than the MTU it is fragmented (the caller looked at DF)."""
    record = packet_at(memory, packet)
    destination = be32(memory, record.ip + 16)
    hop = find_hop(memory, record.interface, 0, destination, record.flow)
    if hop == 0:
        unresolved(memory, worker, packet, record.interface, 0, destination)
        return
    interface = interface_offset(memory, record.interface)
    if record.length > interface_at(memory, interface).mtu:
        send_ipv4_fragments(memory, worker, packet, interface, hop)
        return
    if not own_frame(memory, worker, packet):
        drop(memory, worker, packet, NO_FRAME)
        return
    start = put_link_header(memory, interface, hop, record.ip, ETHERTYPE_IPV4)
    why = OWN if record.originated == 1 else FORWARD
    size = record.ip + record.length - start
    emit(memory, worker, record.interface, start, size, why, record.side, INTERNET, record.cause)
    count_own(memory, worker, packet)
    record.frame = 0


@kernel
def send_ipv4_fragments(memory: Memory, worker: int, packet: int, interface: int, hop: int) -> None:
    """IPv4 fragmentation (RFC 791) of a packet, or of a fragment, that the internet side's MTU does not take (row D03)."""
    record, frames = packet_at(memory, packet), worker_at(memory, worker).frames
    header = header_size(memory, record.ip)
    share = (min(interface_at(memory, interface).mtu, fresh_room(memory, frames)) - header) & ~7
    payload = record.length - header
    pieces = (payload + share - 1) // share
    if frames_at(memory, frames).count < pieces:
        drop(memory, worker, packet, NO_FRAME)
        return
    field = be16(memory, record.ip + 6)
    why = OWN if record.originated == 1 else FORWARD
    for piece in range(pieces):
        size = min(share, payload - piece * share)
        ip = take_frame(memory, frames)
        copy(memory, ip, record.ip, header)
        copy(memory, ip + header, record.ip + header + piece * share, size)
        more = 0x2000 if piece < pieces - 1 else field & 0x2000
        put_be16(memory, ip + 2, header + size)
        put_be16(memory, ip + 6, more | ((field & 0x1FFF) + (piece * share >> 3)))
        put_header_checksum(memory, ip)
        start = put_link_header(memory, interface, hop, ip, ETHERTYPE_IPV4)
        reason = why if piece == 0 else EXTRA
        emit(
            memory,
            worker,
            record.interface,
            start,
            ip + header + size - start,
            reason,
            record.side,
            INTERNET,
            record.cause,
        )
    count_event(memory, worker, IPV4_FRAGMENTS_SENT, pieces)
    count_own(memory, worker, packet)
    release(memory, worker, packet)


# ---------------------------------------------------------------- into a softwire
@inline_kernel
def put_ipv6_header(
    memory: Memory, slot: int, ip: int, tos: int, flow: int, payload: int, next_header: int, hi: int, lo: int
) -> None:
    """The outer header (RFC 2473 section 5): traffic class from the inner TOS, flow label from the inner flow."""
    tunnel = slot_at(memory, slot)
    put_be32(memory, ip, 6 << 28 | tos << 20 | (flow & 0xFFFFF))
    put_be16(memory, ip + 4, payload)
    put_be16(memory, ip + 6, next_header << 8 | HOP_LIMIT)
    put_be64(memory, ip + 8, tunnel.tunnel_hi)
    put_be64(memory, ip + 16, tunnel.tunnel_lo)
    put_be64(memory, ip + 24, hi)
    put_be64(memory, ip + 32, lo)


@kernel
def send_softwire(memory: Memory, worker: int, packet: int, next_header: int, tos: int, mtu: int) -> None:
    """Encapsulate the `length` bytes at `ip` towards the packet's softwire address; fragment after that where the MTU is smaller (D03)."""
    record, number = packet_at(memory, packet), pod_at(memory, 0).access_interface
    hop = find_hop(memory, number, record.hi, record.lo, record.flow)
    if hop == 0:
        unresolved(memory, worker, packet, number, record.hi, record.lo)
        return
    interface = interface_offset(memory, number)
    if record.length + 40 > mtu:
        send_ipv6_fragments(memory, worker, packet, interface, hop, next_header, tos, mtu)
        return
    if not own_frame(memory, worker, packet):
        drop(memory, worker, packet, NO_FRAME)
        return
    ip = record.ip - 40
    put_ipv6_header(memory, record.slot, ip, tos, record.flow, record.length, next_header, record.hi, record.lo)
    start = put_link_header(memory, interface, hop, ip, ETHERTYPE_IPV6)
    why = OWN if record.originated == 1 else FORWARD
    emit(memory, worker, number, start, ip + 40 + record.length - start, why, record.side, ACCESS, record.cause)
    count_own(memory, worker, packet)
    record.frame = 0


@kernel
def send_ipv6_fragments(
    memory: Memory, worker: int, packet: int, interface: int, hop: int, next_header: int, tos: int, mtu: int
) -> None:
    """IPv6 fragmentation of the encapsulated packet (RFC 8200 section 4.5), with an unpredictable identification (RFC 7739)."""
    record, frames = packet_at(memory, packet), worker_at(memory, worker).frames
    share = (min(mtu, fresh_room(memory, frames)) - 48) & ~7
    pieces = (record.length + share - 1) // share
    if frames_at(memory, frames).count < pieces:
        drop(memory, worker, packet, NO_FRAME)
        return
    identification = next_fragment_id(memory, record.slot)
    why = OWN if record.originated == 1 else FORWARD
    number = pod_at(memory, 0).access_interface
    for piece in range(pieces):
        size = min(share, record.length - piece * share)
        ip = take_frame(memory, frames)
        put_ipv6_header(memory, record.slot, ip, tos, record.flow, size + 8, NEXT_FRAGMENT, record.hi, record.lo)
        put_be16(memory, ip + 40, next_header << 8)
        put_be16(memory, ip + 42, piece * share | (1 if piece < pieces - 1 else 0))
        put_be32(memory, ip + 44, identification)
        copy(memory, ip + 48, record.ip + piece * share, size)
        start = put_link_header(memory, interface, hop, ip, ETHERTYPE_IPV6)
        reason = why if piece == 0 else EXTRA
        emit(memory, worker, number, start, ip + 48 + size - start, reason, record.side, ACCESS, record.cause)
    count_event(memory, worker, IPV6_FRAGMENTS_SENT, pieces)
    count_own(memory, worker, packet)
    release(memory, worker, packet)


@kernel
def next_fragment_id(memory: Memory, slot: int) -> int:
    """A 32-bit identification that does not repeat within 2**32 and cannot be guessed."""
    record, pod = slot_at(memory, slot), pod_at(memory, 0)
    record.fragment_counter = (record.fragment_counter + 1) & M32
    return permute32(record.fragment_counter, pod.secret1 ^ slot, pod.secret3)
