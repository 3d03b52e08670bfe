"""Records of the devices in the arena (docs/design/0001 has the conventions).

One `QUEUE` is one AF_XDP or AF_PACKET socket of one worker.  The control thread fills it in, then sets `wanted`; the worker, in
`reclaim` and nowhere else, copies `wanted` to `live`.  All kernels leave a queue alone that is not live, so after clearing `wanted`
the control thread may close the socket and unmap its rings as soon as it reads `live == 0`.

`holders` is an array of 16-bit numbers, one per chunk of the UMEM: the `number` of the queue that has the chunk in its rings, 0 for
none.  It makes the frames of a socket that went away with its interface countable, so that each comes back to its stack (`recover`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from aftr.lowlevel.records import record_accessor

XDP, PACKET = 1, 2  # QUEUE.kind

_RING_FIELDS = ("producer", "consumer", "descriptors", "flags", "size")
_STATISTICS = (
    "rx_frames",  # taken from the device
    "tx_frames",  # accepted by the device
    "rx_truncated",  # longer than a chunk's room, given back to the stack (AF_PACKET; AF_XDP counts them in the socket)
    "tx_refused",  # the device said no, the caller kept the frame
    "tx_too_long",  # refused for their length: EMSGSIZE
    "kicks",  # system calls that woke the kernel for TX
    "refill_kicks",  # system calls that woke a driver which had run out of RX frames
    "waits",  # times the worker slept
    "recovered",  # frames taken back from a socket that was closed with them
)


def _layout(*names: str) -> np.dtype[Any]:
    size = (8 * len(names) + 63) // 64 * 64
    offsets = [8 * place for place in range(len(names))]
    return np.dtype({"names": list(names), "formats": ["<i8"] * len(names), "offsets": offsets, "itemsize": size})


QUEUE = _layout(
    "kind",  # XDP or PACKET
    "fd",
    "number",  # of this queue in the process, from 1: its mark in `holders`
    "interface",  # ifindex
    "device",  # the caller's number of the device
    "device_queue",  # hardware queue (AF_XDP)
    "wanted",  # 1: to be used; written by the control thread
    "live",  # 1: in use; written by the worker
    "recover",  # 1: take back all frames that `holders` marks with `number`; set by the control thread, cleared by the worker
    "frames",  # offset of the worker's FRAMES
    "umem",  # offset of the UMEM in the arena
    "shift",  # log2 of the chunk size
    "chunks",  # chunks of the UMEM
    "holders",  # offset of the array described above
    "reserve",  # chunks that stay in the stack when the FILL ring is refilled
    "share",  # most chunks in the FILL ring: the worker's frames are shared out fairly among its queues
    "base",  # address of the arena's first byte
    "scratch",  # offset of `scratch_size()` bytes: mmsghdr[], iovec[], pollfd[]
    # AF_XDP: absolute addresses of the rings' producer and consumer index, first descriptor and flags; number of entries
    *(f"{ring}_{field}" for ring in ("rx", "tx", "fill", "done") for field in _RING_FIELDS),
    *_STATISTICS,
)
QUEUE_SIZE = QUEUE.itemsize
STATISTICS = _STATISTICS
WANTED, LIVE, RECOVER = (QUEUE.fields[name][1] for name in ("wanted", "live", "recover"))  # type: ignore[index]
queue_at = record_accessor("queue_at", QUEUE)

BATCH = 64  # frames per recvmmsg or sendmmsg
MAX_QUEUES = 64  # queues one worker can wait for
HEADER_SIZE, VECTOR_SIZE, POLL_SIZE = 64, 16, 8  # struct mmsghdr, iovec, pollfd (64-bit Linux)
VECTORS = BATCH * HEADER_SIZE  # offset of the iovecs in the scratch area
POLLS = VECTORS + BATCH * VECTOR_SIZE
SCRATCH_SIZE = (POLLS + (MAX_QUEUES + 1) * POLL_SIZE + 63) // 64 * 64
DESCRIPTOR_SIZE = 16  # (offset of the first byte, length), two int64; the same size as struct xdp_desc


def holders_size(chunks: int) -> int:
    """Bytes of the `holders` array for a UMEM of `chunks` chunks, a multiple of 64."""
    return (2 * chunks + 63) // 64 * 64
