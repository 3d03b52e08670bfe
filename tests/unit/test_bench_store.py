"""The arithmetic of `make bench-store` (issue 4, proof 5), loaded by its path: the package `bench` has a kernel cache of its own."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from aftr.ops.serving.member import CHECKPOINT_BYTES
from dslite_contract.journal import RECORD

PLACE = Path(__file__).parents[2] / "bench" / "store" / "figures.py"


def load() -> Any:
    spec = importlib.util.spec_from_file_location("bench_store_figures", PLACE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


figures = load()


def moments(*found: tuple[int, int, str]) -> list[Any]:
    """(milliseconds, slot, phase)."""
    return [figures.Moment(milliseconds * 1_000_000, slot, phase) for milliseconds, slot, phase in found]


def test_delays_are_milliseconds() -> None:
    found = figures.delays(number * 1_000_000 for number in range(100, 0, -1))
    assert found == {"packets": 100, "median": 50.5, "p99": 99.0, "most": 100.0}


def test_the_99th_percentile_of_few_delays_is_the_longest() -> None:
    assert figures.delays([1_000_000, 5_000_000])["p99"] == 5.0


def test_no_delay_is_no_result() -> None:
    with pytest.raises(ValueError, match="no first packet"):
        figures.delays([])


def test_a_takeover_lasts_from_the_first_question_to_the_last_slot() -> None:
    found = figures.steps(
        moments(
            (100, 0, "ASKING"), (110, 1, "ASKING"), (150, 0, "CLAIMING"), (160, 1, "CLAIMING"), (163, 0, "CATCHING_UP"),
            (165, 1, "CATCHING_UP"), (170, 0, "OPENING"), (171, 0, "SERVING"), (180, 1, "OPENING"), (185, 1, "SERVING"),
        )
    )  # fmt: skip
    assert found == {"asking": 50.0, "claiming": 5.0, "catching_up": 15.0, "opening": 5.0, "total": 85.0}


def test_a_slot_that_is_not_taken_is_no_result() -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\] asked, slots \[0\] serve"):
        figures.steps(moments((1, 0, "ASKING"), (1, 1, "ASKING"), (9, 0, "SERVING")))


def test_a_copy_lasts_until_the_last_slot_is_warm() -> None:
    found = moments((5, 0, "WARM"), (10, 0, "COPYING"), (11, 1, "COPYING"), (20, 0, "WARM"), (30, 1, "WARM"))
    assert figures.spent(found, "COPYING", "WARM") == 20.0


def test_packets_are_counted_by_the_second_of_work() -> None:
    assert figures.per_second((1000, 5_000_000), (3000, 6_000_000)) == 2_000_000
    with pytest.raises(ValueError, match="not busy"):
        figures.per_second((1, 1), (2, 1))


def test_rounds_are_compared_one_by_one() -> None:
    assert figures.ratio([10.0, 20.0, 40.0], [9.0, 20.0, 38.0])["median"] == 0.95


def test_the_formula_of_redis_follows_the_product() -> None:
    assert RECORD.itemsize == figures.RECORD_BYTES
    assert figures.JOURNAL_MIN_BYTES == CHECKPOINT_BYTES
    assert figures.redis_bytes(0, 0, 1.0) == 2 * CHECKPOINT_BYTES
    live = 32 * 1_062_500
    assert figures.redis_bytes(1_000_000, 62_500, 1.25) == 1.25 * 4 * live


@pytest.mark.parametrize(("rate", "reached"), [(200_000, True), (199_999, False)])
def test_aims_are_judged(rate: int, reached: bool) -> None:
    memory = {"perSecond": rate, "firstPackets": {"200": {"p99": 3.0}, "2000": {"p99": 3.1}}}
    taken = {"mappings": 1_000_000, "slots": 1, "warm": {"total": 100.1}, "coldMs": 2000.0}
    found = figures.aims(
        {"durabilities": {"memory": memory}, "established": {"ratio": {"median": 0.95}}, "takeovers": [taken]}
    )
    assert [one[3] for one in found] == [reached, True, False, True, False, True]


def test_what_was_not_measured_is_not_judged() -> None:
    assert figures.aims({"durabilities": {"none": {}}, "takeovers": []}) == []
