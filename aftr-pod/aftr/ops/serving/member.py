"""One member of a pool: its heartbeat, what it sees of the others, and which slots are whose."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import structlog

from aftr.announce.announcer import Announcer
from aftr.announce.layer2 import Layer2Announcer
from aftr.failover import members
from aftr.failover.assignment import assign, eligible, next_handover, warm_copies
from aftr.failover.lease import lease_ms, renewed
from aftr.failover.observation import Head, Observation, Result, Won
from aftr.failover.state import Phase
from aftr.failover.succession import ended_epochs, giving_up, has_ended, is_close, still_given_up
from aftr.failover.takeovers import Pulse, Takeovers
from aftr.ops.clock import boottime_ms
from aftr.ops.faulthook import FaultHook
from aftr.ops.serving.heartbeats import copies_of, damaged_in, ended_in, is_leaving, is_linked, may_own
from aftr.ops.serving.journals import RETRY_S, Journals
from aftr.ops.serving.peers import Peers
from aftr.ops.serving.settings import own_address, rules_of
from aftr.ops.serving.slot import Slot
from aftr.ops.serving.versions import READS, readers, to_write
from aftr.ops.workers import Workers
from aftr.state.counters import add_event
from aftr.state.layout import pod_at
from aftr.state.pod import Pod
from aftr.state.reasons import TAKEOVER_SPURIOUS
from aftr.store.errors import StoreError
from aftr.store.members import MemberRecord
from aftr.store.settings import Durability
from aftr.store.slots import SlotHead
from aftr.store.store import Store
from dslite_contract.journal import EntryId, newest
from dslite_contract.moves import leave_seconds
from dslite_contract.schema import AftrPool

log = structlog.get_logger()

HEARTBEAT_S, TICK_S, LINKS_S = 0.1, 0.025, 0.2
READY_ENTRIES = 256  # by which a copy may seem to lag: more are written between two heartbeats of a busy slot
CHECKPOINT_BYTES = 8 << 20  # a journal that is longer, and longer than the live table, gets a checkpoint
OFTEN_BYTES = 256 << 10
SILENT_MS, FAREWELL_MS = 60_000, 5_000  # until a silent member is said to leave, and from then until it is struck off
NEVER_MS = 1 << 43  # in nanoseconds, it fits into 64 bits


class Member:
    """All slots of a pool, as one of its members sees them."""

    def __init__(
        self,
        pod: Pod,
        workers: Workers,
        store: Store,
        announcer: Announcer | Layer2Announcer,
        uid: str,
        status_port: int,
        hooks: frozenset[FaultHook] = frozenset(),
    ) -> None:
        self.pod, self.workers, self.store, self.announcer, self.uid = pod, workers, store, announcer, uid
        self._status_port, self.address = status_port, ""
        self.checkpoints_often = FaultHook.CHECKPOINT_OFTEN in hooks
        self.checkpoint_bytes = OFTEN_BYTES if self.checkpoints_often else CHECKPOINT_BYTES
        self._fenced = FaultHook.FENCE_OFF not in hooks
        pool = pod.configuration.pool
        self.commits = store.settings.durability is not Durability.NONE
        self.reconfigure(pool)
        self.peers = Peers(self)
        self.slots = [Slot(self, number) for number in range(pool.spec.slots)]
        # of all others that were ever listed or heard of, until they said that they leave
        self.addresses: dict[str, str] = {}
        self._departed: set[str] = set()
        self.records: Mapping[str, MemberRecord] = {}
        self.heads: list[Head] | None = None
        self.assigned: tuple[str | None, ...] = (None,) * len(self.slots)
        self.warm: tuple[str | None, ...] = (None,) * len(self.slots)
        self.journals = Journals(self)
        self.applying, self.shortening = asyncio.Lock(), asyncio.Lock()
        self.answered = False  # whether the store has, since we started
        self.trouble = ""
        self._view = members.View()
        self._lease, self._linked, self._leaving = 0, True, False
        # so short that the others can be asked before the lease ends: 100 ms between heartbeats, this, and a few questions
        self._patience_s = lease_ms(self.rules.dead_after) * 0.3 / 1000
        self._left: set[str] = set()  # who says that it leaves
        self._started = str(self.now)  # tells this process from the one before it
        self._takeovers = Takeovers()
        self._copies: dict[str, dict[int, EntryId]] = {}  # up to where each member's warm copies are
        self._ended: dict[str, dict[int, int]] = {}  # epochs that members say are over
        self._gives_up: dict[int, int] = {}  # those of ours that are over
        self._give_up_until = 0
        self._failure: asyncio.Future[None] | None = None
        self._beating: asyncio.Task[None] | None = None
        self._unread: Mapping[str, str] = {}  # heartbeats of others
        pod_at(pod.memory, 0).deadline = 1  # long past: nothing leaves before a slot is ours

    @property
    def now(self) -> int:
        """Milliseconds of CLOCK_BOOTTIME."""
        return boottime_ms()

    @property
    def connected(self) -> bool:
        """Whether the store answers."""
        return self._view.connected

    def worker_for(self, number: int) -> int:
        """The worker of a slot."""
        return number % len(self.pod.workers)

    # ------------------------------------------------------------ life
    async def run(self) -> None:
        """Be a member until cancelled."""
        self._failure = asyncio.get_running_loop().create_future()
        try:
            with self.journals.listening():
                async with asyncio.TaskGroup() as group:
                    self._beating = group.create_task(self._beat())
                    for work in (self._watch_links, self.journals.follow, self.journals.flush, self._tick):
                        group.create_task(work())
                    group.create_task(self._fail(self._failure))
        finally:
            await self.peers.close()

    async def _fail(self, failure: asyncio.Future[None]) -> None:
        await failure

    def fail(self, error: BaseException) -> None:
        """End the member with an error that nobody waits for."""
        log.error("defect", error=repr(error))
        if self._failure is not None and not self._failure.done():
            self._failure.set_exception(error)

    def reconfigure(self, pool: AftrPool) -> None:
        """Follow a changed configuration."""
        self.rules = rules_of(pool)
        self.serves_on_loss = pool.spec.store is not None and pool.spec.store.on_loss == "serve"
        grace = pool.spec.failover.restored_filtering_grace_seconds * 1000
        pod_at(self.pod.memory, 0).restored_grace = grace

    async def leave(self) -> None:
        """Hand over what we serve, while the others live; then be no member any more."""
        self._leaving = True
        deadline = self.now + leave_seconds(self.pod.configuration.pool) * 1000
        while self._hands_over() and self.now < deadline:  # noqa: ASYNC110  it is a matter of several members' steps
            await asyncio.sleep(TICK_S)
        if self._beating is not None:  # a heartbeat after it would list us again
            self._beating.cancel()
        with suppress(StoreError):
            await self.store.leave()

    def _hands_over(self) -> bool:
        """Whether a slot is still on its way from us to another member."""
        held = (Phase.SERVING, Phase.FREEZING, Phase.DRAINING, Phase.REWRITING, Phase.OPENING)
        return self.connected and bool(self.known) and any(slot.phase in held for slot in self.slots)

    async def _tick(self) -> None:
        while True:
            self.step_all()
            await asyncio.sleep(TICK_S)

    def step_all(self) -> None:
        """Let every slot look."""
        for slot in self.slots:
            slot.step()

    # ------------------------------------------------------------ heartbeat
    async def _reach(self) -> None:
        """Until the store answers for the first time, and fits."""
        while True:
            try:
                await self.store.prepare()
                self.address = f"{own_address(self.store.settings.url)}:{self._status_port}"
                await self.peers.open(await self.store.peer_key())
                break
            except StoreError as error:
                self.trouble = str(error)
                log.warning("store not reached", reason=self.trouble)
                await asyncio.sleep(1.0)
        for warning in self.store.warnings:
            log.warning(warning)

    async def _look_back(self) -> None:
        """What the process before ours served, before anybody hears of us: others may have it sooner than we."""
        sent = self.now
        with suppress(StoreError):
            records, heads = await asyncio.gather(self.store.members(), self.store.owners())
            copies = {uid: copies_of(record) for uid, record in records.items() if may_own(record)}
            self._gives_up = ended_epochs(self.uid, self._all_heads(heads, sent), copies, READY_ENTRIES)
            self._give_up_until = self.now + self.rules.dead_after
        if self._gives_up:
            log.info("others take what the process before ours served", slots=sorted(self._gives_up))

    async def _beat(self) -> None:
        await self._reach()
        await self._look_back()
        while True:
            sent = self.now
            try:
                async with asyncio.timeout(self._patience_s):
                    await self.store.heartbeat(self._info())
                    self._lease = renewed(self._lease, sent, self.rules.dead_after)
                    records, heads, key = await asyncio.gather(
                        self.store.members(), self.store.owners(), self.store.peer_key(self.peers.key)
                    )
            except (StoreError, TimeoutError) as error:
                self.lose_store(str(error) or f"no answer within {self._patience_s * 1000:.0f} ms")
                self.step_all()
                await asyncio.sleep(RETRY_S)
                continue
            self.peers.key = key  # another one, where the store had lost it and a new member came first
            self._seen(records, heads, sent)
            with suppress(StoreError, TimeoutError):
                async with asyncio.timeout(self._patience_s):
                    await self._see_off()
            await asyncio.sleep(self._until_next_beat(sent))

    def _until_next_beat(self, sent: int) -> float:
        """Seconds: a beat comes sooner when it would find somebody dead."""
        due = sent + round(HEARTBEAT_S * 1000)
        verdict = members.next_verdict(self._view, self.rules.dead_after)
        return max(0, (due if verdict is None else min(due, verdict)) - self.now) / 1000

    async def _see_off(self) -> None:
        """Strike off who does not come back: a pod that was killed is another member in its next life.

        It is said to leave first, so that all hear of it.  One that only stood still enters itself again.
        """
        owners = {head.owner for head in self.heads or ()}
        struck = members.gone(self._view, self.records, owners, SILENT_MS + FAREWELL_MS)
        for uid in members.gone(self._view, self.records, owners, SILENT_MS) - struck - self._left:
            log.info("member is gone", member=uid)
            record = self.records[uid]
            await self.store.say_of(uid, replace(record, info={**record.info, "leaving": "1"}))
        for uid in struck:
            await self.store.strike_off(uid)

    async def _watch_links(self) -> None:
        """Whether routers hear us; apart from the heartbeat, which must not wait for BIRD."""
        while True:
            self._linked = await self.announcer.linked()
            await asyncio.sleep(LINKS_S)

    def _info(self) -> dict[str, str]:
        """What we say of ourselves."""
        damaged = {
            str(slot.number): slot.quarantine.damaged_in
            for slot in self.slots
            if slot.quarantine.damages and slot.phase is Phase.WARM
        }
        copies = {
            str(slot.number): str(slot.held)
            for slot in self.slots
            if slot.phase is Phase.WARM and not slot.state.gap and not slot.quarantine.damages
        }
        return {
            "address": self.address, "linked": str(int(self._linked)), "leaving": str(int(self._leaving)), "warm": json.dumps(copies),
            READS: str(newest()), "damaged": json.dumps(damaged),
            "started": self._started, "ended": json.dumps(self._gives_up),
        }  # fmt: skip

    def _seen(self, records: Mapping[str, MemberRecord], heads: Mapping[int, SlotHead], sent: int) -> None:
        """One reading of heartbeats and owners arrived."""
        if not self.connected:
            log.info("store reached")
        self.answered, self.trouble, self.records = True, "", records
        self._note_unread(self.store.unread_members)
        self._count_spurious()
        counters = {uid: record.counter for uid, record in records.items()}
        view = members.observe(self._view, counters, sent, self.now)
        self._view = members.forget(view, frozenset(counters), self.rules.dead_after)
        self._departed -= counters.keys()
        self.addresses |= {uid: record.info.get("address", "") for uid, record in records.items() if uid != self.uid}
        self.heads = self._all_heads(heads, sent)
        alive = members.alive(self._view, self.rules.dead_after)
        gone = self._left - counters.keys()  # they said so; all others may hold what the store lost
        self._left = {uid for uid, record in records.items() if is_leaving(record)}
        self._departed |= gone
        for uid in gone:
            self.addresses.pop(uid, None)
        self._copies = {uid: copies_of(record) for uid, record in records.items()}
        self._ended = {uid: ended_in(record) for uid, record in records.items()}
        self._gives_up = still_given_up(self._gives_up, self.uid, self.heads) if self.now < self._give_up_until else {}
        linked = [uid for uid in alive if uid not in records or is_linked(records[uid])]
        owners = tuple(head.owner or None for head in self.heads)
        self._settle_version()
        waiting = giving_up(self.heads, self._ended)
        serving = eligible(alive, linked, self._left | waiting, readers(alive, records, heads.values()))
        self.assigned, self.warm = assign(serving, owners), warm_copies(serving, owners)
        self.step_all()
        for number, head in heads.items():
            self.slots[number].note_checkpoint(head.generation)
        self._keep_house(heads)

    def _note_unread(self, unread: Mapping[str, str]) -> None:
        """Say so once of each heartbeat that is none."""
        for uid in unread.keys() - self._unread.keys():
            log.warning("heartbeat not read", reason=unread[uid])
        self._unread = unread

    @property
    def known(self) -> frozenset[str]:
        """All other members that may hold something, whether the store lists them or not."""
        return frozenset(self.addresses)

    def meet(self, addresses: Mapping[str, str]) -> None:
        """Hear of members from another: a store that lost its list tells a new one of nobody."""
        for uid, address in addresses.items():
            if uid != self.uid and uid not in self._departed:
                self.addresses.setdefault(uid, address)

    def _settle_version(self) -> None:
        """Write what every listed member reads, from when no checkpoint is under way."""
        version = to_write(self.records.values())
        if version != self.store.version and not any(slot.is_writing_checkpoint for slot in self.slots):
            log.info("format version of what is written", version=version, before=self.store.version)
            self.store.version = version

    def _keep_house(self, heads: Mapping[int, SlotHead]) -> None:
        """What our slots need now and then: an end of their quarantine, and a checkpoint that others can read, one at a time."""
        ours = [
            (slot, head)
            for slot in self.slots
            if slot.may_shorten and (head := heads.get(slot.number)) and head.owner == slot.owner
        ]
        for slot, head in ours:
            quarantine = slot.quarantine
            if quarantine.is_over or (not quarantine.is_on and self._lacks_some(slot.number, head.generation)):
                slot.spawn(quarantine.try_end())
        outdated = [slot for slot, head in ours if set(head.versions) != {self.store.version}]
        if outdated and not any(slot.is_writing_checkpoint for slot in self.slots):
            outdated[0].begin_checkpoint(outdated[0].shorten())

    def _lacks_some(self, number: int, generation: int) -> bool:
        """Whether a copy of ours was made from this very checkpoint, and not all of that was readable."""
        return any(damaged_in(record).get(number) == generation for record in self.records.values())

    def _all_heads(self, heads: Mapping[int, SlotHead], sent: int) -> list[Head]:
        return [head_of(heads.get(number), sent) for number in range(len(self.slots))]

    def taken(self, owner: str) -> None:
        """A slot was taken from a pod that seemed dead."""
        self._takeovers.note(owner, self._pulses().get(owner, Pulse("", 0)))

    def _pulses(self) -> dict[str, Pulse]:
        return {uid: Pulse(record.info.get("started", ""), record.counter) for uid, record in self.records.items()}

    def _count_spurious(self) -> None:
        for owner, slots in self._takeovers.settle(self._pulses()).items():
            add_event(self.pod.memory, self.pod.control, TAKEOVER_SPURIOUS, slots)
            log.warning("slots were taken from a pod that is alive", pod=owner, slots=slots)

    def lose_store(self, why: str) -> None:
        """The store did not answer."""
        if why != self.trouble:
            log.warning("store out of reach", reason=why)
        self.trouble, self.heads = why, None
        self._view = members.disconnect(self._view)

    # ------------------------------------------------------------ what a slot's machine sees
    def observation(self, slot: Slot, event: Result | Won | None = None) -> Observation:
        """Everything that one step may look at."""
        number = slot.number
        head = self.heads[number] if self.heads else None
        target = self.assigned[number]
        return Observation(
            now=self.now,
            connected=self.connected,
            connected_ms=self._view.since_ms,
            known=self.known,
            head=head,
            owner_dead=head is not None and (self.is_silent(head.owner) or has_ended(number, head, self._ended)),
            gives_up=number in self._gives_up,
            assigned=target,
            warm=self.warm[number],
            turn=slot.phase is Phase.SERVING and target not in (None, self.uid) and self._turn() == number,
            target_ready=head is not None and self._is_ready(number, head),
            lease_until=self._lease if self._fenced else NEVER_MS,
            held=slot.held,
            content=slot.content,
            filling=slot.copy.filling,
            forgone=slot.forgone,
            answers=slot.answers,
            event=event,
        )

    def is_silent(self, uid: str) -> bool:
        """Whether a member seems dead."""
        return members.is_dead(self._view, uid, self.rules.dead_after)

    def _is_ready(self, number: int, head: Head) -> bool:
        """Whether the copy of the slot's next owner follows: what it said last is as old as its heartbeat."""
        target = self.assigned[number]
        held = self._copies.get(target, {}).get(number) if target and target != self.uid else None
        return is_close(held, head, READY_ENTRIES)

    def _turn(self) -> int | None:
        """The one slot that we may hand over now."""
        if not self.heads:
            return None
        busy = [
            slot.number
            for slot in self.slots
            if slot.phase is Phase.FREEZING or (slot.phase is Phase.DRAINING and self.heads[slot.number].sealed)
        ]
        ready = [number for number, head in enumerate(self.heads) if self._is_ready(number, head)]
        return next_handover(self.uid, [head.owner for head in self.heads], self.assigned, busy, ready)

    def set_deadline(self) -> None:
        """The moment past which no packet leaves: the earliest of the slots that we serve, else of those that drain."""
        until = [slot.state.until for slot in self.slots if slot.state.opened]
        until = until or [slot.state.until for slot in self.slots if slot.phase is Phase.DRAINING]
        deadline = min(until) * 1_000_000 if until else 1
        pod_at(self.pod.memory, 0).deadline = deadline

    # ------------------------------------------------------------ for people
    @property
    def store_trouble(self) -> str:
        """What is wrong with the store, and what to do; empty when nothing is."""
        return self.trouble or self.store.trouble

    async def accept(self) -> list[str]:
        """End the quarantine of the slots that we serve; what was in it."""
        ours = [slot for slot in self.slots if slot.state.opened and slot.quarantine.is_on]
        return [sentence for slot in ours for sentence in await slot.quarantine.end()]

    async def repair(self) -> list[str]:
        """Store anew what the store holds wrongly of the slots that we serve; what was wrong."""
        repaired = []
        for slot in self.slots:
            if found := await slot.compare():
                await slot.repair()
                repaired += found
        return repaired

    async def compare(self) -> list[str]:
        """What store and engine do not agree on, of the slots that we serve."""
        return [sentence for slot in self.slots for sentence in await slot.compare()]

    def _lag(self, number: int) -> int | None:
        """How many entries the slot's warm copy is behind the store; None when it has none, or of another epoch."""
        copy = self._copies.get(self.warm[number] or "", {}).get(number)
        last = self.heads[number].last if self.heads else None
        return last.seq - copy.seq if copy and last and copy.epoch == last.epoch else None

    def describe(self) -> list[dict[str, Any]]:
        """Each slot as `aftr show slots` prints it."""
        return [
            {
                "slot": slot.number,
                "phase": slot.phase.name.lower(),
                "owner": self.heads[slot.number].owner if self.heads else "",
                "epoch": self.heads[slot.number].epoch if self.heads else slot.state.epoch,
                "held": str(slot.held),
                "assigned": self.assigned[slot.number],
                "warmCopy": self.warm[slot.number],
                "warmLag": self._lag(slot.number),
                "sentence": slot.trouble or slot.sentence,
                "quarantine": slot.quarantine.noted,
                "quarantineSecondsLeft": slot.quarantine.left // 1000,
            }
            for slot in self.slots
        ]


def head_of(head: SlotHead | None, sent: int) -> Head:
    """What a reading that was sent at `sent` says of a slot."""
    if head is None:
        return Head(read_ms=sent)
    return Head(head.owner.epoch, head.owner.uid, head.last, head.sealed, sent)
