"""What one member does about one slot: (state, observation) → (state, actions, sentence).

    CLOSED ─► COPYING ─► WARM ─► ASKING ─► CLAIMING ─► CATCHING_UP ─► (REWRITING) ─► OPENING ─► SERVING
                                   ▲                                                             │ ▲
                                   └──────────── LOST ◄── lease over, fenced ────────────────────┤ ├─► REWRITING
                         CLOSED ◄── DRAINING ◄── FREEZING ◄── moved to another member ───────────┘ └─► FAILSAFE

An owner whose lease ends before it has opened goes back to WARM, or to LOST if it holds more than the store, and claims anew.
The owner in the store decides.  A member creates, changes or frees a mapping in SERVING, REWRITING and FAILSAFE only, and until
its deadline only.  What it holds beyond the store is kept until a newer owner has it, or had the time to: a member in LOST gives its tail.
The sentence says why, and is log line, event and status.
"""

from __future__ import annotations

from collections.abc import Callable

from aftr.failover import guards
from aftr.failover.handover import draining, freezing
from aftr.failover.observation import Answer, Observation
from aftr.failover.serving import failsafe, lost, rewriting, serving
from aftr.failover.state import SERVES, Phase, Rules, State, Step, note_head
from aftr.failover.taking import asking, catching_up, claiming, closed, copying, opening, warm

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


def step(state: State, seen: Observation, rules: Rules) -> Step:
    """One step of a slot."""
    return HANDLERS[state.phase](note_head(state, seen), seen, rules)


def answer(state: State, seen: Observation) -> Answer:
    """What this member answers, when it is asked at `seen.now`; the asker fills in `asked_ms`."""
    serves = state.phase in SERVES or (state.phase is Phase.REWRITING and state.opened)
    about_to = state.phase in (Phase.CATCHING_UP, Phase.REWRITING, Phase.OPENING)
    lease = guards.lease_runs(seen.now, state.until)
    claim_is_out = state.phase not in (Phase.CLOSED, Phase.COPYING, Phase.WARM, Phase.DRAINING, Phase.LOST)
    return Answer(
        asked_ms=0,
        held=seen.content,
        epoch=max(state.epoch, seen.held.epoch),
        serves=(about_to and (seen.connected or lease)) or (serves and lease),
        promises=guards.may_promise(seen.connected, claim_is_out),
    )
