"""AF_PACKET: up to `BATCH` frames per system call, straight into and out of the arena.

Slower than AF_XDP (one copy and one skb per frame), but it needs no XDP, no BPF object and no driver support.
Between two calls the socket holds none of our frames.  Every function here is for a queue of kind PACKET that is live; `queues` asks.
"""

from __future__ import annotations

from aftr.io.layout import BATCH, DESCRIPTOR_SIZE, HEADER_SIZE, VECTOR_SIZE, VECTORS, queue_at
from aftr.io.syscalls import EINTR, EINVAL, EMSGSIZE, MSG_DONTWAIT, MSG_TRUNC, last_error, recvmmsg, sendmmsg
from aftr.lowlevel.bits import Memory, load32, load64, store64
from aftr.lowlevel.kernel import kernel
from aftr.state.frames import HEADROOM, frames_at, give_frame, take_frame

# struct mmsghdr: msg_name, msg_namelen, msg_iov (16), msg_iovlen (24), msg_control, msg_controllen, msg_flags (48), msg_len (56)
_IOV, _IOVLEN, _FLAGS, _LENGTH = 16, 24, 48, 56
ATTEMPTS = 16  # frames of one batch that may be refused one by one before the rest is


@kernel
def prepare_packet(memory: Memory, queue: int) -> None:
    """Point each message header at its vector, once, when the queue is opened."""
    q = queue_at(memory, queue)
    for i in range(BATCH):
        header = q.scratch + HEADER_SIZE * i
        for place in range(0, HEADER_SIZE, 8):
            store64(memory, header + place, 0)
        store64(memory, header + _IOV, q.base + q.scratch + VECTORS + VECTOR_SIZE * i)
        store64(memory, header + _IOVLEN, 1)


@kernel
def receive_packet(memory: Memory, queue: int, frames: int, limit: int) -> int:
    """recvmmsg into fresh frames → descriptors at `frames`; number of frames."""
    q = queue_at(memory, queue)
    wanted = min(limit, BATCH, frames_at(memory, q.frames).count - q.reserve)
    if wanted <= 0:
        return 0
    room = (1 << q.shift) - HEADROOM
    vectors = q.scratch + VECTORS
    for i in range(wanted):
        store64(memory, vectors + VECTOR_SIZE * i, q.base + take_frame(memory, q.frames))
        store64(memory, vectors + VECTOR_SIZE * i + 8, room)
    got = max(0, recvmmsg(q.fd, q.base + q.scratch, wanted, MSG_DONTWAIT, 0))
    for back in range(wanted - got):
        give_frame(memory, q.frames, load64(memory, vectors + VECTOR_SIZE * (wanted - 1 - back)) - q.base)
    n = 0
    for i in range(got):
        frame = load64(memory, vectors + VECTOR_SIZE * i) - q.base
        header = q.scratch + HEADER_SIZE * i
        if load32(memory, header + _FLAGS) & MSG_TRUNC:
            q.rx_truncated += 1
            give_frame(memory, q.frames, frame)
        else:
            store64(memory, frames + DESCRIPTOR_SIZE * n, frame)
            store64(memory, frames + DESCRIPTOR_SIZE * n + 8, load32(memory, header + _LENGTH))
            n += 1
    q.rx_frames += n
    return n


@kernel
def _send(memory: Memory, queue: int, descriptors: int, n: int) -> int:
    """One sendmmsg of at most `BATCH` frames; sent frames go back to the stack; how many, or -errno."""
    q = queue_at(memory, queue)
    n = min(n, BATCH)
    for i in range(n):
        vector = q.scratch + VECTORS + VECTOR_SIZE * i
        store64(memory, vector, q.base + load64(memory, descriptors + DESCRIPTOR_SIZE * i))
        store64(memory, vector + 8, load64(memory, descriptors + DESCRIPTOR_SIZE * i + 8))
    sent: int = sendmmsg(q.fd, q.base + q.scratch, n, MSG_DONTWAIT) + 0  # int32 → int64
    if sent < 0:
        return -last_error()
    for i in range(sent):
        give_frame(memory, q.frames, load64(memory, descriptors + DESCRIPTOR_SIZE * i))
    return sent


@kernel
def _move(memory: Memory, source: int, target: int) -> None:
    store64(memory, target, load64(memory, source))
    store64(memory, target + 8, load64(memory, source + 8))


@kernel
def transmit_packet(memory: Memory, queue: int, descriptors: int, n: int) -> int:
    """Send frames; how many.  The refused ones are the last of `descriptors` afterwards, in their order.

    A frame that the device will never take (longer than its MTU) is skipped, so that those behind it pass; a full send queue
    or a device that is down refuses all the rest.
    """
    q = queue_at(memory, queue)
    place, refused = 0, 0
    while place < n and refused < ATTEMPTS:
        sent = _send(memory, queue, descriptors + DESCRIPTOR_SIZE * place, n - place)
        if sent >= 0:
            place += sent
        elif sent in (-EMSGSIZE, -EINVAL):
            _move(memory, descriptors + DESCRIPTOR_SIZE * place, descriptors + DESCRIPTOR_SIZE * refused)
            refused += 1
            place += 1
            q.tx_too_long += 1
        elif sent != -EINTR:
            break
    for back in range(1, refused + 1):
        _move(memory, descriptors + DESCRIPTOR_SIZE * (refused - back), descriptors + DESCRIPTOR_SIZE * (place - back))
    accepted = place - refused
    q.tx_frames += accepted
    q.tx_refused += n - accepted
    return accepted
