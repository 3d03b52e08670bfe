"""AF_XDP: the four rings of a socket, from the worker's side (Documentation/networking/af_xdp.rst of the kernel).

RX and DONE (the completion ring) are read, TX and FILL written.  An index counts up for ever modulo 2**32; the kernel owns the other end.
Every function here is for a queue of kind XDP that is live; `queues` asks.
"""

from __future__ import annotations

from aftr.io.layout import DESCRIPTOR_SIZE, queue_at
from aftr.io.syscalls import MSG_DONTWAIT, recvfrom, sendto
from aftr.lowlevel.bits import M32, Memory, load32_at, load64, load64_at, store16, store32_at, store64, store64_at
from aftr.lowlevel.kernel import kernel
from aftr.state.frames import HEADROOM, frames_at, give_frame, take_frame

NEED_WAKEUP = 1  # XDP_RING_NEED_WAKEUP
COPY_BATCH = 32  # TX_BATCH_SIZE of net/xdp/xsk.c: what one sendto() sends in copy mode


@kernel
def receive_ring(memory: Memory, queue: int, frames: int, limit: int) -> int:
    """RX ring → descriptors at `frames`; number of frames."""
    q = queue_at(memory, queue)
    consumer = load32_at(q.rx_consumer)
    n = min((load32_at(q.rx_producer) - consumer) & M32, limit)
    if n <= 0:
        return 0
    descriptors, mask, umem, shift, holders = q.rx_descriptors, q.rx_size - 1, q.umem, q.shift, q.holders
    for i in range(n):
        descriptor = descriptors + DESCRIPTOR_SIZE * ((consumer + i) & mask)
        address = load64_at(descriptor)
        store64(memory, frames + DESCRIPTOR_SIZE * i, umem + address)
        store64(memory, frames + DESCRIPTOR_SIZE * i + 8, load32_at(descriptor + 8))
        store16(memory, holders + 2 * (address >> shift), 0)
    store32_at(q.rx_consumer, consumer + n)
    q.rx_frames += n
    return n


@kernel
def transmit_ring(memory: Memory, queue: int, descriptors: int, n: int) -> int:
    """Descriptors → TX ring, as many as have room; how many.  The kernel looks at them after `kick_ring`."""
    q = queue_at(memory, queue)
    producer = load32_at(q.tx_producer)
    accepted: int = min(q.tx_size - ((producer - load32_at(q.tx_consumer)) & M32), n)
    ring, mask, umem, shift, holders, number = q.tx_descriptors, q.tx_size - 1, q.umem, q.shift, q.holders, q.number
    for i in range(accepted):
        descriptor = ring + DESCRIPTOR_SIZE * ((producer + i) & mask)
        address = load64(memory, descriptors + DESCRIPTOR_SIZE * i) - umem
        store64_at(descriptor, address)
        store64_at(descriptor + 8, load64(memory, descriptors + DESCRIPTOR_SIZE * i + 8))  # length, and options = 0
        store16(memory, holders + 2 * (address >> shift), number)
    if accepted > 0:
        store32_at(q.tx_producer, producer + accepted)
        q.tx_frames += accepted
    q.tx_refused += n - accepted
    return accepted


@kernel
def kick_ring(memory: Memory, queue: int) -> int:
    """Make the kernel send what is in the TX ring; number of system calls.

    In copy mode each call sends at most `COPY_BATCH` frames, so it is repeated until the ring is empty or nothing moves
    (a full completion ring or send buffer, a zero-copy driver that works on its own): the rest goes with the next kick.
    """
    q = queue_at(memory, queue)
    producer, consumer = load32_at(q.tx_producer), load32_at(q.tx_consumer)
    calls = 0
    while consumer != producer and load32_at(q.tx_flags) & NEED_WAKEUP and calls <= q.tx_size // COPY_BATCH:
        sendto(q.fd, 0, 0, MSG_DONTWAIT, 0, 0)
        calls += 1
        before = consumer
        consumer = load32_at(q.tx_consumer)
        if consumer == before:
            break
    q.kicks += calls
    return calls


@kernel
def _collect(memory: Memory, queue: int) -> int:
    """Completion ring → stack; how many."""
    q = queue_at(memory, queue)
    consumer = load32_at(q.done_consumer)
    n = (load32_at(q.done_producer) - consumer) & M32
    for i in range(n):
        address = load64_at(q.done_descriptors + 8 * ((consumer + i) & (q.done_size - 1)))
        store16(memory, q.holders + 2 * (address >> q.shift), 0)
        give_frame(memory, q.frames, q.umem + address)
    if n > 0:
        store32_at(q.done_consumer, consumer + n)
    return n


@kernel
def _refill(memory: Memory, queue: int) -> None:
    """Stack → FILL ring, leaving `reserve` chunks."""
    q = queue_at(memory, queue)
    producer = load32_at(q.fill_producer)
    offered = (producer - load32_at(q.fill_consumer)) & M32
    n = max(0, min(min(q.fill_size, q.share) - offered, frames_at(memory, q.frames).count - q.reserve))
    for i in range(n):
        address = take_frame(memory, q.frames) - HEADROOM - q.umem
        store64_at(q.fill_descriptors + 8 * ((producer + i) & (q.fill_size - 1)), address)
        store16(memory, q.holders + 2 * (address >> q.shift), q.number)
    if n > 0:
        store32_at(q.fill_producer, producer + n)
    if offered + n > 0 and load32_at(q.fill_flags) & NEED_WAKEUP:  # a driver that had run out
        recvfrom(q.fd, 0, 0, MSG_DONTWAIT, 0, 0)
        q.refill_kicks += 1


@kernel
def reclaim_ring(memory: Memory, queue: int) -> int:
    """Take sent frames back, then give the device fresh ones to receive into; frames taken back."""
    collected = _collect(memory, queue)
    _refill(memory, queue)
    return collected


@kernel
def pending_ring(memory: Memory, queue: int) -> int:
    """Frames in the TX ring that the kernel has not taken yet."""
    q = queue_at(memory, queue)
    pending: int = (load32_at(q.tx_producer) - load32_at(q.tx_consumer)) & M32
    return pending
