"""The judge of faults, where it is pure: probes, routes, frames, figures."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address

import pytest

from aftr_lab.chaos.captures import Slots
from aftr_lab.chaos.probes import KEPT_S, Probes
from aftr_lab.chaos.report import PlannedMove, Strike, failures, moved, outages, resumed
from aftr_lab.chaos.routes import Move, Table
from aftr_lab.chaos.scene import Scene
from aftr_lab.chaos.strike import measure
from aftr_lab.errors import LabError

STATE = {
    "slots": [
        {"slot": 0, "tunnelAddress": "2001:db8:64::1", "prefixes": [{"prefix": "192.0.2.0/25"}]},
        {"slot": 1, "tunnelAddress": "2001:db8:64::2", "prefixes": [{"prefix": "192.0.2.128/25"}]},
    ]
}
GATEWAYS = {"2001:db8:ffff::11": "aftr-1", "2001:db8:ffff::12": "aftr-2", "02:00:00:00:00:02": "aftr-2"}


def probed(silent: Sequence[int]) -> Probes:
    """A probe each 10 ms from 100.00 on, those of `silent` unanswered."""
    probes = Probes(1)
    for number in range(200):
        probes.sent(0, number, 100 + number / 100)
        if number not in silent:
            probes.answered(number)
    return probes


def test_an_outage_is_the_longest_time_between_answered_probes() -> None:
    probes = probed(range(50, 80))
    assert probes.outage(0, 100, 101.99) == pytest.approx(0.31)
    assert probes.outage(0, 101, 101.99) == 0, "none was lost"
    assert probes.lost(0, 100.5, 100.6) == 11


def test_a_sender_that_stands_still_is_no_outage() -> None:
    probes = probed(range(0))
    probes.sent(0, 500, 102.5)
    probes.answered(500)
    assert probes.outage(0, 100, 103) == 0
    assert probes.stall(0, 100, 103) == pytest.approx(0.51)


def test_an_outage_that_has_not_ended_lasts_until_now() -> None:
    probes = probed(range(50, 200))
    assert probes.outage(0, 100, 101.99) == pytest.approx(1.5)
    assert probes.silent_since(100.5) == [0]
    assert probes.silent_since(100.4) == []


def test_what_came_before_the_kill_counts_for_itself() -> None:
    """The store was away from 100.5 on, and an AFTR is killed at 101: no slot was to stop before, and that one after."""
    struck, other = Strike("aftr-1", "", [0], killed=101.0), Strike("aftr-2", "", [0])
    probes = probed([*range(60, 70), *range(110, 150)])
    measure(struck, probes, 100.5, 101.99)
    assert struck.outage_before_ms == pytest.approx(110)
    assert struck.outage_ms == pytest.approx(410)
    measure(other, probes, 100.5, 101.99)
    assert other.outage_before_ms == 0
    assert other.outage_ms == pytest.approx(410)


class Standing:
    """A load that goes on for no time."""

    def __init__(self) -> None:
        self.probes, self.lasted = Probes(2), list[float]()

    def run(self, until: Callable[[], bool], _: float) -> bool:
        return until()

    def last(self, seconds: float) -> None:
        self.lasted.append(seconds)


def test_a_pool_that_does_not_recover_ends_the_run_with_a_sentence() -> None:
    load = Standing()
    scene = Scene(None, None, {}, load, random.Random(1))  # type: ignore[arg-type]
    load.probes.newest = [math.inf, 0.0]
    with pytest.raises(LabError, match=r"slots \[1\] answer no B4 20 s after the fault"):
        scene.recover()
    load.probes.newest = [math.inf, math.inf]
    scene.recover(0.5)
    assert load.lasted == [0.5]


def test_an_answer_to_another_packet_is_no_probes() -> None:
    probes = probed(range(200))
    probes.answered(1000)
    assert probes.newest == [0.0]


def test_old_probes_are_forgotten() -> None:
    probes = probed(range(200))
    probes.sent(0, 500, 103 + KEPT_S)
    assert probes.lost(0, 0, 1000) == 1


def test_a_move_is_a_route_that_leads_to_another_aftr() -> None:
    table = Table(["2001:db8:64::1", "2001:db8:64::2"], GATEWAYS)
    line = "2001:db8:64::{} via 2001:db8:ffff::1{} dev access proto bird metric 32 pref medium"
    assert table.read([line.format(1, 1), line.format(2, 2), "default via fe80::1 dev other"], 1.0) == []
    assert table.owners == ["aftr-1", "aftr-2"]
    assert table.read([f"Deleted {line.format(1, 1)}"], 2.0) == []
    assert table.owners == ["", "aftr-2"]
    assert table.read([line.format(1, 2)], 3.0) == [Move(3.0, 0, "aftr-1", "aftr-2")]
    assert table.slots_of("aftr-2") == [0, 1]


def test_a_route_that_is_replaced_before_the_old_one_goes_stays() -> None:
    table = Table(["2001:db8:64::1"], GATEWAYS)
    line = "2001:db8:64::1 via 2001:db8:ffff::1{} dev access metric 32"
    table.read([line.format(1), line.format(2), f"Deleted {line.format(1)}"], 1.0)
    assert table.owners == ["aftr-2"]


def test_on_a_shared_layer_2_a_move_is_a_neighbour_with_another_address() -> None:
    table = Table(["2001:db8:64::1"], GATEWAYS | {"02:00:00:00:00:01": "aftr-1"})
    line = "2001:db8:64::1 dev access lladdr 02:00:00:00:00:0{} router REACHABLE"
    assert table.read([line.format(1), "2001:db8:64::1 dev access FAILED"], 1.0) == []
    assert table.read([line.format(2)], 2.0) == [Move(2.0, 0, "aftr-1", "aftr-2")]


def test_a_frame_belongs_to_the_slot_whose_address_it_has() -> None:
    slots = Slots(STATE)
    softwire = bytes(12) + b"\x86\xdd" + bytes(8) + IPv6Address("2001:db8:64::2").packed + IPv6Address("::9").packed
    assert (slots.of(softwire, to_pod=False), slots.of(softwire, to_pod=True)) == (1, None)
    internet = bytes(12) + b"\x08\x00" + bytes(12) + IPv4Address("198.18.0.80").packed + IPv4Address("192.0.2.5").packed
    assert (slots.of(internet, to_pod=False), slots.of(internet, to_pod=True)) == (None, 0)
    assert slots.of(bytes(12) + b"\x08\x06" + bytes(28), to_pod=True) is None


def test_figures_of_outages_and_moves() -> None:
    assert outages([500, 1200, 600]) == {"median": 600, "longest": 1200, "overOneSecond": 1}
    moves = [PlannedMove(f"move {number}", float(number), 1, 5.0) for number in range(1, 201)]
    slowest = [f"move {number}: {number} ms, 1 packets" for number in (200, 199, 198)]
    figures = {"outageMedian": 100.5, "outageP99": 198.0, "packetsLost": 200, "senderStallMedian": 5.0}
    assert moved(moves) == {"planned": 200, **figures, "slowest": slowest}
    assert moved([]) == {"planned": 0}


def test_more_than_one_burst_a_worker_after_the_lease_is_a_failure() -> None:
    strikes = [
        Strike("aftr-1", "", [0], late_packets=300, waiting_packets=900),
        Strike("aftr-2", "", [1], late_packets=2),
    ]
    none = {
        "lostBindings": 0,
        "duplicateEndpoints": 0,
        "misdelivered": 0,
        "survivingChildren": 0,
        "transfers": {"broken": 0},
    }
    assert resumed(strikes) == {"lateBurst": 300, "waitedForResumed": 900}
    assert failures(none | resumed(strikes), workers=1) == ["lateBurst"]
    assert failures(none | resumed(strikes), workers=2) == []
    assert failures(none | {"lostBindings": 1, "transfers": {"broken": 2}}, workers=1) == ["lostBindings", "transfers"]
