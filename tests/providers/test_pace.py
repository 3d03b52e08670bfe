"""Changes gathered over an interval, on a clock of the test's own."""

from __future__ import annotations

import asyncio

import pytest

from dslite_operator.distribution.providers.pace import Pace


class Target:
    """Notes what is carried out, and when."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.fails = False
        self.busy = asyncio.Event()
        self.busy.set()

    async def carry_out(self, wanted: str) -> str:
        await self.busy.wait()
        if self.fails:
            raise RuntimeError(wanted)
        self.done.append(wanted)
        return wanted


async def test_the_first_is_carried_out_at_once_and_the_newest_of_the_rest_once() -> None:
    target = Target()
    pace = Pace(0.2, target.carry_out, lambda done: True)
    begun = asyncio.get_running_loop().time()
    assert await pace("a") == "a"
    assert asyncio.get_running_loop().time() - begun < 0.2
    assert set(await asyncio.gather(pace("b"), pace("c"), pace("d"))) == {"d"}
    assert target.done == ["a", "d"]
    assert asyncio.get_running_loop().time() - begun >= 0.2


async def test_what_changed_nothing_begins_no_interval() -> None:
    target = Target()
    pace = Pace(3600, target.carry_out, lambda done: False)
    assert [await pace(one) for one in "abc"] == list("abc")


async def test_a_failure_is_told_to_each_and_tried_again() -> None:
    target = Target()
    target.fails = True
    pace = Pace(3600, target.carry_out, lambda done: True)
    for failed in await asyncio.gather(pace("a"), pace("b"), return_exceptions=True):
        assert isinstance(failed, RuntimeError)
    target.fails = False
    assert await pace("b") == "b"


async def test_a_caller_who_leaves_takes_no_turn_away() -> None:
    target = Target()
    target.busy.clear()
    pace = Pace(0, target.carry_out, lambda done: True)
    first, second = asyncio.create_task(pace("a")), asyncio.create_task(pace("b"))
    await asyncio.sleep(0)
    first.cancel()
    target.busy.set()
    assert await second == "b"
    with pytest.raises(asyncio.CancelledError):
        await first
    assert target.done == ["b"]
