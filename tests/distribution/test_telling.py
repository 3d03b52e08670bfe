"""When a DHCPv6 server is told, and when it is left alone: a teller, and a server of which it is counted what is done to it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from ipaddress import IPv6Network

import pytest

from assignments import OTHER, S0, S1, whole
from dhcp_network import HOMES
from dslite_operator.distribution import teller as room
from dslite_operator.distribution.buckets import bucket_of
from dslite_operator.distribution.maps import Area, BucketMap, text_of
from dslite_operator.distribution.providers.errors import (
    ForeignError,
    ProviderError,
    RefusedError,
    RolledBackError,
    SilentError,
    UnreachableError,
    UnsuitableError,
)
from dslite_operator.distribution.providers.provider import B4, Assignment, Capabilities, Given, Outcome, Timers
from dslite_operator.distribution.teller import Teller
from telling import Ear, at_work, wanted

Plan = Sequence[Assignment]


class Server:
    """Tells what was applied last; `fails` is what it says to a change, `blocks` groups that it cannot tell, and why."""

    capabilities = Capabilities(per_prefix=True, bucket=True, per_b4=False, live_update=False, max_propagation_s=0.0)

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        self.told: Plan = ()
        self.fails: ProviderError | None = None
        self.blocks: dict[str, str] = {}
        self.uncounted: ProviderError | None = None  # what it says to who asks for leases
        self.state = 1  # of its configuration, as others leave it
        self.times = Timers(1800, 7200)

    def render(self, assignments: Plan) -> Plan:
        return tuple(assignments)

    async def validate(self, plan: Plan) -> None:
        self.done["validate"] += 1

    async def apply(self, plan: Plan) -> Outcome:
        self.done["apply"] += 1
        if self.fails is not None:
            raise self.fails
        if found := await self.obstacles(plan):
            raise ForeignError("; ".join(found.values()))
        self.told = plan
        return Outcome(("metro",), "changed")

    async def observe(self, b4: B4) -> str | None:
        self.done["observe"] += 1
        parts = [(one.cut, part) for one in self.told for part in one.parts]
        return next(
            part.names[bucket_of(b4.duid, cut)]
            for cut, part in parts
            if b4.subnet in {area.subnet for area in part.areas}
        )

    async def copies(self) -> Mapping[str, str]:
        return {one.group: one.copy for one in self.told}

    async def timers(self) -> Mapping[IPv6Network, Timers]:
        return dict.fromkeys((HOMES, OTHER), self.times)

    async def leases(self) -> Sequence[Given] | None:
        self.done["leases"] += 1
        if self.uncounted is not None:
            raise self.uncounted
        return ()

    async def obstacles(self, assignments: Plan) -> Mapping[str, str]:
        return {one.group: self.blocks[one.group] for one in assignments if one.group in self.blocks}

    async def ready(self) -> None:
        pass

    async def revision(self) -> str:
        self.done["revision"] += 1
        return str(self.state)


@pytest.fixture(autouse=True)
def _looks_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "CHECK_S", 0.005)


@pytest.mark.parametrize("error", [RolledBackError("told otherwise", serves=True), RefusedError("refuses config-test")])
async def test_a_change_that_fails_waits_until_there_is_something_new(error: ProviderError) -> None:
    """Each try stops the server: not before half a minute has gone by, others have changed it, or something else is wanted."""
    server = Server()
    server.fails = error
    async with at_work(server) as (teller, ear):
        teller.tell(wanted(whole()))
        await ear.until(lambda: teller.trouble == str(error))
        await ear.looks(10)
        assert (server.done["apply"], teller.trouble) == (1, str(error))
        server.state += 1
        await ear.until(lambda: server.done["apply"] == 2)
        await ear.looks(10)
        teller.tell(wanted(whole(name=S1)))
        await ear.until(lambda: server.done["apply"] == 3)
        await ear.looks(10)
        assert (server.done["apply"], teller.settled) == (3, False)
        server.fails, server.state = None, server.state + 1
        await ear.until(lambda: teller.settled)
        assert server.done["apply"] == 4


async def test_a_change_that_fails_is_tried_less_and_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "AGAIN_S", 0.05)
    server = Server()
    server.fails = RefusedError("refuses config-test")
    async with at_work(server) as (teller, ear):
        teller.tell(wanted(whole()))
        await ear.until(lambda: server.done["apply"] == 4)  # 0.05, 0.1 and 0.2 s later
        assert server.done["revision"] > 2 * 4
        server.fails = None
        await ear.until(lambda: teller.settled)
        assert server.done["apply"] == 5


@pytest.mark.parametrize(
    "error",
    [UnreachableError("gone"), SilentError("silent"), UnsuitableError("alone"), RolledBackError("deaf", serves=False)],
)
async def test_who_serves_nobody_or_is_not_there_is_tried_again_all_the_time(
    monkeypatch: pytest.MonkeyPatch, error: ProviderError
) -> None:
    monkeypatch.setattr(room, "AGAIN_S", 0.005)
    server = Server()
    server.fails = error
    async with at_work(server) as (teller, ear):
        teller.tell(wanted(whole()))
        await ear.until(lambda: server.done["apply"] >= 10)
        assert (server.done["revision"], teller.trouble) == (0, str(error))
        server.fails = None
        await ear.until(lambda: teller.settled)


async def test_a_group_that_is_blocked_is_tried_again_when_others_have_changed_the_server() -> None:
    """Reading stops the server too."""
    server = Server()
    server.blocks = {"isp/shops": "there is no subnet"}
    async with at_work(server) as (teller, ear):
        teller.tell(wanted(whole(), whole("isp/shops", S0, Area(OTHER))))
        await ear.until(lambda: teller.settled)
        await ear.looks(10)
        assert (teller.tells("isp/homes"), teller.blocked) == (True, {"isp/shops": "there is no subnet"})
        assert server.done["apply"] == 2  # all of them, and without the one
        server.blocks, server.state = {}, server.state + 1
        await ear.until(lambda: teller.tells("isp/shops"))
        assert server.done["apply"] == 3


async def test_d21_no_group_is_told_while_a_subnet_is_on_its_way_to_one_that_is_blocked() -> None:
    """Told without it, the group that it comes from would leave its B4s without an AFTR: also by an operator that starts again."""
    north, south = Area(HOMES), Area(OTHER)

    def assigned(name: str, *areas: Area) -> Assignment:
        slots = dict.fromkeys(areas, (0,))
        return whole(f"isp/{name}", S0, *areas, copy=text_of(BucketMap(f"isp/{name}", "east", "whole", slots)))

    server, third = Server(), assigned("third", Area(IPv6Network("2001:db8:42::/64")))
    before = [assigned("north", north, south), third]
    async with at_work(server) as (teller, ear):
        teller.tell(wanted(*before))
        await ear.until(lambda: teller.settled)
    server.blocks = {"isp/south": "there is no subnet"}
    for _ in range(2):
        async with at_work(server) as (teller, ear):
            teller.tell(wanted(assigned("north", north), assigned("south", south), third))
            await ear.until(lambda: "there is no subnet" in teller.trouble)
            assert list(server.told) == before
    server.blocks = {}
    async with at_work(server) as (teller, ear):
        teller.tell(wanted(assigned("north", north), assigned("south", south), third))
        await ear.until(lambda: teller.settled)
        assert {one.group for one in server.told} == {"isp/north", "isp/south", "isp/third"}


@pytest.mark.parametrize("leases_s", [0.005, 3600.0])
async def test_o02_o03_times_that_have_changed_are_known_with_the_leases_and_with_each_change(
    monkeypatch: pytest.MonkeyPatch, leases_s: float
) -> None:
    """Else a name would go before its last lease has ended, and a drain begin before all leases have the shorter T1."""
    monkeypatch.setattr(room, "LEASES_S", leases_s)
    server = Server()
    async with at_work(server) as (teller, ear):
        assert (teller.renewal([HOMES]), teller.lifetime) == (timedelta(minutes=30), timedelta(hours=2))
        server.times = Timers(3600, 14400)
        if leases_s > 1:
            await ear.looks(10)
            assert teller.lifetime == timedelta(hours=2)
            teller.tell(wanted(whole()))
            await ear.until(lambda: teller.settled)
        await ear.until(lambda: teller.lifetime == timedelta(hours=4))
        assert teller.renewal([HOMES]) == timedelta(hours=1)
        server.times = Timers(60, 600)
        teller.tell(wanted(whole(name=S1)))
        await ear.until(lambda: teller.settled)
        assert (teller.renewal([HOMES]), teller.lifetime) == (timedelta(hours=1), timedelta(hours=4))


async def test_who_changes_without_a_moment_of_silence_is_tried_again_all_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "AGAIN_S", 0.005)
    server = Server()
    server.capabilities = replace(server.capabilities, live_update=True)
    server.fails = RefusedError("no")
    async with at_work(server) as (teller, ear):
        teller.tell(wanted(whole()))
        await ear.until(lambda: server.done["apply"] >= 10)
        assert server.done["revision"] == 0


# ---------------------------------------------------------------- leases
async def test_leases_that_cannot_be_read_hold_up_nothing_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is moved further by what was counted long ago, and nothing is told twice."""
    monkeypatch.setattr(room, "LEASES_S", 0.005)
    server = Server()
    async with at_work(server) as (teller, ear):
        teller.tell(wanted(whole()))
        await ear.until(lambda: teller.settled)
        server.uncounted = RefusedError("refuses lease6-get-page")
        await ear.until(lambda: "refuses lease6-get-page: B4s are told what they should" in teller.trouble)
        teller.tell(wanted(whole(name=S1)))
        await ear.until(lambda: server.told == (whole(name=S1),))
        await ear.looks(10)
        assert (server.done["apply"], teller.settled, teller.leases) == (2, False, ())
        server.uncounted = None
        await ear.until(lambda: teller.settled)
        assert server.done["apply"] == 2


async def test_before_its_leases_were_read_nothing_is_known_of_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A map that is lost is found again by them."""
    monkeypatch.setattr(room, "AGAIN_S", 0.005)
    server, ear = Server(), Ear()
    server.uncounted = RefusedError("refuses lease6-get-page")
    teller = Teller("metro", server, ear)
    task = asyncio.create_task(teller.run())
    await ear.until(lambda: teller.trouble == "refuses lease6-get-page")
    assert (teller.kept, teller.copies, teller.leases) == (None, None, None)
    server.uncounted = None
    await ear.until(lambda: teller.kept is not None)
    assert teller.leases == ()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
