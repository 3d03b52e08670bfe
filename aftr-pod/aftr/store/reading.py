"""Reading a slot as a whole: its checkpoint, then its journal.

Nothing is handed out before all of it is here and the head says that it was one checkpoint all along: what an old chunk holds
and a new one does not would stay in the reader's tables for good.  Damage, or an entry that is missing, does not
stop it: the readable rest is delivered, then UnreadableRecordError is raised.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from aftr.store.client import Client
from aftr.store.errors import Damage, StoreUnreachableError, UnreadableRecordError
from aftr.store.inspection import Judge, Place, check_versions, inspect
from aftr.store.slots import Row, SlotHead, Slots, rows_of
from dslite_contract.journal import NOTHING, EntryId, Records, joined
from dslite_contract.store_keys import checkpoint_keys, journal_key

ATTEMPTS = 10  # a checkpoint that lasts no longer than its reading
CHUNKS_AT_ONCE, ENTRIES_AT_ONCE = 16, 500  # of one question, and of one piece
PATIENCE_S = 10.0  # for an answer of many MiB


class Reading:
    """`async for records in reading`; then `head` is what the slot's head said, and `last` the entry up to which it was read.

    `content`: the last entry that is no claim, or what the checkpoint covers.
    `entries`: how many of its journal, and how many bytes those are.
    """

    def __init__(self, client: Client, slots: Slots, slot: int, judge: Judge) -> None:
        self._client, self._slots, self._slot, self._judge = client, slots, slot, judge
        self._prefix = client.settings.prefix
        self.head: SlotHead | None = None
        self.last = self.content = NOTHING
        self.entries = (0, 0)

    async def __aiter__(self) -> AsyncIterator[Records]:
        chunks, rows, damages = await self._fetch()
        for chunk, data in chunks:
            yield self._joined([(chunk, data, None)], damages)
        places = [place_of(journal_key(self._prefix, self._slot), row) for row in rows]
        self.entries = len(places), sum(len(data) for _, data, _ in places)
        for first in range(0, len(places), ENTRIES_AT_ONCE):
            yield self._joined(places[first : first + ENTRIES_AT_ONCE], damages)
        if damages:
            raise UnreadableRecordError(self._slot, damages)

    def _joined(self, places: list[Place], damages: list[Damage]) -> Records:
        found = inspect(self._judge, self._slot, places)
        damages += [damage for _, damage in found if damage]
        return joined(records for records, _ in found)

    async def _fetch(self) -> tuple[list[tuple[str, bytes]], list[Row], list[Damage]]:
        """Chunks, entries, and where entries are missing; that is tried again first, for it may be a checkpoint's doing."""
        for left in reversed(range(ATTEMPTS)):
            before = await self._slots.head(self._slot, "read")
            check_versions(self._slot, before)
            chunks = await self._chunks(before) if before else []
            covered = before.covers if before else NOTHING
            rows, gaps = await self._journal(covered)
            after = await self._slots.head(self._slot, "read")
            check_versions(self._slot, after)
            if _checkpoint(before) == _checkpoint(after) and (not gaps or left == 0):
                self.head = after
                self.last = rows[-1][0] if rows else covered
                self.content = last_stored((entry for entry, _ in rows), covered)
                return chunks, rows, gaps
        raise StoreUnreachableError(
            f"slot {self._slot}: {ATTEMPTS} checkpoints came while it was being read; ask again"
        )

    async def _chunks(self, head: SlotHead) -> list[tuple[str, bytes]]:
        """A chunk that is not there (any more) is empty bytes."""
        keys = list(checkpoint_keys(self._prefix, self._slot, head.generation, head.chunks))
        found: list[tuple[str, bytes]] = []
        for first in range(0, len(keys), CHUNKS_AT_ONCE):
            some = keys[first : first + CHUNKS_AT_ONCE]
            answers = await self._client.ask(some[0], "read", *(("GET", key) for key in some), within=PATIENCE_S)
            found += [(key, answer or b"") for key, answer in zip(some, answers, strict=True)]
        return found

    async def _journal(self, after: EntryId) -> tuple[list[Row], list[Damage]]:
        key = journal_key(self._prefix, self._slot)
        rows: list[Row] = []
        gaps: list[Damage] = []
        while True:
            command = ("XRANGE", key, str(after.following), "+", "COUNT", ENTRIES_AT_ONCE)
            some = rows_of((await self._client.ask(key, "read", command, within=PATIENCE_S))[0])
            for row in some:
                if not is_next(after, row):
                    gaps.append(Damage(key, 0, f"entries after {after} are missing", row[0]))
                rows.append(row)
                after = row[0]
            if len(some) < ENTRIES_AT_ONCE:
                return rows, gaps


def place_of(key: str, row: Row) -> Place:
    """An entry of a journal."""
    entry, fields = row
    return key, fields.get(b"entry", b""), entry


def last_stored(entries: Iterable[EntryId], before: EntryId) -> EntryId:
    """The last of these that stored something, else `before`: a claim only raises the epoch, whatever was lost before it."""
    return max((entry for entry in entries if entry.seq > 0), default=before)


def is_next(after: EntryId, row: Row) -> bool:
    """Whether `row` is the very next entry after `after`; a first entry of an epoch names the one before it."""
    found, fields = row
    return found == after.following or (found.seq == 0 and fields.get(b"after") == str(after).encode())


def _checkpoint(head: SlotHead | None) -> tuple[int, EntryId]:
    return (head.generation, head.covers) if head else (0, NOTHING)
