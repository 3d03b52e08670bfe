"""The AF_XDP queue against a kernel that the test plays: its ends of the four rings, in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aftr.io.layout import DESCRIPTOR_SIZE, XDP, queue_at
from aftr.io.queue_table import QueueTable, Umem, table_size
from aftr.io.queues import kick, receive, reclaim, transmit
from aftr.lowlevel.bits import ArenaArray
from aftr.state.frames import HEADROOM, frames_at, frames_size, give_frame, open_frames, take_frame

SHIFT, CHUNKS, RING, RESERVE = 11, 64, 16, 8
UMEM_SIZE = CHUNKS << SHIFT
START = 0xFFFFFFF0  # the indices wrap within a test


class Ring:
    """One ring as the kernel sees it: indices, entries of `words` 64-bit words."""

    def __init__(self, words: int) -> None:
        self.words = words
        self.header = np.array([START, START, 0, 0], np.uint32)  # producer, consumer, flags
        self.entries = np.zeros(RING * words, np.uint64)

    def describe(self, record: Any, name: str) -> None:
        start = self.header.ctypes.data
        for place, field in enumerate(("producer", "consumer", "flags")):
            setattr(record, f"{name}_{field}", start + 4 * place)
        setattr(record, f"{name}_descriptors", self.entries.ctypes.data)
        setattr(record, f"{name}_size", RING)

    @property
    def count(self) -> int:
        return (int(self.header[0]) - int(self.header[1])) & 0xFFFFFFFF

    def put(self, *values: int) -> None:
        assert self.count < RING
        place = int(self.header[0]) % RING * self.words
        self.entries[place : place + self.words] = values
        self.header[0] = (int(self.header[0]) + 1) & 0xFFFFFFFF

    def get(self) -> list[int]:
        assert self.count > 0
        place = int(self.header[1]) % RING * self.words
        self.header[1] = (int(self.header[1]) + 1) & 0xFFFFFFFF
        return [int(value) for value in self.entries[place : place + self.words]]


class Game:
    """A worker with one AF_XDP queue, and the kernel on the other side; every frame carries the number it was received with."""

    def __init__(self) -> None:
        stack, table = frames_size(CHUNKS), table_size(CHUNKS, 1)
        whole = np.zeros(UMEM_SIZE + stack + table + 2 * 4096, np.uint8).view(ArenaArray)
        start = -whole.ctypes.data % 4096
        self.memory = whole[start:]
        self.frames = UMEM_SIZE
        open_frames(self.memory, self.frames, 0, SHIFT, CHUNKS, 0, CHUNKS)
        umem = Umem(self.memory, 0, UMEM_SIZE, SHIFT)
        self.table = QueueTable(umem, UMEM_SIZE + stack, [self.frames], reserve=RESERVE)
        self.queue = self.table.add(0, 0)
        self.descriptors = UMEM_SIZE + stack + table
        record = queue_at(self.memory, self.queue)
        record.kind = XDP
        self.rx, self.tx, self.fill, self.done = Ring(2), Ring(2), Ring(1), Ring(1)
        for name, ring in (("rx", self.rx), ("tx", self.tx), ("fill", self.fill), ("done", self.done)):
            ring.describe(record, name)
        record.wanted = 1
        reclaim(self.memory, self.queue)
        self.received = self.expected = self.sent = 0
        self.held: list[tuple[int, int]] = []  # the engine's frames
        self.wired: list[int] = []  # sent, not completed
        self.order: list[int] = []  # numbers of the frames transmitted, not sent yet

    # what the worker does
    def receive(self, limit: int) -> None:
        for place in range(receive(self.memory, self.queue, self.descriptors, limit)):
            frame, length = self.descriptor(place)
            assert length == 60 + self.expected % 1000
            assert self.number(frame) == self.expected
            assert frame % (1 << SHIFT) == HEADROOM
            self.expected += 1
            self.held.append((frame, length))

    def transmit(self, n: int) -> None:
        batch, self.held = self.held[:n], self.held[n:]
        for place, (frame, length) in enumerate(batch):
            words = self.memory[self.descriptors + DESCRIPTOR_SIZE * place :][:16].view(np.int64)
            words[:] = frame - 40, length  # encapsulated: it begins earlier now
        accepted = transmit(self.memory, self.queue, self.descriptors, len(batch))
        self.order += [self.number(frame) for frame, _ in batch[:accepted]]
        self.held = batch[accepted:] + self.held

    def reclaim(self, _: int) -> None:
        reclaim(self.memory, self.queue)
        assert frames_at(self.memory, self.frames).count >= min(RESERVE, CHUNKS)

    def build(self, n: int) -> None:
        """The engine makes packets of its own out of the stack, and drops one."""
        for _ in range(n % 4):
            frame = take_frame(self.memory, self.frames)
            if frame >= 0:
                self.write_number(frame, 1 << 40)
                self.held.append((frame, 60))
        if self.held and n % 3 == 0:
            give_frame(self.memory, self.frames, self.held.pop()[0])

    # what the kernel does
    def arrive(self, n: int) -> None:
        for _ in range(min(n, self.fill.count, RING - self.rx.count)):
            (address,) = self.fill.get()
            assert address % (1 << SHIFT) == 0
            self.write_number(address + HEADROOM, self.received)
            self.rx.put(address + HEADROOM, 60 + self.received % 1000)
            self.received += 1

    def send(self, n: int) -> None:
        for _ in range(min(n, self.tx.count)):
            address, length = self.tx.get()
            assert length < 1 << 32, "options are 0"
            assert self.number(address + 40) == self.order.pop(0)
            self.wired.append(address)

    def complete(self, n: int) -> None:
        for _ in range(min(n, len(self.wired), RING - self.done.count)):
            self.done.put(self.wired.pop(n % len(self.wired)))  # in any order

    # books
    def descriptor(self, place: int) -> tuple[int, int]:
        words = self.memory[self.descriptors + DESCRIPTOR_SIZE * place :][:16].view(np.int64)
        return int(words[0]), int(words[1])

    def number(self, frame: int) -> int:
        return int(self.memory[frame : frame + 8].view(np.int64)[0])

    def write_number(self, frame: int, number: int) -> None:
        self.memory[frame : frame + 8].view(np.int64)[0] = number

    def pending(self, ring: Ring) -> list[int]:
        first = int(ring.header[1])
        return [int(ring.entries[(first + place) % RING * ring.words]) >> SHIFT for place in range(ring.count)]

    def balance(self) -> None:
        """Each chunk has one owner; the holders know those of the kernel."""
        kernels = [chunk for ring in (self.rx, self.tx, self.fill, self.done) for chunk in self.pending(ring)]
        kernels += [address >> SHIFT for address in self.wired]
        count = frames_at(self.memory, self.frames).count
        free = self.memory[self.frames + 64 :][: 4 * count].view(np.uint32).tolist()
        engines = [frame >> SHIFT for frame, _ in self.held]
        assert sorted(kernels + free + engines) == list(range(CHUNKS))
        assert self.table.held() == len(kernels)
        assert self.table.free() == count


MOVES: list[Callable[[Game, int], None]] = [
    Game.receive, Game.transmit, Game.reclaim, Game.build, Game.arrive, Game.send, Game.complete,
]  # fmt: skip


@pytest.mark.nojit
@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(MOVES), st.integers(1, RING + 4)), max_size=150))
def test_no_frame_is_lost_doubled_or_overtaken(moves: list[tuple[Callable[[Game, int], None], int]]) -> None:
    game = Game()
    for move, argument in moves:
        move(game, argument)
    game.balance()
    # let everything run dry: all frames are in the stack or offered for reception
    game.receive(RING)
    while game.held or game.tx.count or game.wired or game.done.count:
        for move in (Game.transmit, Game.send, Game.complete, Game.reclaim):
            move(game, RING)
    game.balance()
    assert game.expected == game.received
    assert game.fill.count + frames_at(game.memory, game.frames).count == CHUNKS


@pytest.mark.nojit
def test_closed_queue_gives_its_frames_back() -> None:
    game = Game()
    game.arrive(10)
    game.receive(4)
    game.transmit(3)
    game.send(2)
    game.complete(1)
    record = queue_at(game.memory, game.queue)
    record.wanted = 0
    assert record.live == 1
    assert reclaim(game.memory, game.queue) == 0
    assert record.live == 0
    assert transmit(game.memory, game.queue, game.descriptors, 1) == 0
    assert receive(game.memory, game.queue, game.descriptors, 8) == 0
    assert kick(game.memory, game.queue) == 0
    record.recover = 1
    held = game.table.held()
    assert reclaim(game.memory, game.queue) == held > 0
    assert record.recover == 0
    assert game.table.held() == 0
    assert game.table.free() == CHUNKS - len(game.held) == CHUNKS - 1
    assert frames_at(game.memory, game.frames).overflow == 0


def test_reserve_is_never_offered_for_reception() -> None:
    game = Game()
    assert game.fill.count == RING
    while take_frame(game.memory, game.frames) >= 0:
        if frames_at(game.memory, game.frames).count == RESERVE:
            break
    game.arrive(RING)
    game.receive(RING)
    game.reclaim(0)
    assert game.fill.count == 0


def test_kick_stops_when_nothing_moves() -> None:
    game = Game()
    game.arrive(4)
    game.receive(4)
    game.transmit(4)
    queue_at(game.memory, game.queue).fd = -1
    assert kick(game.memory, game.queue) == 0  # the kernel does not want to be woken
    game.tx.header[2] = 1
    assert kick(game.memory, game.queue) == 1  # and cannot be
