"""How many pods: targets, steps, stabilisation, silence."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dslite_contract.schema import Autoscaling
from dslite_operator.autoscaler import STEP_S, History, Use, clamp, decide

BOUNDS = Autoscaling(min_replicas=2, max_replicas=12, scale_down_stabilization_seconds=900)


def busy(share: float, pods: int, ports: float = 0.1) -> list[Use]:
    return [Use(share, ports)] * pods


@pytest.mark.parametrize(
    ("current", "share", "ports", "wanted"),
    [(4, 0.6, 0.1, 4), (4, 0.65, 0.1, 4), (4, 0.7, 0.1, 5), (4, 0.9, 0.1, 6), (2, 1.0, 0.1, 4), (4, 0.3, 0.84, 5), (10, 1.0, 0.1, 12)],
)  # fmt: skip
def test_more_pods_as_the_busier_target_asks(current: int, share: float, ports: float, wanted: int) -> None:
    assert decide(0.0, current, busy(share, current, ports), BOUNDS, History(0.0)).replicas == wanted


def test_a_step_at_most_doubles_and_the_next_waits_for_it() -> None:
    bounds = BOUNDS.model_copy(update={"targets": BOUNDS.targets.model_copy(update={"worker_utilization_percent": 10})})
    history = History(0.0)
    assert decide(0.0, 2, busy(1.0, 2), bounds, history).replicas == 4
    assert decide(STEP_S - 1, 4, busy(1.0, 4), bounds, history).replicas == 4
    assert decide(STEP_S, 4, busy(1.0, 4), bounds, history).replicas == 8


def test_up_within_a_minute_of_load() -> None:
    history, replicas = History(0.0), 2
    for second in range(0, 61, 10):
        replicas = decide(float(second), replicas, busy(0.95, replicas), BOUNDS, history).replicas
    assert replicas == 12


def test_down_only_when_fewer_were_enough_all_the_time() -> None:
    history = History(0.0)
    for second in range(0, 900, 10):
        assert decide(float(second), 6, busy(0.1, 6), BOUNDS, history).replicas == 6
    assert decide(900.0, 6, busy(0.1, 6), BOUNDS, history).replicas == 5
    assert decide(910.0, 5, busy(0.1, 5), BOUNDS, history).replicas == 5


def test_a_peak_in_the_window_keeps_the_pods() -> None:
    history = History(-1000.0)
    assert decide(0.0, 6, busy(0.6, 6), BOUNDS, history).replicas == 6
    assert decide(890.0, 6, busy(0.1, 6), BOUNDS, history).replicas == 6
    assert decide(901.0, 6, busy(0.1, 6), BOUNDS, history).replicas == 5


def test_a_new_operator_waits_before_it_makes_a_pool_smaller() -> None:
    assert decide(5000.0, 6, busy(0.1, 6), BOUNDS, History(5000.0)).replicas == 6


def test_silence_never_makes_a_pool_smaller() -> None:
    history = History(-10_000.0)
    assert decide(0.0, 6, [], BOUNDS, history).replicas == 6
    assert decide(10.0, 6, busy(0.0, 3), BOUNDS, history).replicas == 6
    assert decide(2000.0, 6, busy(0.0, 5), BOUNDS, history).replicas == 6


def test_bounds_hold_at_once() -> None:
    assert decide(0.0, 1, busy(0.1, 1), BOUNDS, History(0.0)).replicas == 2
    assert decide(0.0, 20, busy(1.0, 20), BOUNDS, History(0.0)).replicas == 12


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.integers(0, 12)), max_size=40))
def test_always_within_bounds_and_down_one_at_a_time(course: list[tuple[float, float, int]]) -> None:
    history, current = History(0.0), 4
    for number, (share, ports, answering) in enumerate(course):
        uses = busy(share, min(answering, current), ports)
        decision = decide(number * 60.0, current, uses, BOUNDS, history)
        assert decision.replicas == clamp(decision.replicas, BOUNDS)
        assert decision.replicas >= current - 1
        assert decision.replicas <= 2 * current
        if len(uses) < current:
            assert decision.replicas >= current
        current = decision.replicas
