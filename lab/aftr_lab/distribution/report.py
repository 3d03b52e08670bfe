"""What a distribution says: beforehand what it will cost, then each B4 as it moves, and all of it as JSON.  Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aftr_lab.distribution.following import Moved
from aftr_lab.distribution.placing import Move, sessions_on, slot_told
from aftr_lab.distribution.servers import Told
from aftr_lab.plan import B4
from aftr_lab.provider import RENEW_S
from dslite_operator.distribution.counting import Softwire
from dslite_operator.distribution.decision import Decision
from dslite_operator.distribution.moves import forecast

Object = dict[str, Any]


def announced(moves: Sequence[Move], b4s: int, decisions: Mapping[str, Decision]) -> Iterator[str]:
    """Which B4s move now and what that costs them, then what is put off."""
    if moves:
        sessions = sum(move.sessions for move in moves)
        yield (
            f"B4s that are told another slot: {len(moves)} of {b4s}; each moves at its next renewal, within {RENEW_S} s, "
            f"gets another external address and loses its sessions once: {sessions} in all"
        )
    else:
        yield f"B4s that are told another slot: none of {b4s}"
    for move in moves:
        yield f"  {move.b4.name}: slot {move.old} → {move.new}, {count_of(move.sessions)}"
    yield from (f"B4Group {group}, later: {sentence}" for group, sentence in put_off(decisions).items())


def arrived(moved: Moved, names: Sequence[str]) -> str:
    """One B4 that has moved; `names` are those of the slots."""
    move = moved.move
    return f"  {moved.seconds:.1f} s: {move.b4.name} follows {names[move.new]}; {count_of(moved.lost)} on slot {move.old} ended"


def count_of(sessions: int) -> str:
    """A number of sessions, in words."""
    return "1 session" if sessions == 1 else f"{sessions} sessions"


def put_off(decisions: Mapping[str, Decision]) -> dict[str, str]:
    """What is moved later, by group."""
    return {group: forecast(one.batches) for group, one in decisions.items() if one.batches}


def summary(b4s: Sequence[B4], told: Told, moved: Sequence[Moved], softwires: Sequence[Softwire]) -> Object:
    """`moved` and `stayed` of all B4s; `softwires` are those at the end."""
    movers = {one.move.b4.name: one for one in moved}
    return {
        "moved": [described(one) for one in movers.values()],
        "stayed": [
            {"b4": b4.name, "slot": slot, "sessions": sessions_on(softwires, b4, slot)}
            for b4 in b4s
            if b4.name not in movers
            for slot in [slot_told(told.after, b4)]
        ],
        "sessionsLost": sum(one.lost for one in moved),
        "seconds": round(max((one.seconds for one in moved), default=0.0), 1),
        "later": put_off(told.decisions),
    }


def described(moved: Moved) -> Object:
    """A B4 that has moved."""
    move = moved.move
    return {
        "b4": move.b4.name,
        "client": move.b4.client,
        "from": move.old,
        "to": move.new,
        "sessionsForecast": move.sessions,
        "sessionsLost": moved.lost,
        "seconds": round(moved.seconds, 1),
    }
