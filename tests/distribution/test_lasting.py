"""How long leases last whose times have changed at the server, on a clock of the test's own."""

from __future__ import annotations

from assignments import OTHER
from dhcp_network import HOMES
from dslite_operator.distribution.lasting import UNKNOWN, Lasting
from dslite_operator.distribution.providers.provider import Timers

HOUR = 3600
SHORT, LONG = Timers(300, HOUR), Timers(1800, 4 * HOUR)


def test_of_which_the_server_does_not_say_longer_than_most_is_assumed() -> None:
    lasting = Lasting()
    assert (lasting.renewal_s([HOMES], 0), lasting.lifetime_s(0)) == (UNKNOWN.renew_s, UNKNOWN.valid_s)
    lasting.read({HOMES: SHORT}, 0)
    assert (lasting.renewal_s([HOMES], 0), lasting.lifetime_s(0)) == (300, HOUR)
    assert lasting.renewal_s([HOMES, OTHER], 0) == UNKNOWN.renew_s


def test_o02_o03_longer_times_hold_at_once() -> None:
    lasting = Lasting()
    lasting.read({HOMES: SHORT, OTHER: SHORT}, 0)
    lasting.read({HOMES: LONG, OTHER: SHORT}, 600)
    assert (lasting.renewal_s([HOMES], 600), lasting.lifetime_s(600)) == (1800, 4 * HOUR)
    assert lasting.renewal_s([OTHER], 600) == 300


def test_o02_o03_shorter_times_hold_when_no_lease_has_the_longer_ones_any_more() -> None:
    """They were given until the moment before it was seen that they are not."""
    lasting = Lasting()
    for now in (0, 600):
        lasting.read({HOMES: LONG}, now)
    for now in (1200, 1800):
        lasting.read({HOMES: SHORT}, now)
    assert lasting.renewal_s([HOMES], 1200 + 1799) == 1800
    assert lasting.renewal_s([HOMES], 1200 + 1800) == 300
    assert lasting.lifetime_s(1200 + 4 * HOUR - 1) == 4 * HOUR
    assert lasting.lifetime_s(1200 + 4 * HOUR) == HOUR


def test_o02_a_lease_lasts_for_as_long_as_it_says_whatever_was_read() -> None:
    lasting = Lasting()
    lasting.read({HOMES: SHORT}, 0)
    lasting.longest_s = 4 * HOUR
    assert lasting.lifetime_s(0) == 4 * HOUR
    lasting.longest_s = 60
    assert lasting.lifetime_s(0) == HOUR


def test_times_that_come_back_are_not_over() -> None:
    lasting = Lasting()
    for now, times in enumerate((LONG, SHORT, LONG, SHORT)):
        lasting.read({HOMES: times}, now * HOUR)
    assert lasting.lifetime_s(3 * HOUR + 4 * HOUR - 1) == 4 * HOUR
    assert lasting.lifetime_s(3 * HOUR + 4 * HOUR) == HOUR
