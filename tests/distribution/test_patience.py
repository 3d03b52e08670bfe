"""How long what fails waits, on a clock of the test's own."""

from __future__ import annotations

from dslite_operator.distribution.patience import Patience


def test_each_time_it_waits_twice_as_long_and_an_hour_at_most() -> None:
    patience, now, waits = Patience(30.0, 3600.0), 0.0, list[float]()
    for _ in range(10):
        assert patience.left(now) == 0.0
        patience.lengthen(now)
        waits.append(patience.left(now))
        now += waits[-1]
    assert waits == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    assert patience.left(now - 600) == 600


def test_what_has_not_failed_waits_for_nothing_and_begins_anew() -> None:
    patience = Patience(30.0, 3600.0)
    patience.lengthen(0.0)
    patience.lengthen(30.0)
    patience.end()
    assert patience.left(31.0) == 0.0
    patience.lengthen(31.0)
    assert patience.left(31.0) == 30.0
