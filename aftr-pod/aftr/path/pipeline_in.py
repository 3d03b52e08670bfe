"""The inbound pipeline (see `pipeline_out`).

stage  looks at                       asks for
0      -                              first lines of the frame, and the line before it (the outer header)
1      IPv4 and transport header      reverse word of the external endpoint
2      reverse word                   mapping record
3      mapping                        softwire record
4      mapping, softwire: translate, encapsulate and queue
"""

from __future__ import annotations

from aftr.lowlevel.bits import (
    Memory,
    be16,
    be32,
    load8,
    load32,
    load64,
    prefetch,
    prefetch_write,
    put_be16,
    put_be32,
)
from aftr.lowlevel.kernel import inline_kernel, kernel
from aftr.nat.blocks import reverse_word
from aftr.nat.mapping import softwire_of
from aftr.path.checksum import adjust
from aftr.path.handover import slot_worker
from aftr.path.icmp import softwire_mtu
from aftr.path.inbound import flow_label
from aftr.path.locate import find_range, range_external, range_slot, slot_offset
from aftr.path.pipeline_out import EMPTY, PLAIN, SLOW, enter, lane, only_hop, plain_ipv4
from aftr.path.receive import begin, receive
from aftr.path.send import (
    ETHERTYPE_IPV4,
    ETHERTYPE_IPV6,
    FORWARD,
    NEXT_IPV4,
    find_hop,
    interface_offset,
    put_ipv6_header,
    put_link_header,
    queue_frame,
)
from aftr.state.counters import FORWARDED, RX, TX, count, count_drops
from aftr.state.frames import give_frame
from aftr.state.layout import (
    ACCESS,
    IN_SEEN,
    INTERNET,
    LIVE,
    MAPPING,
    PROTOCOL_TCP,
    RESET,
    SLOT_MAPPINGS,
    mapping_at,
    packet_at,
    pod_at,
    range_at,
    softwire_at,
    worker_at,
)
from aftr.state.reasons import TX_FULL
from aftr.state.table import record_offset

# A mapping's first session as one word: remote address, port, flags, state
_REMOTE = MAPPING.fields["remote_address"][1]  # type: ignore[index]
_SEEN_BOTH_WAYS = IN_SEEN << 48 | LIVE << 56
_SESSION = 0xFFFFFFFFFFFF | (IN_SEEN | RESET) << 48 | 0x7F << 56
DISTANCE = 8  # as in `pipeline_out`


@inline_kernel
def parse_in(memory: Memory, worker: int, packet: int) -> int:
    """Stage 1: is it a plain TCP or UDP packet to an open slot of this worker? Then its reverse word."""
    record = packet_at(memory, packet)
    ip = record.ip
    if record.start + record.size - ip < 28 or be16(memory, ip - 2) != ETHERTYPE_IPV4:
        return 0
    length = be16(memory, ip + 2)
    if length < 28 or ip + length > record.start + record.size or not plain_ipv4(memory, ip, length):
        return 0
    destination = be32(memory, ip + 16)
    entry = pod_at(memory, 0).range_table
    if destination & range_at(memory, entry).mask != range_at(memory, entry).base:
        entry = find_range(memory, destination)
        if entry == 0:
            return 0
    number = range_slot(memory, entry, destination)
    slot = slot_offset(memory, number)
    if slot == 0 or slot_worker(memory, number) != worker_at(memory, worker).number:
        return 0
    record.length = length
    record.slot = slot
    protocol = load8(memory, ip + 9)
    record.hash = reverse_word(
        memory, slot, range_external(memory, entry, destination), protocol, be16(memory, ip + 22)
    )
    record.stage = PLAIN
    return record.hash


@inline_kernel
def find_plain_mapping(memory: Memory, packet: int) -> int:
    """Stage 2: the mapping that the reverse word names."""
    record = packet_at(memory, packet)
    if record.stage != PLAIN:
        return 0
    number = load32(memory, record.hash)
    if number == 0:
        record.stage = SLOW
        return 0
    record.mapping = record_offset(memory, record.slot + SLOT_MAPPINGS, number - 1)
    return record.mapping


@inline_kernel
def find_plain_softwire(memory: Memory, packet: int) -> int:
    """Stage 3: the softwire of the mapping."""
    record = packet_at(memory, packet)
    if record.stage != PLAIN:
        return 0
    record.softwire = softwire_of(memory, record.slot, record.mapping)
    return record.softwire


@inline_kernel
def encapsulate_plain(memory: Memory, worker: int, packet: int) -> bool:
    """Stage 4: translate in place, encapsulate and queue; False when the packet needs the slow way (nothing is changed then)."""
    record, me, pod = packet_at(memory, packet), worker_at(memory, worker), pod_at(memory, 0)
    ip, entry = record.ip, mapping_at(memory, record.mapping)
    tcp = int(entry.protocol == PROTOCOL_TCP)
    source, far, port = be32(memory, ip + 12), be16(memory, ip + 20), be16(memory, ip + 22)
    session = (load64(memory, record.mapping + _REMOTE) ^ (source | far << 32 | _SEEN_BOTH_WAYS)) & _SESSION
    if session & -tcp != 0 or (1 - tcp) * (pod.filtering + pod.udp_refresh_by_inbound) != 0:
        return False
    if entry.flags != 0 or record.length + 40 > softwire_mtu(memory, record.softwire):
        return False
    record.flow = flow_label(memory, packet, far << 16 | port)
    softwire = softwire_at(memory, record.softwire)
    interface = interface_offset(memory, pod.access_interface)
    hop = only_hop(memory, interface)
    if hop == 0:
        hop = find_hop(memory, pod.access_interface, softwire.hi, softwire.lo, record.flow)
    if hop == 0:
        return False
    entry.session_seen = me.now if tcp else entry.session_seen
    entry.seen = me.now if tcp else entry.seen
    softwire.in_packets += 1
    softwire.in_bytes += record.length
    word = be32(memory, ip + 8)
    checksum = adjust(word & 0xFFFF, (entry.address_delta ^ 0xFFFF) + 0xFEFF)
    put_be32(memory, ip + 8, (word - 0x01000000) & 0xFFFF0000 | checksum)
    put_be32(memory, ip + 16, entry.internal_address)
    put_be16(memory, ip + 22, entry.internal_port)
    place = ip + 26 + 10 * tcp
    old = be16(memory, place)
    if old + tcp != 0:  # UDP without checksum stays so
        new = adjust(old, entry.transport_delta ^ 0xFFFF)
        put_be16(memory, place, new if new + tcp != 0 else 0xFFFF)
    tos = load8(memory, ip + 1)
    if pod.dscp_preservation == 0:
        tos &= 3
    outer = ip - 40
    put_ipv6_header(memory, record.slot, outer, tos, record.flow, record.length, NEXT_IPV4, softwire.hi, softwire.lo)
    start = put_link_header(memory, interface, hop, outer, ETHERTYPE_IPV6)
    meta = FORWARD | INTERNET << 8 | ACCESS << 16 | record.cause << 32
    if not queue_frame(memory, worker, pod.access_interface, start, ip + record.length - start, meta):
        count(memory, worker, INTERNET, FORWARDED, -1)
        count(memory, worker, ACCESS, TX, -1)
        count_drops(memory, worker, INTERNET, TX_FULL, 1)
        give_frame(memory, me.frames, start)
    return True


@kernel
def run_in(memory: Memory, worker: int, list_: int, n: int, vlan: int) -> None:
    """Take `n` frames (start, size | cause << 32, as two int64 each from `list_` on) of the internet side through the pipeline."""
    lanes, shift, forwarded = worker_at(memory, worker).lanes, 18 if vlan > 0 else 14, 0
    count(memory, worker, INTERNET, RX, n)
    for ahead in range(min(DISTANCE, n)):
        prefetch_frame_in(memory, load64(memory, list_ + 16 * ahead))
    for turn in range(n + 3 * DISTANCE):
        forwarded += finish_in(memory, worker, lane(lanes, turn - 3 * DISTANCE), vlan)
        softwire = find_plain_softwire(memory, lane(lanes, turn - 2 * DISTANCE))
        mapping = find_plain_mapping(memory, lane(lanes, turn - DISTANCE))
        reverse = 0
        if turn < n:
            enter(memory, lane(lanes, turn), list_ + 16 * turn, shift)
            reverse = parse_in(memory, worker, lane(lanes, turn))
        prefetch_write(memory, softwire)
        prefetch_write(memory, mapping)
        prefetch(memory, reverse)
        if turn + DISTANCE < n:
            prefetch_frame_in(memory, load64(memory, list_ + 16 * (turn + DISTANCE)))
    count(memory, worker, INTERNET, FORWARDED, forwarded)
    count(memory, worker, ACCESS, TX, forwarded)


@inline_kernel
def finish_in(memory: Memory, worker: int, packet: int, vlan: int) -> int:
    """Last stage: encapsulate, or take the slow way; how many packets still have to be counted as forwarded."""
    record = packet_at(memory, packet)
    stage = record.stage
    record.stage = EMPTY
    if stage == PLAIN and encapsulate_plain(memory, worker, packet):
        return 1
    if stage != EMPTY:
        begin(memory, worker, packet, record.start, record.size, INTERNET, record.cause)
        receive(memory, worker, packet, vlan)
    return 0


@inline_kernel
def prefetch_frame_in(memory: Memory, start: int) -> None:
    """Ask for the line of the IPv4 headers and for the one before, where the outer header will be."""
    prefetch_write(memory, start + 14)
    prefetch_write(memory, start - 26)
