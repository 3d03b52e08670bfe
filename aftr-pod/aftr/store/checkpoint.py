"""Writing a checkpoint: numbered chunks, then one call that makes them the slot's checkpoint.

Each call checks the owner, and that all chunks so far are there: the head counts them, so a store that failed over in between and lost some
says REWOUND.  The count also names the chunks of whoever died while writing, which the next one removes; that one has a number of
its own, so that a call of the old one that comes late finds nothing to add to.
The journal keeps what came after the checkpoint before this one.

A checkpoint in passing holds what the journal says.  One that is written anew holds more: what the store lost, or never had.  It ends in an
empty entry that follows no other, so that whoever tails the journal finds a gap and reads the checkpoint.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable

from aftr.store.client import Client
from aftr.store.errors import StoreError
from aftr.store.scripts import BEGIN, CHUNK, SWITCH
from aftr.store.slots import NO_RECORDS, Owner, Reply, SlotHead, Slots
from dslite_contract.journal import NOTHING, EntryId, pack_entry
from dslite_contract.store_keys import checkpoint_key, checkpoint_keys, head_key, journal_key

NO_HEAD = SlotHead(Owner(0, ""), NOTHING)


class Checkpoints:
    """Writes them; one at a time per slot."""

    def __init__(self, client: Client, slots: Slots) -> None:
        self._client, self._slots, self._prefix = client, slots, client.settings.prefix
        self._busy: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def write(
        self, slot: int, owner: Owner, held: EntryId, chunks: Iterable[bytes], *, anew: bool = False
    ) -> Reply:
        """OK, or the first reply that is not."""
        async with self._busy[slot]:
            return await self._write(slot, owner, held, chunks, anew)

    async def _write(self, slot: int, owner: Owner, held: EntryId, chunks: Iterable[bytes], anew: bool) -> Reply:
        try:
            before = await self._slots.head(slot) or NO_HEAD
        except StoreError as error:
            self._client.trouble = str(error)
            return Reply.UNCONFIRMED
        covers = beyond(owner.epoch, held, before.last) if anew else held
        head, fence = head_key(self._prefix, slot), (owner.epoch, owner.uid)
        generation, count = max(before.generation, before.writing[0]) + 1, 0
        version = self._slots.version
        orphans = checkpoint_keys(self._prefix, slot, *before.writing)
        reply = await self._slots.run(slot, BEGIN.call((head, *orphans), *fence, generation))
        for chunk in chunks:
            if reply is not Reply.OK:
                return reply
            key = checkpoint_key(self._prefix, slot, generation, count)
            states = f"{generation}:{count}", f"{generation}:{count + 1}"
            reply = await self._slots.run(slot, CHUNK.call((head, key), *fence, *states, chunk))
            count += 1
        if reply is not Reply.OK:
            return reply
        outdated = checkpoint_keys(self._prefix, slot, before.generation, before.chunks)
        keys = head, journal_key(self._prefix, slot), *outdated
        rewound_to = str(covers) if covers > before.last else ""
        oldest = before.covers.following
        if more := self._client.settings.trim_beyond:
            oldest = EntryId(covers.epoch, covers.seq + 1 + more)
        gap = pack_entry(NO_RECORDS, version) if anew else b""
        values = f"{generation}:{count}", generation, count, str(covers), rewound_to, str(oldest), gap, version
        return await self._slots.run(slot, SWITCH.call(keys, *fence, *values))


def beyond(epoch: int, held: EntryId, last: EntryId) -> EntryId:
    """An id of this epoch that no follower can take for its next entry, nor any entry have that is still on its way.

    Followers may hold one entry more than its writer heard of, also when the store has forgotten it.
    """
    on_its_way = held.seq + 1 if held.epoch == epoch else 0
    return EntryId(epoch, max(on_its_way, last.seq if last.epoch == epoch else 0) + 2)
