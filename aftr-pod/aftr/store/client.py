"""Connections to all nodes of the store, one per node and purpose, so that none waits behind another's bulk."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

from redis.exceptions import ResponseError

from aftr.store.durable import Confirmation
from aftr.store.errors import ELSEWHERE, StoreError, StoreUnconfirmedError, StoreUnsuitableError, code_of, refusal
from aftr.store.line import Access, Command, Line
from aftr.store.scripts import WRITERS
from aftr.store.settings import Node, StoreSettings, Tls, parse_url
from aftr.store.topology import Topology

WAIT_SLACK_S = 0.25  # an idle Redis looks ten times a second whether a WAIT has run out
WRITING: tuple[Command, ...] = tuple(("SCRIPT", "LOAD", script.text) for script in WRITERS)


class Client:
    """`ask` for what may simply be asked again, `write` for what must be stored before it counts.

    `trouble` is why the last write was not stored, "" when it was.
    """

    def __init__(self, settings: StoreSettings) -> None:
        self.settings = settings
        address = parse_url(settings.url)
        self._access = access_of(settings)
        self._sentinel_access = Access("", settings.sentinel_password, self._access.tls, settings.timeout)
        self.topology = Topology(address, self._access, self._sentinel_access)
        self.confirmation = Confirmation(settings)
        self.trouble = ""
        self._lines: dict[tuple[Node, Hashable], Line] = {}

    def log_in(self, settings: StoreSettings) -> None:
        """Make connections from now on with the login of these settings; those that are open stay.

        Raises StoreUnsuitableError when they name another place: that takes a new process.
        """
        before, after = (str(parse_url(one.url)) for one in (self.settings, settings))
        if before != after:
            raise StoreUnsuitableError(
                f"store: its secret names {after} now, and this process keeps to {before}: another store takes new pods"
            )
        access = access_of(settings)
        self._access.username, self._access.password, self._access.tls = access.username, access.password, access.tls
        self._sentinel_access.password, self._sentinel_access.tls = settings.sentinel_password, access.tls

    async def ask(self, key: str, purpose: Hashable, *commands: Command, within: float | None = None) -> list[Any]:
        """Answers of the node that holds `key`; raises StoreUnreachableError or StoreRefusedError if one is an error."""
        node = await self.topology.node_of(key)
        answers = await self._exchange(self._line(node, purpose), commands, within)
        for answer in answers:
            if isinstance(answer, ResponseError):
                raise refusal(str(node), answer)
        return answers

    async def ask_node(self, node: Node, *commands: Command) -> list[Any]:
        """Answers of a certain node, errors among them."""
        return await self._exchange(self._line(node, "ask"), commands)

    async def write(self, node: Node, commands: Sequence[Command]) -> tuple[list[Any], str]:
        """Answers, errors among them, and why they do not count as stored ("" if they do). Raises only StoreError."""
        line = self._line(node, "write", WRITING)
        confirmation = self.confirmation.commands(node)
        patience = self.settings.timeout + (WAIT_SLACK_S if confirmation else 0)
        answers = await self._exchange(line, (*commands, *confirmation), patience)
        doubt = self.confirmation.doubt(node, answers[len(commands) :])
        more, opened = self.confirmation.commands(node), line.opened
        if doubt and more != confirmation:  # replicas have joined: wait for them too, if on the same connection
            late = await self._exchange(line, more, patience)
            doubt = self.confirmation.doubt(node, late) if line.opened == opened else doubt
        if doubt:
            self.topology.forget()
        if any(isinstance(answer, ResponseError) and code_of(answer) == "NOSCRIPT" for answer in answers):
            await line.close()  # the next connection loads them again
        return answers[: len(commands)], doubt

    async def write_one(self, key: str, command: Command) -> str:
        """A script's word, stored; raises StoreRefusedError (not stored), StoreUnconfirmedError, StoreUnreachableError (perhaps stored)."""
        node = await self.topology.node_of(key)
        (answer,), doubt = await self.write(node, [command])
        if isinstance(answer, ResponseError):
            raise refusal(str(node), answer)
        word = str(answer, "ascii")
        if doubt and word == "OK":
            raise StoreUnconfirmedError(doubt)
        return word

    async def _exchange(self, line: Line, commands: Sequence[Command], within: float | None = None) -> list[Any]:
        try:
            answers = await line.ask(*commands, within=within)
        except StoreError:
            self.topology.forget()
            raise
        if any(isinstance(answer, ResponseError) and code_of(answer) in ELSEWHERE for answer in answers):
            self.topology.forget()
        return answers

    def _line(self, node: Node, purpose: Hashable, greeting: Sequence[Command] = ()) -> Line:
        line = self._lines.get((node, purpose))
        if line is None:
            line = self._lines[node, purpose] = Line(node, self._access, greeting)
        return line

    async def close(self) -> None:
        """Close all connections."""
        while self._lines:
            await self._lines.popitem()[1].close()


def access_of(settings: StoreSettings) -> Access:
    """The login that these settings give; raises StoreUnsuitableError."""
    address = parse_url(settings.url)
    username, password = settings.username or address.username, settings.password or address.password
    return Access(username, password, _existing(settings.tls) if address.tls else None, settings.timeout)


def _existing(tls: Tls) -> Tls:
    for path in (tls.ca, tls.certificate, tls.key):
        if path and not Path(path).is_file():
            raise StoreUnsuitableError(
                f"store: TLS file {path} is not there: compare the mounts with the store's secret"
            )
    return tls
