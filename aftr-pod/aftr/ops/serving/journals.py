"""Journals of a member's slots: entries go out, and copies follow those of others."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import structlog

from aftr.failover.observation import Result
from aftr.failover.state import Phase
from aftr.state.layout import pod_at
from aftr.store.errors import JournalGapError, StoreError, UnreadableRecordError

if TYPE_CHECKING:
    from aftr.ops.serving.member import Member

log = structlog.get_logger()

IDLE_S, RETRY_S = 0.025, 0.04
TAIL_MS = 50  # longest that a question to the journals stays open
GATHER_S = 0.01  # between two of them: an answer costs as much as thirty records in it
WRITE_GATHER_S = 0.002  # between two writes, for the same reason; who waits for one is a customer's first packet


class Journals:
    """Carries entries between workers, store and copies, for as long as `follow` and `flush` run."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self.pending = asyncio.Event()  # there may be something to write
        self._refusal = ""  # why our last entries were not stored
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        pod_at(member.pod.memory, 0).journal_event = self._event

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Workers say when they have written records."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._event, self._written)
        try:
            yield
        finally:
            loop.remove_reader(self._event)

    async def follow(self) -> None:
        """Copies follow their journals."""
        while True:
            positions = {slot.number: slot.held for slot in self._member.slots if slot.follows}
            if not positions or not self._member.connected:
                await asyncio.sleep(IDLE_S)
                continue
            try:
                for number, entries in (await self._member.store.tail(positions, TAIL_MS)).items():
                    slot = self._member.slots[number]
                    if slot.follows and slot.held == positions[number]:
                        await slot.copy.follow(entries)
                if not any(slot.phase is Phase.CATCHING_UP for slot in self._member.slots):
                    await asyncio.sleep(GATHER_S)
            except (JournalGapError, UnreadableRecordError) as error:
                log.warning("copy broken", slot=error.slot, reason=str(error))
                self._member.slots[error.slot].tell(Result.BROKEN)
                await asyncio.sleep(IDLE_S)  # who is about to take the slot reads it afterwards
            except StoreError as error:
                self._member.lose_store(str(error))
                await asyncio.sleep(RETRY_S)

    def _written(self) -> None:
        """A worker has written journal records."""
        os.eventfd_read(self._event)
        self.pending.set()

    async def flush(self) -> None:
        """The next entries go out when the last were acknowledged, so batches grow with load by themselves."""
        while True:
            self.pending.clear()
            pod_at(self._member.pod.memory, 0).journal_armed = 1
            appends = [(slot, one) for slot in self._member.slots if (one := slot.next_append()) is not None]
            if not appends:
                with suppress(TimeoutError):
                    async with asyncio.timeout(IDLE_S):
                        await self.pending.wait()
                continue
            if not self._member.connected:
                await asyncio.sleep(RETRY_S)
                continue
            replies = await self._member.store.append_all([one for _, one in appends])
            for (slot, _), reply in zip(appends, replies, strict=True):
                slot.appended(reply)
            self._note_refusal(self._member.store.trouble)
            self._wake_workers()
            for slot in self._member.slots:
                if slot.is_long:
                    slot.begin_checkpoint(slot.shorten())
            await asyncio.sleep(WRITE_GATHER_S)

    def _note_refusal(self, why: str) -> None:
        """Say so once, when the store begins not to store what we write."""
        if why and why not in (self._member.trouble, self._refusal):
            log.warning("new mappings not stored", reason=why)
        self._refusal = why

    def _wake_workers(self) -> None:
        """Parked packets may leave."""
        for worker in self._member.workers.all:
            worker.wake()
