"""The store as the control thread sees it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from aftr.store.checkpoint import Checkpoints
from aftr.store.client import Client
from aftr.store.inspection import Judge, judge_any
from aftr.store.members import MemberRecord, Members
from aftr.store.quarantine import Quarantine
from aftr.store.readiness import check, own
from aftr.store.reading import Reading
from aftr.store.settings import StoreSettings
from aftr.store.slots import Append, Owner, Reply, SlotHead, Slots
from aftr.store.tailing import Entries, Tail
from dslite_contract.journal import EntryId
from dslite_contract.store_keys import checked_prefix


class Store:
    """All that is asked of the store. Every method raises StoreError with a sentence, except `append_all`, which puts it into `trouble`."""

    def __init__(self, settings: StoreSettings, judge: Judge = judge_any) -> None:
        """`judge` says which of a slot's records make no sense."""
        checked_prefix(settings.prefix)
        self.settings, self._judge = settings, judge
        self._client = Client(settings)
        self._slots, self._tail, self._members = Slots(self._client), Tail(self._client, judge), Members(self._client)
        self.quarantine = Quarantine(self._client)
        self._checkpoints = Checkpoints(self._client, self._slots)
        self.warnings: tuple[str, ...] = ()

    async def prepare(self) -> None:
        """Make sure that the store is there, fits, and is ours; StoreError otherwise. `warnings` has what a person should still look at."""
        self.warnings = await check(self._client)
        await own(self._client)

    def log_in(self, settings: StoreSettings) -> None:
        """Make connections from now on with the login of these settings; StoreUnsuitableError when they name another place."""
        self._client.log_in(settings)

    async def peer_key(self, ours: bytes = b"") -> bytes:
        """The secret that the pool's members sign their questions with; a store without one gets `ours`, or the first one."""
        return await self._members.key(ours)

    @property
    def version(self) -> int:
        """The format version to write: what all members read. It stays as it is while a checkpoint is being written."""
        return self._slots.version

    @version.setter
    def version(self, version: int) -> None:
        self._slots.version = version

    @property
    def trouble(self) -> str:
        """Why the last append was not stored, and what to do; "" when it was."""
        return self._client.trouble

    async def append_all(self, batch: Sequence[Append]) -> list[Reply]:
        """Entries of different slots, in one write per node: OK and DUPLICATE mean stored, with the durability that was asked for."""
        return await self._slots.append_all(batch)

    async def claim(
        self, slot: int, uid: str, expected: Owner | None, above: int = 0, last: EntryId | None = None
    ) -> Owner | None:
        """Raise the epoch if the owner is still `expected` (None: the slot has none); None when another was faster.

        `last`: nor if anything was written after that entry.

        `above`: an epoch known from elsewhere, which the new one exceeds even if the store has forgotten it.
        May be repeated after an error: a claim that was stored and not confirmed succeeds.
        """
        return await self._slots.claim(slot, uid, expected, above, last)

    async def seal(self, slot: int, owner: Owner, last: EntryId, target_uid: str) -> Reply:
        """Hand the slot over after its last entry; OK: from then on `owner` is fenced, with the next epoch. May be repeated."""
        return await self._slots.seal(slot, owner, last, target_uid)

    async def before(self, slot: int, epoch: int) -> EntryId:
        """The last entry that stored something before `epoch` was raised, or what the checkpoint covers if that is more."""
        return await self._slots.before(slot, epoch)

    async def owners(self) -> dict[int, SlotHead]:
        """All slots that ever had an owner."""
        return await self._slots.owners(range(self.settings.slots))

    def read(self, slot: int) -> Reading:
        """`async for records in reading`, after which `reading.last` is where to `tail` from."""
        return Reading(self._client, self._slots, slot, self._judge)

    async def tail(self, positions: Mapping[int, EntryId], block_ms: int) -> dict[int, Entries]:
        """What follows each position, as soon as there is anything; {} after about `block_ms`, or sooner.

        Raises JournalGapError or UnreadableRecordError, for one slot, once nothing readable stands before the trouble.
        """
        return await self._tail.entries(positions, block_ms)

    async def write_checkpoint(self, slot: int, owner: Owner, covers: EntryId, chunks: Iterable[bytes]) -> Reply:
        """The slot's live state with everything up to entry `covers`, in passing. If not OK: once more, from the start.

        `chunks` is consumed as they are written, entries may be appended meanwhile, and what they say may be in the chunks already.
        """
        return await self._checkpoints.write(slot, owner, covers, chunks)

    async def write_anew(self, slot: int, owner: Owner, held: EntryId, chunks: Iterable[bytes]) -> Reply:
        """The same with more than the journal has, as after REWOUND; nothing is appended meanwhile, and `held` is the last that was.

        Appending goes on from the head's `last` (in `owners`); whoever tails the journal finds a gap and reads the slot again.
        """
        return await self._checkpoints.write(slot, owner, held, chunks, anew=True)

    async def heartbeat(self, info: Mapping[str, str]) -> None:
        """Raise our counter."""
        await self._members.heartbeat(info)

    async def members(self) -> dict[str, MemberRecord]:
        """By UID."""
        return await self._members.all()

    async def say_of(self, uid: str, record: MemberRecord) -> None:
        """Another member's heartbeat, in its place."""
        await self._members.put(uid, record)

    async def strike_off(self, uid: str) -> None:
        """Another is no member any more, until it raises its counter again."""
        await self._members.remove(uid)

    @property
    def unread_members(self) -> Mapping[str, str]:
        """Whose record was no heartbeat when all members were read last, and the sentence for people."""
        return self._members.unread

    async def leave(self) -> None:
        """We are no member any more."""
        await self._members.remove(self.settings.uid)

    async def close(self) -> None:
        """End all connections."""
        await self._tail.close()
        await self._client.close()
