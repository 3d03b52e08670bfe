"""One turn of a worker: time, hand-overs, received frames, pending hairpins.  Devices are elsewhere (`ops.loop`)."""

from __future__ import annotations

from aftr.lowlevel.bits import M32, Memory, be16, load64, store64
from aftr.lowlevel.kernel import kernel
from aftr.path.commit import release_committed
from aftr.path.handover import EVENT_SHIFT, HAIRPIN_BIT, ORIGINATED_BIT, VLAN_SHIFT, pop, push, ring_between
from aftr.path.pipeline_in import run_in
from aftr.path.pipeline_out import run_out
from aftr.path.receive import begin, receive, receive_internet
from aftr.path.send import ETHERTYPE_ARP, ETHERTYPE_IPV4, interface_offset
from aftr.path.sweep import sweep
from aftr.state.frames import frames_at, give_frame, take_frame
from aftr.state.layout import (
    ACCESS,
    INTERNET,
    LANE_SIZE,
    RING_ITEM,
    SLOW_LANE,
    interface_at,
    packet_at,
    pod_at,
    worker_at,
)

RETURNED = 1 << 11  # meta of a ring item that only gives a free frame back
RETURN_BATCH = 256


@kernel
def take_item(memory: Memory, worker: int, start: int, size: int, meta: int, cause: int) -> None:
    """A frame from another worker, or a hairpinned packet."""
    if meta & RETURNED:
        give_frame(memory, worker_at(memory, worker).frames, start)
        return
    packet = worker_at(memory, worker).lanes + SLOW_LANE * LANE_SIZE
    side = meta & 0xFF
    begin(memory, worker, packet, start, size, side, cause)
    record = packet_at(memory, packet)
    if meta & HAIRPIN_BIT:
        record.ip = start
        record.inbound = 1
        record.hairpin = 1
        record.originated = 1 if meta & ORIGINATED_BIT else 0
        record.event = (meta >> EVENT_SHIFT) & 0xFF
        receive_internet(memory, worker, packet, start + size)
        return
    receive(memory, worker, packet, meta >> VLAN_SHIFT)


@kernel
def take_pending(memory: Memory, worker: int) -> None:
    """Hairpinned packets of this worker; what they cause in turn (errors) comes last."""
    me = worker_at(memory, worker)
    number = 0
    while number < me.pending_count:
        item = me.pending + number * RING_ITEM
        start, size = load64(memory, item), load64(memory, item + 8)
        take_item(memory, worker, start, size, load64(memory, item + 16), load64(memory, item + 24))
        number += 1
    me.pending_count = 0


@kernel
def take_handed_over(memory: Memory, worker: int, limit: int) -> int:
    """Up to `limit` frames that each other worker handed over; how many."""
    pod, me = pod_at(memory, 0), worker_at(memory, worker)
    item = me.lanes + (SLOW_LANE + 1) * LANE_SIZE
    taken = 0
    for source in range(pod.workers):
        if source == me.number:
            continue
        ring = ring_between(memory, worker, source, me.number)
        for _ in range(limit):
            if not pop(memory, ring, item):
                break
            start, size = load64(memory, item), load64(memory, item + 8)
            take_item(memory, worker, start, size, load64(memory, item + 16), load64(memory, item + 24))
            taken += 1
    return taken


@kernel
def take_frames(memory: Memory, worker: int, interface: int, list_: int, n: int) -> None:
    """`n` received frames of one interface (start, size | cause << 32 each) through the pipeline of their side."""
    record = interface_at(memory, interface_offset(memory, interface))
    if record.side == ACCESS:
        run_out(memory, worker, list_, n, record.vlan)
    elif record.side == INTERNET:
        run_in(memory, worker, list_, n, record.vlan)
    else:
        split_sides(memory, worker, list_, n, record.vlan)


@kernel
def split_sides(memory: Memory, worker: int, list_: int, n: int, vlan: int) -> None:
    """One-armed: IPv4 and ARP frames are internet side, all others access side."""
    me = worker_at(memory, worker)
    to_access, to_internet = 0, 0
    for number in range(n):
        start, word = load64(memory, list_ + 16 * number), load64(memory, list_ + 16 * number + 8)
        at = start + (16 if vlan > 0 else 12)
        kind = be16(memory, at) if word & M32 >= at - start + 2 else 0
        if kind in (ETHERTYPE_IPV4, ETHERTYPE_ARP):
            store64(memory, me.internet_list + 16 * to_internet, start)
            store64(memory, me.internet_list + 16 * to_internet + 8, word)
            to_internet += 1
        else:
            store64(memory, me.access_list + 16 * to_access, start)
            store64(memory, me.access_list + 16 * to_access + 8, word)
            to_access += 1
    run_out(memory, worker, me.access_list, to_access, vlan)
    run_in(memory, worker, me.internet_list, to_internet, vlan)


@kernel
def return_surplus(memory: Memory, worker: int) -> None:
    """Frames that came by hand-over go back, so that no worker runs out: to the one that has fewest."""
    me, pod = worker_at(memory, worker), pod_at(memory, 0)
    mine = frames_at(memory, me.frames)
    if mine.count < mine.total + RETURN_BATCH:
        return
    poorest, fewest = -1, mine.count
    for number in range(pod.workers):
        have = frames_at(memory, worker_at(memory, pod.worker_table + number * pod.worker_stride).frames).count
        if have < fewest:
            poorest, fewest = number, have
    if poorest < 0 or poorest == me.number:
        return
    ring = ring_between(memory, worker, me.number, poorest)
    for _ in range(RETURN_BATCH):
        frame = take_frame(memory, me.frames)
        if not push(memory, ring, frame, 0, RETURNED, 0):
            give_frame(memory, me.frames, frame)
            return


@kernel
def turn(memory: Memory, worker: int, interface: int, list_: int, n: int, sweeps: bool) -> int:
    """All that a worker does between two looks at its devices: time (if `sweeps`), `n` received frames, hand-overs, hairpins.

    Returns how many frames it took that were handed over, or had waited to be stored.  One entry for run, replay and tests.
    """
    released = release_committed(memory, worker)
    if sweeps:
        sweep(memory, worker)
    if n > 0:
        take_frames(memory, worker, interface, list_, n)
    taken = take_handed_over(memory, worker, 256)
    take_pending(memory, worker)
    if pod_at(memory, 0).workers > 1:
        return_surplus(memory, worker)
    return taken + released
