"""From nothing to an open slot: CLOSED ─► COPYING ─► WARM ─► ASKING ─► CLAIMING ─► CATCHING_UP ─► (REWRITING) ─► OPENING."""

from __future__ import annotations

from dataclasses import replace

from aftr.failover import guards
from aftr.failover.observation import Answer, Claim, Do, Head, Observation, Open, Result, ServeUntil, TakeTail, Won
from aftr.failover.state import (
    Phase,
    Rules,
    State,
    Step,
    back_off,
    close,
    end_of_service,
    enter,
    is_wanted,
    lose,
    may_forget,
    reason_to_take,
    stay,
    store_knows_less,
    superseded,
)
from dslite_contract.journal import NOTHING

# ── copies ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def closed(state: State, seen: Observation, _: Rules) -> Step:
    """Holds nothing."""
    if seen.gives_up:
        return stay(state, "closed: our process was started anew, and another pod holds the slot warm")
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
    state = note_gap(state, seen)
    if state.gap and may_forget(state, seen, rules):
        anew = replace(state, gap=False)
        return enter(anew, seen, Phase.COPYING, f"reads the checkpoint again: a gap after {seen.held}", Do.START_COPY)
    if not seen.connected or seen.head is None:
        return stay(state, f"warm up to {seen.held}; the store is out of reach")
    why = reason_to_take(state, seen, rules)
    if why and seen.head.read_ms < state.beaten:
        return stay(state, f"warm up to {seen.held}; reads who was faster")
    if why and seen.head.owner == state.me and seen.head.sealed:
        return claim(state, seen, {}, f"takes over as handed: {why}")
    if why:
        return ask(state, seen, why)
    if not is_wanted(state, seen) and may_forget(state, seen, rules):
        return close(state, seen, "closed: has no part in the slot any more")
    if state.gap:
        return stay(
            state, f"keeps {seen.held}, which may be more than the store has: the journal does not go on from it"
        )
    return stay(state, f"warm up to {seen.held}")


def note_gap(state: State, seen: Observation) -> State:
    """The copy does not follow any more."""
    return replace(state, gap=True) if seen.event is Result.BROKEN else state


# ── taking a slot ──────────────────────────────────────────────────────────────────────────────────────────────────────


def ask(state: State, seen: Observation, why: str) -> Step:
    """Begin to take the slot."""
    sentence = f"asks {len(seen.known)} members what they hold: {why}"
    return enter(asked_of_all(state, seen), seen, Phase.ASKING, sentence, Do.ASK_MEMBERS)


def asked_of_all(state: State, seen: Observation) -> State:
    """A question goes to all who are known by now."""
    return replace(state, asked=seen.now, asked_all=seen.now, asked_whom=seen.known)


def asking(state: State, seen: Observation, rules: Rules) -> Step:
    """Hears what others hold, and that nobody serves, before the epoch is raised."""
    state = note_gap(state, seen)
    why = reason_to_take(state, seen, rules)
    if not seen.connected or seen.head is None or not why or superseded_while_lost(state, seen):
        return back_off(
            state, seen, rules, "asks no further: the slot is not to be taken any more, or the store is out of reach"
        )
    if seen.head.read_ms < state.beaten:
        return stay(state, "asks: it is not known yet who was faster")
    if not guards.all_were_asked(seen.known, state.asked_whom):
        return stay(
            asked_of_all(state, seen), f"asks {len(seen.known)} members: it has just heard of more", Do.ASK_MEMBERS
        )
    answers = {uid: answer for uid, answer in seen.answers.items() if answer.asked_ms >= state.since}
    silent = sorted(seen.known - answers.keys())
    heard = guards.members_were_heard(seen.known, answers.keys(), seen.now - state.asked_all, rules.ask)
    settled = guards.store_settled(seen.head, seen.now - seen.connected_ms, rules.dead_after)
    free = guards.nobody_serves(answers.values(), seen.now, rules.dead_after)
    if heard and settled and free:
        missing = f"; no answer from {', '.join(silent)}" if silent else ""
        return claim(state, seen, answers, f"claims: {why}{missing}")
    waits = (
        "a member says that it serves"
        if not free
        else "not all have answered"
        if not heard
        else "the store has no head"
    )
    if seen.now - state.asked < rules.ask:
        return stay(state, f"asks: {waits}")
    return stay(replace(state, asked=seen.now), f"asks again: {waits}", Do.ASK_MEMBERS)


def superseded_while_lost(state: State, seen: Observation) -> bool:
    """Whether what this former owner holds is outdated, and must not be the base of a new epoch."""
    return state.rewrite and bool(superseded(state, seen))


def claim(state: State, seen: Observation, answers: dict[str, Answer], sentence: str) -> Step:
    """Raise the epoch above all that anyone holds, and note what they hold."""
    head = seen.head or Head()
    heard = {uid: answer.held for uid, answer in answers.items()}
    epochs = [seen.held.epoch, state.epoch, *(answer.newest for answer in answers.values())]
    epoch = guards.newest_epoch(head.epoch + 1, epochs)
    ours = state.rewrite and head.owner == state.me  # nobody wrote since we did: we hold all of it
    claiming = replace(state, heard=heard, need=NOTHING if ours else head.last)
    return enter(claiming, seen, Phase.CLAIMING, sentence, Claim(head.epoch, head.owner, epoch, head.last))


def claiming(state: State, seen: Observation, rules: Rules) -> Step:
    """Waits for the claim to be decided; there is no way back from here without the store."""
    state = note_gap(state, seen)
    if isinstance(seen.event, Won):
        return won(state, seen, seen.event)
    if seen.event in (Result.BEATEN, Result.REFUSED, Result.UNRESOLVED):
        beaten = state.beaten if seen.event is Result.UNRESOLVED else seen.now
        return back_off(replace(state, beaten=beaten), seen, rules, f"did not get the slot: {seen.event.value}")
    return stay(state, "raises the epoch")


def won(state: State, seen: Observation, claim: Won) -> Step:
    """The epoch is ours: now the copy must hold all that the store has, or that a member has beyond it."""
    ours = NOTHING if guards.store_has(seen.content, claim.stored) else seen.content
    more = {uid: held for uid, held in state.heard.items() if not guards.store_has(held, claim.stored)}
    source, most = max(more.items(), key=lambda one: one[1], default=("", NOTHING))
    owner = replace(state, epoch=claim.epoch, until=seen.lease_until, heard={})
    if ours > NOTHING:
        owner = replace(owner, rewrite=True, need=NOTHING)
    if most > ours:
        owner = replace(owner, source=source, most=most)
        sentence = f"owner with epoch {claim.epoch}; takes the tail up to {most} from {source}"
        return enter(owner, seen, Phase.CATCHING_UP, sentence, TakeTail(source, max(claim.stored, ours)))
    return enter(owner, seen, Phase.CATCHING_UP, f"owner with epoch {claim.epoch}; reads up to {state.need}")


def catching_up(state: State, seen: Observation, rules: Rules) -> Step:
    """Has the epoch; opens when it holds all there is, and the store holds it too."""
    state = renew(state, seen)
    if why := superseded(state, seen):
        return give_way(state, seen, why)
    if seen.event is Result.TAIL_TAKEN:
        state = replace(state, source="", need=NOTHING, rewrite=True, gap=False)
    if seen.filling and guards.lease_runs(seen.now, state.until):
        return stay(state, "puts what it has read into its tables")
    if state.source and (seen.event is Result.TAIL_FAILED or seen.now - state.since >= rules.tail):
        return stay(replace(state, source=""), f"goes on without what {state.source} alone held: no answer")
    if store_knows_less(state, seen) and not state.rewrite:
        return back_off(state, seen, rules, f"lost epoch {state.epoch}: the store fell back")
    if state.source:
        return stay(state, f"takes the tail up to {state.most} from {state.source}")
    if not guards.holds_the_tail(seen.held, state.need):
        if seen.event is Result.BROKEN:
            return stay(replace(state, gap=False), "reads the checkpoint again: a gap in the tail", Do.START_COPY)
        return stay(state, f"reads the tail: holds {seen.held}, needs {state.need}")
    if not guards.lease_runs(seen.now, state.until):
        return lapse(state, seen, rules)
    if not guards.store_holds_it(state.rewrite):
        sentence = f"writes a checkpoint up to {seen.held} first: the store may hold less"
        return enter(state, seen, Phase.REWRITING, sentence, Do.WRITE_CHECKPOINT)
    return open_slot(state, seen)


def give_way(state: State, seen: Observation, why: str) -> Step:
    """Another member has the epoch: what is held here and not in the store is kept for it."""
    if state.rewrite:
        return enter(replace(state, source=""), seen, Phase.LOST, f"did not open: {why}")
    return close(state, seen, f"closed before it opened: {why}")


def rewriting_before_opening(state: State, seen: Observation, rules: Rules) -> Step:
    """Stores what it holds; nothing is served yet."""
    state = renew(state, seen)
    if seen.event is Result.FENCED or superseded(state, seen):
        return give_way(state, seen, superseded(state, seen) or Result.FENCED.value)
    if not guards.lease_runs(seen.now, state.until):
        return lapse(state, seen, rules)
    if seen.event is Result.CHECKPOINTED:
        return open_slot(state, seen)
    if seen.event in (Result.UNRESOLVED, Result.REFUSED, Result.REWOUND):
        waiting = replace(state, refused=seen.event is not Result.UNRESOLVED)
        return stay(waiting, f"writes the checkpoint again: {seen.event.value}", Do.WRITE_CHECKPOINT)
    return stay(state, "writes a checkpoint before it opens")


def renew(state: State, seen: Observation) -> State:
    """A later deadline for an owner that has not opened yet, unless its own has passed."""
    until = max(state.until, seen.lease_until)
    return replace(state, until=until) if guards.lease_runs(seen.now, state.until) else state


def lapse(state: State, seen: Observation, rules: Rules) -> Step:
    """Others may have judged this owner dead, and be about to claim: it claims anew too, so that one of the two fails."""
    return back_off(state, seen, rules, f"lost epoch {state.epoch}: the lease ended before it opened")


def open_slot(state: State, seen: Observation) -> Step:
    """Open, with the deadline of the lease."""
    opening = replace(state, rewrite=False, gap=False, refused=False)
    return enter(opening, seen, Phase.OPENING, f"opens with epoch {state.epoch}", Open(state.epoch, state.until))


def opening(state: State, seen: Observation, _: Rules) -> Step:
    """Waits for the engine."""
    state = renew(state, seen)
    if why := end_of_service(state, seen):
        return lose(state, seen, why)
    if seen.event is Result.OPENED:
        serving = replace(state, opened=True)
        sentence = f"serves with epoch {state.epoch}"
        return enter(serving, seen, Phase.SERVING, sentence, ServeUntil(state.until), Do.ANNOUNCE)
    return stay(state, "opens")
