"""The AF_PACKET queue over datagram socket pairs, which recvmmsg and sendmmsg serve in the same way; sleeping and waking."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from aftr.io.layout import BATCH, DESCRIPTOR_SIZE, PACKET, queue_at
from aftr.io.queue_table import QueueTable, Umem, table_size
from aftr.io.queues import kick, receive, reclaim, transmit, wait
from aftr.lowlevel.bits import ArenaArray
from aftr.state.frames import HEADROOM, frames_at, frames_size, give_frame, open_frames, take_frame

SHIFT, CHUNKS, RESERVE = 11, 256, 16
UMEM_SIZE = CHUNKS << SHIFT
SMALL = 4608  # bytes: the smallest send buffer


class Pair:
    """A queue whose socket is one end of a pair; `other` is the network."""

    def __init__(self) -> None:
        stack, table = frames_size(CHUNKS), table_size(CHUNKS, 1)
        whole = np.zeros(UMEM_SIZE + stack + table + 2 * 4096, np.uint8).view(ArenaArray)
        self.memory = whole[-whole.ctypes.data % 4096 :]
        self.frames, self.descriptors = UMEM_SIZE, UMEM_SIZE + stack + table
        open_frames(self.memory, self.frames, 0, SHIFT, CHUNKS, 0, CHUNKS)
        self.table = QueueTable(
            Umem(self.memory, 0, UMEM_SIZE, SHIFT), UMEM_SIZE + stack, [self.frames], reserve=RESERVE
        )
        self.queue = self.table.add(0, 0)
        self.mine, self.other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.mine.setblocking(False)
        self.record = queue_at(self.memory, self.queue)
        self.record.kind, self.record.fd, self.record.wanted = PACKET, self.mine.fileno(), 1
        reclaim(self.memory, self.queue)

    def receive(self, limit: int = BATCH) -> list[tuple[int, bytes]]:
        n = receive(self.memory, self.queue, self.descriptors, limit)
        words = self.memory[self.descriptors :][: DESCRIPTOR_SIZE * n].view(np.int64).reshape(n, 2)
        return [(int(at), self.memory[at : at + size].tobytes()) for at, size in words]

    def transmit(self, *payloads: bytes) -> tuple[int, list[bytes]]:
        """How many were accepted, and the refused ones."""
        words = self.memory[self.descriptors :][: DESCRIPTOR_SIZE * len(payloads)].view(np.int64).reshape(-1, 2)
        for place, payload in enumerate(payloads):
            at = take_frame(self.memory, self.frames)
            assert at >= 0
            self.memory[at : at + 100] = np.frombuffer(payload[:100], np.uint8)  # a longer one is never read
            words[place] = at, len(payload)
        accepted = transmit(self.memory, self.queue, self.descriptors, len(payloads))
        refused = [self.memory[at : at + 100].tobytes() for at, _ in words[accepted:]]
        for at, _ in words[accepted:]:
            give_frame(self.memory, self.frames, int(at))
        return accepted, refused

    @property
    def free(self) -> int:
        return int(frames_at(self.memory, self.frames).count)


@pytest.fixture
def pair() -> Iterator[Pair]:
    one = Pair()
    with one.mine, one.other:
        yield one


@pytest.mark.nojit
def test_frames_arrive_whole_and_in_order(pair: Pair) -> None:
    sent = [bytes([number]) * (60 + number) for number in range(9)]
    for payload in sent:
        pair.other.send(payload)
    got = pair.receive(5) + pair.receive(64)
    assert [payload for _, payload in got] == sent
    assert all(at % (1 << SHIFT) == HEADROOM for at, _ in got)
    assert pair.receive() == []
    assert pair.free == CHUNKS - 9
    assert pair.record.rx_frames == 9


@pytest.mark.nojit
def test_frame_longer_than_a_chunk_is_counted_and_returned(pair: Pair) -> None:
    room = (1 << SHIFT) - HEADROOM
    for size in (room + 1, room, 4000):
        pair.other.send(bytes(size))
    assert [len(payload) for _, payload in pair.receive()] == [room]
    assert pair.record.rx_truncated == 2
    assert pair.free == CHUNKS - 1


def test_reserve_stays_for_the_engine(pair: Pair) -> None:
    for _ in range(CHUNKS - RESERVE - 3):
        take_frame(pair.memory, pair.frames)
    for _ in range(8):
        pair.other.send(b"frame")
    assert len(pair.receive()) == 3
    assert pair.receive() == []
    assert pair.free == RESERVE


@pytest.mark.nojit
def test_sent_frames_return_to_the_stack(pair: Pair) -> None:
    payloads = [bytes([number]) * 100 for number in range(8)]
    assert pair.transmit(*payloads) == (8, [])
    assert [pair.other.recv(2048) for _ in payloads] == payloads
    assert pair.free == CHUNKS
    assert kick(pair.memory, pair.queue) == 0


def test_full_device_refuses_the_rest(pair: Pair) -> None:
    pair.mine.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
    payloads = [bytes([number]) * 100 for number in range(150)]
    accepted, refused = pair.transmit(*payloads)
    assert 0 < accepted < 150
    assert refused == payloads[accepted:]
    assert (pair.record.tx_frames, pair.record.tx_refused) == (accepted, 150 - accepted)
    assert pair.free == CHUNKS


@pytest.mark.nojit
@pytest.mark.parametrize("long", [(0,), (3,), (0, 1, 2), (1, 4, 7), tuple(range(8))])
def test_frames_the_device_never_takes_do_not_hold_up_the_others(pair: Pair, long: tuple[int, ...]) -> None:
    pair.mine.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * SMALL)
    payloads = [bytes([number]) * (100_000 if number in long else 100) for number in range(8)]
    accepted, refused = pair.transmit(*payloads)
    assert refused == [payload[:100] for payload in payloads if len(payload) > 100]
    assert [pair.other.recv(2048) for _ in range(accepted)] == [payload for payload in payloads if len(payload) == 100]
    assert pair.record.tx_too_long == len(long)
    assert pair.free == CHUNKS


def test_wait_sleeps_until_a_frame_comes(pair: Pair) -> None:
    threading.Timer(0.1, pair.other.send, [b"frame"]).start()
    start = time.monotonic()
    assert wait(pair.memory, pair.queue, 1, -1, 5000) == 1
    assert 0.05 < time.monotonic() - start < 2
    assert len(pair.receive()) == 1
    assert wait(pair.memory, pair.queue, 1, -1, 10) == 0


@pytest.mark.nojit
def test_wait_ends_when_another_thread_knocks(pair: Pair) -> None:
    knock = os.eventfd(0, os.EFD_NONBLOCK)
    try:
        os.eventfd_write(knock, 3)
        assert wait(pair.memory, pair.queue, 1, knock, 5000) == 1
        assert wait(pair.memory, pair.queue, 1, knock, 1) == 0  # taken note of
    finally:
        os.close(knock)


def test_wait_leaves_a_closed_queue_alone(pair: Pair) -> None:
    pair.record.wanted = 0
    reclaim(pair.memory, pair.queue)
    pair.other.send(b"frame")
    assert wait(pair.memory, pair.queue, 1, -1, 1) == 0
    assert pair.receive() == []
