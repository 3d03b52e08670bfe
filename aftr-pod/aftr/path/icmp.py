"""ICMPv4 messages that the AFTR makes itself (rows D05, D08, I03, N11, C08), quoting the packet that caused them untouched.

Into a softwire they come from 192.0.0.1; to the internet from the address that the offending packet was sent to.
"""

from __future__ import annotations

from aftr.lowlevel.bits import Memory, be16, be32, load8, put_be16, put_be32
from aftr.lowlevel.kernel import kernel
from aftr.nat.limits import take_internet_icmp_token, take_softwire_icmp_token
from aftr.nat.subscriber import subscriber_of
from aftr.path.checksum import put_header_checksum, put_icmp_checksum
from aftr.path.handover import turn_inbound
from aftr.path.ipv4 import transport_at
from aftr.path.locate import AFTR_ADDRESS, find_range, range_slot
from aftr.path.send import HOP_LIMIT, NEXT_IPV4, copy, interface_offset, send_internet, send_softwire
from aftr.state.counters import count_event
from aftr.state.frames import fresh_room, take_frame
from aftr.state.hashing import hash_pair
from aftr.state.layout import (
    LANE_SIZE,
    POOL,
    PROTOCOL_ICMP,
    REPLY_LANE,
    interface_at,
    packet_at,
    pod_at,
    pool_at,
    range_at,
    softwire_at,
    worker_at,
)
from aftr.state.reasons import ICMP_RATE_LIMITED, ICMP_SENT, ICMP_TOO_BIG_SENT

UNREACHABLE, TIME_EXCEEDED, ECHO_REQUEST, ECHO_REPLY, PARAMETER_PROBLEM = 3, 11, 8, 0, 12
HOST, PROTOCOL, PORT, TOO_BIG, ADMINISTRATIVE = 1, 2, 3, 4, 13
POOL_SIZE = POOL.itemsize
QUOTE_LIMIT = 548  # RFC 1812 section 4.3.2.3: the message does not exceed 576 bytes


@kernel
def is_icmp_error(memory: Memory, ip: int) -> bool:
    """Whether the packet at `ip` is an ICMP message other than a query."""
    if load8(memory, ip + 9) != PROTOCOL_ICMP:
        return False
    kind = load8(memory, transport_at(memory, ip))
    return kind not in (ECHO_REQUEST, ECHO_REPLY)


@kernel
def may_answer(memory: Memory, ip: int) -> bool:
    """RFC 1122 section 3.2.2: no errors about errors, later fragments, multicast, broadcast or unspecified addresses."""
    source, destination = be32(memory, ip + 12), be32(memory, ip + 16)
    if be16(memory, ip + 6) & 0x1FFF != 0 or source >> 24 == 0 or source >> 24 == 127 or source >> 28 >= 14:
        return False
    return destination >> 28 < 14 and not is_icmp_error(memory, ip)


@kernel
def softwire_mtu(memory: Memory, softwire: int) -> int:
    """The largest outer packet into a softwire: tunnelMtu, the interface's MTU, the B4's path MTU."""
    pod = pod_at(memory, 0)
    mtu = min(pod.tunnel_mtu, interface_at(memory, interface_offset(memory, pod.access_interface)).mtu)
    if softwire > 0:
        path = softwire_at(memory, softwire).path_mtu
        if path > 0:
            mtu = min(mtu, path)
    return mtu


@kernel
def build(
    memory: Memory, reply: int, source: int, destination: int, kind: int, code: int, rest: int, quote: int, size: int
) -> None:
    """An ICMPv4 message with `size` bytes after its 8-byte header, copied from `quote`."""
    ip = packet_at(memory, reply).ip
    put_be32(memory, ip, 0x45000000 | (28 + size))
    put_be32(memory, ip + 4, 0x4000)  # atomic (RFC 6864): DF, identification 0
    put_be16(memory, ip + 8, HOP_LIMIT << 8 | PROTOCOL_ICMP)
    put_be32(memory, ip + 12, source)
    put_be32(memory, ip + 16, destination)
    put_be16(memory, ip + 20, kind << 8 | code)
    put_be32(memory, ip + 24, rest)
    copy(memory, ip + 28, quote, size)
    put_header_checksum(memory, ip)
    put_icmp_checksum(memory, ip + 20, 8 + size)
    packet_at(memory, reply).length = 28 + size


@kernel
def new_reply(memory: Memory, worker: int, packet: int, event: int, size: int) -> int:
    """A packet of `size` bytes in a fresh frame, made here because of `packet`, counted as `event` when it leaves.

    0 when no frame is free, or so large a packet (an answer to one that was reassembled) fits none.
    """
    frames = worker_at(memory, worker).frames
    frame = take_frame(memory, frames) if size <= fresh_room(memory, frames) else -1
    if frame < 0:
        return 0
    reply, cause = worker_at(memory, worker).lanes + REPLY_LANE * LANE_SIZE, packet_at(memory, packet)
    record = packet_at(memory, reply)
    record.frame = frame
    record.ip = frame
    record.slot = cause.slot
    record.hi = cause.hi
    record.lo = cause.lo
    record.softwire = cause.softwire
    record.side = cause.side
    record.originated = 1
    record.event = event
    record.inbound = 0
    record.hairpin = 0
    record.quote = 0
    record.flow = 0
    record.cause = cause.cause
    return reply


@kernel
def into_softwire(
    memory: Memory, worker: int, packet: int, kind: int, code: int, rest: int, quote: int, size: int, event: int
) -> bool:
    """An ICMPv4 message from 192.0.0.1 to the inner source of `packet`, if the subscriber's rate allows."""
    record = packet_at(memory, packet)
    if record.softwire == 0:
        return False
    now = worker_at(memory, worker).now
    if not take_softwire_icmp_token(memory, subscriber_of(memory, record.slot, record.softwire), now):
        count_event(memory, worker, ICMP_RATE_LIMITED, 1)
        return False
    reply = new_reply(memory, worker, packet, event, 28 + size)
    if reply == 0:
        return False
    destination = be32(memory, record.ip + 12)
    build(memory, reply, AFTR_ADDRESS, destination, kind, code, rest, quote, size)
    packet_at(memory, reply).flow = icmp_flow(memory, AFTR_ADDRESS, destination)
    send_softwire(memory, worker, reply, NEXT_IPV4, 0, softwire_mtu(memory, record.softwire))
    return True


@kernel
def icmp_flow(memory: Memory, source: int, destination: int) -> int:
    """Flow label of a message between two addresses."""
    pod = pod_at(memory, 0)
    return hash_pair(source << 32 | destination, PROTOCOL_ICMP, pod.secret0, pod.secret2, pod.secret3) & 0xFFFFF


@kernel
def to_internet(
    memory: Memory,
    worker: int,
    packet: int,
    source: int,
    kind: int,
    code: int,
    rest: int,
    quote: int,
    size: int,
    event: int,
) -> bool:
    """An ICMPv4 message from our address `source` to the source of the IPv4 header at `quote`, if the slot's rate allows.

    A destination of this pod's own pools is hairpinned.
    """
    record = packet_at(memory, packet)
    if not take_internet_icmp_token(memory, record.slot, worker_at(memory, worker).now):
        count_event(memory, worker, ICMP_RATE_LIMITED, 1)
        return False
    reply = new_reply(memory, worker, packet, event, 28 + size)
    if reply == 0:
        return False
    destination = be32(memory, quote + 12)
    build(memory, reply, source, destination, kind, code, rest, quote, size)
    answer = packet_at(memory, reply)
    answer.interface = source_interface(memory, source)
    own = find_range(memory, destination)
    if own > 0:
        turn_inbound(memory, worker, reply, range_slot(memory, own, destination))
    else:
        send_internet(memory, worker, reply)
    return True


@kernel
def source_interface(memory: Memory, address: int) -> int:
    """The internet interface of the NAT pool that an external address belongs to."""
    entry = find_range(memory, address)
    pool = range_at(memory, entry).pool if entry > 0 else 0
    return pool_at(memory, pod_at(memory, 0).pool_table + POOL_SIZE * pool).interface


@kernel
def icmp_error(memory: Memory, worker: int, packet: int, kind: int, code: int, rest: int) -> None:
    """Tell the sender of the packet at `ip` what happened to it; `rest` is the message's second word (an MTU)."""
    record = packet_at(memory, packet)
    if record.originated == 1 or not may_answer(memory, record.ip):
        return
    available = record.quote if record.quote > 0 else record.length
    size = min(available, QUOTE_LIMIT)
    event = ICMP_TOO_BIG_SENT if kind == UNREACHABLE and code == TOO_BIG else ICMP_SENT
    if record.inbound == 0:
        into_softwire(memory, worker, packet, kind, code, rest, record.ip, size, event)
    else:
        to_internet(memory, worker, packet, be32(memory, record.ip + 16), kind, code, rest, record.ip, size, event)
