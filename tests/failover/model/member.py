"""A member of the simulation: the real machine, and beside it what carries its deeds out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

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
from aftr.failover.state import Phase, Rules, State, follows
from aftr.failover.succession import ended_epochs, giving_up, has_ended, is_close, still_given_up
from aftr.store.reading import last_stored
from dslite_contract.journal import NOTHING, EntryId
from failover.model.store import BLOCKS, Endpoint, Info, Record, Table, ViolationError

if TYPE_CHECKING:
    from failover.model.history import History

HOLD_DOWN = 1000
RULES = Rules(drain=100, read_only=600)
POLL, WAKE, TIMEOUT, RECONNECT, REFUSED_AGAIN = 60, 40, 150, 40, 120
READY = 3  # entries by which a copy may lag that counts as ready; more than one, and few enough to matter here


class Engine:
    """The packet side of one slot on one member."""

    def __init__(self) -> None:
        self.reset()
        self.announced = False

    def reset(self) -> None:
        self.table = Table()
        self.held = self.content = NOTHING
        self.copying = False
        self.mode = "closed"  # copy, open, frozen, readonly, stopped
        self.epoch = 0
        self.deadline = 0
        self.blocks_refused = False
        self.resting: dict[int, int] = {}  # block → until, on the member's clock
        self.pending: list[Record] = []
        self.parked: list[tuple[Endpoint, int, int]] = []
        self.in_flight: list[Record] | None = None
        self.flushing = self.proven = False
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
        self.linked, self.links_since = True, 0
        self.mute: set[int] = set()
        self.states = [State(uid, slot) for slot in range(history.slots)]
        self.engines: list[Engine] = [Engine() for _ in range(history.slots)]
        self.events: list[deque[Result | Won]] = [deque() for _ in range(history.slots)]
        self.unresolved: list[set[str]] = [set() for _ in range(history.slots)]
        self.answers: list[dict[str, Answer]] = [{} for _ in range(history.slots)]
        self.attempts = [0] * history.slots
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
            if self.engines[slot].copying:  # its reading ended with the connection
                self.engines[slot].copying = False
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
        held = [e.held if self.follows(slot) else None for slot, e in enumerate(self.engines)]

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

    def follows(self, slot: int) -> bool:
        """Whether the copy takes entries of the journal now."""
        engine = self.engines[slot]
        return not engine.copying and follows(self.states[slot], engine.held)

    def follow(self, slot: int, tail: tuple[EntryId, list[tuple[EntryId, list[Record]]] | None] | None) -> None:
        engine = self.engines[slot]
        if tail is None or tail[0] != engine.held or not self.follows(slot):
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
        engine.content = last_stored((entry for entry, _ in tail[1]), engine.content)

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
            content=self.engines[slot].content,
            filling=self.engines[slot].copying,
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
                last, epoch = engine.held, self.states[slot].epoch
                self.request(
                    lambda: self.h.store.seal(slot, self.uid, last, action),
                    lambda r: self.sealed(slot, epoch, r),
                    "seal",
                    slot,
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

    def sealed(self, slot: int, epoch: int, result: object) -> None:
        """The answer to a seal; a refusal is told a little later, if it is still waited for."""
        if result is not Result.REFUSED:
            self.event(slot, result)
            return

        def refused() -> None:
            if self.states[slot].sealing and self.states[slot].epoch == epoch:
                self.event(slot, Result.REFUSED)

        self.h.after(REFUSED_AGAIN, lambda: self.deliver(refused))

    def start_copy(self, slot: int) -> None:
        """Begin anew; a reading that was begun before comes to nothing."""
        self.h.check_forgotten(self, slot)
        engine = self.engines[slot]
        engine.reset()
        engine.copying = True
        begun, connection = engine.table, self.connection

        def done(result: object) -> None:
            if engine.table is begun:
                engine.table, engine.held, engine.content = result  # type: ignore[misc]
                engine.mode, engine.copying = "copy", False
                self.event(slot, Result.COPIED)

        def copy() -> object:
            stored = self.h.store.slots[slot]
            return stored.table(), stored.last, stored.content

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
            if theirs.content > wanted.beyond and theirs.mode != "closed":
                table, held = theirs.table.copy(), theirs.content
                self.h.send(other, self, lambda: take(table, held))

        def take(table: Table, held: EntryId) -> None:
            engine = self.engines[slot]
            if self.states[slot].phase is Phase.CATCHING_UP:
                engine.table, engine.held, engine.content, engine.mode = table, held, held, "copy"
                self.event(slot, Result.TAIL_TAKEN)

        self.h.send(self, other, give)

    def write_checkpoint(self, slot: int) -> None:
        """At once, or a little later if the store refused the one before."""
        self.attempts[slot] += 1
        attempt = self.attempts[slot]
        if not self.states[slot].refused:
            self.write_all(slot)
            return

        def again() -> None:
            if self.attempts[slot] == attempt and self.states[slot].phase is Phase.REWRITING:
                self.write_all(slot)

        self.h.after(REFUSED_AGAIN, lambda: self.deliver(again))

    def write_all(self, slot: int) -> None:
        engine, epoch = self.engines[slot], self.states[slot].epoch
        table, last = engine.table.copy(), engine.held
        parked = list(engine.parked)
        engine.pending, engine.in_flight = [], None

        def done(result: object) -> None:
            if (self.states[slot].phase, self.states[slot].epoch) != (Phase.REWRITING, epoch):
                return
            if isinstance(result, EntryId):
                engine.held, engine.content, engine.forgone = result, result, False
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
        if not engine.pending and (engine.proven or not engine.flushing):
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
            engine.held, engine.content, engine.proven = result, result, True
            self.commit(slot, parked)
            if self.states[slot].refused:
                self.event(slot, Result.ACCEPTED)
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
    member.engines[slot].flushing, member.engines[slot].proven = True, False
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
