"""Planned handover: SERVING ─► FREEZING ─► DRAINING ─► CLOSED."""

from __future__ import annotations

from dataclasses import replace

from aftr.failover import guards
from aftr.failover.observation import Action, Do, Observation, Result, Seal, ServeReadOnly
from aftr.failover.state import (
    Phase,
    Rules,
    State,
    Step,
    end_of_service,
    enter,
    extend,
    hand_in,
    lose,
    reason_to_take,
    rewind,
    stay,
)
from aftr.failover.taking import ask


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
    if seen.event is Result.REWOUND:
        state, actions = extend(state, seen.lease_until)
        return rewind(state, seen)._replace(actions=(*actions, Do.THAW, Do.WRITE_CHECKPOINT))
    seal = Seal(state.target, state.epoch + 1)
    if seen.event in (Result.UNRESOLVED, Result.REFUSED) and state.sealing:
        return stay(state, f"seals again, for {state.target}: {seen.event.value}", seal)
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
        return hand_in(state, seen, rules, "handed over")
    fresh = head is not None and head.read_ms >= state.since
    if seen.connected and fresh and (why := reason_to_take(state, seen, rules)):
        # what others wrote meanwhile goes into tables that nobody uses
        asked = ask(state, seen, f"takes it back: {why}")
        return asked._replace(actions=(Do.STOP_SERVING, *asked.actions))
    if head and not head.sealed and head.epoch > state.epoch and seen.now + rules.drain < state.until:
        until = seen.now + rules.drain
        return stay(
            replace(state, until=until), f"{head.owner} has opened; withdraws in {rules.drain} ms", ServeReadOnly(until)
        )
    return stay(state, f"translates read-only for {state.until - seen.now} ms more")
