"""DHCPv6 servers of the chart's values: what is allowed there, and the logins that Secrets have."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from dslite_operator.distribution import servers
from dslite_operator.distribution.providers.errors import UnreachableError
from dslite_operator.distribution.providers.kea.channel import HttpChannel, UnixChannel
from dslite_operator.distribution.servers import LoginChannel, channel_of, login, provider_of
from dslite_operator.settings import DhcpServer, DhcpSettings

ONE = {"name": "metro", "url": "http://kea.example.net:8000/", "probe": "2001:db8:53::11"}


def settings(**server: Any) -> DhcpSettings:
    return DhcpSettings.model_validate({"owner": "metro", "servers": [{**ONE, **server}]})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"probe": "192.0.2.1"}, "192.0.2.1 is not allowed: DHCPv6 goes by IPv6"),
        ({"probe": "kea"}, "kea is not allowed: an address, with a port if it is not 547"),
        ({"url": "kea:8000"}, "should match pattern"), ({"type": "isc"}, "Input should be 'kea'"),
        ({"minInterval": -1}, "greater than or equal to 0"), ({"name": "Metro"}, "should match pattern"),
    ],
)  # fmt: skip
def test_what_is_not_allowed_is_said(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        settings(**changed)


def test_servers_need_an_owner_and_names_of_their_own() -> None:
    with pytest.raises(ValidationError, match=r"dhcp.owner: a name for this installation is needed"):
        DhcpSettings.model_validate({"servers": [ONE]})
    with pytest.raises(ValidationError, match=r"dhcp.servers: metro stands there twice"):
        DhcpSettings.model_validate({"owner": "metro", "servers": [ONE, ONE]})


def test_peers_are_told_in_the_order_given_and_not_more_often_than_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = {"url": "unix:///run/kea/2.sock", "probe": "[2001:db8:53::12]:1547"}
    (server,) = settings(haPeers=[peer], minInterval=5).servers
    assert [one.probe.port for one in server.peers] == [547, 1547]
    assert channel_of(server, server.peers[1], tmp_path) == UnixChannel(Path("/run/kea/2.sock"))
    assert channel_of(server, server, tmp_path) == LoginChannel(server.url, False, None)
    monkeypatch.setattr(servers, "KeaProvider", lambda *given: given)
    given: Any = provider_of(server, "metro", tmp_path)
    owner, peers, interval_s = given
    assert (owner, [peer.kea.where for peer in peers], interval_s) == ("metro", [ONE["url"], "/run/kea/2.sock"], 5)


def test_a_secret_is_read_for_each_command(tmp_path: Path) -> None:
    (tmp_path / "username").write_text("dslite\n")
    (tmp_path / "password").write_text("one\n")
    assert login("http://kea/", True, tmp_path) == HttpChannel("http://kea/", True, "dslite", "one")
    (tmp_path / "password").write_text("two")
    assert login("http://kea/", True, tmp_path).password == "two"


@pytest.mark.parametrize("files", [(), ("username",), ("password",), ("ca.crt", "tls.key")])
def test_a_secret_with_half_a_login_is_refused(tmp_path: Path, files: tuple[str, ...]) -> None:
    for file in files:
        (tmp_path / file).write_text("x")
    with pytest.raises(
        UnreachableError, match=r"make it with username and password, or with ca.crt, tls.crt and tls.key"
    ):
        login("http://kea/", False, tmp_path)


@pytest.mark.parametrize(
    ("password", "said"), [(b"\xff", r"cannot be read \(UnicodeDecodeError\)"), (b" \n", "is empty")]
)
def test_a_password_that_is_no_text_is_refused_without_it(tmp_path: Path, password: bytes, said: str) -> None:
    (tmp_path / "username").write_text("dslite")
    (tmp_path / "password").write_bytes(password)
    with pytest.raises(UnreachableError, match=rf"Secret {tmp_path.name}: password {said}$"):
        login("http://kea/", False, tmp_path)


async def test_what_cannot_be_read_keeps_its_contents(tmp_path: Path) -> None:
    for file in ("ca.crt", "tls.crt", "tls.key"):
        (tmp_path / file).write_text("no certificate")
    server = DhcpServer.model_validate({**ONE, "secretRef": tmp_path.name})
    with pytest.raises(UnreachableError, match=r"no certificate and key for Kea") as refused:
        await channel_of(server, server, tmp_path.parent).call({"command": "version-get"})
    assert isinstance(refused.value.__cause__, ssl.SSLError)
