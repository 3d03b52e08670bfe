"""An owner's life: SERVING, without the store in FAILSAFE, REWRITING when the store holds less, and LOST when the lease has ended."""

from __future__ import annotations

from dataclasses import replace

from aftr.failover import guards
from aftr.failover.handover import hand_over
from aftr.failover.lease import lease_ms
from aftr.failover.observation import Do, Head, Observation, Result
from aftr.failover.state import (
    Failsafe,
    Phase,
    Rules,
    State,
    Step,
    close,
    end_of_service,
    enter,
    extend,
    lose,
    may_forget,
    reason_to_take,
    rewind,
    stay,
    store_knows_less,
    superseded,
    was_long_ago,
)
from aftr.failover.taking import ask, rewriting_before_opening


def serving(state: State, seen: Observation, rules: Rules) -> Step:
    """Serves, while the lease runs and the store names no other."""
    if why := end_of_service(state, seen):
        return lose(state, seen, why)
    if seen.event is Result.REWOUND or store_knows_less(state, seen):
        return rewind(state, seen)
    if not seen.connected:
        return go_without(state, seen, "the store is out of reach: asks all members whether they reach it")
    state, actions = extend(state, seen.lease_until)
    if seen.event is Result.REFUSED and not state.refused:
        return stay(replace(state, refused=True), "serves; the store refuses to write", *actions, Do.REFUSE_BLOCKS)
    if seen.event is Result.ACCEPTED and state.refused:
        return stay(replace(state, refused=False), "serves; the store writes again", *actions, Do.ALLOW_BLOCKS)
    if seen.assigned not in (None, state.me) and not state.refused:
        return hand_over(state, seen, actions)
    return stay(state, f"serves with epoch {state.epoch}", *actions)


def rewriting(state: State, seen: Observation, rules: Rules) -> Step:
    """Stores what it holds anew."""
    if not state.opened:
        return rewriting_before_opening(state, seen, rules)
    if why := end_of_service(state, seen):
        return lose(state, seen, why)
    if seen.event is Result.CHECKPOINTED:
        return enter(
            replace(state, rewrite=False, refused=False),
            seen,
            Phase.SERVING,
            "serves; the store holds all of it",
            Do.ALLOW_BLOCKS,
        )
    if not seen.connected:
        return go_without(state, seen, "the store is out of reach again")
    state, actions = extend(state, seen.lease_until)
    if seen.event in (Result.REFUSED, Result.REWOUND, Result.UNRESOLVED):
        again = f"serves; writes the checkpoint again: {seen.event.value}"
        meanwhile = (Do.REFUSE_BLOCKS,) if seen.event is Result.REFUSED else ()
        return stay(replace(state, refused=True), again, *actions, *meanwhile, Do.WRITE_CHECKPOINT)
    return stay(state, "serves; writes a checkpoint", *actions)


# ── without the store ──────────────────────────────────────────────────────────────────────────────────────────────────


def go_without(state: State, seen: Observation, sentence: str) -> Step:
    """The store does not answer: others are asked before the lease ends."""
    asked = replace(state, asked=seen.now)
    return enter(asked, seen, Phase.FAILSAFE, sentence, Do.REFUSE_BLOCKS, Do.ASK_MEMBERS)


def failsafe(state: State, seen: Observation, rules: Rules) -> Step:
    """Serves on while all others cannot reach the store either."""
    if why := newer_elsewhere(state, seen) or end_of_service(state, seen):
        return lose(state, seen, why)
    if seen.connected and seen.head:
        return resume(state, seen, seen.head)
    state, actions = extend(state, promised_until(state, seen, rules))
    if seen.now - state.asked >= rules.ask // 2:  # others may notice 100 ms later: hardly that is left of the lease
        state, actions = replace(state, asked=seen.now), (*actions, Do.ASK_MEMBERS)
    left = state.until - seen.now
    return stay(state, f"serves without the store for {left} ms more; {len(seen.known)} members are asked", *actions)


def resume(state: State, seen: Observation, head: Head) -> Step:
    """The store is back: the journal goes on where it was, unless the store has less, or the journal will not have all."""
    sentence = "serves; the store is back, and gets what was created meanwhile"
    current = head.epoch == state.epoch and guards.store_is_up_to_date(head, seen.held, seen.forgone)
    back, actions = extend(replace(state, rewrite=state.rewrite or not current, refused=False), seen.lease_until)
    if back.rewrite:
        return enter(back, seen, Phase.REWRITING, sentence, *actions, Do.WRITE_CHECKPOINT)
    return enter(back, seen, Phase.SERVING, sentence, *actions, Do.ALLOW_BLOCKS)


def newer_elsewhere(state: State, seen: Observation) -> str:
    """Why an answer says that this member is no longer the owner."""
    newer = [uid for uid, answer in seen.answers.items() if answer.newest > state.epoch]
    return f"{newer[0]} knows of epoch {seen.answers[newer[0]].newest}, ours is {state.epoch}" if newer else ""


def promised_until(state: State, seen: Observation, rules: Rules) -> int:
    """Until when the other members' promises let this owner serve; in a pool of one there is nobody to ask."""
    answers = [seen.answers[uid] for uid in seen.known if uid in seen.answers]
    if rules.failsafe is Failsafe.AVAILABLE:
        contradicted = any(not answer.promises for answer in answers if answer.asked_ms >= state.since)
        return 0 if contradicted else seen.now + lease_ms(rules.dead_after)
    if not guards.everyone_promised(seen.known, seen.answers, seen.now, rules.dead_after):
        return 0
    return min((answer.asked_ms for answer in answers), default=seen.now) + lease_ms(rules.dead_after)


# ── after the lease ────────────────────────────────────────────────────────────────────────────────────────────────────


def lost(state: State, seen: Observation, rules: Rules) -> Step:
    """Keeps what it holds until there is a newer owner; its own slot it takes like any other."""
    if not seen.connected or seen.head is None:
        return stay(state, f"does not serve; keeps {seen.held} until the store is in reach")
    if why := superseded(state, seen):
        given_twice = seen.head.epoch == state.epoch  # by a store that fell back
        outdated = given_twice and was_long_ago(state.head_since, seen, rules)
        if outdated or may_forget(state, seen, rules):
            return close(state, seen, f"closed: {why}")
        return stay(state, f"keeps {seen.held} until its new owner has it: {why}")
    if why := reason_to_take(state, seen, rules):
        return ask(state, seen, why)
    if store_knows_less(state, seen) and not seen.head.missing:
        return outlive(state, seen, rules, seen.head.owner)
    return stay(state, f"does not serve; keeps {seen.held} until there is a new owner")


def outlive(state: State, seen: Observation, rules: Rules, owner: str) -> Step:
    """The store lost our claim: its owner takes what is held here and a newer epoch, unless it has not heard of us and serves."""
    answer = seen.answers.get(owner)
    if answer and answer.serves and answer.asked_ms >= state.since and answer.epoch < state.epoch:
        return close(state, seen, f"closed: {owner} serves with epoch {answer.epoch}, without what is held here")
    if seen.now - state.asked < rules.ask:
        return stay(state, f"keeps {seen.held} for {owner}")
    return stay(replace(state, asked=seen.now), f"keeps {seen.held}; asks whether {owner} serves", Do.ASK_MEMBERS)
