"""Two who change one Kea at the same time: nothing of the other is overwritten, and who loses says so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from assignments import OTHER, S0, S1, S2, b4, spread, whole
from dhcp_network import HOMES, Network
from dslite_operator.distribution.maps import Area
from dslite_operator.distribution.providers.errors import ForeignError, MovedOnError
from dslite_operator.distribution.providers.kea.channel import Hold, UnixChannel
from kea_servers import HOOKS, OWNER, RunningKea, configuration, running_kea

Object = dict[str, Any]
PERSON = {"name": "voice", "test": "option[16].exists"}


def add_class(whole_part: Object) -> None:
    whole_part.setdefault("client-classes", []).append(PERSON)


@dataclass(frozen=True)
class Interrupted(UnixChannel):
    """Somebody else is at work once, just before or just after a command of ours."""

    command: str = ""
    by: Callable[[], Awaitable[None]] | None = None
    after: bool = False
    done: list[str] = field(default_factory=list)

    async def call(self, command: Object, hold: Hold | None = None) -> Object:
        mine = self.by is not None and command["command"] == self.command and not self.done
        if mine and not self.after:
            await self._interrupt()
        answer = await super().call(command, hold)
        if mine and self.after:
            await self._interrupt()
        return answer

    async def _interrupt(self) -> None:
        assert self.by is not None
        self.done.append(self.command)
        await self.by()


@pytest.mark.short
@pytest.mark.parametrize(("command", "after"), [("config-test", False), ("config-test", True), ("config-set", False)])
async def test_a_person_who_changes_kea_meanwhile_keeps_the_change(
    server: RunningKea, command: str, after: bool
) -> None:
    async def change() -> None:
        await server.person(add_class)

    provider = server.provider(through=Interrupted(server.channel.path, command=command, by=change, after=after))
    plan = provider.render([whole()])
    with pytest.raises(
        MovedOnError, match=r"was changed by someone else meanwhile, and nothing was set: it is read again"
    ):
        await provider.apply(plan)
    document = await server.document()
    assert [one["name"] for one in document["Dhcp6"]["client-classes"]] == ["voice"]
    assert await provider.observe(b4(0)) is None
    assert (await provider.apply(plan)).changed
    assert [one["name"] for one in (await server.document())["Dhcp6"]["client-classes"]] == ["voice"]
    assert await provider.observe(b4(0)) == S0


async def test_who_is_overwritten_says_so_and_comes_back(server: RunningKea) -> None:
    """A person without our manners sets an old configuration over ours."""
    old = await server.document()
    channel = Interrupted(server.channel.path, command="config-set", by=lambda: server.kea.set(old), after=True)
    provider = server.provider(through=channel)
    with pytest.raises(MovedOnError, match=r"was changed by someone else just after us .*: it is read again"):
        await provider.apply(provider.render([whole()]))
    assert await server.document() == old
    assert (await provider.apply(provider.render([whole()]))).changed
    assert await provider.observe(b4(0)) == S0


async def test_two_operators_each_with_their_groups(server: RunningKea) -> None:
    """Each tries again until it is done; what one has put there the other never takes away."""
    one, other = server.provider("one"), server.provider("other")
    mine, its = [spread((S0, S1), "last", Area(HOMES))], [whole("isp/others", S2, Area(OTHER))]
    lost: list[str] = []

    async def insist(provider: Any, groups: list[Any]) -> None:
        for _ in range(20):
            try:
                await provider.apply(provider.render(groups))
                return
            except MovedOnError as error:
                lost.append(str(error))
        pytest.fail(f"not done: {lost}")

    await asyncio.gather(insist(one, mine), insist(other, its))
    assert [await one.observe(b4(bucket)) for bucket in (0, 1)] == [S0, S1]
    assert await one.observe(b4(0, subnet=OTHER)) == S2
    assert all("someone else" in sentence for sentence in lost)
    await one.apply(one.render([]))
    assert await one.observe(b4(0)) is None
    assert await one.observe(b4(0, subnet=OTHER)) == S2


async def test_two_operators_that_want_the_same_subnet(server: RunningKea) -> None:
    one, other = server.provider("one"), server.provider("other")
    await one.apply(one.render([whole()]))
    with pytest.raises(
        ForeignError, match=r"'s0.east.aftr.example.net.' that is of another operator, one: remove that"
    ):
        await other.apply(other.render([whole("isp/mine", S1)]))
    with pytest.raises(ForeignError, match=r"has an aftr-name .* of another operator, one"):
        await other.apply(other.render([spread((S1, S2))]))
    assert await one.observe(b4(0)) == S0


@pytest.mark.parametrize("where", ["subnet", "pool", "pd-pool"])
async def test_a_name_that_a_person_put_there_is_not_overwritten(server: RunningKea, where: str) -> None:
    def mine(part: Object) -> None:
        homes = next(one for one in part["subnet6"] if one["subnet"] == str(HOMES))
        place = {"subnet": homes, "pool": homes["pools"][0], "pd-pool": homes["pd-pools"][0]}[where]
        place["option-data"] = [{"name": "aftr-name", "data": "mine.example.net"}]

    await server.person(mine)
    before, provider = await server.document(), server.provider()
    with pytest.raises(
        ForeignError, match=r"subnet 2001:db8:40::/64: .* has an aftr-name 'mine.example.net' that is not ours"
    ):
        await provider.apply(provider.render([whole()]))
    assert await server.document() == before


async def test_what_a_person_changed_of_ours_is_put_back(server: RunningKea) -> None:
    provider = server.provider()
    await provider.apply(provider.render([whole()]))

    def tamper(part: Object) -> None:
        homes = next(one for one in part["subnet6"] if one["subnet"] == str(HOMES))
        homes["option-data"][0]["data"] = "mine.example.net"

    await server.person(tamper)
    assert await provider.observe(b4(0)) == "mine.example.net"
    await provider.apply(provider.render([whole()]))
    assert await provider.observe(b4(0)) == S0


async def test_an_operator_that_starts_anew_moves_nobody(server: RunningKea) -> None:
    before = server.provider()
    await before.apply(before.render([spread((S0, S1), copy='{"map":1}')]))
    document = await server.document()
    after = server.provider(OWNER)
    assert await after.copies() == {"isp/homes": '{"map":1}'}
    assert not (await after.apply(after.render([spread((S0, S1), copy='{"map":1}')]))).changed
    assert await server.document() == document


@pytest.mark.distribution
@pytest.mark.parametrize("after", [False, True])
async def test_classes_set_by_themselves_leave_what_a_person_sets_meanwhile(network: Network, after: bool) -> None:
    hooks = [{"library": f"{HOOKS}/libdhcp_class_cmds.so"}]
    with running_kea(network, "3.0", configuration("3.0", "kea-1", **{"hooks-libraries": hooks})) as server:
        before = server.provider()
        await before.apply(before.render([spread((S0, S1))]))

        async def change() -> None:
            await server.person(add_class)

        channel = Interrupted(server.channel.path, command="class-update", by=change, after=after)
        provider = server.provider(through=channel)
        await provider.apply(provider.render([spread((S1, S0))]))
        assert channel.done == ["class-update"]
        assert [one["name"] for one in (await server.document())["Dhcp6"]["client-classes"]][-1] == "voice"
        assert [await provider.observe(b4(bucket)) for bucket in (0, 1)] == [S1, S0]


@pytest.mark.distribution
async def test_a_class_that_a_person_took_away_meanwhile_is_said(network: Network) -> None:
    hooks = [{"library": f"{HOOKS}/libdhcp_class_cmds.so"}]
    with running_kea(network, "3.0", configuration("3.0", "kea-1", **{"hooks-libraries": hooks})) as server:
        before = server.provider()
        await before.apply(before.render([spread((S0, S1))]))

        async def change() -> None:
            await server.person(lambda part: part["client-classes"].pop())

        channel = Interrupted(server.channel.path, command="class-update", by=change)
        provider = server.provider(through=channel)
        plan = provider.render([spread((S1, S0))])
        with pytest.raises(
            MovedOnError, match=r"by someone else just after us \(.*refuses class-update: Class .* is not found"
        ):
            await provider.apply(plan)
        await provider.apply(plan)
        assert [await provider.observe(b4(bucket)) for bucket in (0, 1)] == [S1, S0]
