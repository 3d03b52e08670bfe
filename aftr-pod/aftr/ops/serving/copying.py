"""A slot's tables as others have written them: read as a whole, then entry by entry, or taken from another member."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from aftr.failover.observation import Result, TakeTail
from aftr.failover.state import Phase
from aftr.ops import copies
from aftr.store.errors import StoreError, UnreadableRecordError, UnreadableVersionError
from aftr.store.reading import Reading, last_stored
from dslite_contract.journal import EntryId, Records, joined

if TYPE_CHECKING:
    from aftr.ops.serving.slot import Slot

log = structlog.get_logger()

READ_AGAIN_S = 0.5  # a slot that a newer program has written
ENTRY_BYTES = 2 << 10  # an entry costs who reads it as much as so many bytes of records


class Copy:
    """Fills the tables of a slot that is not open."""

    def __init__(self, slot: Slot) -> None:
        self._slot = slot
        self.reading: asyncio.Task[None] | None = None
        self._takes_tail = 0  # in the claim of which epoch

    @property
    def filling(self) -> bool:
        """Whether the tables have half of what they are to hold."""
        return self._takes_tail > 0 or (self.reading is not None and not self.reading.done())

    def stop(self) -> None:
        """Read no more: the tables are emptied."""
        if self.reading is not None:
            self.reading.cancel()
        self.reading = None

    def start(self) -> None:
        """Begin anew: empty tables, then checkpoint and journal."""
        self._slot.reset()
        self.reading = self._slot.spawn(self._read())

    async def _read(self) -> None:
        """Checkpoint and journal into empty tables."""
        reading = self._slot.member.store.read(self._slot.number)
        try:
            await self._read_all(reading)
        except UnreadableVersionError as error:
            self._slot.trouble = str(error)
            log.warning("copy not read", slot=self._slot.number, reason=self._slot.trouble)
            await asyncio.sleep(READ_AGAIN_S)
            self.reading = None
            self._slot.tell(Result.BROKEN)
            return
        except StoreError as error:
            log.warning("copy not read", slot=self._slot.number, reason=str(error))
            self._slot.member.lose_store(str(error))
            self._slot.events.append(Result.BROKEN)
            return
        self._slot.held, self._slot.content = reading.last, reading.content
        self._slot.trouble, self._slot.written = "", cost(*reading.entries)
        self._slot.generation = reading.head.generation if reading.head else 0
        self.reading = None
        self._slot.tell(Result.COPIED)

    async def _read_all(self, reading: Reading) -> None:
        """Whatever is readable; the rest is noted in the store before anyone can open the slot."""
        try:
            async for records in reading:
                await self._apply(records)
        except UnreadableRecordError as error:
            await self._slot.quarantine.found(error, reading.head.generation if reading.head else 0)

    async def _apply(self, records: Records) -> bool:
        """Bring the tables up to date, without the event loop; False when they were begun anew meanwhile."""
        pod, now = self._slot.member.pod, self._slot.member.now
        life = pod.lives[self._slot.number]  # a thread is not cancelled with who waits for it
        async with self._slot.member.applying:
            failed = await asyncio.to_thread(copies.apply, pod, self._slot.number, records, now, life)
        if failed:
            log.warning("records not applied", slot=self._slot.number, records=failed)
        return pod.lives[self._slot.number] == life

    async def follow(self, entries: list[tuple[EntryId, Records]]) -> None:
        """Entries that came after what we hold."""
        records = joined(records for _, records in entries)
        if len(records) and not await self._apply(records):
            return
        self._slot.held = entries[-1][0]
        self._slot.content = last_stored((entry for entry, _ in entries), self._slot.content)
        self._slot.written += cost(len(entries), records.nbytes)
        self._slot.step()

    async def take_tail(self, wanted: TakeTail, epoch: int) -> None:
        """All that another member holds, in place of our copy, if that comes while the claim of `epoch` still wants it."""
        found = await self._slot.member.peers.tail(wanted.member, self._slot.number)
        if not self._catches_up(epoch):
            return
        if found is None or found[0] <= wanted.beyond:
            self._slot.tell(Result.TAIL_FAILED)
            return
        self._slot.reset()
        self._takes_tail = epoch
        try:
            whole = await self._apply(found[1])
        finally:
            if self._takes_tail == epoch:  # else that of a later claim has begun
                self._takes_tail = 0
        if whole:
            self._slot.held = self._slot.content = found[0]
            if self._catches_up(epoch):
                self._slot.tell(Result.TAIL_TAKEN)

    def _catches_up(self, epoch: int) -> bool:
        return (self._slot.phase, self._slot.state.epoch) == (Phase.CATCHING_UP, epoch)


def cost(entries: int, size: int) -> int:
    """What so many entries with `size` bytes of records cost their readers, in bytes."""
    return entries * ENTRY_BYTES + size
