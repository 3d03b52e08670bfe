"""A pool in simulation: members that run the real machine, a store, and everything that can go wrong between them.

One seed is one history.  Members have clocks of their own; messages are lost, late and doubled; processes stop and resume; the
store goes away, forgets, or falls back.  `History.run` raises ViolationError as soon as a promise is broken.

Scaled times: the hold-down is one second, and the caps of the handover follow it.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from aftr.failover import machine, members
from aftr.failover.assignment import assign, eligible, next_handover, warm_copies
from aftr.failover.lease import renewed
from aftr.failover.observation import (
    Action,
    Answer,
    Claim,
    Do,
    Head,
    Observation,
    Open,
    Result,
    Seal,
    ServeReadOnly,
    ServeUntil,
    TakeTail,
    Won,
)
from aftr.failover.state import SERVES, Failsafe, Phase, Rules, State, follows
from aftr.failover.succession import ended_epochs, giving_up, has_ended, is_close, still_given_up
from aftr.store.checkpoint import beyond
from dslite_contract.journal import NOTHING, EntryId

HOLD_DOWN = 1000
RULES = Rules(drain=100, read_only=600)
POLL, WAKE, TIMEOUT, RECONNECT = 60, 40, 150, 40
READY = 3  # entries by which a copy may lag that counts as ready; more than one, and few enough to matter here
BLOCKS, PORTS, SUBSCRIBERS = 3, 2, 3
SETTLE = 3500  # after the last fault, every slot is served by exactly one member within this time

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


# ── what a slot consists of ──────────────────────────────────────────────────────────────────────────────────────────────


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
    """A linearizable store that may be out of reach, forget all, or fall back to an earlier state."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.slots = [StoredSlot() for _ in range(history.slots)]
        self.counters: dict[str, int] = {}
        self.infos: dict[str, Info] = {}
        self.up = True
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

    def claim(self, slot: int, uid: str, wanted: Claim) -> Won | Result:
        stored = self.slots[slot]
        if (stored.epoch, stored.owner, stored.last) != (wanted.expected, wanted.owner, wanted.last):
            return Result.BEATEN
        self.raise_epoch(slot, uid, wanted.epoch, sealed=False)
        claims = {entry: before for entry, before, _ in stored.journal if entry.seq == 0}
        at, empty = claims[stored.last], set[EntryId]()
        while at in claims:
            empty.add(at)
            at = claims[at]
        return Won(wanted.epoch, at, frozenset(empty))

    def seal(self, slot: int, uid: str, last: EntryId, wanted: Seal) -> Result:
        stored = self.slots[slot]
        if (stored.epoch, stored.owner) == (wanted.epoch, wanted.target) and stored.sealed:
            return Result.SEALED
        if stored.fenced(wanted.epoch - 1, uid):
            return Result.FENCED
        if stored.epoch < wanted.epoch - 1 or stored.last != last:
            return Result.REWOUND
        self.raise_epoch(slot, wanted.target, wanted.epoch, sealed=True)
        return Result.SEALED

    def append(self, slot: int, uid: str, epoch: int, last: EntryId, records: list[Record]) -> Result | EntryId:
        stored = self.slots[slot]
        entry = last.following if last.epoch == epoch else EntryId(epoch, 1)
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


# ── what a member consists of ────────────────────────────────────────────────────────────────────────────────────────────


class Engine:
    """The packet side of one slot on one member."""

    def __init__(self) -> None:
        self.reset()
        self.announced = False

    def reset(self) -> None:
        self.table = Table()
        self.held = NOTHING
        self.copying = False
        self.mode = "closed"  # copy, open, frozen, readonly, stopped
        self.epoch = 0
        self.deadline = 0
        self.blocks_refused = False
        self.resting: dict[int, int] = {}  # block → until, on the member's clock
        self.pending: list[Record] = []
        self.parked: list[tuple[Endpoint, int, int]] = []
        self.in_flight: list[Record] | None = None
        self.flushing = False
        self.lapsed = False
        self.forgone = False


class Member:
    """A process: its clock, its connection, and per slot a machine and an engine."""

    def __init__(self, history: History, uid: str) -> None:
        self.h, self.uid = history, uid
        random = history.random
        self.offset, self.rate = random.randrange(10**6), 1 + random.choice((0, 0, 0.02, -0.02))
        self.stopped = self.gone = False
        self.inbox: deque[Callable[[], None]] = deque()
        self.connection = 0  # 0: none
        self.serials = count(1)
        self.waiting: dict[int, int] = {}  # unanswered requests: number → when it was sent
        self.numbers = count()
        self.tried = 0
        self.view = members.View()
        self.heads: list[Head] | None = None
        self.known: frozenset[str] = frozenset()
        self.lease = 0
        self.counter = 0
        self.linked = True
        self.mute: set[int] = set()
        self.states = [State(uid, slot) for slot in range(history.slots)]
        self.engines: list[Engine] = [Engine() for _ in range(history.slots)]
        self.events: list[deque[Result | Won]] = [deque() for _ in range(history.slots)]
        self.unresolved: list[set[str]] = [set() for _ in range(history.slots)]
        self.answers: list[dict[str, Answer]] = [{} for _ in range(history.slots)]
        self.assigned: tuple[str | None, ...] = (None,) * history.slots
        self.warm: tuple[str | None, ...] = (None,) * history.slots
        self.infos: dict[str, Info] = {}
        self.next_poll = 0
        # when it claimed; all, if it had not waited until all could have made themselves known
        self.knew: list[frozenset[str]] = [frozenset()] * history.slots
        self.looked_back = False
        self.gives_up: dict[int, int] = {}
        self.give_up_until = 0

    @property
    def now(self) -> int:
        return int(self.h.now * self.rate) + self.offset

    def deliver(self, call: Callable[[], None]) -> None:
        """A message arrives; a stopped process finds it when it resumes."""
        if self.stopped:
            self.inbox.append(call)
        elif not self.gone:
            call()

    # ── store ──

    def request(self, ask: Callable[[], object], then: Callable[[object], None], kind: str = "", slot: int = 0) -> None:
        """One request on the present connection.  `kind` is resolved as UNRESOLVED if the connection breaks first."""
        connection, past, number = self.connection, self.h.store.past, next(self.numbers)
        self.waiting[number] = self.now
        if kind:
            self.unresolved[slot].add(kind)

        def reply(result: object) -> None:
            if self.connection == connection:
                self.waiting.pop(number, None)
                self.unresolved[slot].discard(kind)
                then(result)

        def arrive(result: object) -> None:
            if self.h.reaches_store(self):
                self.deliver(lambda: reply(result))

        def execute() -> None:
            if self.connection != connection and self.connection:
                return  # what was sent on an older connection is not carried out after a new one stands
            if self.h.reaches_store(self) and self.h.store.past == past:
                result = ask()
                self.h.after(self.h.delay(self), lambda: arrive(result))

        self.h.after(self.h.delay(self), execute)

    def connect(self) -> None:
        self.tried = self.now
        if not self.h.reaches_store(self):
            return
        self.connection = next(self.serials)
        for slot, kinds in enumerate(self.unresolved):
            if self.engines[slot].copying:
                self.events[slot].append(Result.BROKEN)
            if kinds:
                self.events[slot].append(Result.UNRESOLVED)
                if "append" in kinds:
                    engine = self.engines[slot]
                    engine.pending = (engine.in_flight or []) + engine.pending
                    engine.in_flight = None
            kinds.clear()
        if self.looked_back:
            self.poll()
        else:
            self.look_back()

    def disconnect(self) -> None:
        self.connection, self.waiting, self.heads = 0, {}, None
        self.view = members.disconnect(self.view)

    def look_back(self) -> None:
        """What the process before ours served, before anybody hears of us."""
        store = self.h.store
        self.next_poll = self.now + TIMEOUT

        def looked(result: Any) -> None:
            heads, infos = result
            copies = {uid: info.copies for uid, info in infos.items() if info.linked}
            self.gives_up = ended_epochs(self.uid, heads, copies, READY)
            self.give_up_until = self.now + RULES.dead_after
            self.looked_back = True
            self.poll()

        self.request(lambda: (store.heads(self.now), dict(store.infos)), looked)

    def poll(self) -> None:
        """Renew, and read counters, heads and journals in one round trip."""
        sent = self.now
        self.next_poll = sent + POLL
        self.counter += 1
        counter, store = self.counter, self.h.store
        copies = {
            s.slot: e.held
            for s, e in zip(self.states, self.engines, strict=True)
            if s.phase is Phase.WARM and not s.gap
        }
        info = Info(self.linked, copies, dict(self.gives_up))
        held = [e.held if follows(s, e.held) else None for s, e in zip(self.states, self.engines, strict=True)]

        def ask() -> object:
            store.counters[self.uid] = counter
            store.infos[self.uid] = info
            heads = store.heads(sent)
            tails = [None if h is None else (h, s.after(h)) for h, s in zip(held, store.slots, strict=True)]
            return dict(store.counters), dict(store.infos), heads, tails

        self.request(ask, lambda result: self.polled(sent, *result))  # type: ignore[misc]

    def polled(
        self,
        sent: int,
        counters: dict[str, int],
        infos: dict[str, Info],
        heads: list[Head],
        tails: list[tuple[EntryId, list[tuple[EntryId, list[Record]]] | None] | None],
    ) -> None:
        self.lease = renewed(self.lease, sent, RULES.dead_after)
        self.view = members.observe(self.view, counters, sent, self.now)
        self.view = members.forget(self.view, frozenset(counters), RULES.dead_after)
        self.known |= frozenset(counters) - {self.uid}
        self.heads, self.infos = heads, infos
        alive = members.alive(self.view, RULES.dead_after)
        linked = [uid for uid in alive if uid not in infos or infos[uid].linked]
        owners = tuple(head.owner or None for head in heads)
        self.gives_up = still_given_up(self.gives_up, self.uid, heads) if self.now < self.give_up_until else {}
        serving = eligible(alive, linked, giving_up(heads, self.ended))
        if (serving, owners) != self.h.assignments[0]:
            self.h.assignments = (serving, owners), (assign(serving, owners), warm_copies(serving, owners))
        self.assigned, self.warm = self.h.assignments[1]
        for slot, tail in enumerate(tails):
            self.follow(slot, tail)
        self.step_all()

    def follow(self, slot: int, tail: tuple[EntryId, list[tuple[EntryId, list[Record]]] | None] | None) -> None:
        engine = self.engines[slot]
        if tail is None or tail[0] != engine.held or not follows(self.states[slot], engine.held):
            return
        if tail[1] is None:
            self.events[slot].append(Result.BROKEN)
            return
        if self.states[slot].phase is Phase.WARM and self.h.random.random() < self.h.lag:
            return
        for entry, records in tail[1]:
            for record in records:
                engine.table.apply(record)
            engine.held = entry

    # ── the machine ──

    def observation(self, slot: int, event: Result | Won | None) -> Observation:
        heads = self.heads
        head = heads[slot] if heads else None
        target = self.assigned[slot]
        ready = False
        if head and target and target != self.uid and target in self.infos:
            ready = is_close(self.infos[target].copies.get(slot), head, READY)
        turn = False
        if heads and self.states[slot].phase is Phase.SERVING and target not in (None, self.uid):
            busy = [
                n
                for n, s in enumerate(self.states)
                if s.phase is Phase.FREEZING or (s.phase is Phase.DRAINING and heads[n].sealed)
            ]
            warm = [n for n in range(self.h.slots) if self.is_ready(n)]
            turn = next_handover(self.uid, [h.owner for h in heads], self.assigned, busy, warm) == slot
        return Observation(
            now=self.now,
            connected=self.view.connected and self.connection > 0,
            connected_ms=self.view.since_ms,
            known=self.known,
            head=head,
            owner_dead=head is not None
            and (members.is_dead(self.view, head.owner, RULES.dead_after) or has_ended(slot, head, self.ended)),
            gives_up=slot in self.gives_up,
            assigned=target,
            warm=self.warm[slot],
            turn=turn,
            target_ready=ready,
            lease_until=self.lease,
            held=self.engines[slot].held,
            forgone=self.engines[slot].forgone,
            answers=self.answers[slot],
            event=event,
        )

    def is_ready(self, slot: int) -> bool:
        target = self.assigned[slot]
        return bool(target and target in self.infos and slot in self.infos[target].copies)

    @property
    def ended(self) -> dict[str, dict[int, int]]:
        return {uid: info.ended for uid, info in self.infos.items()}

    def step_all(self) -> None:
        for slot in range(self.h.slots):
            self.step(slot)

    def step(self, slot: int) -> None:
        if slot in self.mute:
            return
        events = self.events[slot]
        while True:
            event = events.popleft() if events else None
            seen = self.observation(slot, event)
            before = self.states[slot]
            after, actions, sentence = machine.step(before, seen, self.h.rules)
            self.states[slot] = after
            kind = event.name if isinstance(event, Result) else "WON" if event else "tick" if seen.connected else "cut"
            self.h.coverage[before.phase, kind] += 1
            if self.h.log is not None and (actions or before.phase is not after.phase):
                self.h.log.append(
                    f"{self.h.now:5} {self.uid}/{slot} {before.phase.name}→{after.phase.name} {kind}: {sentence} {actions}"
                )
            for action in actions:
                self.act(slot, action)
            self.h.check_phases(self)
            if not events:
                return

    def act(self, slot: int, action: Action) -> None:
        engine = self.engines[slot]
        match action:
            case Do.THAW if self.h.exclusive and self.h.newest[slot] > engine.epoch:
                raise ViolationError(f"{self.uid} thaws slot {slot}, which is open with epoch {self.h.newest[slot]}")
            case Do.FREEZE if not self.observation(slot, None).target_ready:
                raise ViolationError(
                    f"{self.uid} freezes slot {slot} for {self.states[slot].target}, whose copy is not ready"
                )
            case Do():
                DEEDS[action](self, slot)
            case Claim():
                settled = self.now - self.view.since_ms >= RULES.dead_after
                self.knew[slot] = self.known if settled else frozenset(self.h.members)
                self.request(
                    lambda: self.h.store.claim(slot, self.uid, action), lambda r: self.event(slot, r), "claim", slot
                )
            case Seal():
                last = engine.held
                self.request(
                    lambda: self.h.store.seal(slot, self.uid, last, action), lambda r: self.event(slot, r), "seal", slot
                )
                self.h.sealed(self, slot, action.target)
            case TakeTail():
                self.take_tail(slot, action)
            case Open():
                self.h.check_open(self, slot)
                engine.mode, engine.epoch, engine.deadline, engine.lapsed = "open", action.epoch, action.until, False
                engine.held = max(engine.held, EntryId(action.epoch, 0))
                engine.resting = dict.fromkeys(set(range(BLOCKS)) - engine.table.blocks.keys(), self.now + HOLD_DOWN)
                engine.blocks_refused = False
                self.h.opened(self, slot)
                self.h.after(
                    self.h.random.randrange(1, 6), lambda: self.deliver(lambda: self.event(slot, Result.OPENED))
                )
            case ServeUntil():
                engine.deadline = action.until
            case ServeReadOnly():
                if engine.parked:
                    raise ViolationError(
                        f"{self.uid} sealed slot {slot} with {len(engine.parked)} first packets parked"
                    )
                engine.mode, engine.deadline = "readonly", action.until

    def event(self, slot: int, result: object) -> None:
        self.events[slot].append(result)  # type: ignore[arg-type]
        self.step(slot)

    # ── actions ──

    def start_copy(self, slot: int) -> None:
        """Begin anew; a reading that was begun before comes to nothing."""
        self.h.check_forgotten(self, slot)
        engine = self.engines[slot]
        engine.reset()
        engine.copying = True
        begun, connection = engine.table, self.connection

        def done(result: object) -> None:
            if engine.table is begun:
                engine.table, engine.held = result  # type: ignore[misc]
                engine.mode, engine.copying = "copy", False
                self.event(slot, Result.COPIED)

        copy = lambda: (self.h.store.slots[slot].table(), self.h.store.slots[slot].last)  # noqa: E731
        slow = self.h.random.choice((5, 30, self.h.slow_copy))

        def later() -> None:
            if self.connection == connection and connection and engine.table is begun:
                self.request(copy, done)

        self.h.after(slow, lambda: self.deliver(later))

    def ask_members(self, slot: int) -> None:
        asked = self.now
        for uid in sorted(self.known):  # one seed, one history, whatever the hash seed
            other = self.h.members.get(uid)
            if other:
                self.h.send(self, other, lambda other=other: other.asked(slot, self, asked))  # type: ignore[misc]

    def asked(self, slot: int, by: Member, asked: int) -> None:
        """Answer a question; one who asks is known from now on."""
        self.known |= {by.uid}
        reply = replace(machine.answer(self.states[slot], self.observation(slot, None)), asked_ms=asked)
        if self.engines[slot].mode == "closed":
            reply = replace(reply, held=NOTHING)
        known = self.known | {self.uid}
        self.h.send(self, by, lambda: by.answered(slot, self.uid, reply, known))

    def answered(self, slot: int, uid: str, reply: Answer, known: frozenset[str]) -> None:
        self.known |= known - {self.uid} - self.h.departed
        old = self.answers[slot].get(uid)
        if old is None or old.asked_ms < reply.asked_ms:
            self.answers[slot] = {**self.answers[slot], uid: reply}
            self.step(slot)

    def take_tail(self, slot: int, wanted: TakeTail) -> None:
        other = self.h.members.get(wanted.member)
        if other is None:
            return

        def give() -> None:
            theirs = other.engines[slot]
            if theirs.held > wanted.beyond and theirs.mode != "closed":
                table, held = theirs.table.copy(), theirs.held
                self.h.send(other, self, lambda: take(table, held))

        def take(table: Table, held: EntryId) -> None:
            engine = self.engines[slot]
            if self.states[slot].phase is Phase.CATCHING_UP:
                engine.table, engine.held, engine.mode = table, held, "copy"
                self.event(slot, Result.TAIL_TAKEN)

        self.h.send(self, other, give)

    def write_checkpoint(self, slot: int) -> None:
        engine, epoch = self.engines[slot], self.states[slot].epoch
        table, last = engine.table.copy(), engine.held
        parked = list(engine.parked)
        engine.pending, engine.in_flight = [], None

        def done(result: object) -> None:
            if (self.states[slot].phase, self.states[slot].epoch) != (Phase.REWRITING, epoch):
                return
            if isinstance(result, EntryId):
                engine.held, engine.forgone = result, False
                self.commit(slot, parked)
                self.event(slot, Result.CHECKPOINTED)
            else:
                self.event(slot, result)

        def ask() -> object:
            result = self.h.store.write_checkpoint(slot, self.uid, epoch, last, table.copy())
            if isinstance(result, EntryId):
                self.h.must[slot].update(dict(table.binds.items() & engine.table.binds.items()))
            return result

        self.request(ask, done, "checkpoint", slot)

    def flush(self, slot: int) -> None:
        """The next entry goes out when the last was acknowledged."""
        engine, state = self.engines[slot], self.states[slot]
        if state.phase not in (Phase.SERVING, Phase.FREEZING) or engine.in_flight is not None or not self.connection:
            return
        if not engine.pending:
            if engine.flushing:
                engine.flushing = False
                self.event(slot, Result.FLUSHED)
            return
        records, engine.pending = engine.pending, []
        parked = list(engine.parked)
        engine.in_flight = records
        epoch, last = engine.epoch, engine.held
        self.request(
            lambda: self.h.store.append(slot, self.uid, epoch, last, records),
            lambda result: self.appended(slot, records, parked, result),
            "append",
            slot,
        )

    def appended(
        self, slot: int, records: list[Record], parked: list[tuple[Endpoint, int, int]], result: object
    ) -> None:
        engine = self.engines[slot]
        if engine.in_flight is not records:
            return
        engine.in_flight = None
        if isinstance(result, EntryId):
            engine.held = result
            self.commit(slot, parked)
            self.flush(slot)
        else:
            engine.pending = records + engine.pending
            self.event(slot, result)

    def commit(self, slot: int, parked: list[tuple[Endpoint, int, int]]) -> None:
        """What was parked may leave: it is stored."""
        engine = self.engines[slot]
        for endpoint, bind, subscriber in parked:
            if (endpoint, bind, subscriber) in engine.parked:
                engine.parked.remove((endpoint, bind, subscriber))
                if engine.table.binds.get(endpoint) == bind and self.sends(slot):  # else nobody has heard of it
                    self.h.must[slot][endpoint] = bind
                    self.transmit(slot, endpoint, subscriber)

    # ── packets ──

    def packet(self, slot: int, subscriber: int, port: int) -> None:
        """A subscriber's packet arrives."""
        engine = self.engines[slot]
        if engine.mode not in ("open", "frozen", "readonly") or self.now >= engine.deadline:
            return
        block = next((block for block, owner in engine.table.blocks.items() if owner == subscriber), None)
        if block is not None and (block, port) in engine.table.binds:
            if not any(endpoint == (block, port) for endpoint, _, _ in engine.parked):
                self.transmit(slot, (block, port), subscriber)
        elif engine.mode == "open":
            self.create(slot, engine, block, port, subscriber)

    def create(self, slot: int, engine: Engine, block: int | None, port: int, subscriber: int) -> None:
        new = block is None
        if block is None:
            free = [b for b in range(BLOCKS) if b not in engine.table.blocks and engine.resting.get(b, 0) <= self.now]
            if not free or engine.blocks_refused:
                return
            block = self.h.random.choice(free)
        bind = next(self.h.bindings)
        records: list[Record] = [("block", block, subscriber, 0)] if new else []
        records.append(("bind", block, port, bind))
        for record in records:
            engine.table.apply(record)
        engine.pending += records
        unstored_block = any(endpoint[0] == block for endpoint, _, _ in engine.parked)
        if self.states[slot].phase is Phase.FAILSAFE and not new and not unstored_block:
            self.transmit(slot, (block, port), subscriber)  # in memory only
            if self.h.random.random() < 0.3:  # no room in the journal any more
                engine.pending, engine.in_flight, engine.forgone = [], None, True
        else:
            engine.parked.append(((block, port), bind, subscriber))
            self.flush(slot)

    def release(self, slot: int, block: int) -> None:
        """A block is given back, and rests."""
        engine = self.engines[slot]
        if engine.mode != "open" or self.now >= engine.deadline or block not in engine.table.blocks:
            return
        engine.table.apply(("free", block, 0, 0))
        engine.pending.append(("free", block, 0, 0))
        engine.parked = [one for one in engine.parked if one[0][0] != block]
        engine.resting[block] = self.now + HOLD_DOWN
        self.h.released(slot, block)
        self.flush(slot)

    def transmit(self, slot: int, endpoint: Endpoint, subscriber: int, burst: bool = False) -> None:
        """The deadline is read just before the burst."""
        if burst or self.sends(slot):
            self.h.check_sent(self, slot, endpoint, subscriber, burst)

    def sends(self, slot: int) -> bool:
        """Whether packets of a slot leave just now."""
        engine = self.engines[slot]
        return engine.mode in ("open", "frozen", "readonly") and self.now < engine.deadline

    # ── time ──

    def wake(self) -> None:
        if self.gone:
            return
        self.h.after(
            WAKE + self.h.random.randrange(-5, 6),
            lambda: self.wake() if not self.stopped else self.inbox.append(self.wake),
        )
        if self.connection and any(self.now - sent > TIMEOUT for sent in self.waiting.values()):
            self.disconnect()
        if not self.connection and self.now - self.tried >= RECONNECT:
            self.connect()
        elif self.connection and self.now >= self.next_poll:
            self.poll()
        self.step_all()
        for slot in range(self.h.slots):
            self.flush(slot)

    def stop(self) -> None:
        self.stopped = True

    def resume(self) -> None:
        """One burst may have passed its last look at the clock before the stop; then all that arrived meanwhile is read."""
        if self.gone or not self.stopped:
            return
        self.stopped = False
        for slot, engine in enumerate(self.engines):
            served = engine.mode in ("open", "frozen") and self.states[slot].phase is not Phase.OPENING
            if served and self.now >= engine.deadline:
                engine.lapsed = True
                for endpoint in list(engine.table.binds)[:1]:
                    self.transmit(slot, endpoint, engine.table.blocks.get(endpoint[0], -1), burst=True)
        while self.inbox and not self.stopped:
            self.inbox.popleft()()


def _mode(mode: str) -> Callable[[Member, int], None]:
    def change(member: Member, slot: int) -> None:
        member.engines[slot].mode = mode

    return change


def _flush(member: Member, slot: int) -> None:
    member.engines[slot].flushing = True
    member.flush(slot)


def _announced(yes: bool) -> Callable[[Member, int], None]:
    def change(member: Member, slot: int) -> None:
        member.engines[slot].announced = yes

    return change


def _refuse(yes: bool) -> Callable[[Member, int], None]:
    def change(member: Member, slot: int) -> None:
        member.engines[slot].blocks_refused = yes

    return change


def _close(member: Member, slot: int) -> None:
    member.h.check_forgotten(member, slot)
    member.engines[slot].reset()


DEEDS: dict[Do, Callable[[Member, int], None]] = {
    Do.START_COPY: Member.start_copy,
    Do.ASK_MEMBERS: Member.ask_members,
    Do.WRITE_CHECKPOINT: Member.write_checkpoint,
    Do.ANNOUNCE: _announced(True),
    Do.WITHDRAW: _announced(False),
    Do.FREEZE: _mode("frozen"),
    Do.THAW: _mode("open"),
    Do.FLUSH: _flush,
    Do.STOP_SERVING: _mode("stopped"),
    Do.REFUSE_BLOCKS: _refuse(True),
    Do.ALLOW_BLOCKS: _refuse(False),
    Do.CLOSE: _close,
}


# ── a history ────────────────────────────────────────────────────────────────────────────────────────────────────────────

FAULTS = (
    "stop",
    "crash",
    "cut",
    "down",
    "lose",
    "rewind",
    "peers",
    "step",
    "slow",
    "links",
    "mute",
    "sealcut",
    "restart",
    "disaster",
)


class History:
    """One run of a pool: a seed decides everything."""

    def __init__(
        self,
        seed: int,
        coverage: Counter[tuple[Phase, str]] | None = None,
        log: list[str] | None = None,
        kinds: tuple[str, ...] = (),
    ) -> None:
        self.seed, self.random, self.log = seed, random.Random(seed), log
        self.coverage: Counter[tuple[Phase, str]] = Counter() if coverage is None else coverage
        self.now, self.queue, self.order = 0, [], count()  # type: ignore[var-annotated]
        self.bindings, self.names = count(1), count(1)
        pick = self.random
        self.slots = pick.choices((1, 2, 4), (8, 2, 1))[0]
        self.kinds = list(kinds) or pick.sample(FAULTS, pick.choice((1, 1, 2, 2, 3, 5)))
        self.size = pick.choices((1, 2, 3, 4), (1, 2, 9, 2))[0]
        self.rules = replace(RULES, failsafe=Failsafe.AVAILABLE if pick.random() < 0.05 else Failsafe.STRICT)
        self.loss = pick.choice((0, 0, 0.05))
        self.lag = pick.choice((0, 0, 0.9))  # how often a warm copy does not get to reading
        self.slow = 0
        self.slow_copy = pick.choice((30, 600))
        self.store = Store(self)
        self.assignments: tuple[object, tuple[tuple[str | None, ...], tuple[str | None, ...]]] = (None, ((), ()))
        self.cut: set[str] = set()  # members that do not reach the store
        self.apart: set[frozenset[str]] = set()  # pairs that do not reach each other
        self.members: dict[str, Member] = {}
        self.departed: frozenset[str] = frozenset()
        self.must: list[dict[Endpoint, int]] = [{} for _ in range(self.slots)]
        self.users: dict[tuple[int, int], int] = {}  # (slot, block) → subscriber whose packets were last seen
        self.free_since: dict[tuple[int, int], int] = {}
        self.newest: list[int] = [0] * self.slots  # the highest epoch ever opened, by a member that still runs
        self.sealed_at: dict[int, tuple[int, str]] = {}
        self.lost_data = self.had_peers = self.had_steps = self.had_joins = self.had_stops = self.muted = False
        self.quiet = False  # nothing goes wrong any more
        self.strangers = False  # who opened a slot of a lost store was never told of someone who may hold it
        self.events = 0

    # ── what the world does ──

    def after(self, delay: int, call: Callable[[], None]) -> None:
        heapq.heappush(self.queue, (self.now + delay, next(self.order), call))

    def delay(self, _: Member) -> int:
        return self.random.randrange(1, 8) + (self.random.randrange(self.slow) if self.slow else 0)

    def reaches_store(self, member: Member) -> bool:
        return self.store.up and member.uid not in self.cut and not member.gone

    def send(self, source: Member, target: Member, call: Callable[[], None]) -> None:
        """A message between members: lost, late, or twice."""
        if frozenset((source.uid, target.uid)) in self.apart or target.gone:
            return
        pick = self.random
        for _ in range(2 if pick.random() < 0.05 else 1):
            if pick.random() >= self.loss:
                late = pick.randrange(400) if self.loss and pick.random() < 0.1 else pick.randrange(1, 10)
                self.after(late, lambda: target.deliver(call))

    def join(self) -> None:
        uid = f"m{next(self.names)}"
        self.members[uid] = member = Member(self, uid)
        member.wake()

    def traffic(self) -> None:
        """A packet follows the newest route, or a stale one; now and then a block is released."""
        pick = self.random
        self.after(pick.randrange(10, 40), self.traffic)
        slot = pick.randrange(self.slots)
        takers = [m for m in self.members.values() if m.engines[slot].announced and not m.gone]
        if not takers:
            return
        best = max(takers, key=lambda m: m.engines[slot].epoch)
        member = pick.choice(takers) if pick.random() < 0.2 else best
        subscriber, port, block = pick.randrange(SUBSCRIBERS + 1), pick.randrange(PORTS), pick.randrange(BLOCKS)
        if pick.random() < 0.25:
            member.deliver(lambda: member.release(slot, block))
        else:
            member.deliver(lambda: member.packet(slot, subscriber, port))

    def housekeeping(self) -> None:
        self.store.save(self.now)
        self.after(40, self.housekeeping)

    # ── faults ──

    def fault(self) -> None:
        kind = self.random.choice(self.kinds)
        running = [m for m in self.members.values() if not m.gone]
        if running:
            owners = [m for m in running if any(s.phase in SERVES for s in m.states)]
            member = self.random.choice(owners if owners and self.random.random() < 0.6 else running)
            if self.log is not None:
                self.log.append(f"{self.now:5} FAULT {kind} {member.uid}")
            getattr(self, f"fault_{kind}")(member)

    def fault_stop(self, member: Member) -> None:
        self.had_stops = True
        member.stop()
        self.after(self.random.choice((50, 200, 300, 500, 900)), member.resume)

    def fault_crash(self, member: Member) -> None:
        member.gone = True
        self.forget_epochs(member)
        self.had_joins = True
        self.after(self.random.choice((300, 700)), self.join)
        self.after(self.random.choice((300, 1500)), lambda: self.unlist(member.uid))

    def fault_disaster(self, member: Member) -> None:
        """A member and the store's data are lost together, with the machine that had both."""
        self.fault_crash(member)
        self.fault_lose(member)

    def fault_restart(self, member: Member) -> None:
        """The process is killed, and started again as the same member."""
        member.gone = True
        self.forget_epochs(member)
        self.had_joins = True
        self.after(self.random.choice((20, 100, 200, 350, 600)), lambda: self.start_again(member))

    def start_again(self, member: Member) -> None:
        self.members[member.uid] = anew = Member(self, member.uid)
        anew.offset, anew.rate, anew.counter = member.offset, member.rate, 10**6 - member.counter
        anew.wake()

    def forget_epochs(self, member: Member) -> None:
        for slot, engine in enumerate(member.engines):
            if self.newest[slot] == engine.epoch:
                self.newest[slot] = 0

    def unlist(self, uid: str) -> None:
        """Kubernetes says that the pod is gone."""
        self.store.counters.pop(uid, None)
        self.departed |= {uid}
        for member in self.members.values():
            member.known -= {uid}

    def fault_cut(self, member: Member) -> None:
        self.cut.add(member.uid)
        self.after(self.random.choice((100, 400, 900)), lambda: self.cut.discard(member.uid))

    def fault_down(self, _: Member) -> None:
        self.store.up = False
        for member in self.members.values():  # they do not find it again all at once
            if self.random.random() < 0.3:
                self.fault_cut(member)
        self.after(self.random.choice((100, 400, 900)), lambda: setattr(self.store, "up", True))

    def fault_lose(self, member: Member) -> None:
        self.fault_down(member)
        self.store.forget()
        self.reset_connections()

    def reset_connections(self) -> None:
        """Another server, or the same one after a restart, knows no old connection."""
        self.lost_data = True
        for member in self.members.values():
            member.deliver(member.disconnect)

    def fault_rewind(self, member: Member) -> None:
        if self.random.random() < 0.5:
            self.fault_down(member)
        self.store.fall_back(self.now - self.random.choice((40, 100, 250)))
        self.reset_connections()

    def fault_peers(self, member: Member) -> None:
        self.had_peers = True
        others = [uid for uid in self.members if uid != member.uid]
        pairs = {frozenset((member.uid, uid)) for uid in others if self.random.random() < 0.7}
        self.apart |= pairs
        self.after(self.random.choice((100, 400, 900)), lambda: self.apart.difference_update(pairs))

    def fault_step(self, member: Member) -> None:
        self.had_steps = True
        member.offset += self.random.choice((60, 300, 600))

    def fault_slow(self, _: Member) -> None:
        self.slow = self.random.choice((40, 90))
        self.after(self.random.choice((200, 600)), lambda: setattr(self, "slow", 0))

    def fault_links(self, member: Member) -> None:
        member.linked = not member.linked
        self.after(600, lambda: setattr(member, "linked", True))

    def fault_sealcut(self, member: Member) -> None:
        """Arms `sealed`: the old owner is cut off about when the store carries out the seal."""
        self.fault_links(member)

    def fault_mute(self, member: Member) -> None:
        """Arms `sealed`: the next target of a seal hangs."""
        self.fault_links(member)

    def sealed(self, member: Member, slot: int, target: str) -> None:
        self.sealed_at[slot] = self.now, target
        if self.quiet:
            return
        if "sealcut" in self.kinds:
            self.after(self.random.randrange(14), lambda: self.fault_cut(member))
        if "mute" in self.kinds and target in self.members and not self.muted:
            self.muted = True
            self.members[target].mute.add(slot)

    # ── promises ──

    @property
    def calm(self) -> bool:
        """Whether, if the store lost something, all living members could tell what they hold: then nothing is lost with it."""
        told = not self.loss and set(self.kinds) <= {
            "lose",
            "rewind",
            "down",
            "crash",
            "restart",
            "disaster",
            "links",
            "slow",
        }
        return not self.lost_data or (told and not self.strangers)

    @property
    def exclusive(self) -> bool:
        """Whether two may never serve at a time: clocks run evenly, and an owner can ask all who may take its slot.

        A pod that is not in the list that a cut-off owner read last makes itself known by asking it, if the message arrives.
        """
        unknown = self.had_joins and (self.had_peers or self.loss)
        return not self.had_steps and self.calm and self.rules.failsafe is Failsafe.STRICT and not unknown

    def check_sent(self, member: Member, slot: int, endpoint: Endpoint, subscriber: int, burst: bool) -> None:
        engine = member.engines[slot]
        if burst:
            return
        if engine.lapsed and engine.mode != "readonly":
            raise ViolationError(f"{member.uid} sends for slot {slot} after its lease ended while it was stopped")
        if (
            self.exclusive and engine.mode == "open" and engine.epoch < self.newest[slot]
        ):  # frozen: stored mappings only
            raise ViolationError(
                f"{member.uid} serves slot {slot} with epoch {engine.epoch}, {self.newest[slot]} is open"
            )
        key = slot, endpoint[0]
        user = self.users.setdefault(key, subscriber)
        if user != subscriber:
            since = self.free_since.get(key)
            if self.lost_data and not self.calm:
                pass
            elif since is None or self.now - since < HOLD_DOWN * 0.9 - (600 * 4 if self.had_steps else 0):
                raise ViolationError(
                    f"{member.uid} sends for {subscriber} from block {key}, which {user} had (free since {since})"
                )
            self.users[key] = subscriber
            self.free_since.pop(key, None)
        elif engine.mode == "open" and engine.epoch >= self.newest[slot]:
            self.free_since.pop(key, None)

    def released(self, slot: int, block: int) -> None:
        self.free_since[slot, block] = self.now
        for port in range(PORTS):
            self.must[slot].pop((block, port), None)

    def note_loss(self, member: Member, slot: int) -> None:
        """What a store's loss takes with it: what only those hold who are gone too, or stayed away from it for a dead-time."""
        if not self.lost_data:
            return
        running = [m for m in self.members.values() if not m.gone]
        away = [m for m in running if m is not member and m.uid not in member.knew[slot]]
        if any(m.engines[slot].held > NOTHING for m in away):
            self.strangers = True
        for (number, block), user in self.users.items():
            held = any(m.engines[slot].table.blocks.get(block) == user for m in running)
            if number == slot and not held:
                self.free_since.setdefault((slot, block), self.now)  # it rests like any that is free now

    def check_open(self, member: Member, slot: int) -> None:
        """What was acknowledged is there; and what is there is stored."""
        self.note_loss(member, slot)
        table, stored = member.engines[slot].table, self.store.slots[slot]
        content = stored.table().binds
        for endpoint, bind in list(self.must[slot].items()):
            if table.binds.get(endpoint) == bind:
                continue
            others = [
                m for m in self.members.values() if not m.gone and m.engines[slot].table.binds.get(endpoint) == bind
            ]
            if self.lost_data and (not others or not self.calm):
                del self.must[slot][endpoint]  # more was lost than the promise covers
                continue
            raise ViolationError(
                f"{member.uid} opens slot {slot} without binding {bind} of {endpoint}; {len(others)} members hold it"
            )
        if (
            not stored.fenced(member.states[slot].epoch, member.uid)
            and stored.epoch == member.states[slot].epoch
            and self.calm
        ):
            missing = [e for e, b in table.binds.items() if content.get(e) != b]
            if missing:
                raise ViolationError(f"{member.uid} opens slot {slot} with {missing}, which the store does not hold")
        epoch = member.states[slot].epoch
        for other in self.members.values():
            engine = other.engines[slot]
            serves = not other.gone and engine.mode == "open" and other.now < engine.deadline
            if self.exclusive and other is not member and serves:
                left = engine.deadline - other.now
                raise ViolationError(f"{member.uid} opens slot {slot}, which {other.uid} may serve {left} ms more")
        others = [m for m in self.members.values() if m is not member and not m.gone]
        if self.calm and any(max(m.engines[slot].held.epoch, m.engines[slot].epoch + 1) > epoch for m in others):
            raise ViolationError(f"{member.uid} opens slot {slot} with epoch {epoch}, which is not the newest")

    def check_forgotten(self, member: Member, slot: int) -> None:
        """Who closes a slot, or begins it anew, does not take the last copy of anything with it."""
        if not self.calm:
            return
        others = [m.engines[slot].table for m in self.members.values() if m is not member and not m.gone]
        kept = [self.store.slots[slot].table(), *others]
        for endpoint, bind in member.engines[slot].table.binds.items():
            needed = self.must[slot].get(endpoint) == bind
            if needed and not any(table.binds.get(endpoint) == bind for table in kept):
                raise ViolationError(
                    f"{member.uid} forgets slot {slot}, and nobody else has binding {bind} of {endpoint}"
                )

    def opened(self, member: Member, slot: int) -> None:
        self.newest[slot] = max(self.newest[slot], member.states[slot].epoch)
        sealed, target = self.sealed_at.pop(slot, (self.now, ""))
        simple = set(self.kinds) <= {"links", "crash"} and not self.loss and not self.lag
        if simple and target == member.uid and self.now - sealed > 200:
            raise ViolationError(
                f"slot {slot} was handed to a copy that was not ready: {self.now - sealed} ms until it opened"
            )

    def check_phases(self, member: Member) -> None:
        if sum(state.phase is Phase.FREEZING for state in member.states) > 1:
            raise ViolationError(f"{member.uid} hands over more than one slot at a time")

    # ── the end ──

    def settled(self) -> str:
        """What is still missing; empty when every slot is served by exactly one member, and only there."""
        running = [m for m in self.members.values() if not m.gone]
        for slot, stored in enumerate(self.store.slots):
            open_at = [m.uid for m in running if m.engines[slot].mode in ("open", "frozen", "readonly")]
            announced = [m.uid for m in running if m.engines[slot].announced]
            phases = {m.uid: m.states[slot].phase.name for m in running}
            if not open_at == announced == [stored.owner] or phases[stored.owner] != "SERVING":
                return f"slot {slot}: open at {open_at}, announced by {announced}, owner {stored.owner}, {phases}"
            if "LOST" in phases.values():
                return f"slot {slot}: a former owner does not let go of it, {phases}"
            if self.members[stored.owner].engines[slot].blocks_refused:
                return f"slot {slot}: {stored.owner} still refuses blocks"
        return ""

    def probe(self) -> Callable[[], bool]:
        """One new binding per slot, in a block kept for it; true once all are stored."""
        done = []
        for slot, stored in enumerate(self.store.slots):
            engine = self.members[stored.owner].engines[slot]
            bind = next(self.bindings)
            engine.table.apply(("bind", 99, slot, bind))
            engine.pending.append(("bind", 99, slot, bind))
            done.append((slot, bind))
        return lambda: all(self.store.slots[s].table().binds.get((99, s)) == b for s, b in done)

    def run_until(self, end: int, good: Callable[[], bool] | None = None) -> bool:
        look = self.now
        while self.queue and self.queue[0][0] <= end:
            self.now, _, call = heapq.heappop(self.queue)
            self.events += 1
            call()
            if good and self.now >= look:
                look = self.now + 50
                if good():
                    return True
        self.now = end
        return good is None or good()

    def run(self) -> History:
        """All of it; ViolationError if a promise is broken."""
        for _ in range(self.size):
            self.after(self.random.randrange(100), self.join)
        self.after(300, self.traffic)
        self.after(0, self.housekeeping)
        self.run_until(900)
        for _ in range(self.random.randrange(1, 7)):
            self.fault()
            self.run_until(self.now + self.random.choice((20, 60, 150, 400, 900)))
        self.quiet = True
        self.run_until(self.now + 950)  # the longest fault is over
        if "mute" in self.kinds:
            for member in self.members.values():
                if not set(self.kinds) <= {"mute", "links"} or sum(not m.gone for m in self.members.values()) < 3:
                    member.mute.clear()
        if not self.run_until(self.now + SETTLE, lambda: not self.settled()):
            raise ViolationError(f"after {SETTLE} ms without a fault: {self.settled()}")
        stored = self.probe()
        if not self.run_until(self.now + 1500, stored):
            raise ViolationError("a new binding is not stored")
        self.final()
        return self

    def final(self) -> None:
        for slot, stored in enumerate(self.store.slots):
            table, owner = stored.table(), self.members[stored.owner]
            served = owner.engines[slot]
            unstored = served.table.binds.items() - table.binds.items()
            idle = owner.states[slot].phase is Phase.SERVING and not served.pending and not served.in_flight
            if unstored and idle:
                raise ViolationError(
                    f"{stored.owner} serves slot {slot} with {unstored}, which the store will never hold"
                )
            for endpoint, bind in self.must[slot].items():
                if table.binds.get(endpoint) != bind and not self.lost_data:
                    raise ViolationError(f"binding {bind} of {endpoint} in slot {slot} was acknowledged, and is gone")
