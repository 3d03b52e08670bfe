"""One DHCPv6 server told in its own task: what stands in the way of one group, a server that is gone, what it is not told again."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from ipaddress import IPv6Network
from typing import Any

import pytest

from assignments import OTHER, S0, S1, b4, spread, whole
from dhcp_network import HOMES, Network
from dslite_operator.distribution import teller as room
from dslite_operator.distribution.buckets import duid_in
from dslite_operator.distribution.maps import Area
from dslite_operator.distribution.teller import Teller
from kea_servers import HOOKS, RunningKea, configuration, running_kea, subnet
from telling import Ear, at_work, wanted

MISSING = IPv6Network("2001:db8:42::/64")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "AGAIN_S", 0.2)
    monkeypatch.setattr(room, "CHECK_S", 0.2)


def telling(kea: RunningKea, interval_s: float = 0.0) -> AbstractAsyncContextManager[tuple[Teller, Ear]]:
    """One that has read what the server has."""
    return at_work(kea.provider(interval_s=interval_s))


async def test_what_stands_in_the_way_of_one_group_stops_no_other(server: RunningKea) -> None:
    """It is told what it was told, and what it asks for as soon as that can be."""
    homes, shops = whole(), whole("isp/shops", S0, Area(OTHER))
    wrong = whole("isp/shops", S1, Area(OTHER), Area(MISSING))
    async with telling(server) as (teller, ear):
        teller.tell(wanted(homes, shops))
        await ear.until(lambda: teller.settled)
        teller.tell(wanted(whole(name=S1), wrong))
        await ear.until(lambda: teller.settled)
        assert (teller.tells("isp/homes"), teller.tells("isp/shops")) == (True, False)
        assert f"there is no subnet {MISSING}: add it to Kea" in teller.blocked["isp/shops"]
        told = [await server.provider().observe(b4(0, subnet=one)) for one in (HOMES, OTHER)]
        assert told == [S1, S0]
        await server.person(lambda whole: whole["subnet6"].append(subnet(9, str(MISSING))))
        await ear.until(lambda: teller.tells("isp/shops"))
        assert await server.provider().observe(b4(0, subnet=MISSING)) == S1
        assert teller.renewal([MISSING]) == timedelta(minutes=30)


async def test_when_a_map_was_told_is_known_whatever_else_is_told_later(server: RunningKea) -> None:
    async with telling(server) as (teller, ear):
        teller.tell(wanted(whole(copy='{"moved":1}')))
        await ear.until(lambda: teller.settled)
        first = teller.told_at["isp/homes"]
        teller.tell(wanted(whole(copy='{"moved":1}', renew_s=300)))
        await ear.until(lambda: teller.settled)
        assert teller.told_at["isp/homes"] == first
        teller.tell(wanted(whole(name=S1, copy='{"moved":2}')))
        await ear.until(lambda: teller.settled)
        assert teller.told_at["isp/homes"] > first
        assert teller.blocked == {}


async def test_a_group_that_was_told_before_our_time_is_left_as_it_is(server: RunningKea) -> None:
    """Nobody knows any more what it was told: that stays, and others go on."""
    provider = server.provider()
    await provider.apply(provider.render([whole(), whole("isp/shops", S0, Area(OTHER), copy="a map")]))
    async with telling(server) as (teller, ear):
        assert teller.copies == {"isp/shops": "a map"}
        teller.tell(wanted(whole(name=S1), whole("isp/shops", S0, Area(MISSING))))
        await ear.until(lambda: teller.tells("isp/homes"))
        assert f"there is no subnet {MISSING}" in teller.blocked["isp/shops"]
        assert [await server.provider().observe(b4(0, subnet=one)) for one in (HOMES, OTHER)] == [S1, S0]
        assert await server.provider().copies() == {"isp/shops": "a map"}


async def test_groups_that_nothing_tells_apart_stop_no_other(server: RunningKea) -> None:
    """As they were accepted before anybody looked at it: who was told stays so, who is new waits."""
    shops, late = whole("isp/shops", S0, Area(OTHER), copy="a map"), whole("isp/late", S1, Area(OTHER, "b-*"))
    async with telling(server) as (teller, ear):
        teller.tell(wanted(whole(), shops))
        await ear.until(lambda: teller.settled)
        teller.tell(wanted(whole(name=S1), shops, late))
        await ear.until(lambda: teller.tells("isp/homes"))
        assert all("nothing tells their clients apart" in teller.blocked[one.group] for one in (shops, late))
        assert [await server.provider().observe(b4(0, subnet=one)) for one in (HOMES, OTHER)] == [S1, S0]
    async with telling(server) as (teller, ear):
        teller.tell(wanted(whole(name=S0), shops, late))
        await ear.until(lambda: teller.tells("isp/homes"))
        assert [await server.provider().observe(b4(0, subnet=one)) for one in (HOMES, OTHER)] == [S0, S0]


async def test_a_group_that_is_blocked_after_it_was_told_is_told_what_it_was(server: RunningKea) -> None:
    """A person removes one of its subnets, and another group is told something new."""
    shops = whole("isp/shops", S0, Area(OTHER), Area(MISSING), copy="a map")
    await server.person(lambda whole: whole["subnet6"].append(subnet(9, str(MISSING))))
    async with telling(server) as (teller, ear):
        teller.tell(wanted(whole(), shops))
        await ear.until(lambda: teller.settled)
        await server.person(lambda whole: whole["subnet6"].pop())
        teller.tell(wanted(whole(name=S1), shops))
        await ear.until(lambda: teller.tells("isp/homes"))
        assert not teller.tells("isp/shops")
        assert [await server.provider().observe(b4(0, subnet=one)) for one in (HOMES, OTHER)] == [S1, S0]
        assert await server.provider().copies() == {"isp/shops": "a map"}


async def test_a_server_that_is_gone_is_told_when_it_is_back(network: Network, version: str) -> None:
    with running_kea(network, version) as server:
        async with telling(server) as (teller, ear):
            assert (teller.settled, teller.copies) == (False, {})
            assert teller.renewal([HOMES, OTHER]) == timedelta(minutes=30)
            assert teller.lifetime == timedelta(hours=2)
            teller.tell(wanted(whole()))
            await ear.until(lambda: teller.settled)
    ear = Ear()
    teller = Teller("metro", server.provider(), ear)
    task = asyncio.create_task(teller.run())
    await ear.until(lambda: "does not answer" in teller.trouble)
    assert (teller.kept, teller.copies) == (None, None)
    with running_kea(network, version, configuration(version, "kea-1")):
        await ear.until(lambda: teller.kept is not None)
        teller.tell(wanted(whole(name=S1)))
        await ear.until(lambda: teller.settled)
        assert await server.provider().observe(b4(0)) == S1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_is_wanted_within_an_interval_is_told_at_once_at_its_end(server: RunningKea) -> None:
    """Three wishes, one change: each costs the server a moment of silence."""

    def changes() -> int:
        return server.commands()["config-set"]

    async with telling(server, interval_s=2.0) as (teller, ear):
        teller.tell(wanted(whole()))
        await ear.until(lambda: teller.settled)
        assert changes() == 1
        for one in (whole(name=S1), whole(), whole(name=S1)):
            teller.tell(wanted(one))
            await asyncio.sleep(0.1)
        assert (changes(), teller.settled) == (1, False)
        await ear.until(lambda: teller.settled)
        assert changes() == 2
        assert await server.provider().observe(b4(0)) == S1


async def test_a_change_that_fails_stops_a_kea_once_and_not_again_and_again(
    network: Network, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Set, answered otherwise by a person's reservation, set back; then not before an hour has gone by, or Kea was changed.

    Nor is it read meanwhile: 2.2, which has no hash, does not show that it was changed.
    """
    monkeypatch.setattr(room, "AGAIN_S", 3600.0)
    option = [{"name": "aftr-name", "data": "mine.example.net", "always-send": True}]
    reserved = [{"duid": duid_in(0, "whole").hex(":"), "option-data": option}]
    subnets = subnet(7, str(HOMES), reservations=reserved), subnet(3, str(OTHER))
    with running_kea(network, version, configuration(version, "kea-1", *subnets)) as server:
        async with telling(server) as (teller, ear):
            teller.tell(wanted(whole()))
            await ear.until(lambda: "is told mine.example.net by Kea" in teller.trouble)
            read = server.commands()["config-get"]
            await ear.looks(5)
            assert (server.commands()["config-set"], server.commands()["config-get"]) == (2, read)
            assert "is told mine.example.net by Kea" in teller.trouble

            def without(part: dict[str, Any]) -> None:
                next(one for one in part["subnet6"] if one["id"] == 7)["reservations"] = []

            await server.person(without)
            if version == "2.2":
                await ear.looks(5)
                teller.tell(wanted(whole(copy="another")))
            await ear.until(lambda: teller.settled)
            assert server.commands()["config-set"] == 4
            assert await server.provider().observe(b4(0)) == S0


async def test_a_server_that_was_given_an_older_file_is_told_again(server: RunningKea) -> None:
    """As somebody does who restores it: nothing of ours is in it, and nobody has said so."""
    before = await server.document()
    async with telling(server) as (teller, ear):
        teller.tell(wanted(whole()))
        await ear.until(lambda: teller.settled)
        await server.kea.set(before)
        assert await server.provider().observe(b4(0)) is None
        await ear.until(lambda: "is told no name by DHCPv6 server metro and not s0" in teller.trouble)
        assert not teller.settled
        await ear.until(lambda: teller.settled)
        assert await server.provider().observe(b4(0)) == S0


async def test_a_group_that_is_gone_is_taken_out_of_an_older_file_too(
    server: RunningKea, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while no B4 asks for it any more; its T1 goes with it."""
    monkeypatch.setattr(room, "LEASES_S", 0.2)
    homes, gone = whole(copy="one"), whole("isp/gone", S1, Area(OTHER), copy="two", renew_s=60)
    async with telling(server) as (teller, ear):
        teller.tell(wanted(homes, gone))
        await ear.until(lambda: teller.settled)
        older = await server.document()
        teller.tell(wanted(homes))
        await ear.until(lambda: teller.settled)
        right = await server.document()
        await server.kea.set(older)
        await ear.until(lambda: not teller.settled)
        await ear.until(lambda: teller.settled)
        assert await server.document() == right
        assert await server.provider().observe(b4(0, subnet=OTHER)) is None


@pytest.mark.distribution
async def test_a_class_that_a_person_deleted_is_told_again(network: Network) -> None:
    """Kea 3.0 deletes one that subnets ask for, and their B4s are told nothing."""
    hooks = {"hooks-libraries": [{"library": f"{HOOKS}/libdhcp_class_cmds.so"}]}
    with running_kea(network, "3.0", configuration("3.0", "kea-1", **hooks)) as server:
        async with telling(server) as (teller, ear):
            teller.tell(wanted(spread((S0,) * 255 + (S1,))))  # it has one bucket
            await ear.until(lambda: teller.settled)
            deleted = {"command": "class-del", "arguments": {"name": f"dslite/isp/homes/{S1}"}}
            assert (await server.channel.call(deleted))["result"] == 0
            await ear.until(lambda: "is told no name by DHCPv6 server metro and not s1" in teller.trouble)
            await ear.until(lambda: teller.settled)
            assert [await server.provider().observe(b4(bucket)) for bucket in (0, 255)] == [S0, S1]


async def test_a_server_that_falls_silent_is_not_settled(network: Network, server: RunningKea) -> None:
    async with telling(server) as (teller, ear):
        teller.tell(wanted(whole()))
        await ear.until(lambda: teller.settled)
        network.ip("kea-1", "link", "set", "eth0", "down")
        await ear.until(lambda: "answers none of 3 Information-requests" in teller.trouble)
        assert not teller.tells("isp/homes")


async def test_a_server_that_falls_silent_is_asked_again_and_not_read(network: Network, server: RunningKea) -> None:
    """Reading stops Kea, and of two peers the other serves meanwhile.  What it tells is seen by what it answers."""

    def read() -> int:
        return server.commands()["config-get"]

    async with telling(server) as (teller, ear):
        teller.tell(wanted(whole()))
        await ear.until(lambda: teller.settled)
        before = read()
        network.ip("router", "link", "set", "to-kea-1", "down")
        await ear.until(lambda: "answers none of 3 Information-requests" in teller.trouble)
        assert not teller.settled
        network.ip("router", "link", "set", "to-kea-1", "up")
        await ear.until(lambda: teller.settled)
        assert read() == before


async def test_what_it_tells_already_it_is_not_told_again(server: RunningKea, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "CHECK_S", 60.0)
    async with telling(server) as (teller, ear):
        teller.tell(wanted(whole()))
        await ear.until(lambda: teller.settled)
        asked: list[Any] = []
        monkeypatch.setattr(server.channel.__class__, "call", lambda *words: asked.append(words))
        teller.tell(wanted(whole()))
        for _ in range(10):
            await asyncio.sleep(0)  # its task runs, if it has anything to do
        assert asked == []
