"""Who is alive, judged by the observer's own clock alone.

A member raises a counter in the store.  It is dead when the counter has not moved for `deadAfter` over a working connection:
the end of a silence is the moment the last reading was *sent*, and its beginning the moment a reading with movement
*arrived*, so a slow store, or an observer that was stopped itself, makes silences shorter and never longer.
All times are milliseconds of the observer's CLOCK_BOOTTIME.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

DEAD_AFTER_MS = 400


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The last counter seen of one member, and when a reading that had moved arrived."""

    counter: int
    moved_ms: int


@dataclass(frozen=True, slots=True)
class View:
    """What one observer knows of all members.  `since_ms` is when its present connection gave its first reading."""

    heartbeats: Mapping[str, Heartbeat] = field(default_factory=dict)
    connected: bool = False
    since_ms: int = 0
    read_ms: int = 0


def observe(view: View, counters: Mapping[str, int], sent_ms: int, now_ms: int) -> View:
    """After one reading of all counters, sent at `sent_ms`, arrived at `now_ms`.

    The first reading of a connection starts everyone afresh, also those who are no longer listed.
    """
    before = view.heartbeats
    if not view.connected:
        everyone = {**{uid: beat.counter for uid, beat in before.items()}, **counters}
        beats = {uid: Heartbeat(counter, now_ms) for uid, counter in everyone.items()}
        return View(beats, True, now_ms, sent_ms)
    beats = {uid: beat for uid, beat in before.items() if uid not in counters}
    for uid, counter in counters.items():
        old = before.get(uid)
        beats[uid] = old if old and old.counter == counter else Heartbeat(counter, now_ms)
    return View(beats, True, view.since_ms, sent_ms)


def disconnect(view: View) -> View:
    """After the connection broke: no verdict changes until there is another."""
    return replace(view, connected=False)


def is_dead(view: View, uid: str, dead_after_ms: int = DEAD_AFTER_MS) -> bool:
    """Whether `uid` has been silent for `dead_after_ms`; one who was never heard of, since the connection began."""
    beat = view.heartbeats.get(uid)
    return view.read_ms - (beat.moved_ms if beat else view.since_ms) >= dead_after_ms


def next_verdict(view: View, dead_after_ms: int = DEAD_AFTER_MS) -> int | None:
    """When a reading must be sent to find the longest silent of the living dead, if it stays silent."""
    silences = (beat.moved_ms for uid, beat in view.heartbeats.items() if not is_dead(view, uid, dead_after_ms))
    return min((moved + dead_after_ms for moved in silences), default=None)


def alive(view: View, dead_after_ms: int = DEAD_AFTER_MS) -> frozenset[str]:
    """All members that are not dead."""
    return frozenset(uid for uid in view.heartbeats if not is_dead(view, uid, dead_after_ms))


def gone(view: View, listed: Collection[str], owners: Collection[str], silent_ms: int) -> frozenset[str]:
    """Those listed who own no slot and have been silent so long that nobody expects them back."""
    return frozenset(uid for uid in listed if uid not in owners and is_dead(view, uid, silent_ms))


def forget(view: View, listed: frozenset[str], dead_after_ms: int = DEAD_AFTER_MS) -> View:
    """Without those who are dead and no longer listed in the store."""
    beats = {u: b for u, b in view.heartbeats.items() if u in listed or not is_dead(view, u, dead_after_ms)}
    return replace(view, heartbeats=beats)
