"""Members: alive by the observer's own clock, over a working connection."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aftr.failover.lease import lease_ms, renewed
from aftr.failover.members import View, alive, disconnect, forget, gone, is_dead, next_verdict, observe


def seen(*readings: tuple[int, int, dict[str, int]], view: View | None = None) -> View:
    """A view after readings (sent, arrived, counters)."""
    view = view or View()
    for sent, arrived, counters in readings:
        view = observe(view, counters, sent, arrived)
    return view


def test_a_moving_counter_is_alive_and_a_still_one_dies_after_400_ms() -> None:
    view = seen((0, 5, {"a": 1, "b": 1}), (100, 105, {"a": 2, "b": 1}), (404, 409, {"a": 3, "b": 1}))
    assert alive(view) == {"a", "b"}
    assert alive(observe(view, {"a": 4, "b": 1}, 405, 410)) == {"a"}


def test_dead_after_is_configurable() -> None:
    view = seen((0, 0, {"a": 1}), (200, 200, {"a": 1}))
    assert is_dead(view, "a", 200)
    assert not is_dead(view, "a", 201)


def test_the_next_verdict_is_on_who_is_silent_longest_and_alive() -> None:
    view = seen((0, 5, {"a": 1, "b": 1}), (100, 105, {"a": 2, "b": 1}))
    assert next_verdict(view) == 405
    silent = observe(view, {"a": 3, "b": 1}, 404, 409)
    assert next_verdict(silent) == 405, "read a moment too early"
    assert next_verdict(observe(silent, {"a": 4, "b": 1}, 405, 410)) == 810, "b is dead"
    assert next_verdict(View()) is None


def test_a_slow_reading_proves_silence_only_until_it_was_sent() -> None:
    view = seen((0, 0, {"a": 1}), (100, 5000, {"a": 1}))
    assert alive(view) == {"a"}, "the observer was stopped for five seconds, not the member"


def test_a_slow_reading_proves_movement_only_when_it_arrived() -> None:
    view = seen((0, 0, {"a": 1}), (10, 300, {"a": 2}), (650, 660, {"a": 2}))
    assert alive(view) == {"a"}, "the counter may have moved at 300"


def test_no_verdict_without_a_connection() -> None:
    view = disconnect(seen((0, 0, {"a": 1, "b": 1}), (100, 100, {"a": 2, "b": 1})))
    assert alive(view) == {"a", "b"}


def test_a_reconnect_starts_afresh_for_all() -> None:
    view = disconnect(seen((0, 0, {"a": 1, "b": 1}), (500, 500, {"a": 2, "b": 1})))
    view = observe(view, {"a": 2}, 9000, 9001)
    assert alive(view) == {"a", "b"}, "b is not listed on the new connection, and has its time to come back"
    assert alive(observe(view, {"a": 3}, 9401, 9402)) == {"a"}


def test_a_counter_that_falls_has_moved_too() -> None:
    view = seen((0, 0, {"a": 70}), (390, 390, {"a": 1}), (700, 700, {"a": 1}))
    assert alive(view) == {"a"}


def test_a_member_never_heard_of_is_dead_one_dead_time_after_the_connection_began() -> None:
    view = seen((0, 10, {"a": 1}), (400, 405, {"a": 2}))
    assert not is_dead(view, "x")
    assert is_dead(observe(view, {"a": 3}, 410, 415), "x")
    assert "x" not in alive(view)


def test_the_dead_and_unlisted_are_forgotten() -> None:
    view = seen((0, 0, {"a": 1, "b": 1, "c": 1}), (400, 401, {"a": 2, "b": 1, "c": 1}))
    assert set(forget(view, frozenset({"a", "b"})).heartbeats) == {"a", "b"}


def test_whoever_is_long_silent_and_owns_nothing_is_gone() -> None:
    view = seen((0, 0, {"a": 1, "b": 1, "c": 1}), (60_000, 60_001, {"a": 2, "b": 1, "c": 1}))
    assert gone(view, "abc", {"c"}, 60_000) == {"b"}
    assert gone(view, "abc", {"c"}, 60_001) == frozenset()


def test_after_a_pause_of_the_store_nobody_is_gone_at_once() -> None:
    view = seen((0, 0, {"a": 1, "b": 1}), (60_000, 60_001, {"a": 2, "b": 1}))
    again = observe(disconnect(view), {"a": 3, "b": 1}, 60_100, 60_101)
    assert gone(again, "ab", (), 60_000) == frozenset()


@given(st.integers(0, 10**9), st.integers(0, 300), st.integers(0, 10**6))
def test_the_lease_ends_before_anyone_can_hold_the_owner_dead(sent: int, under_way: int, read_later: int) -> None:
    """Counted from the sending, against a silence that begins after the renewal was seen: always at least 120 ms earlier."""
    arrived = sent + under_way + read_later
    view = seen((sent - 1000, sent - 999, {"a": 1}), (arrived, arrived, {"a": 2}))
    first_death = next(t for t in (arrived + 399, arrived + 400) if is_dead(observe(view, {"a": 2}, t, t), "a"))
    assert renewed(0, sent, 400) + 120 <= first_death


def test_a_lease_is_seven_tenths_and_only_grows() -> None:
    assert lease_ms(400) == 280
    assert renewed(0, 1000, 400) == 1280
    assert renewed(1280, 900, 400) == 1280
