"""Takeovers of pods that were alive are found by their heartbeats."""

from __future__ import annotations

from aftr.failover.takeovers import Pulse, Takeovers


def test_a_pod_whose_heartbeat_goes_on_was_alive_and_its_slots_are_told_once() -> None:
    takeovers = Takeovers()
    takeovers.note("a", Pulse("1", 7))
    takeovers.note("a", Pulse("1", 7))
    takeovers.note("b", Pulse("1", 4))
    assert takeovers.settle({"a": Pulse("1", 7), "b": Pulse("1", 4)}) == {}
    assert takeovers.settle({"a": Pulse("1", 8), "b": Pulse("1", 4)}) == {"a": 2}
    assert takeovers.settle({"a": Pulse("1", 9)}) == {}


def test_a_pod_that_has_started_anew_was_dead() -> None:
    takeovers = Takeovers()
    takeovers.note("a", Pulse("1", 7))
    assert takeovers.settle({"a": Pulse("2", 1)}) == {}
    assert takeovers.settle({"a": Pulse("2", 2)}) == {}


def test_a_pod_that_is_listed_no_more_says_nothing_yet() -> None:
    takeovers = Takeovers()
    takeovers.note("a", Pulse("1", 7))
    assert takeovers.settle({}) == {}
    assert takeovers.settle({"a": Pulse("1", 30)}) == {"a": 1}


def test_slots_taken_from_a_pods_next_life_are_counted_by_themselves() -> None:
    takeovers = Takeovers()
    takeovers.note("a", Pulse("1", 7))
    takeovers.note("a", Pulse("2", 3))
    assert takeovers.settle({"a": Pulse("2", 4)}) == {"a": 1}
