"""When a DHCPv6 server is told, and when it is left alone: a teller, and a server of which it is counted what is done to it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence, Set
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Network
from itertools import pairwise

import pytest

from assignments import OTHER, S0, S1, S2, spread, whole
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
    UnwrittenError,
)
from dslite_operator.distribution.providers.provider import B4, Assignment, Given, Outcome, Timers
from dslite_operator.distribution.teller import Teller
from telling import Ear, at_work, wanted

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
Plan = Sequence[Assignment]


class Server:
    """Tells what was applied last; `fails` is what it says to a change, `blocks` groups that it cannot tell, and why."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        self.tried_at: list[float] = []
        self.told: Plan = ()
        self.left: Plan = ()
        self.live_update = False
        self.fails: ProviderError | None = None
        self.blocks: dict[str, str] = {}  # by group, or by name
        self.unwritten: ProviderError | None = None  # what it says when it is to write its file
        self.silent: ProviderError | None = None  # what comes of a question
        self.uncounted: ProviderError | None = None  # what it says to who asks for leases
        self.unsaid: ProviderError | None = None  # or whether it was changed
        self.state: int | None = 1  # of its configuration, as others leave it; None: it has no hash
        self.times, self.longest_s = Timers(1800, 7200), 600

    def render(self, assignments: Plan, as_is: Set[str] = frozenset()) -> Plan:
        self.left = tuple(one for one in self.told if one.group in as_is)
        return tuple(assignments)

    async def validate(self, plan: Plan) -> None:
        self.done["validate"] += 1

    async def apply(self, plan: Plan) -> Outcome:
        self.done["apply"] += 1
        self.tried_at.append(time.monotonic())
        if self.fails is not None:
            raise self.fails
        if found := await self.obstacles(plan):
            raise ForeignError("; ".join(found.values()))
        self.told = (*plan, *self.left)
        if self.unwritten is not None:
            raise self.unwritten
        return Outcome(("metro",), "changed")

    async def keep(self) -> None:
        self.done["keep"] += 1
        if self.unwritten is not None:
            raise self.unwritten

    async def observe(self, b4: B4) -> str | None:
        self.done["observe"] += 1
        if self.silent is not None:
            raise self.silent
        parts = [(one.cut, part) for one in self.told for part in one.parts]
        told = (
            part.names[bucket_of(b4.duid, cut)]
            for cut, part in parts
            if b4.subnet in {area.subnet for area in part.areas}
        )
        return next(told, None)

    async def copies(self) -> Mapping[str, str]:
        return {one.group: one.copy for one in self.told if any(any(part.names) for part in one.parts)}

    async def timers(self) -> Mapping[IPv6Network, Timers]:
        return dict.fromkeys((HOMES, OTHER), self.times)

    async def leases(self) -> Sequence[Given] | None:
        self.done["leases"] += 1
        if self.uncounted is not None:
            raise self.uncounted
        return (Given(HOMES, b"\0\3\1", HOMES, self.longest_s),)

    async def obstacles(self, assignments: Plan) -> Mapping[str, str]:
        asked = [(one.group, key) for one in assignments for key in (one.group, one.parts[0].whole)]
        return {group: self.blocks[key] for group, key in asked if key in self.blocks}

    async def ready(self) -> None:
        pass

    async def revision(self) -> str | None:
        self.done["revision"] += 1
        if self.unsaid is not None:
            raise self.unsaid
        return None if self.state is None else str(self.state)


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
        server.state = 2
        await ear.until(lambda: server.done["apply"] == 2)
        await ear.looks(10)
        teller.tell(wanted(whole(name=S1)))
        await ear.until(lambda: server.done["apply"] == 3)
        await ear.looks(10)
        assert (server.done["apply"], teller.settled) == (3, False)
        server.fails, server.state = None, 3
        await ear.until(lambda: teller.settled)
        assert server.done["apply"] == 4


async def test_a_change_that_fails_is_tried_less_and_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "AGAIN_S", 0.2)
    server = Server()
    server.fails = RefusedError("refuses config-test")
    async with at_work(server) as (teller, ear):
        teller.tell(wanted(whole()))
        await ear.until(lambda: server.done["apply"] == 4)
        waits = [later - earlier for earlier, later in pairwise(server.tried_at)]
        assert all(waited >= least for waited, least in zip(waits, (0.2, 0.4, 0.8), strict=True)), waits
        server.fails = None
        await ear.until(lambda: teller.settled)
        assert server.done["apply"] == 5


async def test_a_change_that_fails_waits_longer_whatever_comes_between(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a peer that does not serve at once, after the change was taken back."""
    monkeypatch.setattr(room, "AGAIN_S", 0.2)
    server = Server()
    server.fails = failing = RolledBackError("told otherwise", serves=True)
    async with at_work(server) as (teller, ear):
        teller.tell(wanted(whole()))
        await ear.until(lambda: server.done["apply"] == 1)
        server.fails = SilentError("silent")
        await ear.until(lambda: server.done["apply"] == 2)
        server.fails = failing
        await ear.until(lambda: server.done["apply"] == 4)
        assert server.tried_at[3] - server.tried_at[2] >= 0.4


async def test_who_does_not_say_whether_others_have_changed_it_is_not_tried_before_its_time() -> None:
    """A channel that does not answer once, or a server without a hash."""
    server = Server()
    server.fails, server.unsaid = RefusedError("refuses config-test"), UnreachableError("gone")
    async with at_work(server) as (teller, ear):
        teller.tell(wanted(whole()))
        for unsaid, state in ((server.unsaid, 1), (None, 1), (server.unsaid, 1), (None, None), (None, 1)):
            server.unsaid, server.state = unsaid, state
            await ear.looks(5)
            assert (server.done["apply"], teller.trouble) == (1, "refuses config-test")
        server.state = 2
        await ear.until(lambda: server.done["apply"] == 2)


@asynccontextmanager
async def having_told(server: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Teller, Ear]]:
    """One that has told it what is wanted; what waits does so for half a minute, and it looks all the time."""
    async with at_work(server) as (teller, ear):
        monkeypatch.setattr(room, "AGAIN_S", 0.005)
        teller.tell(wanted(whole()))
        await ear.until(lambda: teller.settled)
        yield teller, ear


async def test_while_a_change_waits_it_is_said_what_b4s_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    async with having_told(server, monkeypatch) as (teller, ear):
        server.fails = RefusedError("refuses config-test")
        teller.tell(wanted(whole(name=S1)))
        await ear.until(lambda: teller.trouble == "refuses config-test")
        server.silent = SilentError("answers nobody")
        await ear.until(lambda: teller.trouble == "refuses config-test; answers nobody")
        server.silent, server.told = None, (whole(name=S2),)
        await ear.until(lambda: f"refuses config-test; a B4 on subnet {HOMES} is told {S2}" in teller.trouble)
        await ear.looks(10)
        server.told = (whole(),)
        await ear.until(lambda: teller.trouble == "refuses config-test")
        assert server.done["apply"] == 2


async def test_what_is_told_otherwise_is_told_again_once_and_then_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    async with having_told(server, monkeypatch) as (teller, ear):
        server.silent = RefusedError("told otherwise")
        await ear.until(lambda: teller.trouble == "told otherwise")
        await ear.looks(10)
        assert (server.done["apply"], teller.settled) == (1, False)
        server.state = 2
        await ear.until(lambda: server.done["apply"] == 2)
        await ear.looks(10)
        assert (server.done["apply"], teller.trouble) == (2, "told otherwise")
        server.silent = None
        await ear.until(lambda: teller.settled)


# ---------------------------------------------------------------- what is told, and not written down
async def test_what_cannot_be_written_down_is_told_and_written_a_look_after_it_can() -> None:
    """However long that was: nobody is moved meanwhile, and whoever is asked what it tells says so."""
    server = Server()
    server.unwritten = UnwrittenError("a restart would forget it")
    async with at_work(server) as (teller, ear):
        teller.tell(wanted(whole(copy='{"moved":1}')))
        await ear.until(lambda: server.done["keep"] >= 2)
        assert (teller.trouble, teller.settled, teller.tells("isp/homes")) == (
            "a restart would forget it",
            False,
            False,
        )
        assert (teller.copies, set(teller.told_at)) == ({"isp/homes": '{"moved":1}'}, {"isp/homes"})
        server.unwritten = None
        await ear.until(lambda: teller.settled)
        assert server.done["apply"] == 1


async def test_a_group_that_is_blocked_goes_on_with_what_could_not_be_written_down() -> None:
    server, shops = Server(), Area(OTHER)
    server.unwritten = UnwrittenError("a restart would forget it")
    async with at_work(server) as (teller, ear):
        teller.tell(wanted(whole(), whole("isp/shops", S1, shops)))
        await ear.until(lambda: server.done["keep"] >= 1)
        server.unwritten, server.blocks = None, {S2: "not ours"}
        teller.tell(wanted(whole(), whole("isp/shops", S2, shops)))
        await ear.until(lambda: teller.settled)
        assert server.told == (whole(), whole("isp/shops", S1, shops))


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
        server.blocks, server.state = {}, 2
        await ear.until(lambda: teller.tells("isp/shops"))
        assert server.done["apply"] == 3


async def test_a_group_that_is_blocked_after_it_was_told_stays_as_it_is_and_others_go_on() -> None:
    """What stands in its way stands in the way of what it was told too: also of an operator that starts again."""
    server, shops = Server(), whole("isp/shops", S0, Area(OTHER), copy="a map")
    async with at_work(server) as (teller, ear):
        teller.tell(wanted(whole(), shops))
        await ear.until(lambda: teller.settled)
        server.blocks = {"isp/shops": "an aftr-name that is not ours"}
        teller.tell(wanted(whole(name=S1), shops))
        await ear.until(lambda: teller.tells("isp/homes"))
        assert server.told == (whole(name=S1), shops)
        assert (teller.copies, teller.tells("isp/shops")) == ({"isp/homes": "", "isp/shops": "a map"}, False)
    async with at_work(server) as (teller, ear):
        teller.tell(wanted(whole(name=S2), shops))
        await ear.until(lambda: teller.tells("isp/homes"))
        assert server.told == (whole(name=S2), shops)
        assert (teller.as_is, teller.blocked) == ({"isp/shops": "a map"}, server.blocks)
        server.blocks, server.state = {}, 2
        await ear.until(lambda: teller.tells("isp/shops"))
        assert teller.as_is == {}


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


async def test_d21_a_change_that_moves_nobody_begins_no_hour_anew() -> None:
    """A subnet more, or other slots that are chosen: the next step was an hour after each."""
    server, before = Server(), BucketMap("isp/homes", "east", "whole", {Area(HOMES): (0,)})
    first, second = (replace(before, moved_at=NOW + timedelta(hours=hours), moved_b4s=9) for hours in (0, 1))
    async with at_work(server) as (teller, ear):
        told_at = []
        for one in (before, first, replace(first, chosen=(0,)), replace(second, chosen=(0,))):
            teller.tell(wanted(whole(copy=text_of(one))))
            await ear.until(lambda: teller.settled)
            told_at.append(teller.told_at.get("isp/homes"))
    assert told_at[0] is None
    assert told_at[1] == told_at[2] != told_at[3]


async def test_who_changes_without_a_moment_of_silence_is_tried_again_all_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "AGAIN_S", 0.005)
    server = Server()
    server.live_update, server.fails = True, RefusedError("no")
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
        known = teller.leases
        await ear.until(lambda: teller.trouble == "refuses lease6-get-page: no B4 is moved before they can be counted")
        teller.tell(wanted(whole(name=S1)))
        await ear.until(lambda: server.told == (whole(name=S1),))
        await ear.looks(10)
        assert (server.done["apply"], teller.settled, teller.leases) == (2, False, known)
        server.uncounted = None
        await ear.until(lambda: teller.settled)
        assert server.done["apply"] == 2


@pytest.mark.parametrize(
    "older", [(whole(copy="map"), whole("isp/gone", S1, Area(OTHER), copy="its map")), (whole(copy="older map"),)]
)
async def test_maps_that_a_server_has_from_an_older_file_are_seen_with_its_leases(
    monkeypatch: pytest.MonkeyPatch, older: Plan
) -> None:
    """As a B4 of a group that is gone nobody asks.  Who is told nothing has no copy there, and that is right."""
    monkeypatch.setattr(room, "LEASES_S", 0.005)
    new = spread((None,), "last", Area(IPv6Network("2001:db8:42::/64")), group="isp/new", copy="a map")
    server, right = Server(), (whole(copy="map"), new)
    async with at_work(server) as (teller, ear):
        teller.tell(wanted(*right))
        await ear.until(lambda: teller.settled)
        server.told = older
        await ear.until(lambda: not teller.settled)
        await ear.until(lambda: teller.settled)
        await ear.looks(10)
        assert (server.told, server.done["apply"]) == (right, 2)


async def test_before_its_leases_were_read_nobody_is_counted_and_all_are_told() -> None:
    """A map that is lost is found again by them; who has one needs none."""
    server = Server()
    server.uncounted = RefusedError("refuses lease6-get-page")
    async with at_work(server) as (teller, ear):
        teller.tell(wanted(whole()))
        await ear.until(lambda: server.told == (whole(),))
        await ear.until(lambda: teller.trouble.startswith("refuses lease6-get-page"))
        assert (teller.counted, teller.leases, teller.renewal([HOMES])) == (False, None, timedelta(minutes=30))
        server.uncounted = None
        await ear.until(lambda: teller.settled)
        assert (teller.counted, server.done["apply"]) == (True, 1)


async def test_o02_a_lease_that_was_given_for_longer_before_our_time_is_known_by_itself() -> None:
    """The valid lifetime was lowered, and the operator restarted: no name goes before that lease has ended."""
    server = Server()
    server.longest_s = 14400
    async with at_work(server) as (teller, ear):
        await ear.until(lambda: teller.counted)
        assert teller.lifetime == timedelta(hours=4)
