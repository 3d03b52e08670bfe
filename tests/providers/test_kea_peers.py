"""Two Kea in each other's place: one changed after the other, while the other serves, and none when one is not there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from assignments import S0, S1, b4, whole
from dhcp_network import SERVERS, Network
from dslite_operator.distribution.buckets import duid_in
from dslite_operator.distribution.providers.errors import (
    RefusedError,
    RolledBackError,
    SilentError,
    UnreachableError,
    UnsuitableError,
    UnwrittenError,
)
from dslite_operator.distribution.providers.kea import peers
from dslite_operator.distribution.providers.kea.change import Changer
from dslite_operator.distribution.providers.kea.channel import Hold
from dslite_operator.distribution.providers.kea.peers import states
from dslite_operator.distribution.providers.kea.provider import KeaPlan, KeaProvider
from dslite_operator.distribution.providers.kea.server import Kea
from kea_servers import OWNER, RunningKea, configuration, running_kea, unusable, with_peers


@pytest.fixture(params=["hot-standby", "load-balancing"])
def pair(request: pytest.FixtureRequest, network: Network, version: str) -> Iterator[list[RunningKea]]:
    mode = str(request.param)
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                running_kea(network, version, with_peers(configuration(version, node), node, mode), node)
            )
            for node in SERVERS
        ]


async def together(pair: list[RunningKea]) -> None:
    """Until both serve."""
    async with asyncio.timeout(30):
        for server in pair:
            while not peers.TOGETHER.issuperset(states(await server.kea.status())):  # noqa: ASYNC110  it tells nobody
                await asyncio.sleep(0.05)


def provider_of(pair: list[RunningKea]) -> KeaProvider:
    return KeaProvider(OWNER, [Changer(server.kea, server.prober) for server in pair], 0.0)


async def test_one_peer_after_the_other_and_one_always_serves(pair: list[RunningKea]) -> None:
    await together(pair)
    provider = provider_of(pair)
    done = asyncio.create_task(provider.apply(provider.render([whole()])))
    waiting: set[int] = set()
    while not done.done():
        found = [states(await server.kea.status()) for server in pair]
        waiting.add(sum(not peers.ANSWERING.issuperset(one) for one in found))
        await asyncio.sleep(0.01)
    assert (await done).changed == tuple(str(server.channel.path) for server in pair)
    assert waiting == {0, 1}
    for server in pair:
        assert await server.provider().observe(b4(0)) == S0
        assert S0 in server.file.read_text()


async def test_a_peer_that_was_given_an_older_file_is_seen_and_told_again(pair: list[RunningKea]) -> None:
    """The second, of which the first knows nothing; B4s ask whichever serves them."""
    await together(pair)
    first, second = pair
    provider, old = provider_of(pair), await second.document()
    plan = provider.render([whole()])
    await provider.apply(plan)
    await together(pair)
    await second.kea.set(old)
    await together(pair)
    with pytest.raises(
        RefusedError,
        match=r"is told s0.east.aftr.example.net by Kea at .*kea-1.sock and no name by Kea at .*kea-2.sock",
    ):
        await provider.observe(b4(0))
    assert (await provider.apply(plan)).changed == (str(second.channel.path),)
    assert await provider.observe(b4(0)) == S0
    assert [await one.provider().observe(b4(0)) for one in (first, second)] == [S0, S0]


async def test_one_that_cannot_write_its_file_keeps_the_other_from_nothing(pair: list[RunningKea]) -> None:
    """Both tell the same, and what is not done is said."""
    await together(pair)
    first, second = pair
    provider = provider_of(pair)
    wanted = pytest.raises(UnwrittenError, match=r"kea-1.sock refuses config-write: .*a restart would forget it")
    with unusable(first.file), wanted:
        await provider.apply(provider.render([whole()]))
    assert await provider.observe(b4(0)) == S0
    assert S0 in second.file.read_text()


async def test_a_peer_that_is_silent_is_named(network: Network, pair: list[RunningKea]) -> None:
    await together(pair)
    provider = provider_of(pair)
    await provider.apply(provider.render([whole()]))
    network.ip("router", "link", "set", "to-kea-2", "down")
    with pytest.raises(SilentError, match=rf"the DHCPv6 server at {SERVERS['kea-2']} port 547 answers none of 3"):
        await provider.observe(b4(0))
    assert await pair[0].provider().observe(b4(0)) == S0


async def test_nothing_is_changed_while_a_peer_is_not_there(network: Network, version: str) -> None:
    documents = {node: with_peers(configuration(version, node), node, "hot-standby") for node in SERVERS}
    with running_kea(network, version, documents["kea-1"]) as first:
        with running_kea(network, version, documents["kea-2"], "kea-2") as second:
            pair = [first, second]
            await together(pair)
            provider = provider_of(pair)
            await provider.apply(provider.render([whole()]))
            await together(pair)
        before = await first.document()
        with pytest.raises(UnreachableError, match=r"kea-2.sock does not answer"):
            await provider.apply(provider.render([whole(name=S1)]))
        assert await first.document() == before
        with running_kea(
            network, version, documents["kea-2"], "kea-2"
        ) as second:  # as it was before ours, and not in step at once
            with pytest.raises(
                UnsuitableError, match=r"is in state [a-z-]+, and nothing is changed while its peer serves alone"
            ):
                await provider.apply(provider.render([whole(name=S1)]))
            await together([first, second])
            await provider.apply(provider.render([whole(name=S1)]))
            assert [await one.provider().observe(b4(0)) for one in (first, second)] == [S1, S1]


async def test_the_second_is_left_alone_when_the_first_refuses(
    network: Network, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "SETTLES_S", 5.0)
    with ExitStack() as stack:
        network.ip("kea-1", "link", "add", "eth9", "type", "bridge")
        network.ip("kea-1", "link", "set", "eth9", "up")
        pair = []
        for node in SERVERS:
            document = with_peers(configuration(version, node), node, "hot-standby")
            if node == "kea-1":
                document["Dhcp6"]["interfaces-config"]["interfaces"].append("eth9")
            pair.append(stack.enter_context(running_kea(network, version, document, node)))
        await together(pair)
        before, provider = await pair[1].document(), provider_of(pair)
        network.ip("kea-1", "link", "del", "eth9")
        with pytest.raises(
            RolledBackError, match=r"refuses config-set: .*eth9.*in force again and served, without eth9"
        ):
            await provider.apply(provider.render([whole()]))
        assert await pair[1].document() == before
        assert [await one.provider().observe(b4(0)) for one in pair] == [None, None]


async def insisted(provider: KeaProvider, plan: KeaPlan) -> list[str]:
    """Applied as often as it takes, as a teller does it; what was said in between."""
    said = list[str]()
    async with asyncio.timeout(60):
        while True:
            try:
                await provider.apply(plan)
                return said
            except UnsuitableError as error:
                said.append(str(error))


async def test_a_peer_that_takes_long_to_serve_again_is_waited_for_and_not_set_again(
    pair: list[RunningKea], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a million leases to synchronise: the other serves meanwhile, and setting it again would begin that anew."""
    monkeypatch.setattr(peers, "SETTLES_S", 0.2)
    await together(pair)
    provider = provider_of(pair)
    said = await insisted(provider, provider.render([whole()]))
    for server in pair:
        assert f"Kea at {server.channel.path} is still in state " in "; ".join(said)
        assert (server.commands()["config-set"], server.commands()["config-write"]) == (1, 1)
        assert S0 in server.file.read_text()
    assert await provider.observe(b4(0)) == S0


async def test_what_a_peer_has_taken_back_is_waited_for_too(
    pair: list[RunningKea], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was asked once it served, told another name, and was given what it had: that is not done again and again."""
    option = [{"name": "aftr-name", "data": "mine.example.net", "always-send": True}]
    reserved = [{"duid": duid_in(0, "whole").hex(":"), "option-data": option}]
    first, second = pair
    await first.person(lambda part: [one.update(reservations=reserved) for one in part["subnet6"] if one["id"] == 7])
    await together(pair)
    before, set_before, provider = await first.document(), first.commands()["config-set"], provider_of(pair)
    monkeypatch.setattr(peers, "SETTLES_S", 0.2)
    with pytest.raises(RolledBackError, match=r"is told mine.*in force again, and Kea at .* is still in state") as back:
        await insisted(provider, provider.render([whole()]))
    assert back.value.serves
    await together(pair)
    assert await first.document() == before
    assert (first.commands()["config-set"] - set_before, second.commands()["config-set"]) == (2, 0)


class Waiting:
    """A control channel on which a Kea says for ever that it waits for its peer."""

    where = "/run/kea/kea-1.sock"

    async def call(self, command: dict[str, Any], hold: Hold | None = None) -> dict[str, Any]:
        assert command == {"command": "status-get"}
        return {"result": 0, "arguments": {"high-availability": [{"ha-servers": {"local": {"state": "waiting"}}}]}}


async def test_one_that_does_not_come_to_serve_again_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "SETTLES_S", 1.0)
    with pytest.raises(UnsuitableError, match=r"Kea at /run/kea/kea-1.sock is still in state waiting after 1 s"):
        await peers.settled(Kea(Waiting()))
