"""The outbound pipeline: every stage works on a packet `DISTANCE` behind the one before, so that each memory access was prefetched.

    stage  looks at                      asks for
    0      -                             first two lines of the frame
    1      outer and inner header        index word of the softwire
    2      softwire index                softwire record
    3      softwire record               index word of the mapping
    4      mapping index                 mapping record
    5      mapping: translate and queue

What a turn's packets ask for is asked for together, at its end.  A prefetch whose page is not in the TLB blocks what comes after it
until its address is translated; several in a row wait once, apart they wait each for itself (1M flows: half of all time, then a third).

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
from aftr.nat.mapping import find_mapping, mapping_hash, mapping_key, port_key
from aftr.nat.subscriber import address_hash, find_softwire, subscriber_of
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
    MAPPING,
    OUT_SEEN,
    PROTOCOL_TCP,
    PROTOCOL_UDP,
    RESET,
    SLOT_MAPPINGS,
    SLOT_SOFTWIRES,
    external_at,
    hop_at,
    interface_at,
    mapping_at,
    packet_at,
    pod_at,
    slot_at,
    softwire_at,
    worker_at,
)
from aftr.state.reasons import TX_FULL
from aftr.state.table import index_first, index_home, record_number

DISTANCE = 8  # turns between two stages; measured: 6 to 12 are alike, below 4 memory is too late
EMPTY, SLOW, PLAIN = 0, 1, 2  # stages of a lane: between bursts all are empty
# A mapping's first session as one word: remote address, port, flags, state
_REMOTE = MAPPING.fields["remote_address"][1]  # type: ignore[index]
_SEEN_FROM_INSIDE = OUT_SEEN << 48 | LIVE << 56
_SESSION = 0xFFFFFFFFFFFF | (OUT_SEEN | RESET) << 48 | 0x7F << 56
OPENING_OR_CLOSING = 1 | 2 | 4  # FIN, SYN, RST
_DESTINATION_OPTIONS, _ONE_OPTION = 60, 0x0400  # next header IPv4, length 0: the 8-byte header of Linux's ip6tnl


@inline_kernel
def parse(memory: Memory, worker: int, packet: int) -> int:
    """Stage 1: is it a plain TCP or UDP packet of an open slot of this worker? Then its keys."""
    record = packet_at(memory, packet)
    ip6 = record.ip
    if record.start + record.size - ip6 < 68 or be16(memory, ip6 - 2) != ETHERTYPE_IPV6:
        return 0
    inner = ip6 + 40
    next_header = load8(memory, ip6 + 6)
    if next_header != NEXT_IPV4:
        if next_header != _DESTINATION_OPTIONS or be16(memory, inner) != _ONE_OPTION:
            return 0
        inner += 8
    number = tunnel_slot(memory, be64(memory, ip6 + 24), be64(memory, ip6 + 32))
    if number < 0 or load8(memory, ip6) >> 4 != 6:
        return 0
    slot = slot_offset(memory, number)
    if slot == 0 or slot_worker(memory, number) != worker_at(memory, worker).number:
        return 0
    payload_end = ip6 + 40 + be16(memory, ip6 + 4)
    length = be16(memory, inner + 2)
    fits = payload_end <= record.start + record.size and inner + length <= payload_end and length >= 28
    if not fits or not plain_ipv4(memory, inner, length) or (be16(memory, ip6) >> 4) & 0xFF != load8(memory, inner + 1):
        return 0
    record.ip = inner
    record.length = length
    record.slot = slot
    record.hi = be64(memory, ip6 + 8)
    record.lo = be64(memory, ip6 + 16)
    record.hash = address_hash(memory, record.hi, record.lo)
    record.stage = PLAIN
    return index_home(memory, slot + SLOT_SOFTWIRES, record.hash)


@inline_kernel
def plain_ipv4(memory: Memory, ip: int, length: int) -> bool:
    """No options, no fragment, right checksum, TTL left; UDP with a right length, or TCP neither opening nor closing.

    TCP and UDP alternate as they like, so that which it is is reckoned with, not branched on.
    """
    first, second, third = be64(memory, ip), be64(memory, ip + 8), be32(memory, ip + 16)
    if (first >> 56) & 0xFF != 0x45 or first & 0xBFFF != 0:
        return False
    total = (first & M32) + ((first >> 32) & M32) + (second & M32) + ((second >> 32) & M32) + third
    if total % 0xFFFF != 0:
        return False
    protocol, ports = (second >> 48) & 0xFF, be32(memory, ip + 20)
    if (second >> 56) & 0xFF <= 1 or ports >> 16 == 0 or ports & 0xFFFF == 0:
        return False
    tcp, udp = int(protocol == PROTOCOL_TCP), int(protocol == PROTOCOL_UDP)
    word = be16(memory, ip + 24 + 8 * tcp)  # UDP: length; TCP: data offset, control bits
    size = (word >> 12 * tcp) << 2 * tcp
    return tcp + udp != 0 and 8 + 12 * tcp <= size <= length - 20 and word & OPENING_OR_CLOSING * tcp == 0


@inline_kernel
def probe_softwire(memory: Memory, packet: int) -> int:
    """Stage 2: the first softwire whose tag matches."""
    record = packet_at(memory, packet)
    if record.stage != PLAIN:
        return 0
    softwire = index_first(memory, record.slot + SLOT_SOFTWIRES, record.hash)
    if softwire == 0:
        record.stage = SLOW
    record.softwire = softwire
    return softwire


@inline_kernel
def check_softwire(memory: Memory, packet: int) -> int:
    """Stage 3: is it that softwire, and still admitted? Then where its mapping would be."""
    record = packet_at(memory, packet)
    if record.stage != PLAIN:
        return 0
    softwire = record.softwire
    if load64(memory, softwire) != record.hi or load64(memory, softwire + 8) != record.lo:
        softwire = find_softwire(memory, record.slot, record.hi, record.lo)
        if softwire == 0:
            record.stage = SLOW
            return 0
        record.softwire = softwire
    if softwire_at(memory, softwire).generation != pod_at(memory, 0).generation & 0xFF:
        record.stage = SLOW
        return 0
    ip = record.ip
    number = record_number(memory, record.slot + SLOT_SOFTWIRES, softwire)
    record.key = mapping_key(number, be32(memory, ip + 12))
    record.port = port_key(load8(memory, ip + 9), be16(memory, ip + 20))
    record.hash = mapping_hash(memory, record.key, record.port)
    return index_home(memory, record.slot + SLOT_MAPPINGS, record.hash)


@inline_kernel
def probe_mapping(memory: Memory, packet: int) -> int:
    """Stage 4: the first mapping whose tag matches."""
    record = packet_at(memory, packet)
    if record.stage != PLAIN:
        return 0
    mapping = index_first(memory, record.slot + SLOT_MAPPINGS, record.hash)
    record.mapping = mapping
    if mapping == 0:  # it will be made: its subscriber is asked first
        record.stage = SLOW
        return subscriber_of(memory, record.slot, record.softwire)
    return mapping


@inline_kernel
def only_hop(memory: Memory, interface: int) -> int:
    """The interface's next hop when it has no choice: one default hop, resolved; else 0."""
    record = interface_at(memory, interface)
    if record.route_count == 0 and record.hop_count == 1 and hop_at(memory, record.hops).resolved == 1:
        return record.hops
    return 0


@inline_kernel
def translate_plain(memory: Memory, worker: int, packet: int, seconds: int) -> bool:
    """Stage 5: translate in place and queue; False when the packet needs the slow way after all (nothing is changed then).

    The caller counts it as forwarded.
    """
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
    tcp = int(record.port >> 16 == PROTOCOL_TCP)
    session = (
        load64(memory, mapping + _REMOTE) ^ (destination | be16(memory, ip + 22) << 32 | _SEEN_FROM_INSIDE)
    ) & _SESSION
    if int(session != 0) * (tcp + pod_at(memory, 0).filtering) != ENDPOINT_INDEPENDENT:
        return False
    if entry.flags != 0:
        return False
    interface = interface_offset(memory, entry.interface)
    df = be16(memory, ip + 6) & 0x4000
    hop = only_hop(memory, interface)
    if hop == 0:
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
    softwire.seen_seconds = seconds
    softwire.out_packets += 1
    softwire.out_bytes += record.length
    word = be32(memory, ip + 8)  # TTL, protocol, checksum
    checksum = adjust(word & 0xFFFF, delta)
    put_be32(memory, ip + 8, (word - 0x01000000) & 0xFFFF0000 | checksum)
    put_be32(memory, ip + 12, entry.external_address)
    put_be16(memory, ip + 20, entry.external_port)
    place = ip + 26 + 10 * tcp
    old = be16(memory, place)
    if old + tcp != 0:  # UDP without checksum stays so
        new = adjust(old, entry.transport_delta)
        put_be16(memory, place, new if new + tcp != 0 else 0xFFFF)
    start = put_link_header(memory, interface, hop, ip, ETHERTYPE_IPV4)
    meta = FORWARD | ACCESS << 8 | INTERNET << 16 | record.cause << 32
    if not queue_frame(memory, worker, entry.interface, start, ip + record.length - start, meta):
        count(memory, worker, ACCESS, FORWARDED, -1)
        count(memory, worker, INTERNET, TX, -1)
        count_drops(memory, worker, ACCESS, TX_FULL, 1)
        give_frame(memory, me.frames, start)
    return True


@inline_kernel
def lane(lanes: int, turn: int) -> int:
    """The packet record of the packet that entered in this turn."""
    return lanes + (turn & (LANES - 1)) * LANE_SIZE


@inline_kernel
def enter(memory: Memory, packet: int, item: int, shift: int) -> None:
    """Stage 0 is over: the frame of a list's item into its packet record."""
    record = packet_at(memory, packet)
    word = load64(memory, item + 8)
    record.start = load64(memory, item)
    record.size = word & M32
    record.cause = word >> 32
    record.ip = record.start + shift
    record.stage = SLOW


@kernel
def run_out(memory: Memory, worker: int, list_: int, n: int, vlan: int) -> None:
    """Take `n` frames (start, size | cause << 32, as two int64 each from `list_` on) of the access side through the pipeline."""
    me, shift = worker_at(memory, worker), 18 if vlan > 0 else 14
    lanes, seconds, forwarded = me.lanes, me.now // 1000, 0
    count(memory, worker, ACCESS, RX, n)
    for ahead in range(min(DISTANCE, n)):
        prefetch_frame(memory, load64(memory, list_ + 16 * ahead))
    for turn in range(n + 4 * DISTANCE):
        forwarded += finish(memory, worker, lane(lanes, turn - 4 * DISTANCE), vlan, seconds)
        mapping = probe_mapping(memory, lane(lanes, turn - 3 * DISTANCE))
        mapping_index = check_softwire(memory, lane(lanes, turn - 2 * DISTANCE))
        softwire = probe_softwire(memory, lane(lanes, turn - DISTANCE))
        softwire_index = 0
        if turn < n:
            enter(memory, lane(lanes, turn), list_ + 16 * turn, shift)
            softwire_index = parse(memory, worker, lane(lanes, turn))
        prefetch_write(memory, mapping)
        prefetch(memory, mapping_index)
        prefetch_write(memory, softwire)
        prefetch(memory, softwire_index)
        if turn + DISTANCE < n:
            prefetch_frame(memory, load64(memory, list_ + 16 * (turn + DISTANCE)))
    count(memory, worker, ACCESS, FORWARDED, forwarded)
    count(memory, worker, INTERNET, TX, forwarded)


@inline_kernel
def finish(memory: Memory, worker: int, packet: int, vlan: int, seconds: int) -> int:
    """Last stage: translate, or take the slow way; how many packets still have to be counted as forwarded."""
    record = packet_at(memory, packet)
    stage = record.stage
    record.stage = EMPTY
    if stage == PLAIN and translate_plain(memory, worker, packet, seconds):
        return 1
    if stage != EMPTY:
        begin(memory, worker, packet, record.start, record.size, ACCESS, record.cause)
        receive(memory, worker, packet, vlan)
    return 0


@inline_kernel
def prefetch_frame(memory: Memory, start: int) -> None:
    """Ask for the two lines that hold all headers of a plain packet."""
    prefetch_write(memory, start + 14)
    prefetch_write(memory, start + 82)
