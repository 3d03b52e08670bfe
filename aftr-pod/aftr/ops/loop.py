"""A worker's life in compiled code: clock, devices, engine, devices, sleep; until the control thread says stop.

It returns to Python (with the GIL) only then, which is how the control thread gets a moment in which no worker touches a table.
"""

from __future__ import annotations

from aftr.io.layout import PACKET, QUEUE_SIZE, queue_at
from aftr.io.queues import kick, receive, reclaim, transmit, wait
from aftr.io.syscalls import clock_gettime, write
from aftr.lowlevel.bits import Memory, be16, load64, load64_acquire, store64, store64_release
from aftr.lowlevel.kernel import kernel
from aftr.lowlevel.records import record_accessor
from aftr.path.burst import turn
from aftr.path.handover import ring_between
from aftr.path.send import ETHERTYPE_VLAN, interface_offset, refuse_frame
from aftr.state.counters import RX, count, count_drops
from aftr.state.frames import give_frame
from aftr.state.layout import (
    LINE,
    POD,
    POD_OFFSET,
    WORKER,
    interface_at,
    output_at,
    pod_at,
    record_layout,
    ring_at,
    worker_at,
)
from aftr.state.reasons import ETHERTYPE, SLOT_NOT_OWNED, TX_FULL

CLOCK_BOOTTIME = 7
BURST = 256
IDLE_TURNS = 64  # turns without work before a worker sleeps
SLEEP_MS = 20
SWEEP_EVERY_MS = 5
_STOP = WORKER.fields["stop"][1]  # type: ignore[index]
_DEADLINE = POD_OFFSET + POD.fields["deadline"][1]  # type: ignore[index]
_ARMED = POD_OFFSET + POD.fields["journal_armed"][1]  # type: ignore[index]
_SLEEPING = WORKER.fields["sleeping"][1]  # type: ignore[index]

# Which interfaces a device carries: one untagged, or several VLANs.
DEVICE = record_layout(192, ("ports", "i8"), *[(f"interface{n}", "i8") for n in range(16)])
device_at = record_accessor("device_at", DEVICE)
DEVICE_SIZE = DEVICE.itemsize
_FIRST_PORT = DEVICE.fields["interface0"][1]  # type: ignore[index]


@kernel
def now_ns(memory: Memory, worker: int) -> int:
    """CLOCK_BOOTTIME in nanoseconds."""
    me = worker_at(memory, worker)
    clock_gettime(CLOCK_BOOTTIME, me.base + me.scratch)
    return load64(memory, me.scratch) * 1_000_000_000 + load64(memory, me.scratch + 8)


@kernel
def work(memory: Memory, worker: int, serving: bool, interface: int, list_: int, n: int, sweeps: bool) -> int:
    """`serving`: run until `stop` is set; else one `turn` without devices. One entry for both: all is compiled once."""
    if serving:
        run_worker(memory, worker)
        return 0
    return turn(memory, worker, interface, list_, n, sweeps)


@kernel
def run_worker(memory: Memory, worker: int) -> None:
    """Serve until `stop` is set."""
    me = worker_at(memory, worker)
    idle = 0
    last = now_ns(memory, worker)
    while load64_acquire(memory, worker + _STOP) == 0:
        now = now_ns(memory, worker)
        if idle == 0:
            me.busy_ns += now - last
        last = now
        taken = serve(memory, worker, now // 1_000_000)
        me.loops += 1
        idle = 0 if taken > 0 else idle + 1
        if idle > IDLE_TURNS:
            idle = IDLE_TURNS
            sleep(memory, worker)


@kernel
def serve(memory: Memory, worker: int, now: int) -> int:
    """One turn over all queues; how many frames it took."""
    me = worker_at(memory, worker)
    me.now = max(now, me.now)
    sweeps = me.now - me.sweep_time >= SWEEP_EVERY_MS
    if sweeps:
        me.sweep_time = me.now
    taken = turn(memory, worker, 0, 0, 0, sweeps)
    for number in range(me.queue_count):
        queue = me.queues + number * QUEUE_SIZE
        reclaim(memory, queue)
        n = receive(memory, queue, me.receive_list, BURST)
        if n > 0:
            taken += n + dispatch(memory, worker, me.devices + queue_at(memory, queue).device * DEVICE_SIZE, n)
    if owns(memory, worker):
        send_all(memory, worker)
    else:
        discard_all(memory, worker)
    pod = pod_at(memory, 0)
    if pod.workers > 1:
        wake_others(memory, worker)
    if me.journaled != 0 and load64_acquire(memory, _ARMED) == 1:
        me.journaled = 0
        store64_release(memory, _ARMED, 0)
        notify(memory, worker, pod.journal_event)
    me.packets += taken
    return taken


@kernel
def dispatch(memory: Memory, worker: int, device: int, n: int) -> int:
    """The `n` frames in the worker's list to the engine, by the interface that their VLAN tag names; frames handed over to us."""
    me = worker_at(memory, worker)
    ports = device_at(memory, device).ports
    if ports == 1:
        return turn(memory, worker, load64(memory, device + _FIRST_PORT), me.receive_list, n, False)
    taken = 0
    for port in range(ports):
        interface = load64(memory, device + _FIRST_PORT + 8 * port)
        vlan = interface_at(memory, interface_offset(memory, interface)).vlan
        mine = 0
        for number in range(n):
            start, size = (
                load64(memory, me.receive_list + 16 * number),
                load64(memory, me.receive_list + 16 * number + 8),
            )
            if start > 0 and frame_vlan(memory, start, size) == vlan:
                store64(memory, me.access_list + 16 * mine, start)
                store64(memory, me.access_list + 16 * mine + 8, size)
                store64(memory, me.receive_list + 16 * number, 0)
                mine += 1
        taken += turn(memory, worker, interface, me.access_list, mine, False)
    for number in range(n):
        start = load64(memory, me.receive_list + 16 * number)
        if start > 0:
            count(memory, worker, 0, RX, 1)
            count_drops(memory, worker, 0, ETHERTYPE, 1)
            give_frame(memory, me.frames, start)
    return taken


@kernel
def frame_vlan(memory: Memory, start: int, size: int) -> int:
    """VLAN id of a frame, 0 for none."""
    tagged = size >= 18 and be16(memory, start + 12) == ETHERTYPE_VLAN
    return be16(memory, start + 14) & 0xFFF if tagged else 0


# ---------------------------------------------------------------- sending
@kernel
def send_all(memory: Memory, worker: int) -> None:
    """The frames of this turn to their devices."""
    me = worker_at(memory, worker)
    for interface in range(pod_at(memory, 0).interfaces):
        output = me.outputs + interface * LINE
        if output_at(memory, output).count > 0:
            send_output(memory, worker, output, load64(memory, me.transmit_queues + 8 * interface))


@kernel
def owns(memory: Memory, worker: int) -> bool:
    """Whether the pod's lease, asked just before the frames leave, still lasts (no deadline: it needs none)."""
    deadline = load64_acquire(memory, _DEADLINE)
    return deadline == 0 or now_ns(memory, worker) < deadline


@kernel
def discard_all(memory: Memory, worker: int) -> None:
    """The frames of this turn must not leave: somebody else may own their slots by now."""
    me = worker_at(memory, worker)
    for interface in range(pod_at(memory, 0).interfaces):
        record = output_at(memory, me.outputs + interface * LINE)
        for number in range(record.count):
            start, meta = load64(memory, record.frames + 16 * number), load64(memory, record.meta + 8 * number)
            refuse_frame(memory, worker, start, meta, SLOT_NOT_OWNED)
        record.count = 0


@kernel
def send_output(memory: Memory, worker: int, output: int, queue: int) -> None:
    """One interface's list; what the device refuses is counted as dropped after all."""
    record, me = output_at(memory, output), worker_at(memory, worker)
    n = record.count
    reorders = queue_at(memory, queue).kind == PACKET  # refused frames are moved to the end of the list
    if reorders:
        for number in range(n):
            store64(memory, me.scratch + 8 * number, load64(memory, record.frames + 16 * number))
    accepted = transmit(memory, queue, record.frames, n)
    for number in range(accepted, n):
        start, place = load64(memory, record.frames + 16 * number), number
        if reorders:
            place = 0
            while load64(memory, me.scratch + 8 * place) != start:
                place += 1
        refuse_frame(memory, worker, start, load64(memory, record.meta + 8 * place), TX_FULL)
    record.count = 0
    kick(memory, queue)


# ---------------------------------------------------------------- other workers
@kernel
def wake_others(memory: Memory, worker: int) -> None:
    """A sleeping worker that has something in its ring is woken."""
    me, pod = worker_at(memory, worker), pod_at(memory, 0)
    for number in range(pod.workers):
        if number == me.number:
            continue
        ring, other = ring_between(memory, worker, me.number, number), pod.worker_table + number * pod.worker_stride
        waiting = ring_at(memory, ring).head != load64_acquire(memory, ring + 64)
        if waiting and load64_acquire(memory, other + _SLEEPING) == 1:
            notify(memory, worker, worker_at(memory, other).event_fd)


@kernel
def notify(memory: Memory, worker: int, event: int) -> None:
    """Wake whoever waits for this eventfd."""
    me = worker_at(memory, worker)
    store64(memory, me.scratch, 1)
    write(event, me.base + me.scratch, 8)


@kernel
def sleep(memory: Memory, worker: int) -> None:
    """Until a frame arrives, another worker or the control thread wakes us, or a little time is over (timers)."""
    me, pod = worker_at(memory, worker), pod_at(memory, 0)
    store64_release(memory, worker + _SLEEPING, 1)
    waiting = load64_acquire(memory, worker + _STOP) != 0
    for number in range(pod.workers):
        ring = ring_between(memory, worker, number, me.number)
        waiting = waiting or ring_at(memory, ring).tail != load64_acquire(memory, ring)
    if not waiting:
        wait(memory, me.queues, me.queue_count, me.event_fd, SLEEP_MS)
    store64_release(memory, worker + _SLEEPING, 0)
