"""One Kea and the commands that we give it.  Its passwords stand in its configuration: they leave no sentence of ours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dslite_operator.distribution.providers.errors import RefusedError
from dslite_operator.distribution.providers.kea.channel import Channel, Hold
from dslite_operator.distribution.providers.kea.dialect import Dialect, dialect
from dslite_operator.distribution.providers.kea.marks import fingerprint

Object = dict[str, Any]

SUCCESS, EMPTY = 0, 3
PAGE = 2000  # leases of one answer: Kea serves nobody while it writes them
SECRET_KEYS = ("password", "secret", "basic-auth-password")


@dataclass(frozen=True)
class Configuration:
    """What is in force: the document as `config-set` takes it, and a hash by which a change shows."""

    document: Object
    hash: str


class Kea:
    """One server.  Every method raises UnreachableError, and RefusedError with Kea's words."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._secrets: set[str] = set()
        self._dialect: Dialect | None = None
        self._remembers = False
        self.last: Configuration | None = None  # as it was read last, where that is kept

    @property
    def where(self) -> str:
        return self._channel.where

    async def dialect(self) -> Dialect:
        """What it understands now: it may have been upgraded, or been given a hook.  Raises UnsuitableError."""
        version = await self._call("version-get")
        commands = await self._call("list-commands")
        self._dialect = dialect(version["text"], commands["arguments"])
        return self._dialect

    async def configuration(self) -> Configuration:
        """What is in force."""
        document = (await self._call("config-get"))["arguments"]
        found = document.pop("hash", None)
        self._secrets.update(secrets_in(document))
        read = Configuration(document, found or fingerprint(document))
        self.last = read if self._remembers else None
        return read

    async def known(self) -> Configuration:
        """What is in force: as it was read last if its hash is still that, which costs Kea less than to write it out.

        From the first time on each reading is kept as `last`.
        """
        self._remembers = True
        if self.last is not None and await self.own_hash() == self.last.hash:
            return self.last
        return await self.configuration()

    async def hash(self) -> str:
        """The hash of what is in force."""
        return await self.own_hash() or (await self.configuration()).hash

    async def own_hash(self) -> str | None:
        """The hash that it computes itself; None where all of the configuration must be read for one."""
        if not (self._dialect or await self.dialect()).hashes:
            return None
        return str((await self._call("config-hash-get"))["arguments"]["hash"])

    async def test(self, document: Object) -> None:
        """Whether it would take a configuration, as far as it looks."""
        await self._call("config-test", document)

    async def set(self, document: Object, hold: Hold | None = None) -> None:
        """Put a configuration in force; `hold` has the last word before."""
        await self._call("config-set", document, hold)

    async def update_class(self, body: Object) -> None:
        """Put one class in force in place of that of its name; nothing else is touched, and nobody waits."""
        await self._call("class-update", {"client-classes": [body]})

    async def client_class(self, name: str) -> Object:
        """One class, as it is in force."""
        found: Object = (await self._call("class-get", {"name": name}))["arguments"]["client-classes"][0]
        return found

    async def lease_page(self, after: str) -> list[Object]:
        """The live leases and others behind an address, which is `start` at first; an empty page is the end."""
        arguments = {"from": after, "limit": PAGE}
        answer = await self._call("lease6-get-page", arguments, good=(SUCCESS, EMPTY))
        return list((answer.get("arguments") or {}).get("leases", ()))

    async def write(self) -> None:
        """Into the file that it starts from."""
        await self._call("config-write")

    async def status(self) -> Object:
        """What it says of itself, with `high-availability` where it has a peer."""
        return dict((await self._call("status-get"))["arguments"])

    async def _call(
        self, command: str, arguments: Object | None = None, hold: Hold | None = None, good: Sequence[int] = (SUCCESS,)
    ) -> Object:
        body: Object = {"command": command} if arguments is None else {"command": command, "arguments": arguments}
        answer = await self._channel.call(body, hold)
        if answer["result"] not in good:
            words = self._without_secrets(str(answer.get("text", "")))
            raise RefusedError(f"Kea at {self.where} refuses {command}: {words}")
        return answer

    def _without_secrets(self, words: str) -> str:
        for secret in sorted(self._secrets, key=len, reverse=True):
            words = words.replace(secret, "…")
        return words


def secrets_in(document: Any) -> Iterator[str]:
    """Every password in a configuration."""
    if isinstance(document, dict):
        for key, value in document.items():
            if key in SECRET_KEYS and isinstance(value, str) and value:
                yield value
            else:
                yield from secrets_in(value)
    elif isinstance(document, list):
        for value in document:
            yield from secrets_in(value)
