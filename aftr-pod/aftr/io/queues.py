"""What a worker does with a queue, whatever its kind: receive, transmit, kick, reclaim, wait.

One turn of a worker: `reclaim` every queue; `receive`, engine, `transmit`; `kick` every queue that got frames; `wait` when there
was nothing to do.  `reclaim` belongs to every turn, also to one after `wait`: there the worker takes up or lets go of a queue (see
`layout`).  A descriptor is (offset of the frame's first byte in `memory`, length), two int64.
"""

from __future__ import annotations

from aftr.io.layout import LIVE, MAX_QUEUES, POLL_SIZE, POLLS, QUEUE_SIZE, RECOVER, WANTED, XDP, queue_at
from aftr.io.packet import receive_packet, transmit_packet
from aftr.io.rings import kick_ring, pending_ring, receive_ring, reclaim_ring, transmit_ring
from aftr.io.syscalls import POLLIN, poll, read
from aftr.lowlevel.bits import M32, Memory, load16, load64_acquire, store16, store64, store64_release
from aftr.lowlevel.kernel import kernel
from aftr.state.frames import give_frame

SOON_MS = 1  # a worker sleeps no longer while frames wait in a TX ring


@kernel
def receive(memory: Memory, queue: int, frames: int, limit: int) -> int:
    """Take at most `limit` received frames, write their descriptors at `frames`, and return how many."""
    q = queue_at(memory, queue)
    if q.live == 0:
        return 0
    if q.kind == XDP:
        return receive_ring(memory, queue, frames, limit)
    return receive_packet(memory, queue, frames, limit)


@kernel
def transmit(memory: Memory, queue: int, descriptors: int, n: int) -> int:
    """Hand over `n` frames to be sent; return how many were accepted.

    The others, which stay the caller's, are the last `n - accepted` of `descriptors` afterwards.
    """
    q = queue_at(memory, queue)
    if q.live == 0:
        q.tx_refused += n
        return 0
    if q.kind == XDP:
        return transmit_ring(memory, queue, descriptors, n)
    return transmit_packet(memory, queue, descriptors, n)


@kernel
def kick(memory: Memory, queue: int) -> int:
    """Wake the kernel for the frames just transmitted, where it must be; number of system calls."""
    q = queue_at(memory, queue)
    if q.live == 0 or q.kind != XDP:
        return 0
    return kick_ring(memory, queue)


@kernel
def _recover(memory: Memory, queue: int) -> int:
    """Give back the frames of a socket that was closed while it held them; how many."""
    q = queue_at(memory, queue)
    n = 0
    for chunk in range(q.chunks):
        if load16(memory, q.holders + 2 * chunk) == q.number:
            store16(memory, q.holders + 2 * chunk, 0)
            give_frame(memory, q.frames, q.umem + (chunk << q.shift))
            n += 1
    q.recovered += n
    return n


@kernel
def reclaim(memory: Memory, queue: int) -> int:
    """Take frames back that were sent, give the device frames to receive into; how many came back.

    First of all follow the control thread: a queue is live from here on, or no longer.
    """
    q = queue_at(memory, queue)
    wanted = load64_acquire(memory, queue + WANTED)
    if wanted != q.live:
        store64_release(memory, queue + LIVE, wanted)
    n = 0
    if load64_acquire(memory, queue + RECOVER) != 0:
        n = _recover(memory, queue)
        store64_release(memory, queue + RECOVER, 0)
    if wanted != 0 and q.kind == XDP:
        n += reclaim_ring(memory, queue)
    return n


@kernel
def wait(memory: Memory, queues: int, count: int, eventfd: int, timeout_ms: int) -> int:
    """Sleep until a frame arrives, another thread writes to `eventfd`, or the time is over; number of ready ones.

    `queues` is the offset of `count` (1 … `MAX_QUEUES`) consecutive QUEUE records; `eventfd` is a non-blocking one, or -1 for
    none; `timeout_ms` -1 is for ever.
    """
    q = queue_at(memory, queues)
    count = min(count, MAX_QUEUES)
    polls = q.scratch + POLLS
    for i in range(count):
        one = queue_at(memory, queues + QUEUE_SIZE * i)
        store64(memory, polls + POLL_SIZE * i, (one.fd if one.live != 0 else M32) | POLLIN << 32)
        if one.live != 0 and one.kind == XDP and pending_ring(memory, queues + QUEUE_SIZE * i) > 0:
            timeout_ms = SOON_MS if timeout_ms < 0 else min(timeout_ms, SOON_MS)
    store64(memory, polls + POLL_SIZE * count, eventfd & M32 | POLLIN << 32)
    ready: int = max(0, poll(q.base + polls, count + 1, timeout_ms))
    if eventfd >= 0:
        read(eventfd, q.base + polls, 8)  # back to zero; the eventfd is non-blocking
    q.waits += 1
    return ready
