"""The stack of free frames; and every kernel of aftr.io in int64 from end to end."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import types

from aftr.io import packet, queues, rings
from aftr.io.layout import BATCH, QUEUE_SIZE, XDP, queue_at
from aftr.io.queue_table import QueueTable, Umem, table_size
from aftr.lowlevel.bits import ArenaArray
from aftr.lowlevel.kernel import JIT
from aftr.state import frames as stack
from aftr.state.frames import (
    FRAMES,
    HEADROOM,
    frame_room,
    frames_at,
    frames_size,
    give_frame,
    open_frames,
    take_frame,
)  # fmt: skip

UMEM, CHUNKS = 1 << 16, 20


@pytest.fixture
def memory() -> Any:
    one = np.zeros(UMEM + (CHUNKS << 12), np.uint8).view(ArenaArray)
    open_frames(one, 0, UMEM, 12, CHUNKS, 4, 10)
    return one


@pytest.mark.nojit
def test_frames_leave_room_in_front(memory: Any) -> None:
    taken = [take_frame(memory, 0) for _ in range(10)]
    assert taken == [UMEM + (chunk << 12) + HEADROOM for chunk in range(4, 14)]
    assert take_frame(memory, 0) == -1
    assert all(frame_room(memory, 0, frame) == 4096 - HEADROOM for frame in taken)
    assert frame_room(memory, 0, taken[0] + 100) == 4096 - HEADROOM - 100
    assert frames_at(memory, 0).low == 0
    assert FRAMES.itemsize == 64


@pytest.mark.nojit
@settings(deadline=None)
@given(st.lists(st.integers(-HEADROOM, 4095 - HEADROOM), min_size=10, max_size=10))
def test_any_offset_in_a_chunk_frees_it(shifts: list[int]) -> None:
    memory = np.zeros(UMEM + (CHUNKS << 12), np.uint8).view(ArenaArray)
    open_frames(memory, 0, UMEM, 12, CHUNKS, 4, 10)
    taken = [take_frame(memory, 0) for _ in range(10)]
    for frame, shift in zip(taken, shifts, strict=True):
        give_frame(memory, 0, frame + shift)
    assert sorted(take_frame(memory, 0) for _ in range(10)) == sorted(taken)
    assert frames_at(memory, 0).overflow == 0


@pytest.mark.nojit
def test_frames_of_another_worker_find_room_and_no_more_than_all(memory: Any) -> None:
    for chunk in (*range(4), *range(14, CHUNKS)):
        give_frame(memory, 0, UMEM + (chunk << 12))
    assert frames_at(memory, 0).count == CHUNKS
    give_frame(memory, 0, UMEM)  # one too many: a frame was given back twice
    assert (frames_at(memory, 0).count, frames_at(memory, 0).overflow) == (CHUNKS, 1)
    assert frames_size(CHUNKS) == 64 + 128


def test_queues_of_a_worker_get_equal_shares() -> None:
    size = 1024 << 11
    whole = np.zeros(size + frames_size(1024) + table_size(1024, 1) + 4096, np.uint8).view(ArenaArray)
    memory = whole[-whole.ctypes.data % 4096 :]
    open_frames(memory, size, 0, 11, 1024, 0, 1024)
    table = QueueTable(Umem(memory, 0, size, 11), size + frames_size(1024), [size], reserve=124)
    places = [table.add(0, device) for device in range(3)]
    assert [place - places[0] for place in places] == [0, QUEUE_SIZE, 2 * QUEUE_SIZE]
    assert [queue_at(memory, place).share for place in places] == [300, 300, 300]
    assert [queue_at(memory, place).number for place in places] == [1, 2, 3]
    assert table.queues(0) == (places[0], 3)
    queue_at(memory, places[0]).kind = XDP
    assert queues.wait(memory, places[0], 3, -1, 0) == 0
    assert queues.receive(memory, places[0], 0, BATCH) == 0


@pytest.mark.skipif(not JIT, reason="signatures exist with the JIT on")
@pytest.mark.parametrize("module", [queues, rings, packet, stack])
def test_kernels_speak_int64_only(module: ModuleType) -> None:
    array = types.Array(types.uint8, 1, "C")
    for name, function in vars(module).items():
        if hasattr(function, "nopython_signatures") and function.__module__ == module.__name__:
            entry = getattr(function, "entry", function)  # what Python calls (aftr.lowlevel.kernel)
            arguments = (array, *[types.int64] * (function.py_func.__code__.co_argcount - 1))
            entry.compile(arguments)
            returned = entry.overloads[arguments].signature.return_type
            assert returned in (types.int64, types.none), f"{name} returns {returned}"
