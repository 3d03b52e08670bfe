"""Kernels of the benchmark: filling tables, making frames, the memory floor, the one-packet twin, checks.

Python calls one entry, `act`, so that the product's path, which several of these contain, is compiled once.
Arrays of the benchmark (lists of frames, picked flows, columns of addresses) lie in the arena's extra room; all are int64.
"""

from __future__ import annotations

from aftr.lowlevel.bits import (
    Memory,
    be16,
    be32,
    be64,
    load8,
    load16,
    load32,
    load64,
    lshr64,
    prefetch,
    prefetch_write,
    put_be16,
    put_be32,
    put_be64,
    store16,
    store64,
)
from aftr.lowlevel.kernel import inline_kernel, kernel
from aftr.nat.blocks import reverse_word
from aftr.nat.mapping import create_mapping, fold, mapping_hash, mapping_key, open_session, port_key, softwire_of
from aftr.nat.subscriber import address_hash, admit_softwire
from aftr.path import pipeline_in, pipeline_out
from aftr.path.burst import take_frames
from aftr.path.checksum import sum_bytes
from aftr.path.pipeline_out import enter
from aftr.state.counters import FORWARDED, TX, count
from aftr.state.layout import (
    ACCESS,
    IN_SEEN,
    INTERNET,
    LINE,
    OUT_SEEN,
    PROTOCOL_TCP,
    PROTOCOL_UDP,
    SLOT_MAPPINGS,
    SLOT_SOFTWIRES,
    mapping_at,
    output_at,
    pod_at,
    slot_at,
    table_at,
    worker_at,
)
from aftr.state.table import record_number

FLOWS_PER_SUBSCRIBER = 16
FRAME_SIZE = 128
REMOTE_ADDRESS, REMOTE_PORT = 0x08080808, 443
FIRST_B4_HI = 0x20010DB900000000  # 2001:db9::/32, a /64 per subscriber
AHEAD = 32  # packets that the floor prefetches ahead, as the prototype's
BURST = 256
# What `act` does
(
    FILL,
    MAKE_OUT,
    MAKE_IN,
    LINES_OUT,
    LINES_IN,
    RUN,
    TWIN_OUT,
    TWIN_IN,
    FLOOR_OUT,
    FLOOR_IN,
    FLOOR_PROTOTYPE,
    CHECK_OUT,
    CHECK_IN,
    COUNT,
) = range(14)
COLUMNS = 6


# ---------------------------------------------------------------- flows
@inline_kernel
def flow_slot(memory: Memory, flow: int) -> int:
    """Byte offset of the slot of a flow: its subscriber's number modulo the slots."""
    pod = pod_at(memory, 0)
    return load64(memory, pod.slot_table + 8 * ((flow // FLOWS_PER_SUBSCRIBER) % pod.slots))


@inline_kernel
def flow_hi(flow: int) -> int:
    """High half of the B4's address; the low half is 1."""
    return FIRST_B4_HI + flow // FLOWS_PER_SUBSCRIBER


@inline_kernel
def flow_address(flow: int) -> int:
    """Inner IPv4 address."""
    return 0xC0A80102 + ((flow % FLOWS_PER_SUBSCRIBER) >> 3)


@inline_kernel
def flow_port(flow: int) -> int:
    """Inner port."""
    return 20000 + flow % FLOWS_PER_SUBSCRIBER


@inline_kernel
def flow_protocol(flow: int) -> int:
    """Every other flow is TCP."""
    return PROTOCOL_UDP if flow & 1 else PROTOCOL_TCP


@kernel
def fill(memory: Memory, worker: int, first: int, n: int, table: int) -> int:
    """Mappings and established sessions of flows `first` … by the product's own functions, their offsets into `table`; how many."""
    for flow in range(first, first + n):
        slot = flow_slot(memory, flow)
        softwire = admit_softwire(memory, worker, slot, flow_hi(flow), 1)
        if softwire < 0:
            return flow - first
        key = mapping_key(record_number(memory, slot + SLOT_SOFTWIRES, softwire), flow_address(flow))
        protocol = flow_protocol(flow)
        mapping = create_mapping(memory, worker, slot, softwire, key, port_key(protocol, flow_port(flow)))
        if mapping < 0:
            return flow - first
        if protocol == PROTOCOL_TCP:
            open_session(memory, worker, slot, mapping, REMOTE_ADDRESS, REMOTE_PORT, OUT_SEEN | IN_SEEN)
        store64(memory, table + 8 * flow, mapping)
    return n


# ---------------------------------------------------------------- frames
@kernel
def put_ipv4(
    memory: Memory, ip: int, size: int, source: int, destination: int, ports: int, protocol: int, control: int
) -> None:
    """An IPv4 packet of `size` bytes with TCP or UDP, DF set, right checksums; ports: source << 16 | destination."""
    put_be32(memory, ip, 0x45 << 24 | size)
    put_be32(memory, ip + 4, 0x4000)
    put_be32(memory, ip + 8, 64 << 24 | protocol << 16)
    put_be32(memory, ip + 12, source)
    put_be32(memory, ip + 16, destination)
    put_be16(memory, ip + 10, fold(sum_bytes(memory, ip, 20)) ^ 0xFFFF)
    at = ip + 20
    put_be32(memory, at, ports)
    place = at + 6
    if protocol == PROTOCOL_UDP:
        put_be32(memory, at + 4, (size - 20) << 16)
    else:
        place = at + 16
        put_be64(memory, at + 4, 0x12345678)
        put_be64(memory, at + 12, (0x5000 | control) << 48 | 0x1000 << 32)
    total = sum_bytes(memory, at, size - 20) + sum_bytes(memory, ip + 12, 8) + protocol + size - 20
    checksum = fold(total) ^ 0xFFFF
    put_be16(memory, place, checksum if checksum != 0 else 0xFFFF)


@inline_kernel
def frame_start(memory: Memory, number: int) -> int:
    """Where frame `number` begins: XDP's headroom of 256 bytes into its chunk."""
    pod = pod_at(memory, 0)
    start: int = pod.umem + (number << pod.chunk_shift) + 256
    return start


@kernel
def put_out(memory: Memory, start: int, flow: int, control: int) -> None:
    """The frame of a flow as its B4 sends it; its payload is what lies there."""
    put_be64(memory, start, 0x02000000000A0200)
    put_be32(memory, start + 8, 0x00000001)
    put_be16(memory, start + 12, 0x86DD)
    ip6, slot = start + 14, slot_at(memory, flow_slot(memory, flow))
    put_be64(memory, ip6, 0x6 << 60 | (FRAME_SIZE - 54) << 16 | 4 << 8 | 64)
    put_be64(memory, ip6 + 8, flow_hi(flow))
    put_be64(memory, ip6 + 16, 1)
    put_be64(memory, ip6 + 24, slot.tunnel_hi)
    put_be64(memory, ip6 + 32, slot.tunnel_lo)
    ports = flow_port(flow) << 16 | REMOTE_PORT
    size, protocol = FRAME_SIZE - 54, flow_protocol(flow)
    put_ipv4(memory, ip6 + 40, size, flow_address(flow), REMOTE_ADDRESS, ports, protocol, control)


@kernel
def make_out(memory: Memory, list_: int, n: int, picks: int, control: int) -> None:
    """Frames 0 … n − 1 of the flows in `picks`, as their B4s send them."""
    for number in range(n):
        start = frame_start(memory, number)
        store64(memory, list_ + 16 * number, start)
        store64(memory, list_ + 16 * number + 8, FRAME_SIZE)
        put_out(memory, start, load64(memory, picks + 8 * number), control)


@kernel
def make_in(memory: Memory, list_: int, n: int, picks: int, table: int) -> None:
    """Frames 0 … n − 1 to the external endpoints of the flows in `picks`."""
    for number in range(n):
        flow, start = load64(memory, picks + 8 * number), frame_start(memory, number)
        mapping = mapping_at(memory, load64(memory, table + 8 * flow))
        store64(memory, list_ + 16 * number, start)
        store64(memory, list_ + 16 * number + 8, FRAME_SIZE)
        put_be64(memory, start, 0x02000000000A0200)
        put_be32(memory, start + 8, 0x00000002)
        put_be16(memory, start + 12, 0x0800)
        ports = REMOTE_PORT << 16 | mapping.external_port
        put_ipv4(
            memory, start + 14, FRAME_SIZE - 14, REMOTE_ADDRESS, mapping.external_address, ports, mapping.protocol, 0x10
        )


# ---------------------------------------------------------------- the memory floor
@kernel
def put_index_lines(memory: Memory, table: int, hash_: int, target: int, at: int, more: int) -> None:
    """The line of the index where probing for the record at `target` begins; in `more` the one where it ends, 0 for the same."""
    record = table_at(memory, table)
    home, mask = lshr64(hash_, 64 - record.bits), (1 << record.bits) - 1
    wanted = record_number(memory, table, target) + 1
    while load64(memory, record.index + 8 * home) & 0xFFFFFFFF != wanted:
        home = (home + 1) & mask
    first, last = record.index + 8 * lshr64(hash_, 64 - record.bits), record.index + 8 * home
    store64(memory, at, first)
    store64(memory, more, last if last // LINE != first // LINE else 0)


@kernel
def lines_out(memory: Memory, n: int, picks: int, table: int, columns: int) -> None:
    """What outbound packets touch beside their frame: softwire's index line, softwire, mapping's index line, mapping.

    And, in the last two columns, a second line of an index when probing crosses into it.
    """
    for number in range(n):
        flow = load64(memory, picks + 8 * number)
        slot, mapping = flow_slot(memory, flow), load64(memory, table + 8 * flow)
        softwire = softwire_of(memory, slot, mapping)
        at, hash_ = columns + 8 * COLUMNS * number, address_hash(memory, flow_hi(flow), 1)
        put_index_lines(memory, slot + SLOT_SOFTWIRES, hash_, softwire, at, at + 32)
        store64(memory, at + 8, softwire)
        hash_ = mapping_hash(memory, load64(memory, mapping), load32(memory, mapping + 8) & 0xFFFFFF)
        put_index_lines(memory, slot + SLOT_MAPPINGS, hash_, mapping, at + 16, at + 40)
        store64(memory, at + 24, mapping)


@kernel
def lines_in(memory: Memory, n: int, picks: int, table: int, columns: int) -> None:
    """What inbound packets touch beside their frame: softwire, reverse word, mapping (in the places of `lines_out`)."""
    for number in range(n):
        flow = load64(memory, picks + 8 * number)
        slot, mapping = flow_slot(memory, flow), load64(memory, table + 8 * flow)
        entry, at = mapping_at(memory, mapping), columns + 8 * COLUMNS * number
        store64(memory, at + 8, softwire_of(memory, slot, mapping))
        store64(memory, at + 16, reverse_word(memory, slot, entry.external, entry.protocol, entry.external_port))
        store64(memory, at + 24, mapping)


@inline_kernel
def ask(memory: Memory, list_: int, columns: int, number: int, second: int, whole: int) -> None:
    """Prefetch the lines of one packet."""
    start, at = load64(memory, list_ + 16 * number), columns + 8 * COLUMNS * number
    prefetch_write(memory, start + 14)
    prefetch_write(memory, start + second)
    if whole:
        prefetch(memory, load64(memory, at))
        for more in range(at + 32, at + 48, 8):
            if load64(memory, more) > 0:
                prefetch(memory, load64(memory, more))
    prefetch_write(memory, load64(memory, at + 8))
    prefetch(memory, load64(memory, at + 16))
    prefetch_write(memory, load64(memory, at + 24))


@inline_kernel
def add_one(memory: Memory, at: int) -> None:
    """Read and write one word."""
    store64(memory, at, load64(memory, at) + 1)


@inline_kernel
def floor_touch(memory: Memory, list_: int, columns: int, n: int, second: int, whole: int) -> int:
    """Read and write both packet lines, softwire and mapping; read the index words (the softwire's if `whole`). Nothing else.

    All addresses are known in advance and prefetched one batch ahead: the limit of memory parallelism.
    """
    total = 0
    for number in range(min(AHEAD, n)):
        ask(memory, list_, columns, number, second, whole)
    for begin_ in range(0, n, AHEAD):
        end = min(begin_ + AHEAD, n)
        for number in range(end, min(end + AHEAD, n)):
            ask(memory, list_, columns, number, second, whole)
        for number in range(begin_, end):
            start, at = load64(memory, list_ + 16 * number), columns + 8 * COLUMNS * number
            if whole:
                total ^= load64(memory, load64(memory, at))
                for more in range(at + 32, at + 48, 8):
                    if load64(memory, more) > 0:
                        total ^= load64(memory, load64(memory, more))
            total ^= load32(memory, load64(memory, at + 16))
            add_one(memory, start + 22)
            store16(memory, start + second, load16(memory, start + second) + 1)
            add_one(memory, load64(memory, at + 8) + 32)
            add_one(memory, load64(memory, at + 24) + 48)
    return total


# ---------------------------------------------------------------- the product, and its twin
@inline_kernel
def empty_outputs(memory: Memory, worker: int) -> int:
    """Forget what is queued to send, as after a device took it; how many frames it was."""
    outputs, total = worker_at(memory, worker).outputs, 0
    for interface in range(2):
        record = output_at(memory, outputs + interface * LINE)
        total += record.count
        record.count = 0
    return total


@kernel
def run(memory: Memory, worker: int, interface: int, list_: int, n: int) -> int:
    """The product on `n` frames of an interface, in bursts; how many frames it wants to send."""
    sent = 0
    for begin_ in range(0, n, BURST):
        take_frames(memory, worker, interface, list_ + 16 * begin_, min(BURST, n - begin_))
        sent += empty_outputs(memory, worker)
    return sent


@kernel
def twin_out(memory: Memory, worker: int, list_: int, n: int) -> int:
    """The outbound stages, one packet after the other."""
    sent, packet = 0, worker_at(memory, worker).lanes
    seconds = worker_at(memory, worker).now // 1000
    for number in range(n):
        enter(memory, packet, list_ + 16 * number, 14)
        pipeline_out.parse(memory, worker, packet)
        pipeline_out.probe_softwire(memory, packet)
        pipeline_out.check_softwire(memory, packet)
        pipeline_out.probe_mapping(memory, packet)
        forwarded = pipeline_out.finish(memory, worker, packet, 0, seconds)
        count(memory, worker, ACCESS, FORWARDED, forwarded)
        count(memory, worker, INTERNET, TX, forwarded)
        if number & (BURST - 1) == BURST - 1:
            sent += empty_outputs(memory, worker)
    return sent + empty_outputs(memory, worker)


@kernel
def twin_in(memory: Memory, worker: int, list_: int, n: int) -> int:
    """The inbound stages, one packet after the other."""
    sent, packet = 0, worker_at(memory, worker).lanes
    for number in range(n):
        enter(memory, packet, list_ + 16 * number, 14)
        pipeline_in.parse_in(memory, worker, packet)
        pipeline_in.find_plain_mapping(memory, packet)
        pipeline_in.find_plain_softwire(memory, packet)
        forwarded = pipeline_in.finish_in(memory, worker, packet, 0)
        count(memory, worker, INTERNET, FORWARDED, forwarded)
        count(memory, worker, ACCESS, TX, forwarded)
        if number & (BURST - 1) == BURST - 1:
            sent += empty_outputs(memory, worker)
    return sent + empty_outputs(memory, worker)


# ---------------------------------------------------------------- checks
@inline_kernel
def sums_right(memory: Memory, ip: int, size: int) -> bool:
    """Whether the checksums of the IPv4 header and of TCP or UDP verify."""
    total = sum_bytes(memory, ip + 20, size - 20) + sum_bytes(memory, ip + 12, 8) + load8(memory, ip + 9) + size - 20
    return be16(memory, ip + 2) == size and fold(sum_bytes(memory, ip, 20)) == 0xFFFF and fold(total) == 0xFFFF


@kernel
def check_out(memory: Memory, n: int, picks: int, table: int) -> int:
    """How many of the frames, translated in place, are right: endpoints, TTL, checksums, link header."""
    good = 0
    for number in range(n):
        mapping = mapping_at(memory, load64(memory, table + 8 * load64(memory, picks + 8 * number)))
        ip = frame_start(memory, number) + 54
        ends = be32(memory, ip + 12) == mapping.external_address and be32(memory, ip + 16) == REMOTE_ADDRESS
        ports = be32(memory, ip + 20) == mapping.external_port << 16 | REMOTE_PORT
        if ends and ports and load8(memory, ip + 8) == 63 and be16(memory, ip - 2) == 0x0800:
            good += sums_right(memory, ip, FRAME_SIZE - 54)
    return good


@kernel
def check_in(memory: Memory, n: int, picks: int) -> int:
    """How many of the frames, translated and encapsulated in place, are right."""
    good = 0
    for number in range(n):
        flow, ip = load64(memory, picks + 8 * number), frame_start(memory, number) + 14
        ends = be32(memory, ip + 12) == REMOTE_ADDRESS and be32(memory, ip + 16) == flow_address(flow)
        ports = be32(memory, ip + 20) == REMOTE_PORT << 16 | flow_port(flow)
        outer = be64(memory, ip - 16) == flow_hi(flow) and be64(memory, ip - 8) == 1 and be16(memory, ip - 42) == 0x86DD
        if ends and ports and outer and be16(memory, ip - 36) == FRAME_SIZE - 14 and load8(memory, ip + 8) == 63:
            good += sums_right(memory, ip, FRAME_SIZE - 14)
    return good


# ---------------------------------------------------------------- the one entry
@kernel
def act(memory: Memory, worker: int, what: int, list_: int, n: int, picks: int, table: int, columns: int) -> int:
    """Do one of the things above (`FILL` …); see there."""
    result = n
    if what == FILL:
        result = fill(memory, worker, list_, n, table)
    elif what == MAKE_OUT:
        make_out(memory, list_, n, picks, columns)
    elif what == MAKE_IN:
        make_in(memory, list_, n, picks, table)
    elif what == LINES_OUT:
        lines_out(memory, n, picks, table, columns)
    elif what == LINES_IN:
        lines_in(memory, n, picks, table, columns)
    elif what == RUN:
        result = run(memory, worker, columns, list_, n)
    elif what == TWIN_OUT:
        result = twin_out(memory, worker, list_, n)
    elif what == TWIN_IN:
        result = twin_in(memory, worker, list_, n)
    elif what == FLOOR_OUT:
        result = floor_touch(memory, list_, columns, n, 82, 1)
    elif what == FLOOR_IN:
        result = floor_touch(memory, list_, columns, n, -26, 0)
    elif what == FLOOR_PROTOTYPE:
        result = floor_touch(memory, list_, columns, n, 82, 0)
    elif what == CHECK_OUT:
        result = check_out(memory, n, picks, table)
    elif what == CHECK_IN:
        result = check_in(memory, n, picks)
    return result
