"""One connection to one Redis, on which commands are answered in the order in which they were sent.

After whatever went wrong the connection is closed: an answer that came too late could be taken for that of the next question.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from aftr.store.errors import StoreUnreachableError, code_of, refusal
from aftr.store.settings import Node, Tls

Command = tuple[str | bytes | int, ...]


@dataclass
class Access:
    """How nodes let us in, changed in place: the next connections follow. `tls` None: in clear."""

    username: str
    password: str
    tls: Tls | None
    timeout: float


class Line:
    """Connects when it is first needed, and again after an error, each time with the login of then; `greeting` is sent first."""

    def __init__(self, node: Node, access: Access, greeting: Sequence[Command] = ()) -> None:
        self.node, self._access, self._greeting = node, access, tuple(greeting)
        self._connection = _connection(node, access)
        self._lock = asyncio.Lock()
        self.opened = 0  # times that it has connected

    async def ask(self, *commands: Command, within: float | None = None) -> list[Any]:
        """All commands in one write, and their answers in order; an error that Redis answered stands in its place.

        Raises StoreUnreachableError when they did not all come `within` seconds, StoreRefusedError when the login is refused.
        """
        async with self._lock:
            try:
                async with asyncio.timeout(within or self._access.timeout):
                    if self._connection.is_connected and await self._connection.can_read():
                        await self._hang_up()  # the other end has closed it meanwhile
                    if not self._connection.is_connected:
                        self._connection = _connection(self.node, self._access)
                        await self._connection.connect()  # type: ignore[no-untyped-call]
                        self.opened += 1
                        for answer in await self._exchange(self._greeting) if self._greeting else ():
                            if isinstance(answer, ResponseError):
                                raise answer
                    return await self._exchange(commands)
            except TimeoutError:
                await self._hang_up()
                raise StoreUnreachableError(
                    f"store {self.node} did not answer in {within or self._access.timeout:g} s"
                ) from None
            except (RedisError, OSError) as error:
                await self._hang_up()
                said = error.__context__ if isinstance(error.__context__, AuthenticationError) else error
                if isinstance(said, RedisError) and (isinstance(said, ResponseError) or code_of(said)):
                    raise refusal(str(self.node), said) from None
                raise StoreUnreachableError(f"store {self.node} cannot be reached: {error}") from None
            except BaseException:
                await self._hang_up()
                raise

    async def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        await self._connection.send_packed_command(self._connection.pack_commands(commands), check_health=False)
        return [await self._answer() for _ in commands]

    async def _answer(self) -> Any:
        try:
            return await self._connection.read_response(timeout=math.inf)
        except ResponseError as error:
            return error

    async def _hang_up(self) -> None:
        await self._connection.disconnect(nowait=True)

    async def close(self) -> None:
        """End the connection; a later `ask` would open it again."""
        await self._connection.disconnect()


def _connection(node: Node, access: Access) -> Connection | UnixDomainSocketConnection:
    common: dict[str, Any] = {
        "username": access.username or None,
        "password": access.password or None,
        "socket_timeout": None,
        "socket_connect_timeout": access.timeout,
        "protocol": 2,
        "driver_info": None,
        "socket_read_size": 1 << 18,
    }
    if not node.port:
        return UnixDomainSocketConnection(path=node.host, **common)
    common |= {"host": node.host, "port": node.port}
    if access.tls is None:
        return Connection(**common)
    return SSLConnection(
        ssl_ca_certs=access.tls.ca or None,
        ssl_certfile=access.tls.certificate or None,
        ssl_keyfile=access.tls.key or None,
        **common,
    )
