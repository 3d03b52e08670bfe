"""Writing a slot: who owns it, and its journal."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import numpy as np
from redis.exceptions import ResponseError

from aftr.store.client import Client
from aftr.store.errors import (
    PASSING,
    StoreError,
    StoreRefusedError,
    StoreUnreachableError,
    UnreadableHeadError,
    code_of,
    refusal,
)
from aftr.store.line import Command
from aftr.store.scripts import APPEND, RAISE
from aftr.store.settings import Node
from dslite_contract.journal import NOTHING, RECORD, UNANNOUNCED, EntryId, Records, oldest, pack_entry
from dslite_contract.store_keys import head_key, journal_key

MOST_CLAIMS, PAGE = 4096, 16  # in succession, that are looked through; of one answer
NO_RECORDS: Records = np.empty(0, RECORD)

Row = tuple[EntryId, dict[bytes, bytes]]  # an entry of a journal and its fields


class Reply(Enum):
    """What became of a write."""

    OK = "stored"
    DUPLICATE = "stored before: this very entry is the last one"
    FENCED = "another owner"
    REWOUND = "the store does not hold what was written before: write a checkpoint"
    REFUSED = "not stored: the store said no"
    UNCONFIRMED = "not stored, or not safely: append the same bytes again"


STORED = (Reply.OK, Reply.DUPLICATE)


@dataclass(frozen=True)
class Owner:
    """Who may write a slot: the pod `uid`, while the slot's epoch is `epoch`."""

    epoch: int
    uid: str


@dataclass(frozen=True)
class SlotHead:
    """What the store knows of a slot. `generation` 0: no checkpoint yet; else it has all up to entry `covers`.

    `versions`: the oldest and the newest format version that a reader meets.
    """

    owner: Owner
    last: EntryId
    generation: int = 0
    chunks: int = 0
    covers: EntryId = NOTHING
    writing: tuple[int, int] = (0, 0)  # generation of a checkpoint in the making, and its chunks so far
    sealed: bool = False  # the owner was named by the one before, and has not raised the epoch itself yet
    versions: tuple[int, int] = (UNANNOUNCED, UNANNOUNCED)


HEAD_FIELDS = ("epoch", "uid", "last", "generation", "chunks", "covers", "writing", "sealed", "oldest", "newest")


class Append(NamedTuple):
    """One entry: it gets the id after `last`."""

    slot: int
    owner: Owner
    last: EntryId
    entry: bytes


def read_head(key: str, fields: Sequence[bytes | None]) -> SlotHead | None:
    """What `parse_head` makes of a key's fields.  Raises UnreadableHeadError."""
    try:
        return parse_head(fields)
    except ValueError as error:
        raise UnreadableHeadError(key, str(error)) from error


def parse_head(fields: Sequence[bytes | None]) -> SlotHead | None:
    """Answer to HMGET of HEAD_FIELDS; None for a slot that was never owned.  ValueError if a field is none."""
    epoch, uid, last, generation, chunks, covers, writing, sealed, old, new = (
        str(one or b"", "utf-8") for one in fields
    )
    if not epoch:
        return None
    making, _, done = writing.partition(":")
    return SlotHead(
        Owner(int(epoch), uid),
        EntryId.parse(last or str(NOTHING)),
        int(generation or 0),
        int(chunks or 0),
        EntryId.parse(covers or str(NOTHING)),
        (int(making or 0), int(done or 0)),
        sealed == "1",
        (int(old or UNANNOUNCED), int(new or UNANNOUNCED)),
    )


def rows_of(answer: list[Any]) -> list[Row]:
    """Entries of a stream as Redis answers them."""
    return [
        (EntryId.parse(str(entry, "ascii")), dict(zip(fields[::2], fields[1::2], strict=True)))
        for entry, fields in answer
    ]


def claims_in(rows: list[Row]) -> dict[EntryId, EntryId]:
    """Of entries of a journal, those that only raised an epoch, with the entry that each came after.  Raises StoreRefusedError."""
    try:
        return {
            entry: EntryId.parse(str(fields[b"after"], "ascii"))
            for entry, fields in rows
            if entry.seq == 0 and b"after" in fields
        }
    except ValueError as error:
        raise StoreRefusedError(f"a claim in the journal does not say what it came after: {error}") from error


class Slots:
    """The part of the store that knows owners and entries."""

    def __init__(self, client: Client) -> None:
        self._client, self._prefix = client, client.settings.prefix
        self.version = oldest()

    # ------------------------------------------------------------ entries
    async def append_all(self, batch: Sequence[Append]) -> list[Reply]:
        """One write per node; replies in the order of `batch`."""
        replies = [Reply.UNCONFIRMED] * len(batch)
        try:
            nodes = [await self._client.topology.node_of(head_key(self._prefix, one.slot)) for one in batch]
        except StoreError as error:
            self._client.trouble = str(error)
            return replies
        places: dict[Node, list[int]] = {}
        for place, node in enumerate(nodes):
            places.setdefault(node, []).append(place)
        self._client.trouble = ""
        answers = await asyncio.gather(
            *(self._run(node, [self._command(batch[place]) for place in there]) for node, there in places.items())
        )
        for there, of_node in zip(places.values(), answers, strict=True):
            for place, reply in zip(there, of_node, strict=True):
                replies[place] = reply
        return replies

    async def run(self, slot: int, command: Command) -> Reply:
        """One script by itself."""
        self._client.trouble = ""
        try:
            node = await self._client.topology.node_of(head_key(self._prefix, slot))
        except StoreError as error:
            self._client.trouble = str(error)
            return Reply.UNCONFIRMED
        return (await self._run(node, [command]))[0]

    async def _run(self, node: Node, commands: Sequence[Command]) -> list[Reply]:
        try:
            answers, doubt = await self._client.write(node, commands)
        except StoreError as error:
            self._client.trouble = str(error)
            return [Reply.REFUSED if isinstance(error, StoreRefusedError) else Reply.UNCONFIRMED] * len(commands)
        replies = [self._reply(node, answer) for answer in answers]
        if doubt and any(reply in STORED for reply in replies):
            self._client.trouble = doubt
            replies = [Reply.UNCONFIRMED if reply in STORED else reply for reply in replies]
        return replies

    def _command(self, one: Append) -> Command:
        new = EntryId(one.owner.epoch, one.last.seq + 1)
        keys = head_key(self._prefix, one.slot), journal_key(self._prefix, one.slot)
        return APPEND.call(keys, one.owner.epoch, one.owner.uid, str(one.last), str(new), one.entry)

    def _reply(self, node: Node, answer: bytes | ResponseError) -> Reply:
        if isinstance(answer, ResponseError):
            self._client.trouble = str(refusal(str(node), answer))
            return Reply.UNCONFIRMED if code_of(answer) in PASSING else Reply.REFUSED
        return Reply[str(answer, "ascii")]

    # ------------------------------------------------------------ owners
    async def claim(
        self, slot: int, uid: str, expected: Owner | None, above: int = 0, last: EntryId | None = None
    ) -> Owner | None:
        """Become the owner after `expected` (None: the first one), with an epoch above `above` too; None when another was faster."""
        new = Owner(max(expected.epoch if expected else 0, above) + 1, uid)
        reply = await self._raise(slot, expected, str(last) if expected and last else "", new, sealed=False)
        return new if reply is Reply.OK else None

    async def seal(self, slot: int, owner: Owner, last: EntryId, target_uid: str) -> Reply:
        """Hand the slot to `target_uid`: OK; FENCED if it is not `owner`'s, REWOUND if `last` is not the last entry."""
        return await self._raise(slot, owner, str(last), Owner(owner.epoch + 1, target_uid), sealed=True)

    async def before(self, slot: int, epoch: int) -> EntryId:
        """What was stored last before an epoch was raised, in an entry or a checkpoint; the claims between the two stored nothing."""
        key, head = journal_key(self._prefix, slot), head_key(self._prefix, slot)
        at, covers, number, claims = EntryId(epoch, 0), NOTHING, 2, 0
        while at > covers and at.seq == 0 and claims < MOST_CLAIMS:
            some = ("XREVRANGE", key, str(at), "-", "COUNT", number)
            answer, fields = await self._client.ask(key, "ask", some, ("HMGET", head, *HEAD_FIELDS))
            found, now = claims_in(rows_of(answer)), read_head(head, fields)
            covers = now.covers if now else NOTHING
            if at not in found:
                break
            while at in found:
                at, claims = found[at], claims + 1
            number = PAGE
        if not claims:
            raise StoreUnreachableError(f"slot {slot}: the claim of epoch {epoch} is not in the store any more")
        return max(at, covers)

    async def _raise(self, slot: int, expected: Owner | None, last: str, new: Owner, *, sealed: bool) -> Reply:
        before = (expected.epoch, expected.uid) if expected else (0, "")
        keys = head_key(self._prefix, slot), journal_key(self._prefix, slot)
        entry = pack_entry(NO_RECORDS, self.version)
        command = RAISE.call(keys, *before, last, new.epoch, new.uid, entry, int(sealed))
        return Reply[await self._client.write_one(head_key(self._prefix, slot), command)]

    async def owners(self, slots: Iterable[int]) -> dict[int, SlotHead]:
        """Heads of the slots that ever had an owner, one question per node."""
        asked: dict[Node, list[int]] = {}
        for slot in slots:
            asked.setdefault(await self._client.topology.node_of(head_key(self._prefix, slot)), []).append(slot)
        answers = await asyncio.gather(*(self._heads(there) for there in asked.values()))
        found = zip(
            (slot for there in asked.values() for slot in there), (one for of in answers for one in of), strict=True
        )
        return {slot: head for slot, head in sorted(found, key=lambda one: one[0]) if head}

    async def _heads(self, slots: Sequence[int]) -> list[SlotHead | None]:
        commands = [("HMGET", head_key(self._prefix, slot), *HEAD_FIELDS) for slot in slots]
        answers = await self._client.ask(head_key(self._prefix, slots[0]), "ask", *commands)
        return [read_head(head_key(self._prefix, slot), answer) for slot, answer in zip(slots, answers, strict=True)]

    async def head(self, slot: int, purpose: str = "ask") -> SlotHead | None:
        """One slot's."""
        key = head_key(self._prefix, slot)
        return read_head(key, (await self._client.ask(key, purpose, ("HMGET", key, *HEAD_FIELDS)))[0])
