"""The store of the simulation: what a slot consists of, and what is accepted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aftr.failover.observation import Claim, Head, Result, Seal, Won
from aftr.store.checkpoint import beyond
from aftr.store.reading import last_stored
from dslite_contract.journal import NOTHING, EntryId

if TYPE_CHECKING:
    from failover.model.history import History

BLOCKS, PORTS = 3, 2


Endpoint = tuple[int, int]  # block, port
Record = tuple[str, int, int, int]  # "block" block subscriber 0 | "bind" block port binding | "free" block 0 0


class ViolationError(AssertionError):
    """A promise was broken."""


@dataclass(frozen=True, slots=True)
class Info:
    """What a member says of itself."""

    linked: bool
    copies: dict[int, EntryId]
    ended: dict[int, int]


@dataclass(slots=True)
class Table:
    """Bindings of a slot: who has which block, which endpoint is which binding."""

    blocks: dict[int, int] = field(default_factory=dict)
    binds: dict[Endpoint, int] = field(default_factory=dict)

    def copy(self) -> Table:
        return Table(dict(self.blocks), dict(self.binds))

    def apply(self, record: Record) -> None:
        kind, block, second, third = record
        if kind == "block":
            self.blocks[block] = second
        elif kind == "bind":
            self.binds[block, second] = third
        else:
            self.blocks.pop(block, None)
            for port in range(PORTS):
                self.binds.pop((block, port), None)


@dataclass(slots=True)
class StoredSlot:
    """Head, journal and checkpoint of a slot, in the store."""

    epoch: int = 0
    owner: str = ""
    sealed: bool = False
    last: EntryId = NOTHING
    covers: EntryId = NOTHING
    checkpoint: Table = field(default_factory=Table)
    journal: list[tuple[EntryId, EntryId, list[Record]]] = field(default_factory=list)  # id, id before, records

    def copy(self) -> StoredSlot:
        return StoredSlot(
            self.epoch, self.owner, self.sealed, self.last, self.covers, self.checkpoint.copy(), list(self.journal)
        )

    def table(self) -> Table:
        table = self.checkpoint.copy()
        for _, _, records in self.journal:
            for record in records:
                table.apply(record)
        return table

    @property
    def content(self) -> EntryId:
        """The last entry that is no claim."""
        return last_stored((entry for entry, _, _ in self.journal), self.covers)

    def fenced(self, epoch: int, uid: str) -> bool:
        return self.epoch > epoch or (self.epoch == epoch and self.owner != uid)

    def after(self, held: EntryId) -> list[tuple[EntryId, list[Record]]] | None:
        """The entries after `held`; None if they do not continue it."""
        if held < self.covers:
            return None
        entries = []
        for entry, before, records in self.journal:
            if entry > held:
                if entry != held.following and (entry.seq > 0 or before != held):  # as `aftr.store.reading.is_next`
                    return None
                entries.append((entry, records))
                held = entry
        return entries


class Store:
    """A linearizable store that may be out of reach, be full (heartbeats still fit), forget all, or fall back to an earlier state."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.slots = [StoredSlot() for _ in range(history.slots)]
        self.counters: dict[str, int] = {}
        self.infos: dict[str, Info] = {}
        self.up, self.full = True, False
        self.past = 0  # how often it lost something
        self.saved: list[tuple[int, list[StoredSlot], dict[str, int], dict[str, Info]]] = []
        self.writers: dict[tuple[int, int, int], str] = {}

    def heads(self, sent: int) -> list[Head]:
        return [Head(s.epoch, s.owner, s.last, s.sealed, sent) for s in self.slots]

    def accept(self, slot: int, uid: str) -> None:
        """One epoch has one owner."""
        key = self.past, slot, self.slots[slot].epoch
        if self.writers.setdefault(key, uid) != uid:
            raise ViolationError(f"writes of {self.writers[key]} and {uid} were both accepted for epoch {key}")

    def raise_epoch(self, slot: int, owner: str, epoch: int, sealed: bool) -> None:
        stored = self.slots[slot]
        before = stored.last
        stored.epoch, stored.owner, stored.sealed, stored.last = epoch, owner, sealed, EntryId(epoch, 0)
        stored.journal.append((stored.last, before, []))
        self.accept(slot, owner)

    def refuses(self) -> bool:
        """One that is full refuses; or does it, but no replica says that it has it, which is no better to who asked."""
        return self.full and self.history.random.random() < 0.5

    def claim(self, slot: int, uid: str, wanted: Claim) -> Won | Result:
        if self.refuses():
            return Result.REFUSED
        stored = self.slots[slot]
        if (stored.epoch, stored.owner, stored.last) != (wanted.expected, wanted.owner, wanted.last):
            return Result.BEATEN
        self.raise_epoch(slot, uid, wanted.epoch, sealed=False)
        return Result.REFUSED if self.full else Won(wanted.epoch, stored.content)

    def seal(self, slot: int, uid: str, last: EntryId, wanted: Seal) -> Result:
        if self.refuses():
            return Result.REFUSED
        stored = self.slots[slot]
        if (stored.epoch, stored.owner) == (wanted.epoch, wanted.target) and stored.sealed:
            return Result.SEALED
        if stored.fenced(wanted.epoch - 1, uid):
            return Result.FENCED
        if stored.epoch < wanted.epoch - 1 or stored.last != last:
            return Result.REWOUND
        self.raise_epoch(slot, wanted.target, wanted.epoch, sealed=True)
        return Result.REFUSED if self.full else Result.SEALED

    def append(self, slot: int, uid: str, epoch: int, last: EntryId, records: list[Record]) -> Result | EntryId:
        stored = self.slots[slot]
        entry = last.following if last.epoch == epoch else EntryId(epoch, 1)
        if self.full:
            return Result.REFUSED
        if stored.fenced(epoch, uid):
            return Result.FENCED
        if stored.last == entry and stored.journal and stored.journal[-1][2] == records:
            return entry
        if stored.epoch < epoch or stored.last != last:
            return Result.REWOUND
        stored.last = entry
        stored.journal.append((entry, last, records))
        self.accept(slot, uid)
        return entry

    def write_checkpoint(self, slot: int, uid: str, epoch: int, last: EntryId, table: Table) -> Result | EntryId:
        stored = self.slots[slot]
        if self.full:
            return Result.REFUSED
        if stored.fenced(epoch, uid):
            return Result.FENCED
        entry = beyond(epoch, last, stored.last)
        self.slots[slot] = StoredSlot(epoch, uid, False, entry, entry, table, [])
        self.accept(slot, uid)
        return entry

    def save(self, now: int) -> None:
        self.saved = [
            *self.saved[-8:],
            (now, [slot.copy() for slot in self.slots], dict(self.counters), dict(self.infos)),
        ]

    def forget(self) -> None:
        self.past += 1
        self.slots = [StoredSlot() for _ in self.slots]
        self.counters, self.infos, self.saved = {}, {}, []

    def fall_back(self, before: int) -> None:
        self.past += 1
        earlier = [(slots, counters, infos) for when, slots, counters, infos in self.saved if when <= before]
        nothing: tuple[list[StoredSlot], dict[str, int], dict[str, Info]] = [StoredSlot() for _ in self.slots], {}, {}
        slots, counters, infos = earlier[-1] if earlier else nothing
        self.slots, self.counters, self.infos = [slot.copy() for slot in slots], dict(counters), dict(infos)
        self.saved = []
