"""What waits for the kernel does not hold up the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from aftr.ops.kernel_thread import KernelThread, back_here


@pytest.fixture
def beside() -> Iterator[KernelThread]:
    thread = KernelThread()
    yield thread
    thread.close()


async def test_the_loop_goes_on_while_a_call_blocks(beside: KernelThread) -> None:
    begun, released = asyncio.Event(), threading.Event()
    tell = back_here(begun.set)

    async def block() -> str:
        tell()
        released.wait()
        return threading.current_thread().name

    waiting = asyncio.create_task(beside.run(block()))
    await begun.wait()
    assert not waiting.done()
    released.set()
    assert await waiting == "netlink"


async def test_an_error_arrives_where_it_was_asked_for(beside: KernelThread) -> None:
    async def fail() -> None:
        raise OSError("the kernel refuses")

    with pytest.raises(OSError, match="the kernel refuses"):
        await beside.run(fail())


async def test_what_is_told_before_the_end_is_told_first(beside: KernelThread) -> None:
    seen: list[int] = []
    tell = back_here(seen.append)

    async def work() -> None:
        for number in range(3):
            tell(number)

    await beside.run(work())
    assert seen == [0, 1, 2]


async def test_soon_is_carried_out_over_there(beside: KernelThread) -> None:
    done = asyncio.Event()
    beside.soon(back_here(done.set))
    await done.wait()
