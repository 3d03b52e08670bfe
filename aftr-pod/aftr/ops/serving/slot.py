"""One slot of a member: what the state machine wishes, carried out on the engine, the store and the routes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import structlog

from aftr.announce.errors import AnnounceError
from aftr.failover import machine
from aftr.failover.observation import (
    Action,
    Answer,
    Claim,
    Do,
    Observation,
    Open,
    Result,
    Seal,
    ServeReadOnly,
    ServeUntil,
    TakeTail,
    Won,
)
from aftr.failover.state import Phase, State, follows
from aftr.ops import copies
from aftr.ops.serving.compare import differences, replayed
from aftr.ops.serving.copying import Copy, cost
from aftr.ops.serving.quarantine import Quarantine
from aftr.state.counters import add_event
from aftr.state.journal import commit, drain, peek, waiting
from aftr.state.layout import slot_at
from aftr.state.reasons import MAPPINGS_NOT_STORED
from aftr.store.errors import StoreError, StoreRefusedError, StoreUnconfirmedError
from aftr.store.slots import NO_RECORDS, STORED, Append, Owner, Reply
from dslite_contract.journal import (
    NOTHING,
    EntryId,
    Kind,
    Records,
    most_records,
    pack_chunk,
    pack_entry,
    version_of,
)

if TYPE_CHECKING:
    from aftr.ops.serving.member import Member

log = structlog.get_logger()

TELL_AGAIN_S = 0.5
SEAL_AGAIN_S = 0.1
WRITE_AGAIN_S = 0.2  # a checkpoint that the store did not take
QUIET_MS = 1000  # for a slot's journal to be stored, once nothing is added
WRITES = frozenset({Phase.SERVING, Phase.FREEZING})
_FAILED = {Reply.FENCED: Result.FENCED, Reply.REWOUND: Result.REWOUND, Reply.REFUSED: Result.REFUSED}


@dataclass
class Flight:
    """An entry on its way to the store; `number` is the journal record that it ends with."""

    entry: bytes
    number: int


@dataclass
class Slot:
    """State machine, engine and store of one slot."""

    member: Member
    number: int
    state: State = field(init=False)
    sentence: str = "closed: has just started"
    held: EntryId = NOTHING  # how far the journal was read or written
    content: EntryId = NOTHING  # the last entry before that which is no claim
    answers: dict[str, Answer] = field(default_factory=dict)
    events: deque[Result | Won] = field(default_factory=deque)
    flight: Flight | None = None
    flushing: bool = False
    proven: bool = False  # the store has stored something since that began
    written: int = 0  # since the last checkpoint, as `cost`
    generation: int = 0  # of that checkpoint, as the store says
    unstored_block: bool = False  # one was taken, and its record is not in the journal any more
    checkpoint: asyncio.Task[None] | None = None
    telling: int = 0  # which change of routes is the newest
    trouble: str = ""  # why the slot cannot be read
    quarantine: Quarantine = field(init=False)
    copy: Copy = field(init=False)
    shortening: bool = False
    turned: asyncio.Event = field(default_factory=asyncio.Event)  # set when the phase is left
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.state, self.quarantine, self.copy = State(self.member.uid, self.number), Quarantine(self), Copy(self)

    @property
    def phase(self) -> Phase:
        """Where the machine stands."""
        return self.state.phase

    @property
    def follows(self) -> bool:
        """Whether the copy takes entries of the journal now; while it is read as a whole, each would be a gap."""
        return not self.copy.filling and follows(self.state, self.held)

    @property
    def record(self) -> Any:
        """The engine's record of the slot."""
        return slot_at(self.member.pod.memory, self.member.pod.area(self.number))

    @property
    def forgone(self) -> bool:
        """Whether the journal lacks something that the tables have: there was no room for it."""
        return bool(self.record.overrun)

    @property
    def owner(self) -> Owner:
        """Us, in the store's words."""
        return Owner(self.state.epoch, self.member.uid)

    # ------------------------------------------------------------ the machine
    def tell(self, event: Result | Won) -> None:
        """Something ended that the machine asked for."""
        self.events.append(event)
        self.step()

    def step(self) -> None:
        """Let the machine look, and carry out what it wishes; in a new phase it looks again at once."""
        while True:
            event = self.events.popleft() if self.events else None
            before = self.state
            step = machine.step(before, self.member.observation(self, event), self.member.rules)
            self.state = step.state
            if before.phase is not step.state.phase:
                log.info(step.sentence, slot=self.number, phase=step.state.phase.name)
                self.turned.set()
                self.turned = asyncio.Event()
            self.sentence = step.sentence
            for action in step.actions:
                self.act(action)
            if not self.events and before.phase is step.state.phase:
                return

    def act(self, action: Action) -> None:
        """Begin one action."""
        match action:
            case Do():
                DEEDS[action](self)
            case Claim():
                self.spawn(self.claim(action))
            case TakeTail():
                self.spawn(self.copy.take_tail(action, self.state.epoch))
            case Open():
                self.open(action)
            case ServeUntil():
                self.member.set_deadline()
                if self.phase is Phase.FAILSAFE:  # all others have promised not to take the slot
                    self.serve_from_memory()
            case Seal():
                self.spawn(self.seal(action))
            case ServeReadOnly():
                self.record.frozen, self.record.journaling = 1, 0
                self.member.set_deadline()

    def observed(self, seen: Observation) -> Answer:
        """What we answer when another member asks."""
        return machine.answer(self.state, seen)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do something that waits; it ends with the slot."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.done)
        return task

    def done(self, task: asyncio.Task[None]) -> None:
        """A defect in one of these must not pass unseen."""
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.member.fail(error)

    def begin_checkpoint(self, work: Coroutine[Any, Any, None]) -> None:
        """The same for one that reads the tables, and ends with them, or when another one begins."""
        if self.checkpoint is not None:
            self.checkpoint.cancel()
        self.checkpoint = self.spawn(work)

    def note_checkpoint(self, generation: int) -> None:
        """Somebody else's makes the journal short."""
        if generation != self.generation and self.phase is not Phase.SERVING:
            self.written = 0
        self.generation = generation

    def reset(self) -> None:
        """Forget all tables; packets that wait are dropped."""
        self.copy.stop()
        if self.checkpoint is not None:
            self.checkpoint.cancel()
        with self.member.pod.turn, self.member.workers.halted():
            copies.close(self.member.pod, self.number)
        self.held = self.content = NOTHING
        self.flight, self.flushing, self.written, self.unstored_block = None, False, 0, False
        self.quarantine.damages = ()

    # ------------------------------------------------------------ taking
    async def claim(self, wanted: Claim) -> None:
        """Raise the epoch."""
        expected = Owner(wanted.expected, wanted.owner) if wanted.owner else None
        store, from_the_dead = self.member.store, self.member.is_silent(wanted.owner)
        try:
            owner = await store.claim(self.number, self.member.uid, expected, wanted.epoch - 1, wanted.last)
            stored = await store.before(self.number, owner.epoch) if owner else NOTHING
            if owner:
                await self.quarantine.begin()
        except (StoreRefusedError, StoreUnconfirmedError) as error:  # it answers: what else we serve goes on
            log.warning("claim without effect yet", slot=self.number, reason=str(error))
            self.tell(Result.REFUSED)
            return
        except StoreError as error:
            log.warning("claim not decided", slot=self.number, reason=str(error))
            self.member.lose_store(str(error))
            self.events.append(Result.UNRESOLVED)
            return
        if owner and wanted.owner not in ("", self.member.uid) and from_the_dead:
            self.member.taken(wanted.owner)
        self.tell(Won(owner.epoch, stored) if owner else Result.BEATEN)

    def open(self, action: Open) -> None:
        """Let packets in."""
        member = self.member
        self.held = max(self.held, EntryId(action.epoch, 0))
        self.flight, self.flushing = None, False
        copies.open_restored(
            member.pod, self.number, member.worker_for(self.number), member.now, journaling=True, parking=member.commits
        )
        self.record.refuse_blocks = int(self.quarantine.is_on)
        member.set_deadline()
        self.events.append(Result.OPENED)

    # ------------------------------------------------------------ writing
    def next_append(self) -> Append | None:
        """What goes to the store now: the entry that is still unconfirmed, or a new one; None when there is nothing."""
        if self.phase not in WRITES:
            return None
        if self.flight is None:
            if self.forgone:
                self.tell(Result.REWOUND)
                return None
            records = self.next_records()
            if records is None:
                return None
            self.flight = Flight(pack_entry(records, self.member.store.version), int(self.record.journal_tail))
        return Append(self.number, self.owner, self.held, self.flight.entry)

    def next_records(self) -> Records | None:
        """Those of a new entry; a flush has one without any at its end: nobody is named in a store that does not store just now."""
        memory, area = self.member.pod.memory, self.member.pod.area(self.number)
        if waiting(memory, area):
            return drain(memory, area, most_records(self.member.store.version))
        if self.flushing and not self.proven:
            return NO_RECORDS
        if self.flushing:
            self.flushing = False
            self.tell(Result.FLUSHED)
        return None

    def appended(self, reply: Reply) -> None:
        """What became of it."""
        flight = self.flight
        if flight is None or self.phase not in WRITES:
            return
        if reply in STORED:
            self.flight, self.proven = None, True
            seq = self.held.seq + 1 if self.held.epoch == self.state.epoch else 1
            self.held = self.content = EntryId(self.state.epoch, seq)
            self.written += cost(1, len(flight.entry))
            commit(self.member.pod.memory, self.member.pod.area(self.number), flight.number)
            if self.state.refused:
                self.tell(Result.ACCEPTED)
        elif reply in _FAILED:
            self.tell(_FAILED[reply])

    async def write_checkpoint(self) -> None:
        """All that we hold, fenced by our epoch; what waited for the store leaves with it."""
        if self.state.refused:
            await asyncio.sleep(WRITE_AGAIN_S)
            if self.phase is not Phase.REWRITING:
                return
        pod = self.member.pod
        with self.member.workers.halted():  # what has a record is in the tables
            self.take_records()
            self.record.overrun = 0
            if not self.state.refused:
                self.record.parking = int(self.member.commits)
        number, owner = int(self.record.journal_tail), self.owner
        reply = await self.member.store.write_anew(self.number, owner, self.held, self.chunks())
        if (self.phase, self.owner) != (Phase.REWRITING, owner):
            return
        if reply is not Reply.OK:
            self.tell(_FAILED.get(reply, Result.UNRESOLVED))
            return
        try:
            head = (await self.member.store.owners()).get(self.number)
        except StoreError as error:
            self.member.lose_store(str(error))
            self.tell(Result.UNRESOLVED)
            return
        if (self.phase, self.owner) != (Phase.REWRITING, owner):
            return
        if head and head.owner == owner:
            self.held = self.content = max(self.held, head.last)
        self.written, self.unstored_block = 0, False
        commit(pod.memory, pod.area(self.number), number)
        self.tell(Result.CHECKPOINTED)

    def take_records(self) -> None:
        """Everything out of the journal: it is to be stored in another way, or not at all."""
        records = drain(self.member.pod.memory, self.member.pod.area(self.number), self.record.journal_mask + 1)
        self.unstored_block = self.has_unstored_block(records)
        self.flight = None

    async def shorten(self) -> None:
        """A checkpoint in passing, so that the journal stays short; writing goes on meanwhile."""
        self.written, self.shortening = 0, True
        try:
            async with self.member.shortening:  # so that entries wait for a chunk of one slot at most
                if self.phase is not Phase.SERVING:
                    return
                reply = await self.member.store.write_checkpoint(self.number, self.owner, self.held, self.chunks())
        finally:
            self.shortening = False
        if reply is not Reply.OK:
            log.warning("checkpoint not written", slot=self.number, reply=reply.value, reason=self.member.store.trouble)

    @property
    def is_long(self) -> bool:
        """Whether the journal deserves a checkpoint."""
        if not self.may_shorten or self.written <= self.member.checkpoint_bytes:
            return False
        return self.member.checkpoints_often or self.written > copies.live_bytes(self.member.pod, self.number)

    @property
    def may_shorten(self) -> bool:
        """Whether a checkpoint can begin: what is on its way to the journal is of the same version."""
        fits = self.flight is None or version_of(self.flight.entry) == self.member.store.version
        return self.phase is Phase.SERVING and fits and not self.shortening

    def chunks(self, version: int | None = None) -> Iterator[bytes]:
        """The live state, piece by piece, in the version that all members read or in another."""
        version = version or self.member.store.version
        most = most_records(version)
        for records in copies.snapshot(self.member.pod, self.number):
            for begin in range(0, len(records), most):
                yield pack_chunk(records[begin : begin + most], version)

    async def compare(self) -> list[str]:
        """What store and engine do not agree on (row O07).  Nothing is made or freed in the slot while it is read."""
        if self.phase is not Phase.SERVING:
            return []
        self.freeze()
        try:
            deadline = self.member.now + QUIET_MS
            while waiting(self.member.pod.memory, self.member.pod.area(self.number)) or self.flight is not None:
                if self.member.now > deadline:
                    return [
                        f"slot {self.number}: its journal is not stored within {QUIET_MS} ms: {self.member.store.trouble}"
                    ]
                await asyncio.sleep(QUIET_MS / 1000 / 100)
            stored = [records async for records in self.member.store.read(self.number)]
            held = await asyncio.to_thread(list, copies.snapshot(self.member.pod, self.number))
        except StoreError as error:
            return [f"slot {self.number}: {error}"]
        finally:
            if self.phase in (
                Phase.SERVING,
                Phase.FAILSAFE,
                Phase.REWRITING,
            ):  # else it is frozen for another reason, or closed
                self.thaw()
        found = await asyncio.to_thread(lambda: list(differences(replayed(stored), replayed(held))))
        return [f"slot {self.number}: {sentence}" for sentence in found]

    async def repair(self) -> None:
        """What we hold replaces all that the store has of the slot, and copies read it anew; new flows wait meanwhile."""
        if self.phase is not Phase.REWRITING:
            self.tell(Result.REWOUND)
        while self.phase is Phase.REWRITING:
            await self.turned.wait()

    @property
    def is_writing_checkpoint(self) -> bool:
        """Whether one is under way."""
        return self.shortening or self.phase is Phase.REWRITING

    # ------------------------------------------------------------ handing over
    def freeze(self) -> None:
        """Create and free nothing."""
        self.record.frozen = 1

    def thaw(self) -> None:
        """Create and free again."""
        self.record.frozen = 0

    def flush(self) -> None:
        """Say when all is stored."""
        self.flushing, self.proven = True, False
        self.member.journals.pending.set()

    async def seal(self, wanted: Seal) -> None:
        """Name the new owner after our last entry.  An answer that comes when we wait for none says nothing of what we do by then."""
        ours = self.owner
        try:
            reply = await self.member.store.seal(self.number, ours, self.held, wanted.target)
            result = _FAILED.get(reply, Result.SEALED)
        except (StoreRefusedError, StoreUnconfirmedError) as error:
            log.warning("seal without effect yet", slot=self.number, reason=str(error))
            await asyncio.sleep(SEAL_AGAIN_S)
            result = Result.REFUSED
        except StoreError as error:
            self.member.lose_store(str(error))
            result = Result.UNRESOLVED
        if self.state.sealing and self.owner == ours:
            self.events.append(result)
            if self.member.connected:
                self.step()

    # ------------------------------------------------------------ the rest
    def announce(self) -> None:
        """Tell the routers."""
        self.spawn(self.told(lambda: self.member.announcer.announce(self.number, self.state.epoch)))

    def withdraw(self) -> None:
        """Tell them no more."""
        self.spawn(self.told(lambda: self.member.announcer.withdraw(self.number)))

    async def told(self, tell: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Again, until it is done or something newer is to be told."""
        self.telling += 1
        mine = self.telling
        while self.telling == mine:
            try:
                await tell()
                return
            except AnnounceError as error:
                log.error("routes not changed", slot=self.number, reason=str(error))
                await asyncio.sleep(TELL_AGAIN_S)

    def ask(self) -> None:
        """Ask every known member what it holds, and look again when they have had the time to answer."""
        for uid in self.member.known:
            self.spawn(self.ask_one(uid))
        self.spawn(self.look_after(self.member.rules.ask))

    async def look_after(self, milliseconds: int) -> None:
        """Step once more, without waiting for the next tick."""
        await asyncio.sleep(milliseconds / 1000)
        self.step()

    async def ask_one(self, uid: str) -> None:
        """One question."""
        reply = await self.member.peers.ask(uid, self.number, self.member.now)
        old = self.answers.get(uid)
        if reply is not None and (old is None or old.asked_ms < reply.asked_ms):
            self.answers[uid] = reply
            self.step()

    def stop_serving(self) -> None:
        """Let no packet in, and keep what is held."""
        with self.member.workers.halted():
            if self.member.pod.slot(self.number):
                copies.stop(self.member.pod, self.number)
        self.flight = None
        self.member.set_deadline()

    def refuse_blocks(self) -> None:
        """No new port blocks.  Mappings go on in memory only where nobody else can take the slot: a store that refuses lets nobody."""
        self.record.refuse_blocks = 1
        if self.phase is not Phase.FAILSAFE:
            self.serve_from_memory()

    def serve_from_memory(self) -> None:
        """Let first packets leave unstored, if the pool wants that, and every block in use is stored."""
        if not self.member.serves_on_loss:
            return
        with self.member.workers.halted():  # no block is taken meanwhile
            records = peek(self.member.pod.memory, self.member.pod.area(self.number), self.record.journal_mask + 1)
            if self.has_unstored_block(records):
                return
            self.record.parking = 0
            if self.phase is Phase.FAILSAFE:
                self.let_go()

    def has_unstored_block(self, records: Records) -> bool:
        """Whether a port block is in use that the store may not know; `records`: all that are in the journal, or were."""
        in_flight = copies.kinds_of(self.flight.entry) if self.flight is not None else set()
        return self.unstored_block or Kind.BLOCK_TAKEN in in_flight or bool((records["kind"] == Kind.BLOCK_TAKEN).any())

    def let_go(self) -> None:
        """What waits for the store leaves without it, and is counted; the journal keeps it until the store is back, while there is room."""
        pod, area, record = self.member.pod, self.member.pod.area(self.number), self.record
        records = peek(pod.memory, area, record.journal_mask + 1)[max(0, record.committed - record.journal_tail) :]
        made = records[records["kind"] == Kind.MAPPING][["external_address", "external_port", "protocol"]]
        add_event(pod.memory, pod.control, MAPPINGS_NOT_STORED, len(np.unique(made)))
        commit(pod.memory, area, int(record.journal_head))
        if waiting(pod.memory, area) > record.journal_mask // 2:
            self.take_records()
            self.record.overrun = 1

    def allow_blocks(self) -> None:
        """As ever."""
        self.record.refuse_blocks, self.record.parking = int(self.quarantine.is_on), int(self.member.commits)

    def close(self) -> None:
        """Forget the slot, and end what is under way for it."""
        for task in list(self.tasks):
            if task is not asyncio.current_task():
                task.cancel()
        self.events.clear()
        self.withdraw()
        self.reset()
        self.member.set_deadline()


DEEDS: dict[Do, Callable[[Slot], Any]] = {
    Do.START_COPY: lambda slot: slot.copy.start(),
    Do.ASK_MEMBERS: Slot.ask,
    Do.WRITE_CHECKPOINT: lambda slot: slot.begin_checkpoint(slot.write_checkpoint()),
    Do.ANNOUNCE: Slot.announce,
    Do.WITHDRAW: Slot.withdraw,
    Do.FREEZE: Slot.freeze,
    Do.THAW: Slot.thaw,
    Do.FLUSH: Slot.flush,
    Do.STOP_SERVING: Slot.stop_serving,
    Do.REFUSE_BLOCKS: Slot.refuse_blocks,
    Do.ALLOW_BLOCKS: Slot.allow_blocks,
    Do.CLOSE: Slot.close,
}
