"""The network around an AFTR, played in memory: the kernel's ends of two AF_XDP sockets' rings, on a thread of its own.

What is the product's stays the product's: its worker thread polls, receives, translates, parks, sends and gets its frames back.
A new flow's first frame carries the flow's number in its last 8 bytes, and the moment of its arrival is noted in a table; when the
translated frame leaves, the moment is replaced by the time that it took.  Frames of flows that exist already carry -1.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import numpy as np
from numba import types

from aftr.io.layout import DESCRIPTOR_SIZE, XDP, queue_at
from aftr.io.queue_table import DEFAULT_RING_SIZE, QueueTable, Umem, table_size
from aftr.io.syscalls import clock_gettime, read, write
from aftr.lowlevel.bits import (
    M32,
    Memory,
    add64,
    load32_at,
    load64,
    load64_acquire,
    load64_at,
    lshr64,
    mum,
    store32_at,
    store64,
    store64_at,
)
from aftr.lowlevel.kernel import inline_kernel, kernel
from aftr.lowlevel.records import record_accessor
from aftr.ops.agent import CHUNK_SHIFT, FRAMES_PER_WORKER, RESERVE
from aftr.ops.loop import DEVICE_SIZE, device_at
from aftr.state.frames import HEADROOM
from aftr.state.layout import record_layout, worker_at
from aftr.state.pod import Pod
from bench.kernels import FRAME_SIZE, put_out

CLOCK_MONOTONIC = 1
ACK, SYN = 0x10, 0x02
KNOWN = -1  # in a frame: its flow exists already
BATCH = 256  # packets of flows that exist come in bursts
ODD = 0x9E3779B1  # takes the numbers 0, 1, 2 … to all flows in another order
IDLE_US = 20  # between two looks at the rings when there was nothing to do
usleep = types.ExternalFunction("usleep", types.int32(types.int64))

WIRE = record_layout(
    256,
    ("seconds", "i8"), ("nanoseconds", "i8"), ("word", "i8"), ("stop", "i8"), ("base", "i8"), ("event", "i8"), ("random", "i8"),
    ("access", "i8"), ("internet", "i8"), ("table", "i8"), ("mask", "i8"),
    ("next", "i8"), ("last", "i8"), ("gap", "i8"), ("due", "i8"), ("window", "i8"), ("arrived", "i8"),
    ("known", "i8"), ("known_window", "i8"), ("known_offered", "i8"), ("known_arrived", "i8"),
)  # fmt: skip
wire_at = record_accessor("wire_at", WIRE)
_STOP, _WORD = (WIRE.fields[name][1] for name in ("stop", "word"))  # type: ignore[index]


# ---------------------------------------------------------------- in compiled code
@kernel
def play(memory: Memory, wire: int) -> None:
    """Be the network until `stop` is set."""
    me = wire_at(memory, wire)
    while load64_acquire(memory, wire + _STOP) == 0:
        collect(memory, wire, clock(memory, wire))
        offered = offer_new(memory, wire) + offer_known(memory, wire)
        if offered > 0:
            store64(memory, wire + _WORD, 1)
            write(me.event, me.base + wire + _WORD, 8)
            continue
        if is_idle(memory, wire):
            read(me.event, me.base + wire + _WORD, 8)
        usleep(IDLE_US)


@inline_kernel
def clock(memory: Memory, wire: int) -> int:
    """Nanoseconds."""
    me = wire_at(memory, wire)
    clock_gettime(CLOCK_MONOTONIC, me.base + wire)
    now: int = me.seconds * 1_000_000_000 + me.nanoseconds
    return now


@inline_kernel
def chance(memory: Memory, wire: int) -> int:
    """31 random bits."""
    me = wire_at(memory, wire)
    me.random = add64(me.random, 0x60BEE2BEE120FC15)
    return lshr64(mum(me.random, me.random ^ 0x2545F4914F6CDD1D), 33)


@inline_kernel
def is_idle(memory: Memory, wire: int) -> bool:
    """Whether the AFTR has taken all that was offered: its socket is readable no more."""
    q = queue_at(memory, wire_at(memory, wire).access)
    return load32_at(q.rx_producer) == load32_at(q.rx_consumer)


@kernel
def collect(memory: Memory, wire: int, now: int) -> None:
    """Frames that leave: note how long each took, and give its chunk back."""
    me = wire_at(memory, wire)
    q = queue_at(memory, me.internet)
    first, done = load32_at(q.tx_consumer), load32_at(q.done_producer)
    room = q.done_size - ((done - load32_at(q.done_consumer)) & M32)
    n = min((load32_at(q.tx_producer) - first) & M32, room)
    for number in range(n):
        descriptor = q.tx_descriptors + DESCRIPTOR_SIZE * ((first + number) & (q.tx_size - 1))
        address, size = load64_at(descriptor), load32_at(descriptor + 8)
        flow = load64(memory, q.umem + address + size - 8)
        if flow == KNOWN:
            me.known_arrived += 1
        else:
            store64(memory, me.table + 8 * flow, load64(memory, me.table + 8 * flow) - now)
            me.arrived += 1
        store64_at(q.done_descriptors + 8 * ((done + number) & (q.done_size - 1)), address)
    if n > 0:
        store32_at(q.tx_consumer, first + n)
        store32_at(q.done_producer, done + n)


@kernel
def offer(memory: Memory, wire: int, flow: int, mark: int, control: int) -> bool:
    """One frame from the access side; False while the AFTR offers no chunk to receive it into."""
    q = queue_at(memory, wire_at(memory, wire).access)
    taken, producer = load32_at(q.fill_consumer), load32_at(q.rx_producer)
    if taken == load32_at(q.fill_producer) or (producer - load32_at(q.rx_consumer)) & M32 >= q.rx_size:
        return False
    address = load64_at(q.fill_descriptors + 8 * (taken & (q.fill_size - 1))) + HEADROOM
    store64(memory, q.umem + address + FRAME_SIZE - 8, mark)
    put_out(memory, q.umem + address, flow, control)
    descriptor = q.rx_descriptors + DESCRIPTOR_SIZE * (producer & (q.rx_size - 1))
    store64_at(descriptor, address)
    store64_at(descriptor + 8, FRAME_SIZE)
    store32_at(q.fill_consumer, taken + 1)
    store32_at(q.rx_producer, producer + 1)
    return True


@kernel
def offer_new(memory: Memory, wire: int) -> int:
    """First frames that are due, as far as the window goes; how many."""
    me, offered = wire_at(memory, wire), 0
    now = clock(memory, wire)
    while me.next < me.last and me.next - me.arrived < me.window and me.due <= now and offered < BATCH:
        flow = me.next * ODD & me.mask
        store64(memory, me.table + 8 * flow, now)
        if not offer(memory, wire, flow, flow, SYN):
            break
        me.next += 1
        me.due += (chance(memory, wire) * me.gap) >> 30
        offered += 1
    return offered


@kernel
def offer_known(memory: Memory, wire: int) -> int:
    """A burst of packets of UDP flows that exist; how many."""
    me = wire_at(memory, wire)
    if me.known == 0 or me.known_offered - me.known_arrived + BATCH > me.known_window:
        return 0
    for number in range(BATCH):
        flow = ((chance(memory, wire) * me.known >> 31) | 1) * ODD & me.mask  # odd numbers are odd flows: UDP
        if not offer(memory, wire, flow, KNOWN, ACK):
            return number
        me.known_offered += 1
    return BATCH


# ---------------------------------------------------------------- for the control thread
def room_for(flows: int) -> int:
    """Bytes of a pod's extra room that a wire takes."""
    frames = FRAMES_PER_WORKER
    return table_size(frames, 1) + 2 * DEVICE_SIZE + WIRE.itemsize + 8 * _ring_size() + 8 * flows


def _ring_size(entries: int = DEFAULT_RING_SIZE) -> int:
    return 192 + DESCRIPTOR_SIZE * entries


class Wire:
    """The two devices of a pod with one worker.  `flows`: a power of two."""

    def __init__(self, pod: Pod, flows: int, *, seed: int = 1) -> None:
        self.pod, self.memory, self.flows = pod, pod.memory, flows
        frames = pod.sizes.frames
        umem = Umem(pod.memory, pod.umem, frames << CHUNK_SHIFT, CHUNK_SHIFT)
        worker = worker_at(pod.memory, pod.workers[0])
        queues = QueueTable(umem, pod.extra, [worker.frames], reserve=RESERVE)
        devices = pod.extra + table_size(frames, 1)
        self._at = devices + 2 * DEVICE_SIZE
        rings = self._at + WIRE.itemsize
        self.record = wire_at(pod.memory, self._at)
        self.record.table, self.record.mask = rings + 8 * _ring_size(), flows - 1
        self.record.base, self.record.random = pod.memory.ctypes.data, seed
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.record.event = self._event
        for number, name in enumerate(("access", "internet")):
            queue = queues.add(0, number)
            setattr(self.record, name, queue)
            self._plug(queue, rings + 4 * number * _ring_size(), self._event if name == "access" else -1)
            device = device_at(pod.memory, devices + number * DEVICE_SIZE)
            device.ports, device.interface0 = 1, number
            pod.memory[worker.transmit_queues + 8 * number :][:8].view("i8")[0] = queue
        worker.queues, worker.queue_count = queues.queues(0)
        worker.devices = devices
        self._thread = threading.Thread(target=play, args=(pod.memory, self._at), name="wire", daemon=True)

    def _plug(self, queue: int, at: int, event: int) -> None:
        record = queue_at(self.memory, queue)
        record.kind, record.fd, record.wanted = XDP, event, 1
        for number, name in enumerate(("rx", "tx", "fill", "done")):
            ring = self.memory.ctypes.data + at + number * _ring_size()
            for place, field in enumerate(("producer", "consumer", "flags", "descriptors")):
                setattr(record, f"{name}_{field}", ring + 64 * place)
            setattr(record, f"{name}_size", DEFAULT_RING_SIZE)

    def start(self) -> None:
        """Begin; nothing is offered yet."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self.record.stop = 1
        if self._thread.is_alive():
            self._thread.join()
        os.close(self._event)

    def offer(self, flows: int, *, per_second: float = 0, window: int = 1 << 20) -> None:
        """First packets of the next `flows` flows, at a mean rate (0: as the window allows), at most `window` on their way."""
        me = self.record
        me.gap, me.due = (int(1e9 / per_second), time.monotonic_ns()) if per_second else (0, 0)
        me.window = window
        me.last = min(me.next + flows, self.flows)

    def offer_known(self, window: int) -> None:
        """Packets of the flows that exist, always so many on their way; 0: no more."""
        self.record.known, self.record.known_window = (self.record.arrived, window) if window else (0, 0)

    @property
    def offered(self) -> int:
        """Flows whose first packet was offered."""
        return int(self.record.next)

    @property
    def arrived(self) -> int:
        """Flows whose first packet has left the AFTR."""
        return int(self.record.arrived)

    def delays(self, first: int, last: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Nanoseconds from ring to ring of first packets number `first` … `last` - 1, of those that have left."""
        table = self.memory[self.record.table :][: 8 * self.flows].view(np.ndarray).view(np.int64)
        order = np.arange(first, last, dtype=np.int64) * ODD & (self.flows - 1)
        taken = -table[order]
        return taken[taken > 0]
