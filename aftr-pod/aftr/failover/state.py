"""Where a member stands with a slot, and the steps that every phase may take: plain values.

What a member holds beyond the store is kept until a newer owner has it, or had the time to: one that is LOST gives its tail.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import NamedTuple

from aftr.failover import guards
from aftr.failover.members import DEAD_AFTER_MS
from aftr.failover.observation import Action, Do, Observation, Result, ServeUntil
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
    asked_whom: frozenset[str] = frozenset()  # before a claim; and when the last of them was asked for the first time
    asked_all: int = 0
    beaten: int = 0  # when a claim failed: only a head that was read later says why
    need: EntryId = NOTHING  # where the store's journal ended: the copy must hold it before it opens
    heard: Mapping[str, EntryId] = field(default_factory=dict)  # what members said that they hold
    most: EntryId = NOTHING  # what `source` holds beyond the store
    source: str = ""
    rewrite: bool = False  # the store may hold less than this pod: a checkpoint comes first
    opened: bool = False
    target: str = ""
    sealing: bool = False
    refused: bool = False
    gap: bool = False  # the journal does not go on from what the copy holds
    head_owner: tuple[int, str] = (0, "")  # epoch and owner in the head seen last, and since when it has those
    head_since: int = 0
    newer_since: int = 0  # since when the head's epoch is above that of what is held here; 0 while it is not


class Step(NamedTuple):
    """What follows from one observation."""

    state: State
    actions: tuple[Action, ...]
    sentence: str


# ── steps ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def stay(state: State, sentence: str, *actions: Action) -> Step:
    """Same phase."""
    return Step(state, actions, sentence)


def enter(state: State, seen: Observation, phase: Phase, sentence: str, *actions: Action) -> Step:
    """Another phase, from now on."""
    return Step(replace(state, phase=phase, since=seen.now), actions, sentence)


def close(state: State, seen: Observation, sentence: str) -> Step:
    """Forget the slot; only what was seen of its head stays."""
    clean = State(state.me, state.slot, epoch=state.epoch, head_owner=state.head_owner, head_since=state.head_since)
    return enter(clean, seen, Phase.CLOSED, sentence, Do.WITHDRAW, Do.CLOSE)


def lose(state: State, seen: Observation, why: str) -> Step:
    """Stop serving at once, and keep what is held: it may be more than the store has."""
    lost = replace(state, rewrite=True, opened=False, sealing=False, source="", target="", refused=False, until=0)
    return enter(lost, seen, Phase.LOST, f"stopped serving: {why}", Do.STOP_SERVING, Do.WITHDRAW)


def back_off(state: State, seen: Observation, rules: Rules, why: str) -> Step:
    """The slot is not taken: who holds more than the store keeps it; who had sealed the slot may be outdated by now."""
    back = replace(state, source="", most=NOTHING, heard={}, refused=False)
    if state.rewrite:
        return enter(back, seen, Phase.LOST, why)
    if state.target:
        return hand_in(state, seen, rules, why)
    return enter(back, seen, Phase.WARM, why)


def hand_in(state: State, seen: Observation, rules: Rules, why: str) -> Step:
    """A slot that was handed over is done with, once nobody needs what is held here."""
    if may_forget(state, seen, rules):
        return close(state, seen, f"closed: {why}")
    return lose(state, seen, f"{why}; keeps {seen.held} until its new owner has stored something")


def rewind(state: State, seen: Observation) -> Step:
    """The store fell back: what this owner holds is written anew before anything else."""
    sentence = f"serves; writes a checkpoint, because the store holds less than {seen.held}"
    rewriting = replace(state, rewrite=True, sealing=False)
    if guards.store_holds_it(rewriting.rewrite):
        return stay(state, "serves")
    return enter(rewriting, seen, Phase.REWRITING, sentence, Do.WRITE_CHECKPOINT)


def extend(state: State, until: int) -> tuple[State, tuple[Action, ...]]:
    """A later deadline, if this is one."""
    return (replace(state, until=until), (ServeUntil(until),)) if until > state.until else (state, ())


def note_head(state: State, seen: Observation) -> State:
    """Since when the store names this owner, and an epoch that is newer than what is held here."""
    if seen.head is None:
        return state
    newer_since = (state.newer_since or seen.now) if seen.head.epoch > seen.held.epoch else 0
    owner = seen.head.epoch, seen.head.owner
    since = state.head_since if owner == state.head_owner else seen.now
    return replace(state, head_owner=owner, head_since=since, newer_since=newer_since)


# ── what is so ─────────────────────────────────────────────────────────────────────────────────────────────────────────


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
    if head.sealed and seen.warm == state.me and seen.now - state.head_since >= rules.handover:
        return f"{head.owner} did not open it within {rules.handover} ms of the seal of epoch {head.epoch}"
    if seen.assigned == state.me and guards.owner_is_gone(seen.owner_dead):
        return f"{head.owner}, its owner with epoch {head.epoch}, is dead"
    return ""


def follows(state: State, held: EntryId) -> bool:
    """Whether the copy is brought up to date from the journal.

    Not that of a former owner: its tables are newer than its own last entry, which must not be applied to them once more.
    """
    if state.phase is Phase.CATCHING_UP:
        return held < state.need
    return not state.gap and (
        state.phase is Phase.WARM or (state.phase in (Phase.ASKING, Phase.CLAIMING) and not state.rewrite)
    )


def may_forget(state: State, seen: Observation, rules: Rules) -> bool:
    """Whether what is held here is needed no more: the store has it, and so has the newest owner."""
    head, since = seen.head, state.newer_since
    return head is not None and guards.may_forget(head, seen.held, since > 0 and was_long_ago(since, seen, rules))


def was_long_ago(since: int, seen: Observation, rules: Rules) -> bool:
    """Whether an owner that is named since then has had the time to ask for what is held here, and another one after its death."""
    return seen.now - max(since, seen.connected_ms) >= 2 * rules.dead_after + rules.ask + rules.tail


def is_wanted(state: State, seen: Observation) -> bool:
    """Whether this member has a part in the slot: serves it next, or holds its warm copy."""
    return state.me in (seen.assigned, seen.warm) or (seen.head is not None and seen.head.owner == state.me)


def end_of_service(state: State, seen: Observation) -> str:
    """Why an owner must stop now; empty if it may go on."""
    if seen.event is Result.FENCED:
        return "the store has another owner"
    if why := superseded(state, seen):
        return why
    if not guards.lease_runs(seen.now, state.until):
        return f"the lease ended {seen.now - state.until} ms ago"
    return ""
