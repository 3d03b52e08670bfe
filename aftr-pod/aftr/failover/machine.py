"""What one member does about one slot: (state, observation) → (state, actions, sentence).

    CLOSED ─► COPYING ─► WARM ─► ASKING ─► CLAIMING ─► CATCHING_UP ─► (REWRITING) ─► OPENING ─► SERVING
                                   ▲                                                             │ ▲
                                   └──────────── LOST ◄── lease over, fenced ────────────────────┤ ├─► REWRITING
                         CLOSED ◄── DRAINING ◄── FREEZING ◄── moved to another member ───────────┘ └─► FAILSAFE

The owner in the store decides.  A member creates, changes or frees a mapping in SERVING, REWRITING and FAILSAFE only, and until
its deadline only.  What it holds is never thrown away before the store names a newer owner: a member in LOST gives its tail.
The sentence says why, and is log line, event and status.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from aftr.failover import guards
from aftr.failover.lease import lease_ms
from aftr.failover.members import DEAD_AFTER_MS
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
from dslite_contract.journal import NOTHING, EntryId


class Phase(Enum):
    """Where a member stands with a slot."""

    CLOSED = "holds nothing"
    COPYING = "reads the checkpoint"
    WARM = "tails the journal"
    ASKING = "asks all members what they hold"
    CLAIMING = "raises the epoch"
    CATCHING_UP = "reads the tail"
    REWRITING = "writes a checkpoint, because the store holds less"
    OPENING = "opens"
    SERVING = "serves"
    FAILSAFE = "serves without the store"
    FREEZING = "froze the slot, to hand it over"
    DRAINING = "sealed the slot, and translates read-only until its new owner is reached"
    LOST = "stopped serving, and keeps what it holds"


SERVES = frozenset({Phase.SERVING, Phase.FAILSAFE, Phase.FREEZING})


class Failsafe(Enum):
    """What an owner does when it cannot reach the store (`failsafe`)."""

    STRICT = "strict"  # serves while every other member has promised
    AVAILABLE = "available"  # serves unless a member says that it should not; two may serve


@dataclass(frozen=True, slots=True)
class Rules:
    """Times in milliseconds, and policy."""

    dead_after: int = DEAD_AFTER_MS
    ask: int = 50
    tail: int = 200
    handover: int = 500
    drain: int = 2000
    read_only: int = 5000  # at most, after a seal; under half of the shortest hold-down
    failsafe: Failsafe = Failsafe.STRICT


@dataclass(frozen=True, slots=True)
class State:
    """One member's state of one slot."""

    me: str
    slot: int
    phase: Phase = Phase.CLOSED
    since: int = 0  # when the phase began
    epoch: int = 0  # of our last claim
    until: int = 0  # serves until then; in DRAINING read-only
    asked: int = 0
    need: EntryId = NOTHING  # where the store's journal ended: the copy must hold it before it opens
    most: EntryId = NOTHING  # what `source` holds beyond that
    source: str = ""
    rewrite: bool = False  # the store may hold less than this pod: a checkpoint comes first
    opened: bool = False
    target: str = ""
    sealing: bool = False
    refused: bool = False
    sealed_epoch: int = 0  # a seal seen in the store, and since when
    sealed_since: int = 0


class Step(NamedTuple):
    """What follows from one observation."""

    state: State
    actions: tuple[Action, ...]
    sentence: str


def step(state: State, seen: Observation, rules: Rules) -> Step:
    """One step of a slot."""
    return HANDLERS[state.phase](note_seal(state, seen), seen, rules)


def answer(state: State, seen: Observation) -> Answer:
    """What this member answers, when it is asked at `seen.now`; the asker fills in `asked_ms`."""
    serves = state.phase in SERVES or (state.phase is Phase.REWRITING and state.opened)
    claim_is_out = state.phase not in (Phase.CLOSED, Phase.COPYING, Phase.WARM, Phase.DRAINING, Phase.LOST)
    return Answer(
        asked_ms=0,
        held=seen.held,
        serves=serves and guards.lease_runs(seen.now, state.until),
        promises=guards.may_promise(seen.connected, claim_is_out),
    )


# ── steps ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def stay(state: State, sentence: str, *actions: Action) -> Step:
    """Same phase."""
    return Step(state, actions, sentence)


def enter(state: State, seen: Observation, phase: Phase, sentence: str, *actions: Action) -> Step:
    """Another phase, from now on."""
    return Step(replace(state, phase=phase, since=seen.now), actions, sentence)


def close(state: State, seen: Observation, sentence: str) -> Step:
    """Forget the slot; only what was seen of the store's seal stays."""
    clean = State(
        state.me, state.slot, epoch=state.epoch, sealed_epoch=state.sealed_epoch, sealed_since=state.sealed_since
    )
    return enter(clean, seen, Phase.CLOSED, sentence, Do.WITHDRAW, Do.CLOSE)


def lose(state: State, seen: Observation, why: str) -> Step:
    """Stop serving at once, and keep what is held: it may be more than the store has."""
    lost = replace(state, rewrite=True, opened=False, sealing=False, source="", refused=False, until=0)
    return enter(lost, seen, Phase.LOST, f"stopped serving: {why}", Do.STOP_SERVING, Do.WITHDRAW)


def note_seal(state: State, seen: Observation) -> State:
    """Since when the store names an owner that has not raised the epoch itself."""
    if seen.head and seen.head.sealed and seen.head.epoch != state.sealed_epoch:
        return replace(state, sealed_epoch=seen.head.epoch, sealed_since=seen.now)
    return state


def back_off(state: State, seen: Observation, why: str) -> Step:
    """The slot is not taken: back to where it was asked from, but for one who had sealed it and may be outdated by now."""
    if state.until:
        return close(state, seen, f"closed: {why}")
    back = replace(state, source="", most=NOTHING)
    return enter(back, seen, Phase.LOST if state.rewrite else Phase.WARM, why)


def store_knows_less(state: State, seen: Observation) -> bool:
    """Whether the store lost our claim: it names nobody, or an older epoch, in a reading of this phase."""
    head = seen.head
    return head is not None and head.read_ms >= state.since and head.epoch < state.epoch


def superseded(state: State, seen: Observation) -> str:
    """Why this member is no longer the owner; empty if it is, or if the store knows less than we do."""
    head = seen.head
    if head and not guards.not_superseded(head, state.epoch, state.me):
        return f"the store names {head.owner} with epoch {head.epoch}, ours is {state.epoch}"
    return ""


def reason_to_take(state: State, seen: Observation, rules: Rules) -> str:
    """Why this member is the one to take the slot now; empty if it is not."""
    head = seen.head
    if head is None:
        return ""
    if head.owner == state.me:
        return f"the store names this pod with epoch {head.epoch}"
    if head.missing:
        return "the store has no head, and the slot is assigned to this pod" * (seen.assigned == state.me)
    if head.sealed and seen.warm == state.me and seen.now - state.sealed_since >= rules.handover:
        return f"{head.owner} did not open it within {rules.handover} ms of the seal of epoch {head.epoch}"
    if seen.assigned == state.me and guards.owner_is_gone(seen.owner_dead):
        return f"{head.owner}, its owner with epoch {head.epoch}, is dead"
    return ""


def is_wanted(state: State, seen: Observation) -> bool:
    """Whether this member has a part in the slot: serves it next, or holds its warm copy."""
    return state.me in (seen.assigned, seen.warm) or (seen.head is not None and seen.head.owner == state.me)


# ── copies ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def closed(state: State, seen: Observation, _: Rules) -> Step:
    """Holds nothing."""
    if seen.connected and is_wanted(state, seen):
        role = "to serve" if seen.assigned == state.me else "as warm copy"
        return enter(state, seen, Phase.COPYING, f"reads the checkpoint, {role}", Do.START_COPY)
    return stay(state, "closed: another pod's")


def copying(state: State, seen: Observation, _: Rules) -> Step:
    """Reads the checkpoint; a copy that is complete tails the journal, until the slot is open."""
    if seen.event is Result.COPIED:
        return enter(state, seen, Phase.WARM, f"warm: holds {seen.held}")
    if seen.event is Result.BROKEN:
        return stay(state, "reads the checkpoint again: the last reading had a gap", Do.START_COPY)
    if seen.connected and not is_wanted(state, seen):
        return close(state, seen, "closed: has no part in the slot any more")
    return stay(state, "reads the checkpoint")


def warm(state: State, seen: Observation, rules: Rules) -> Step:
    """Tails the journal, and takes the slot when it must."""
    if seen.event is Result.BROKEN:
        return enter(state, seen, Phase.COPYING, f"reads the checkpoint again: a gap after {seen.held}", Do.START_COPY)
    if not seen.connected or seen.head is None:
        return stay(state, f"warm up to {seen.held}; the store is out of reach")
    why = reason_to_take(state, seen, rules)
    if why and seen.head.owner == state.me and seen.head.sealed:
        return claim(state, seen, {}, f"takes over as handed: {why}")
    if why:
        return ask(state, seen, why)
    if not is_wanted(state, seen) and guards.may_forget(seen.head, seen.held):
        return close(state, seen, "closed: has no part in the slot any more")
    return stay(state, f"warm up to {seen.held}")


# ── taking a slot ────────────────────────────────────────────────────────────────────────────────────────────────────────


def ask(state: State, seen: Observation, why: str) -> Step:
    """Begin to take the slot."""
    asking = replace(state, asked=seen.now)
    return enter(asking, seen, Phase.ASKING, f"asks {len(seen.known)} members what they hold: {why}", Do.ASK_MEMBERS)


def asking(state: State, seen: Observation, rules: Rules) -> Step:
    """Hears what others hold, and that nobody serves, before the epoch is raised."""
    why = reason_to_take(state, seen, rules)
    if not seen.connected or seen.head is None or not why or superseded_while_lost(state, seen):
        return back_off(
            state, seen, "asks no further: the slot is not to be taken any more, or the store is out of reach"
        )
    answers = {uid: answer for uid, answer in seen.answers.items() if answer.asked_ms >= state.since}
    silent = sorted(seen.known - answers.keys())
    heard = guards.members_were_heard(seen.known, answers.keys(), seen.now - state.since, rules.ask)
    settled = guards.store_settled(
        seen.head, seen.known, answers.keys(), seen.now - seen.connected_ms, rules.dead_after
    )
    free = guards.nobody_serves(answers.values(), seen.now, rules.dead_after)
    if heard and settled and free:
        missing = f"; no answer from {', '.join(silent)}" if silent else ""
        return claim(state, seen, answers, f"claims: {why}{missing}")
    waits = "a member says that it serves" if not free else "not all have answered"
    if seen.now - state.asked < rules.ask:
        return stay(state, f"asks: {waits}")
    return stay(replace(state, asked=seen.now), f"asks again: {waits}", Do.ASK_MEMBERS)


def superseded_while_lost(state: State, seen: Observation) -> bool:
    """Whether what this former owner holds is outdated, and must not be the base of a new epoch."""
    return state.rewrite and bool(superseded(state, seen))


def claim(state: State, seen: Observation, answers: dict[str, Answer], sentence: str) -> Step:
    """Raise the epoch above all that anyone holds, and note who holds most."""
    head = seen.head or Head()
    source, most = max(
        ((uid, answer.held) for uid, answer in answers.items()), key=lambda x: x[1], default=("", NOTHING)
    )
    epochs = [seen.held.epoch, state.epoch, *(answer.held.epoch for answer in answers.values())]
    epoch = guards.newest_epoch(head.epoch + 1, epochs)
    claiming = replace(state, most=most, source=source)
    return enter(claiming, seen, Phase.CLAIMING, sentence, Claim(head.epoch, head.owner, epoch))


def claiming(state: State, seen: Observation, _: Rules) -> Step:
    """Waits for the claim to be decided; there is no way back from here without the store."""
    if isinstance(seen.event, Won):
        return won(state, seen, seen.event)
    if seen.event in (Result.BEATEN, Result.UNRESOLVED):
        return back_off(state, seen, f"did not get the slot: {seen.event.value}")
    return stay(state, "raises the epoch")


def won(state: State, seen: Observation, claim: Won) -> Step:
    """The epoch is ours: now the copy must hold all that the store has, or that a member has beyond it."""
    beyond = max(claim.last, seen.held if seen.held.epoch < claim.epoch else NOTHING)
    elsewhere = state.most > beyond
    ours = state.rewrite and claim.last.epoch == state.epoch  # nobody wrote since we did: we hold all of it
    owner = replace(
        state,
        epoch=claim.epoch,
        need=NOTHING if ours else claim.last,
        source=state.source if elsewhere else "",
        rewrite=state.rewrite or elsewhere or beyond > claim.last,
    )
    if elsewhere:
        sentence = f"owner with epoch {claim.epoch}; takes the tail up to {state.most} from {state.source}"
        return enter(owner, seen, Phase.CATCHING_UP, sentence, TakeTail(state.source, beyond))
    return enter(owner, seen, Phase.CATCHING_UP, f"owner with epoch {claim.epoch}; reads up to {claim.last}")


def catching_up(state: State, seen: Observation, rules: Rules) -> Step:
    """Has the epoch; opens when it holds all there is, and the store holds it too."""
    if why := superseded(state, seen):
        return close(state, seen, f"closed before it opened: {why}")
    if state.source and (seen.event is Result.TAIL_FAILED or seen.now - state.since >= rules.tail):
        return stay(replace(state, source=""), f"goes on without what {state.source} alone held: no answer")
    if store_knows_less(state, seen) and not state.rewrite:
        return stay(replace(state, need=NOTHING, rewrite=True), f"the store fell back: goes on from {seen.held}")
    need = state.most if state.source else state.need
    if not guards.holds_the_tail(seen.held, need):
        if seen.event is Result.BROKEN and not state.source:
            return stay(state, "reads the checkpoint again: a gap in the tail", Do.START_COPY)
        return stay(state, f"reads the tail: holds {seen.held}, needs {need}")
    if not guards.store_holds_it(state.rewrite):
        sentence = f"writes a checkpoint up to {seen.held} first: the store may hold less"
        return enter(state, seen, Phase.REWRITING, sentence, Do.WRITE_CHECKPOINT)
    return open_slot(state, seen)


def open_slot(state: State, seen: Observation) -> Step:
    """Open, with the deadline of the lease."""
    opening = replace(state, until=seen.lease_until, rewrite=False)
    return enter(opening, seen, Phase.OPENING, f"opens with epoch {state.epoch}", Open(state.epoch, seen.lease_until))


def opening(state: State, seen: Observation, _: Rules) -> Step:
    """Waits for the engine."""
    if why := superseded(state, seen):
        return lose(state, seen, why)
    if seen.event is Result.OPENED:
        serving = replace(state, opened=True, until=seen.lease_until)
        sentence = f"serves with epoch {state.epoch}"
        return enter(serving, seen, Phase.SERVING, sentence, ServeUntil(seen.lease_until), Do.ANNOUNCE)
    return stay(state, "opens")


# ── serving ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def end_of_service(state: State, seen: Observation) -> str:
    """Why an owner must stop now; empty if it may go on."""
    if seen.event is Result.FENCED:
        return "the store has another owner"
    if why := superseded(state, seen):
        return why
    if not guards.lease_runs(seen.now, state.until):
        return f"the lease ended {seen.now - state.until} ms ago"
    return ""


def extend(state: State, until: int) -> tuple[State, tuple[Action, ...]]:
    """A later deadline, if this is one."""
    return (replace(state, until=until), (ServeUntil(until),)) if until > state.until else (state, ())


def serving(state: State, seen: Observation, rules: Rules) -> Step:
    """Serves, while the lease runs and the store names no other."""
    if why := end_of_service(state, seen):
        return lose(state, seen, why)
    if seen.event is Result.REWOUND or store_knows_less(state, seen):
        return rewind(state, seen)
    if not seen.connected:
        asked = replace(state, asked=seen.now)
        sentence = "the store is out of reach: asks all members whether they reach it"
        return enter(asked, seen, Phase.FAILSAFE, sentence, Do.REFUSE_BLOCKS, Do.ASK_MEMBERS)
    state, actions = extend(state, seen.lease_until)
    if seen.event is Result.REFUSED and not state.refused:
        return stay(replace(state, refused=True), "serves; the store refuses to write", *actions, Do.REFUSE_BLOCKS)
    if seen.event is Result.ACCEPTED and state.refused:
        return stay(replace(state, refused=False), "serves; the store writes again", *actions, Do.ALLOW_BLOCKS)
    if seen.assigned not in (None, state.me):
        return hand_over(state, seen, actions)
    return stay(state, f"serves with epoch {state.epoch}", *actions)


def rewind(state: State, seen: Observation) -> Step:
    """The store fell back: what this owner holds is written anew before anything else."""
    sentence = f"serves; writes a checkpoint, because the store holds less than {seen.held}"
    rewriting = replace(state, rewrite=True, sealing=False)
    if guards.store_holds_it(rewriting.rewrite):
        return stay(state, "serves")
    return enter(rewriting, seen, Phase.REWRITING, sentence, Do.WRITE_CHECKPOINT)


def rewriting(state: State, seen: Observation, _: Rules) -> Step:
    """Stores what it holds anew."""
    if not state.opened:
        return rewriting_before_opening(state, seen)
    if why := end_of_service(state, seen):
        return lose(state, seen, why)
    if seen.event is Result.CHECKPOINTED:
        return enter(
            replace(state, rewrite=False), seen, Phase.SERVING, "serves; the store holds all of it", Do.ALLOW_BLOCKS
        )
    if not seen.connected or seen.event is Result.UNRESOLVED:
        asked = replace(state, asked=seen.now)
        return enter(asked, seen, Phase.FAILSAFE, "the store is out of reach again", Do.REFUSE_BLOCKS, Do.ASK_MEMBERS)
    state, actions = extend(state, seen.lease_until)
    return stay(state, "serves; writes a checkpoint", *actions)


def rewriting_before_opening(state: State, seen: Observation) -> Step:
    """Stores what it holds; nothing is served yet."""
    if seen.event is Result.CHECKPOINTED:
        return open_slot(state, seen)
    if seen.event is Result.FENCED or superseded(state, seen):
        return close(state, seen, f"closed before it opened: {superseded(state, seen) or Result.FENCED.value}")
    if seen.event is Result.UNRESOLVED:
        return stay(state, "writes the checkpoint again: the connection broke", Do.WRITE_CHECKPOINT)
    return stay(state, "writes a checkpoint before it opens")


# ── without the store ────────────────────────────────────────────────────────────────────────────────────────────────────


def failsafe(state: State, seen: Observation, rules: Rules) -> Step:
    """Serves on while all others cannot reach the store either."""
    if why := newer_elsewhere(state, seen) or end_of_service(state, seen):
        return lose(state, seen, why)
    if seen.connected and seen.head:
        sentence = "serves; the store is back, and gets what was created meanwhile"
        back, actions = extend(replace(state, rewrite=True), seen.lease_until)
        return enter(back, seen, Phase.REWRITING, sentence, *actions, Do.WRITE_CHECKPOINT)
    state, actions = extend(state, promised_until(state, seen, rules))
    if seen.now - state.asked >= rules.ask:
        state, actions = replace(state, asked=seen.now), (*actions, Do.ASK_MEMBERS)
    left = state.until - seen.now
    return stay(state, f"serves without the store for {left} ms more; {len(seen.known)} members are asked", *actions)


def newer_elsewhere(state: State, seen: Observation) -> str:
    """Why an answer says that this member is no longer the owner."""
    newer = [uid for uid, answer in seen.answers.items() if answer.held.epoch > state.epoch]
    return f"{newer[0]} holds epoch {seen.answers[newer[0]].held.epoch}, ours is {state.epoch}" if newer else ""


def promised_until(state: State, seen: Observation, rules: Rules) -> int:
    """Until when the other members' promises let this owner serve; in a pool of one there is nobody to ask."""
    fresh = [answer for uid, answer in seen.answers.items() if uid in seen.known and answer.asked_ms >= state.since]
    if rules.failsafe is Failsafe.AVAILABLE:
        contradicted = any(not answer.promises for answer in fresh)
        return 0 if contradicted else seen.now + lease_ms(rules.dead_after)
    if not guards.everyone_promised(seen.known, seen.answers, seen.now, rules.dead_after):
        return 0
    return min((answer.asked_ms for answer in fresh), default=seen.now) + lease_ms(rules.dead_after)


# ── planned handover ─────────────────────────────────────────────────────────────────────────────────────────────────────


def hand_over(state: State, seen: Observation, actions: tuple[Action, ...]) -> Step:
    """Step 1 and 2: once the target is warm and it is this slot's turn, freeze and flush."""
    if not guards.is_its_turn(seen.turn):
        return stay(state, f"serves; goes to {seen.assigned} in its turn", *actions)
    if not guards.target_is_ready(seen.target_ready):
        return stay(state, f"serves; goes to {seen.assigned} once that is warm", *actions)
    frozen = replace(state, target=seen.assigned or "", sealing=False)
    return enter(
        frozen, seen, Phase.FREEZING, f"froze the slot, to hand it to {seen.assigned}", *actions, Do.FREEZE, Do.FLUSH
    )


def freezing(state: State, seen: Observation, rules: Rules) -> Step:
    """Step 3: seal once all is stored.  From the moment the seal was sent, only the store knows who is the owner."""
    head = seen.head
    if seen.event is Result.SEALED or (
        state.sealing and head and (head.epoch, head.owner) == (state.epoch + 1, state.target)
    ):
        return drain(state, seen, rules)
    if why := end_of_service(state, seen):
        return lose(state, seen, why)
    if not seen.connected or seen.assigned != state.target or seen.now - state.since >= rules.handover:
        if guards.may_thaw(state.sealing):
            return enter(
                replace(state, sealing=False),
                seen,
                Phase.SERVING,
                f"serves on: {state.target} cannot take it now",
                Do.THAW,
            )
        return stay(state, f"does not know yet whether the seal for {state.target} was carried out")
    state, actions = extend(state, seen.lease_until)
    if seen.event is Result.REWOUND:
        return rewind(state, seen)._replace(actions=(*actions, Do.THAW, Do.WRITE_CHECKPOINT))
    seal = Seal(state.target, state.epoch + 1)
    if seen.event is Result.UNRESOLVED and state.sealing:
        return stay(state, f"seals again, for {state.target}: the connection broke", *actions, seal)
    if not state.sealing and guards.all_is_flushed(seen.event is Result.FLUSHED):
        return stay(replace(state, sealing=True), f"seals epoch {state.epoch} for {state.target}", *actions, seal)
    return stay(state, f"frozen, to hand it to {state.target}", *actions)


def drain(state: State, seen: Observation, rules: Rules) -> Step:
    """Step 5 begins: stored mappings only."""
    until = seen.now + rules.read_only
    draining = replace(state, until=until, sealing=False, opened=False)
    sentence = f"sealed epoch {state.epoch} for {state.target}; translates read-only meanwhile"
    return enter(draining, seen, Phase.DRAINING, sentence, ServeReadOnly(until))


def draining(state: State, seen: Observation, rules: Rules) -> Step:
    """Step 5 and 6: until the new owner's routes are up plus `drain`, or someone has to take the slot after all."""
    head = seen.head
    if not guards.drain_goes_on(seen.now, state.until):
        return close(state, seen, "handed over: withdraws")
    fresh = head is not None and head.read_ms >= state.since
    if seen.connected and fresh and (why := reason_to_take(state, seen, rules)):
        return ask(state, seen, f"takes it back: {why}")
    if head and not head.sealed and head.epoch > state.epoch and seen.now + rules.drain < state.until:
        until = seen.now + rules.drain
        return stay(
            replace(state, until=until), f"{head.owner} has opened; withdraws in {rules.drain} ms", ServeReadOnly(until)
        )
    return stay(state, f"translates read-only for {state.until - seen.now} ms more")


# ── after the lease ──────────────────────────────────────────────────────────────────────────────────────────────────────


def lost(state: State, seen: Observation, rules: Rules) -> Step:
    """Keeps what it holds until there is a newer owner; its own slot it takes like any other."""
    if not seen.connected or seen.head is None:
        return stay(state, f"does not serve; keeps {seen.held} until the store is in reach")
    if why := superseded(state, seen):
        return close(state, seen, f"closed: {why}")
    if why := reason_to_take(state, seen, rules):
        return ask(state, seen, why)
    return stay(state, f"does not serve; keeps {seen.held} until there is a new owner")


Handler = Callable[[State, Observation, Rules], Step]

HANDLERS: dict[Phase, Handler] = {
    Phase.CLOSED: closed,
    Phase.COPYING: copying,
    Phase.WARM: warm,
    Phase.ASKING: asking,
    Phase.CLAIMING: claiming,
    Phase.CATCHING_UP: catching_up,
    Phase.REWRITING: rewriting,
    Phase.OPENING: opening,
    Phase.SERVING: serving,
    Phase.FAILSAFE: failsafe,
    Phase.FREEZING: freezing,
    Phase.DRAINING: draining,
    Phase.LOST: lost,
}
