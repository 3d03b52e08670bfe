"""Asks a DHCPv6 server as a B4 behind a relay does: the only way to know that it serves, and what it tells."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from ipaddress import IPv6Address

from dslite_operator.distribution.providers import dhcpv6, option64
from dslite_operator.distribution.providers.dhcpv6 import Question
from dslite_operator.distribution.providers.errors import SilentError

SERVER_PORT = 547  # RFC 8415 section 7.2
FIRST_WAIT_S = 1.0  # INF_TIMEOUT, doubled for each repetition (RFC 8415 section 7.6)
TRIES = 3


@dataclass(frozen=True)
class Prober:
    """Probes one server at its unicast address, which it must listen on.

    `source_port` is 547 for a server that answers to no other (RFC 8357 is younger than most); Kea answers to any.
    """

    address: IPv6Address
    port: int = SERVER_PORT
    source_port: int = 0
    first_wait_s: float = FIRST_WAIT_S
    tries: int = TRIES

    async def ask(self, asked: Question) -> str | None:
        """The name that the server tells; None: it answers without one.  Raises SilentError, OptionError."""
        loop = asyncio.get_running_loop()
        target, source = (str(self.address), self.port), ("::", self.source_port)
        try:
            transport, answers = await loop.create_datagram_endpoint(_Answers, source, target)
        except OSError as error:
            raise SilentError(f"no probe leaves from port {self.source_port} to {self.address}: {error}") from error
        try:
            options = await self._exchange(transport, answers, asked)
        finally:
            transport.close()
            await answers.closed.wait()  # the next probe may need the same port
        found = options.get(option64.CODE)
        return None if found is None else option64.decode(found)

    async def _exchange(
        self, transport: asyncio.DatagramTransport, answers: _Answers, asked: Question
    ) -> dict[int, bytes]:
        transaction = secrets.token_bytes(3)
        for attempt in range(self.tries):
            transport.sendto(dhcpv6.question(asked, transaction))
            try:
                async with asyncio.timeout(self.first_wait_s * 2**attempt):
                    return await answers.to(transaction)
            except TimeoutError:
                continue
        raise SilentError(
            f"the DHCPv6 server at {self.address} port {self.port} answers none of {self.tries} Information-requests from link "
            f"{asked.link}: see that it runs, listens on that address (interface/address in Kea) and has a subnet for that link"
        )


class _Answers(asyncio.DatagramProtocol):
    """Datagrams as they come; an ICMP error is a silence."""

    def __init__(self) -> None:
        self._received: asyncio.Queue[bytes] = asyncio.Queue()
        self.closed = asyncio.Event()

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._received.put_nowait(data)

    def error_received(self, exc: Exception) -> None:
        """A port that is closed now may open before the next repetition."""

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()

    async def to(self, transaction: bytes) -> dict[int, bytes]:
        """The options of the answer to that question."""
        while True:
            options = dhcpv6.answer(await self._received.get(), transaction)
            if options is not None:
                return options
