"""Kea's control channel: one command and its answer, over a unix socket, the control agent's HTTP, or Kea's own HTTPS."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from dslite_operator.distribution.providers.errors import ProviderError, UnreachableError

Object = dict[str, Any]
Hold = Callable[
    [], Awaitable[None]
]  # awaited before the last byte of a command; an error of it ends the command unsaid

TIMEOUT_S = 60.0  # config-set of 10,000 subnets takes seconds, and as long on a busy machine
UNAUTHORIZED = 401


class Channel(Protocol):
    """A way to one Kea; `where` names it in sentences."""

    @property
    def where(self) -> str: ...

    async def call(self, command: Object, hold: Hold | None = None) -> Object:
        """The answer, which has `result` and mostly `text`.  Raises UnreachableError, and what `hold` raises.

        All but the last byte of a large command has arrived when `hold` looks whether it may be said: so little time is between.
        """


@dataclass(frozen=True)
class UnixChannel:
    """Kea's own socket, one connection for each command."""

    path: Path
    timeout_s: float = TIMEOUT_S

    @property
    def where(self) -> str:
        return str(self.path)

    async def call(self, command: Object, hold: Hold | None = None) -> Object:
        try:
            async with asyncio.timeout(self.timeout_s):
                return _read(self.where, await self._exchange(json.dumps(command).encode(), hold))
        except (OSError, TimeoutError) as error:
            raise _unreachable(self.where, error) from error

    async def _exchange(self, command: bytes, hold: Hold | None) -> bytes:
        reader, writer = await asyncio.open_unix_connection(self.path)
        try:
            async for part in _parts(command, hold):
                writer.write(part)
                await writer.drain()
            return await reader.read()
        finally:
            writer.close()


@dataclass(frozen=True)
class HttpChannel:
    """HTTP with basic authentication, or HTTPS with a client certificate, or both.

    `agent`: it is the control agent of Kea 2.x, which hands commands on to the service dhcp6.
    """

    url: str
    agent: bool = False
    user: str | None = None
    password: str = ""
    tls: ssl.SSLContext | None = None
    timeout_s: float = TIMEOUT_S

    @property
    def where(self) -> str:
        return self.url

    async def call(self, command: Object, hold: Hold | None = None) -> Object:
        body = json.dumps({**command, "service": ["dhcp6"]} if self.agent else command).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        if self.user is not None:
            headers["Authorization"] = aiohttp.encode_basic_auth(self.user, self.password)
        return await self._post(_parts(body, hold), headers)

    async def _post(self, body: AsyncIterator[bytes], headers: dict[str, str]) -> Object:
        timeout = aiohttp.ClientTimeout(total=self.timeout_s)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(self.url, data=body, headers=headers, ssl=self.tls or True) as response,
            ):
                if response.status == UNAUTHORIZED:
                    raise UnreachableError(
                        f"Kea at {self.url} does not know our login: compare it with Kea's `authentication`"
                    )
                return _read(self.url, await response.read())
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            if isinstance(error.__cause__, ProviderError):
                raise error.__cause__ from None  # what `hold` said, as aiohttp hands it on
            raise _unreachable(self.url, error) from error


async def _parts(command: bytes, hold: Hold | None) -> AsyncIterator[bytes]:
    """The command; its last byte once `hold` is over."""
    if hold is not None:
        yield command[:-1]
        await hold()
        command = command[-1:]
    yield command


def client_tls(authority: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS with a certificate of ours, to a server with a certificate of that authority.  Raises UnreachableError."""
    try:
        context = ssl.create_default_context(cafile=authority)
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise UnreachableError(f"{authority}, {certificate}, {key}: no certificate and key for Kea: {error}") from error
    return context


def _read(where: str, data: bytes) -> Object:
    """One answer; HTTP has a list of one."""
    try:
        found = json.loads(data)
        answer = found[0] if isinstance(found, list) else found
        if not isinstance(answer["result"], int):
            raise ValueError
    except (ValueError, LookupError, TypeError):
        raise UnreachableError(
            f"{where} answers {data[:80]!r}, which is no answer of Kea: see that it is Kea's control channel"
        ) from None
    return dict(answer)


def _unreachable(where: str, error: Exception) -> UnreachableError:
    said = str(error) or type(error).__name__
    return UnreachableError(
        f"Kea at {where} does not answer: {said}: see that it runs and that its control channel is there"
    )
