"""One run of a pool: what goes wrong, and the promises that it is held to."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import count

from aftr.failover.state import SERVES, Failsafe, Phase
from dslite_contract.journal import NOTHING
from failover.model.member import HOLD_DOWN, RULES, Member
from failover.model.store import BLOCKS, PORTS, Endpoint, Store, ViolationError

SUBSCRIBERS = 3
SETTLE = 3500  # after the last fault, every slot is served by exactly one member within this time

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
    "full",
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

    def fault_full(self, _: Member) -> None:
        self.store.full = True
        self.after(self.random.choice((100, 400, 900)), lambda: setattr(self.store, "full", False))

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
        self.set_links(member, not member.linked)
        self.after(600, lambda: self.set_links(member, True))

    def set_links(self, member: Member, linked: bool) -> None:
        member.linked, member.links_since = linked, self.now

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
            "full",
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
        for (number, block), user in list(self.users.items()):
            if number != slot or any(m.engines[slot].table.blocks.get(block) == user for m in running):
                continue
            if (earlier := member.engines[slot].table.blocks.get(block)) is None:
                self.free_since.setdefault((slot, block), self.now)  # it rests like any that is free now
            else:  # who had it before that: nobody is left who knows better
                self.users[slot, block] = earlier
                self.free_since.pop((slot, block), None)

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
        steady = member.links_since < sealed - 200  # else it had begun to let go of the slot that it is handed
        if simple and steady and target == member.uid and self.now - sealed > 200:
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
