"""Every way in which a Kea can refuse, or fall silent: a sentence with its words, and the old service answers afterwards."""

from __future__ import annotations

import asyncio
import time
from ipaddress import IPv6Network
from pathlib import Path
from typing import Any

import pytest

from assignments import OTHER, S0, S1, b4, spread, whole
from dhcp_network import SERVERS, Network
from dslite_operator.distribution.buckets import duid_in
from dslite_operator.distribution.maps import Area
from dslite_operator.distribution.providers.errors import (
    ForeignError,
    OptionError,
    RefusedError,
    RolledBackError,
    SilentError,
    UnreachableError,
    UnwrittenError,
)
from dslite_operator.distribution.providers.kea.change import Change, Changer
from dslite_operator.distribution.providers.kea.channel import Hold, UnixChannel
from dslite_operator.distribution.providers.kea.dialect import Dialect
from dslite_operator.distribution.providers.kea.provider import KeaPlan
from dslite_operator.distribution.providers.kea.server import Configuration
from kea_servers import RunningKea, configuration, running_kea, subnet, unusable

SECOND = "2001:db8:53::99"


@pytest.mark.parametrize(
    "name", ["2001:db8::1", "localhost", "a.example.net,b.example.net", "", "a..example.net", "x" * 64 + ".net"]
)
async def test_o01_a_name_that_option_64_cannot_carry_never_reaches_kea(server: RunningKea, name: str) -> None:
    before = server.log.read_text()
    with pytest.raises(OptionError, match=r"cannot be an AFTR's name in DHCPv6 option 64"):
        server.provider().render([whole(name=name)])
    assert server.log.read_text() == before


async def _served(network: Network, version: str, damage: tuple[str, ...], interface: str) -> None:
    """A Kea with a second interface or address that goes: our change is refused, and the old service goes on."""
    document = configuration(version, "kea-1")
    document["Dhcp6"]["interfaces-config"]["interfaces"].append(interface)
    network.ip("kea-1", "link", "add", "eth9", "type", "bridge")
    network.ip("kea-1", "link", "set", "eth9", "up")
    network.ip("kea-1", "address", "add", f"{SECOND}/64", "dev", "eth0", "nodad")
    with running_kea(network, version, document) as server:
        provider = server.provider()
        await provider.apply(provider.render([whole()]))
        network.ip("kea-1", *damage)
        with pytest.raises(RolledBackError) as refused:
            await provider.apply(provider.render([whole(name=S1)]))
        assert refused.value.serves, refused.value
        assert "refuses config-set: Failed to select interface" in str(refused.value)
        assert f"in force again and served, without {interface}" in str(refused.value)
        assert await provider.observe(b4(0)) == S0
        with pytest.raises(ForeignError, match=f"it serves without {interface}"):
            await provider.apply(provider.render([whole(name=S1)]))
        assert await provider.observe(b4(0)) == S0
        assert interface in server.file.read_text()


async def test_an_interface_that_is_gone(network: Network, version: str) -> None:
    await _served(network, version, ("link", "del", "eth9"), "eth9")


@pytest.mark.short
async def test_an_address_that_is_gone(network: Network, version: str) -> None:
    gone = ("address", "del", f"{SECOND}/64", "dev", "eth0")
    await _served(network, version, gone, f"eth0/{SECOND}")


async def test_a_lease_file_that_cannot_be_opened_is_said_and_mended_as_soon_as_it_can(server: RunningKea) -> None:
    provider = server.provider()
    await provider.apply(provider.render([whole()]))
    with unusable(server.folder / "kea-1.csv"):
        with pytest.raises(
            RolledBackError, match=r"Unable to open database: unable to open '/var/lib/kea/kea-1.csv'"
        ) as refused:
            await provider.apply(provider.render([whole(name=S1)]))
        assert not refused.value.serves
        with pytest.raises(RolledBackError, match=r"still does not serve.*Unable to open database"):
            await provider.apply(provider.render([whole()]))
    assert not (await provider.apply(provider.render([whole()]))).changed
    assert await provider.observe(b4(0)) == S0
    assert (await provider.apply(provider.render([whole(name=S1)]))).changed
    assert await provider.observe(b4(0)) == S1


async def test_a_kea_that_a_person_has_brought_back_is_not_set_once_more(server: RunningKea) -> None:
    """Who serves again loses nothing but a moment of service by it, or, of two peers, all that it has synchronised."""
    provider = server.provider()
    await provider.apply(provider.render([whole()]))
    with unusable(server.folder / "kea-1.csv"), pytest.raises(RolledBackError, match=r"Unable to open database"):
        await provider.apply(provider.render([whole(name=S1)]))
    assert (await server.channel.call({"command": "config-reload"}))["result"] == 0
    before = server.commands()
    assert not (await provider.apply(provider.render([whole()]))).changed
    assert (server.commands() - before)["config-set"] == 0
    assert await provider.observe(b4(0)) == S0


async def test_a_kea_that_falls_silent_is_given_what_it_had(network: Network, server: RunningKea) -> None:
    """Accepted, and yet no answer: its address went with the change, and comes back."""
    provider, eth0 = server.provider(), ("address", "add", f"{SERVERS['kea-1']}/64", "dev", "eth0", "nodad")
    await provider.apply(provider.render([whole()]))
    network.ip("kea-1", "address", "add", f"{SECOND}/64", "dev", "eth0", "nodad")

    class Severed(UnixChannel):
        async def call(self, command: dict[str, Any], hold: Hold | None = None) -> dict[str, Any]:
            answer = await super().call(command, hold)
            if command["command"] == "config-set" and not said:
                said.append("silent")
                network.ip("kea-1", "address", "del", f"{SERVERS['kea-1']}/64", "dev", "eth0")
            elif command["command"] == "config-get" and said == ["silent"]:
                said.append("back")
                network.ip("kea-1", *eth0)
            return answer

    said: list[str] = []
    with pytest.raises(
        RolledBackError, match=r"answers none of 3 Information-requests.*in force again and served"
    ) as silent:
        await server.provider(through=Severed(server.channel.path)).apply(provider.render([whole(name=S1)]))
    assert silent.value.serves
    assert await provider.observe(b4(0)) == S0


async def test_a_b4_that_is_told_otherwise_is_seen(network: Network, version: str) -> None:
    """A reservation of the provider's comes before our option, for the very B4 that we ask as."""
    option = [{"name": "aftr-name", "data": "mine.example.net", "always-send": True}]
    reserved = [{"duid": duid_in(0, "whole").hex(":"), "option-data": option}]
    document = configuration(
        version, "kea-1", subnet(7, "2001:db8:40::/64", reservations=reserved), subnet(3, str(OTHER))
    )
    with running_kea(network, version, document) as server:
        before, provider = await server.document(), server.provider(interval_s=2.0)
        with pytest.raises(RolledBackError, match=r"is told mine.example.net by Kea at .* and not s0.east") as wrong:
            await provider.apply(provider.render([whole()]))
        begun = time.monotonic()
        await provider.ready()
        assert time.monotonic() - begun > 1.0, "it was set twice, and an interval begins"
        assert wrong.value.serves
        assert await server.document() == before


async def test_a_kea_that_is_silent_before_is_left_as_it_is(network: Network, server: RunningKea) -> None:
    before, provider = await server.document(), server.provider()
    network.ip("kea-1", "link", "set", "eth0", "down")
    with pytest.raises(
        SilentError, match=r"was left as it is: the DHCPv6 server at 2001:db8:53::11 port 547 answers none of 3"
    ):
        await provider.apply(provider.render([whole()]))
    assert await server.document() == before


async def test_a_subnet_that_kea_does_not_have_is_named(server: RunningKea) -> None:
    before, provider = await server.document(), server.provider()
    plan = provider.render([whole("isp/homes", S0, Area(IPv6Network("2001:db8:99::/64")))])
    for step in (provider.validate, provider.apply):
        with pytest.raises(
            ForeignError, match=r"there is no subnet 2001:db8:99::/64: add it to Kea, or correct dhcp.subnets"
        ):
            await step(plan)
    assert await server.document() == before


async def test_what_config_test_refuses_is_never_set(server: RunningKea) -> None:
    """A class that Kea cannot read, as if our own check had missed it."""
    before, provider = await server.document(), server.provider()

    class Broken(KeaPlan):
        def on(self, found: Configuration, dialect: Dialect) -> Change:
            made = super().on(found, dialect)
            made.after["Dhcp6"]["client-classes"][0]["test"] += " and nonsense"
            return made

    with pytest.raises(RefusedError, match=r"refuses config-test: .*nonsense"):
        await Changer(server.kea, server.prober).change(Broken("us", (spread((S0, S1)),)))
    assert await server.document() == before
    assert await provider.observe(b4(0)) is None


async def test_a_configuration_that_kea_cannot_write_is_said_until_it_can(server: RunningKea) -> None:
    """Nothing is to be set any more, and yet it is not done: whoever asks for it once more, and who asks for that alone."""
    provider = server.provider()
    plan = provider.render([whole()])
    with unusable(server.file):
        for step in (provider.apply(plan), provider.apply(plan), provider.keep()):
            with pytest.raises(
                UnwrittenError, match=r"refuses config-write: .*: in force, but a restart would forget it"
            ):
                await step
            assert await provider.observe(b4(0)) == S0
    before = server.commands()
    await provider.keep()
    assert S0 in server.file.read_text()
    await provider.keep()
    assert server.commands() - before == {"config-write": 1}
    assert not (await provider.apply(plan)).changed
    assert (server.commands()["config-set"], server.commands()["config-write"]) == (1, 4)


async def test_what_an_operator_that_was_killed_has_not_written_the_next_one_writes(server: RunningKea) -> None:
    """And where nothing is ours, the file stays a person's."""

    class Killed(UnixChannel):
        async def call(self, command: dict[str, Any], hold: Hold | None = None) -> dict[str, Any]:
            if command["command"] == "config-write":
                raise asyncio.CancelledError
            return await super().call(command, hold)

    nobody = server.provider("another installation")
    assert not (await nobody.apply(nobody.render([]))).changed
    killed = server.provider(through=Killed(server.channel.path))
    with pytest.raises(asyncio.CancelledError):
        await killed.apply(killed.render([whole()]))
    assert S0 not in server.file.read_text()
    assert server.commands()["config-write"] == 0
    provider = server.provider()
    assert not (await provider.apply(provider.render([whole()]))).changed
    assert S0 in server.file.read_text()
    assert not (await provider.apply(provider.render([whole()]))).changed
    assert server.commands()["config-write"] == 1


async def test_a_kea_that_does_not_run_is_named(tmp_path: Path) -> None:
    server = RunningKea("2.2", "kea-1", tmp_path, tmp_path / "log")
    with pytest.raises(
        UnreachableError, match=r"Kea at .*kea-1.sock does not answer: .*No such file.*: see that it runs"
    ):
        await server.provider().apply(server.provider().render([whole()]))


async def test_passwords_of_kea_leave_no_sentence(network: Network, version: str) -> None:
    with running_kea(network, version) as server:
        await server.person(lambda part: part.update({"user-context": {"password": "eth9-secret"}}))
        kea = server.kea
        document = (await kea.configuration()).document
        document["Dhcp6"]["interfaces-config"]["interfaces"] = ["eth9-secret"]
        with pytest.raises(RefusedError, match=r"interface '…' doesn't exist") as refused:
            await kea.set(document)
        assert "secret" not in str(refused.value)
