"""The same change over each control channel: unix socket (elsewhere), the control agent's HTTP with a password, HTTPS with certificates."""

from __future__ import annotations

from pathlib import Path

import pytest

from assignments import S0, b4, whole
from dhcp_network import Network
from dslite_cluster.authority import Authority
from dslite_operator.distribution.providers.errors import MovedOnError, UnreachableError
from dslite_operator.distribution.providers.kea.channel import Channel, HttpChannel, client_tls
from kea_servers import (
    AGENT,
    DIRECT,
    PASSWORD,
    USER,
    RunningKea,
    authority_of,
    configuration,
    control_agent,
    running_kea,
    with_https,
)


async def has_the_last_word(server: RunningKea, channel: Channel) -> None:
    """A command that is held back and then not said is none; one that is let go is."""

    async def refuses() -> None:
        raise MovedOnError("held back")

    async def lets_go() -> None:
        pass

    with pytest.raises(MovedOnError, match=r"held back"):
        await channel.call({"command": "libreload"}, refuses)
    assert (await channel.call({"command": "build-report"}, lets_go))["result"] == 0
    log = server.log.read_text()
    assert "Received command 'build-report'" in log
    assert "libreload" not in log


@pytest.mark.parametrize(
    "version", [pytest.param("2.2", marks=pytest.mark.lab), pytest.param("2.6", marks=pytest.mark.distribution)]
)
async def test_a_control_agent_with_a_password(network: Network, server: RunningKea) -> None:
    with control_agent(network, server):
        channel = HttpChannel(AGENT, agent=True, user=USER, password=PASSWORD)
        provider = server.provider(through=channel)
        assert (await provider.apply(provider.render([whole()]))).changed == (AGENT,)
        assert await provider.observe(b4(0)) == S0
        for wrong in (HttpChannel(AGENT, agent=True), HttpChannel(AGENT, agent=True, user=USER, password="guess")):
            with pytest.raises(UnreachableError, match=r"Kea at http://.* does not know our login") as refused:
                await server.provider(through=wrong).copies()
            assert "guess" not in str(refused.value)
        with pytest.raises(UnreachableError, match=r"https://.* does not answer"):
            await server.provider(through=HttpChannel(AGENT.replace("http:", "https:"), agent=True)).copies()
        await has_the_last_word(server, channel)
        await has_the_last_word(server, server.channel)


@pytest.mark.distribution
async def test_https_of_kea_itself_with_certificates(network: Network, tmp_path: Path) -> None:
    authority, stranger = authority_of(network), Authority.make(tmp_path / "stranger")
    with running_kea(network, "3.0", with_https(configuration("3.0", "kea-1"))) as server:
        tls = client_tls(authority.ca_file, *authority.issue("client", "dslite"))
        provider = server.provider(through=HttpChannel(DIRECT, user=USER, password=PASSWORD, tls=tls))
        assert (await provider.apply(provider.render([whole()]))).changed == (DIRECT,)
        assert await provider.observe(b4(0)) == S0
        assert not (await provider.apply(provider.render([whole()]))).changed
        unknown = client_tls(authority.ca_file, *stranger.issue("client", "dslite"))
        unproven = client_tls(stranger.ca_file, *authority.issue("other", "dslite"))
        for wrong in (unknown, unproven, None):
            with pytest.raises(UnreachableError, match=r"https://.* does not answer: "):
                await server.provider(through=HttpChannel(DIRECT, user=USER, password=PASSWORD, tls=wrong)).copies()
        with pytest.raises(UnreachableError, match=r"does not know our login"):
            await server.provider(through=HttpChannel(DIRECT, user=USER, password="guess", tls=tls)).copies()
        await has_the_last_word(server, HttpChannel(DIRECT, user=USER, password=PASSWORD, tls=tls))
    with pytest.raises(UnreachableError, match=r"ca.crt, .*missing.crt, .*: no certificate and key for Kea"):
        client_tls(authority.ca_file, tmp_path / "missing.crt", tmp_path / "missing.key")


async def test_what_is_no_kea_is_named(tmp_path: Path) -> None:
    """Something else answers on that socket."""
    import asyncio

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"220 mail.example.net ESMTP\r\n")
        writer.close()

    path = tmp_path / "kea-1.sock"
    async with await asyncio.start_unix_server(greet, path):
        server = RunningKea("2.2", "kea-1", tmp_path, tmp_path / "log")
        with pytest.raises(UnreachableError, match=r"answers b'220 mail.*', which is no answer of Kea"):
            await server.provider().copies()
