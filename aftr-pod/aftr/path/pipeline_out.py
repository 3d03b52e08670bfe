"""The outbound pipeline: every stage works on a packet `DISTANCE` behind the one before, so that each memory access was prefetched.

    stage  looks at                      asks for
    0      -                             first two lines of the frame
    1      outer and inner header        index word of the softwire
    2      softwire index                softwire record
    3      softwire record               index word of the mapping
    4      mapping index                 mapping record
    5      mapping: translate and queue

A packet that is not plain (fragments, options, ICMP, SYN/FIN/RST, new flows, limits, …) goes to `receive` at the last stage, in its turn.
"""

from __future__ import annotations

from aftr.lowlevel.bits import (
    M32,
    Memory,
    be16,
    be32,
    be64,
    load8,
    load32,
    load64,
    prefetch,
    prefetch_write,
    put_be16,
    put_be32,
)
from aftr.lowlevel.kernel import inline_kernel, kernel
from aftr.nat.blocks import EXTERNAL_SIZE
from aftr.nat.mapping import find_mapping, fold, mapping_hash, mapping_key, port_key
from aftr.nat.subscriber import address_hash, find_softwire
from aftr.path.checksum import adjust
from aftr.path.handover import slot_worker
from aftr.path.locate import OCTET_PLAIN, octet_class, slot_offset, tunnel_slot
from aftr.path.receive import begin, receive
from aftr.path.send import (
    ETHERTYPE_IPV4,
    ETHERTYPE_IPV6,
    FORWARD,
    NEXT_IPV4,
    find_hop,
    interface_offset,
    put_link_header,
    queue_frame,
)
from aftr.state.counters import FORWARDED, RX, TX, count, count_drops
from aftr.state.frames import give_frame
from aftr.state.layout import (
    ACCESS,
    ENDPOINT_INDEPENDENT,
    INTERNET,
    LANE_SIZE,
    LANES,
    LIVE,
    OUT_SEEN,
    PROTOCOL_TCP,
    PROTOCOL_UDP,
    RESET,
    SLOT_MAPPINGS,
    SLOT_SOFTWIRES,
    external_at,
    interface_at,
    mapping_at,
    packet_at,
    pod_at,
    slot_at,
    softwire_at,
    worker_at,
)
from aftr.state.reasons import TX_FULL
from aftr.state.table import index_home, index_probe, index_record, record_number

DISTANCE = 12  # five stages apart fit the 64 lanes
PLAIN, SLOW = 1, 0
OPENING_OR_CLOSING = 1 | 2 | 4  # FIN, SYN, RST
_DESTINATION_OPTIONS, _ONE_OPTION = 60, 0x0400  # next header IPv4, length 0: the 8-byte header of Linux's ip6tnl


@inline_kernel
def parse(memory: Memory, worker: int, packet: int) -> None:
    """Stage 1: is it a plain TCP or UDP packet of an open slot of this worker? Then its keys."""
    record = packet_at(memory, packet)
    record.stage = SLOW
    ip6 = record.ip
    if record.start + record.size - ip6 < 68 or be16(memory, ip6 - 2) != ETHERTYPE_IPV6:
        return
    inner = ip6 + 40
    next_header = load8(memory, ip6 + 6)
    if next_header != NEXT_IPV4:
        if next_header != _DESTINATION_OPTIONS or be16(memory, inner) != _ONE_OPTION:
            return
        inner += 8
    number = tunnel_slot(memory, be64(memory, ip6 + 24), be64(memory, ip6 + 32))
    if number < 0 or load8(memory, ip6) >> 4 != 6:
        return
    slot = slot_offset(memory, number)
    if slot == 0 or slot_worker(memory, number) != worker_at(memory, worker).number:
        return
    payload_end = ip6 + 40 + be16(memory, ip6 + 4)
    length = be16(memory, inner + 2)
    fits = payload_end <= record.start + record.size and inner + length <= payload_end and length >= 28
    if not fits or not plain_ipv4(memory, inner, length) or (be16(memory, ip6) >> 4) & 0xFF != load8(memory, inner + 1):
        return
    record.ip = inner
    record.length = length
    record.slot = slot
    record.hi = be64(memory, ip6 + 8)
    record.lo = be64(memory, ip6 + 16)
    record.hash = address_hash(memory, record.hi, record.lo)
    record.stage = PLAIN
    prefetch(memory, index_home(memory, slot + SLOT_SOFTWIRES, record.hash))


@inline_kernel
def plain_ipv4(memory: Memory, ip: int, length: int) -> bool:
    """No options, no fragment, right checksum, TTL left; UDP with a right length, or TCP neither opening nor closing."""
    first, second, third = be64(memory, ip), be64(memory, ip + 8), be32(memory, ip + 16)
    if (first >> 56) & 0xFF != 0x45 or first & 0xBFFF != 0:
        return False
    total = (first & M32) + ((first >> 32) & M32) + (second & M32) + ((second >> 32) & M32) + third
    if fold(total) != 0xFFFF:
        return False
    protocol = (second >> 48) & 0xFF
    if (second >> 56) & 0xFF <= 1 or be16(memory, ip + 20) == 0 or be16(memory, ip + 22) == 0:
        return False
    if protocol == PROTOCOL_UDP:
        size = be16(memory, ip + 24)
        return 8 <= size <= length - 20
    if protocol != PROTOCOL_TCP or length < 40:
        return False
    offset = (load8(memory, ip + 32) >> 4) * 4
    return 20 <= offset <= length - 20 and load8(memory, ip + 33) & OPENING_OR_CLOSING == 0


@inline_kernel
def probe_softwire(memory: Memory, packet: int) -> None:
    """Stage 2: the first softwire whose tag matches."""
    record = packet_at(memory, packet)
    table = record.slot + SLOT_SOFTWIRES
    place = index_probe(memory, table, record.hash, 0)
    if place < 0:
        record.stage = SLOW
        return
    record.softwire = index_record(memory, table, record.hash, place)
    prefetch_write(memory, record.softwire)


@inline_kernel
def check_softwire(memory: Memory, packet: int) -> None:
    """Stage 3: is it that softwire, and still admitted? Then where its mapping would be."""
    record = packet_at(memory, packet)
    softwire = record.softwire
    if load64(memory, softwire) != record.hi or load64(memory, softwire + 8) != record.lo:
        softwire = find_softwire(memory, record.slot, record.hi, record.lo)
        if softwire == 0:
            record.stage = SLOW
            return
        record.softwire = softwire
    if softwire_at(memory, softwire).generation != pod_at(memory, 0).generation & 0xFF:
        record.stage = SLOW
        return
    ip = record.ip
    number = record_number(memory, record.slot + SLOT_SOFTWIRES, softwire)
    record.key = mapping_key(number, be32(memory, ip + 12))
    record.port = port_key(load8(memory, ip + 9), be16(memory, ip + 20))
    record.hash = mapping_hash(memory, record.key, record.port)
    prefetch(memory, index_home(memory, record.slot + SLOT_MAPPINGS, record.hash))


@inline_kernel
def probe_mapping(memory: Memory, packet: int) -> None:
    """Stage 4: the first mapping whose tag matches."""
    record = packet_at(memory, packet)
    table = record.slot + SLOT_MAPPINGS
    place = index_probe(memory, table, record.hash, 0)
    if place < 0:
        record.stage = SLOW
        return
    record.mapping = index_record(memory, table, record.hash, place)
    prefetch_write(memory, record.mapping)


@inline_kernel
def translate_plain(memory: Memory, worker: int, packet: int) -> bool:
    """Stage 5: translate in place and queue; False when the packet needs the slow way after all (nothing is changed then)."""
    record, me = packet_at(memory, packet), worker_at(memory, worker)
    mapping, slot, ip = record.mapping, record.slot, record.ip
    if load64(memory, mapping) != record.key or load32(memory, mapping + 8) & 0xFFFFFF != record.port:
        mapping = find_mapping(memory, slot, record.key, record.port)
        if mapping == 0:
            return False
    entry = mapping_at(memory, mapping)
    destination = be32(memory, ip + 16)
    if octet_class(memory, destination) != OCTET_PLAIN:
        return False
    now = me.now
    protocol = record.port >> 16
    if protocol == PROTOCOL_TCP or pod_at(memory, 0).filtering != ENDPOINT_INDEPENDENT:
        known = entry.session_state == LIVE and entry.remote_address == destination
        if (
            not known
            or entry.remote_port != be16(memory, ip + 22)
            or entry.session_flags & (OUT_SEEN | RESET) != OUT_SEEN
        ):
            return False
    if entry.flags != 0:
        return False
    interface = interface_offset(memory, entry.interface)
    df = be16(memory, ip + 6) & 0x4000
    hop = find_hop(memory, entry.interface, 0, destination, record.hash)
    if hop == 0 or record.length > interface_at(memory, interface).mtu:
        return False
    delta = entry.address_delta + 0xFEFF  # TTL one less
    if df == 0:  # not atomic: a new identification (row C06)
        address = external_at(memory, slot_at(memory, slot).externals + entry.external * EXTERNAL_SIZE)
        address.ip_id = (address.ip_id + 1) & 0xFFFF
        delta += (be16(memory, ip + 4) ^ 0xFFFF) + address.ip_id
        put_be16(memory, ip + 4, address.ip_id)
    entry.session_seen = now
    entry.seen = now
    softwire = softwire_at(memory, record.softwire)
    softwire.seen_seconds = now // 1000
    softwire.out_packets += 1
    softwire.out_bytes += record.length
    word = be32(memory, ip + 8)  # TTL, protocol, checksum
    checksum = adjust(word & 0xFFFF, delta)
    put_be32(memory, ip + 8, (word - 0x01000000) & 0xFFFF0000 | checksum)
    put_be32(memory, ip + 12, entry.external_address)
    put_be16(memory, ip + 20, entry.external_port)
    place = ip + (36 if protocol == PROTOCOL_TCP else 26)
    old = be16(memory, place)
    if old != 0 or protocol == PROTOCOL_TCP:
        new = adjust(old, entry.transport_delta)
        put_be16(memory, place, new if new != 0 or protocol == PROTOCOL_TCP else 0xFFFF)
    start = put_link_header(memory, interface, hop, ip, ETHERTYPE_IPV4)
    meta = FORWARD | ACCESS << 8 | INTERNET << 16 | record.cause << 32
    if queue_frame(memory, worker, entry.interface, start, ip + record.length - start, meta):
        count(memory, worker, ACCESS, FORWARDED, 1)
        count(memory, worker, INTERNET, TX, 1)
    else:
        count_drops(memory, worker, ACCESS, TX_FULL, 1)
        give_frame(memory, me.frames, start)
    return True


@kernel
def run_out(memory: Memory, worker: int, list_: int, n: int, vlan: int) -> None:
    """Take `n` frames (start, size | cause << 32, as two int64 each from `list_` on) of the access side through the pipeline."""
    lanes, shift = worker_at(memory, worker).lanes, 18 if vlan > 0 else 14
    count(memory, worker, ACCESS, RX, n)
    for ahead in range(min(DISTANCE, n)):
        prefetch_frame(memory, load64(memory, list_ + 16 * ahead))
    for turn in range(n + 4 * DISTANCE):
        if turn + DISTANCE < n:
            prefetch_frame(memory, load64(memory, list_ + 16 * (turn + DISTANCE)))
        if turn < n:
            packet = lanes + (turn & (LANES - 1)) * LANE_SIZE
            record = packet_at(memory, packet)
            word = load64(memory, list_ + 16 * turn + 8)
            record.start = load64(memory, list_ + 16 * turn)
            record.size = word & M32
            record.cause = word >> 32
            record.ip = record.start + shift
            parse(memory, worker, packet)
        place = turn - DISTANCE
        if 0 <= place < n:
            packet = lanes + (place & (LANES - 1)) * LANE_SIZE
            if packet_at(memory, packet).stage == PLAIN:
                probe_softwire(memory, packet)
        place = turn - 2 * DISTANCE
        if 0 <= place < n:
            packet = lanes + (place & (LANES - 1)) * LANE_SIZE
            if packet_at(memory, packet).stage == PLAIN:
                check_softwire(memory, packet)
        place = turn - 3 * DISTANCE
        if 0 <= place < n:
            packet = lanes + (place & (LANES - 1)) * LANE_SIZE
            if packet_at(memory, packet).stage == PLAIN:
                probe_mapping(memory, packet)
        place = turn - 4 * DISTANCE
        if place >= 0:
            finish(memory, worker, lanes + (place & (LANES - 1)) * LANE_SIZE, vlan)


@inline_kernel
def finish(memory: Memory, worker: int, packet: int, vlan: int) -> None:
    """Last stage: translate, or take the slow way."""
    record = packet_at(memory, packet)
    if record.stage == PLAIN and translate_plain(memory, worker, packet):
        return
    begin(memory, worker, packet, record.start, record.size, ACCESS, record.cause)
    receive(memory, worker, packet, vlan)


@inline_kernel
def prefetch_frame(memory: Memory, start: int) -> None:
    """Ask for the two lines that hold all headers of a plain packet."""
    prefetch_write(memory, start + 14)
    prefetch_write(memory, start + 82)
