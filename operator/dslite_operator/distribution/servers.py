"""DHCPv6 servers as the chart's values name them."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

from dslite_operator.distribution.providers.errors import UnreachableError
from dslite_operator.distribution.providers.kea.change import Changer
from dslite_operator.distribution.providers.kea.channel import Channel, Hold, HttpChannel, UnixChannel, client_tls
from dslite_operator.distribution.providers.kea.provider import KeaProvider
from dslite_operator.distribution.providers.kea.server import Kea
from dslite_operator.distribution.providers.probe import Prober
from dslite_operator.distribution.secret import value
from dslite_operator.settings import DhcpServer, KeaPeer

Object = dict[str, Any]

UNIX = "unix://"
AUTHORITY, CERTIFICATE, KEY = "ca.crt", "tls.crt", "tls.key"
USER, PASSWORD = "username", "password"


def provider_of(server: DhcpServer, owner: str, secrets: Path) -> KeaProvider:
    """The provider for a server of the installation `owner`; `secrets` has a folder for each Secret."""
    peers = [Changer(Kea(channel_of(server, peer, secrets)), prober_of(peer)) for peer in server.peers]
    return KeaProvider(owner, peers, server.min_interval)


def prober_of(peer: KeaPeer) -> Prober:
    """Asks a peer as a relay does."""
    return Prober(IPv6Address(peer.probe.address), peer.probe.port)


def channel_of(server: DhcpServer, peer: KeaPeer, secrets: Path) -> Channel:
    """The way to a peer."""
    if peer.url.startswith(UNIX):
        return UnixChannel(Path(peer.url.removeprefix(UNIX)))
    return LoginChannel(peer.url, server.agent, secrets / server.secret_ref if server.secret_ref else None)


@dataclass(frozen=True)
class LoginChannel:
    """HTTP with what a Secret has, which is read for each command: a changed Secret holds at once."""

    url: str
    agent: bool
    folder: Path | None

    @property
    def where(self) -> str:
        """The URL."""
        return self.url

    async def call(self, command: Object, hold: Hold | None = None) -> Object:
        """As Channel.call; raises UnreachableError also for a Secret that cannot be used."""
        if self.folder is None:
            return await HttpChannel(self.url, self.agent).call(command, hold)
        return await login(self.url, self.agent, self.folder).call(command, hold)


def login(url: str, agent: bool, folder: Path) -> HttpChannel:
    """HTTP with the user, the certificate, or both, of a Secret's folder.  Raises UnreachableError."""
    has = {name: (folder / name).exists() for name in (USER, PASSWORD, AUTHORITY, CERTIFICATE, KEY)}
    if has[USER] != has[PASSWORD] or not (has[USER] or has[CERTIFICATE]):
        raise UnreachableError(
            f"Secret {folder.name}: make it with {USER} and {PASSWORD}, or with {AUTHORITY}, {CERTIFICATE} and {KEY}, or with all"
        )
    tls = client_tls(folder / AUTHORITY, folder / CERTIFICATE, folder / KEY) if has[CERTIFICATE] else None
    user = value(folder / USER, UnreachableError) if has[USER] else None
    return HttpChannel(url, agent, user, value(folder / PASSWORD, UnreachableError) if has[PASSWORD] else "", tls)
