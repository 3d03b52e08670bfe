"""Changes gathered over an interval, on a clock of the test's own."""

from __future__ import annotations

import asyncio

import pytest

from dslite_operator.distribution.providers.pace import Pace


class Target:
    """Notes what is carried out; `begins`: whether an interval begins with it, before it fails or not."""

    def __init__(self, interval_s: float, begins: bool = True) -> None:
        self.pace = Pace(interval_s, self._carry_out)
        self.done: list[str] = []
        self.fails, self._begins = False, begins
        self.busy = asyncio.Event()
        self.busy.set()

    async def _carry_out(self, wanted: str) -> str:
        await self.busy.wait()
        if self._begins:
            self.pace.begin()
        if self.fails:
            raise RuntimeError(wanted)
        self.done.append(wanted)
        return wanted


async def test_the_first_is_carried_out_at_once_and_the_newest_of_the_rest_once() -> None:
    target = Target(0.2)
    begun = asyncio.get_running_loop().time()
    assert await target.pace("a") == "a"
    assert asyncio.get_running_loop().time() - begun < 0.2
    assert set(await asyncio.gather(*(target.pace(one) for one in "bcd"))) == {"d"}
    assert target.done == ["a", "d"]
    assert asyncio.get_running_loop().time() - begun >= 0.2


async def test_what_changed_nothing_begins_no_interval() -> None:
    target = Target(3600, begins=False)
    assert [await target.pace(one) for one in "abc"] == list("abc")


async def test_a_failure_is_told_to_each_and_tried_again() -> None:
    target = Target(3600, begins=False)
    target.fails = True
    for failed in await asyncio.gather(target.pace("a"), target.pace("b"), return_exceptions=True):
        assert isinstance(failed, RuntimeError)
    target.fails = False
    assert await target.pace("b") == "b"


async def test_a_failure_that_changed_something_begins_an_interval_too() -> None:
    target = Target(0.2)
    target.fails = True
    begun = asyncio.get_running_loop().time()
    with pytest.raises(RuntimeError):
        await target.pace("a")
    target.fails = False
    assert await target.pace("b") == "b"
    assert asyncio.get_running_loop().time() - begun >= 0.2


async def test_a_caller_who_leaves_takes_no_turn_away() -> None:
    target = Target(0)
    target.busy.clear()
    first, second = asyncio.create_task(target.pace("a")), asyncio.create_task(target.pace("b"))
    await asyncio.sleep(0)
    first.cancel()
    target.busy.set()
    assert await second == "b"
    with pytest.raises(asyncio.CancelledError):
        await first
    assert target.done == ["b"]
