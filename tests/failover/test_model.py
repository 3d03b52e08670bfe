"""Many histories of a pool in which things go wrong, and for each guard a history that goes wrong without it.

The long run: `pytest -m chaos tests/failover -s` (100,000 histories; DSLITE_HISTORIES and DSLITE_SEED change number and first seed).
"""

from __future__ import annotations

import inspect
import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import pytest

from aftr.failover import guards
from aftr.failover.state import Phase
from failover.model import History, ViolationError

SHORT, LONG, CHUNK, ENOUGH = 800, 100_000, 500, 2000
Coverage = Counter[tuple[Phase, str]]

# Guard → the faults under which its absence shows.
REMOVED: dict[str, tuple[str, ...]] = {
    "lease_runs": ("stop",),
    "not_superseded": ("stop",),
    "owner_is_gone": ("links",),
    "all_were_asked": ("disaster", "links"),
    "members_were_heard": ("lose", "crash"),
    "nobody_serves": ("rewind", "links"),
    "store_settled": ("lose", "crash"),
    "newest_epoch": ("lose",),
    "store_has": ("disaster",),
    "holds_the_tail": ("crash",),
    "store_holds_it": ("lose", "rewind"),
    "may_forget": ("lose", "crash"),
    "target_is_ready": ("links", "crash"),
    "is_its_turn": ("links",),
    "all_is_flushed": ("links", "slow"),
    "may_thaw": ("sealcut",),
    "drain_goes_on": ("links",),
    "everyone_promised": ("cut",),
    "store_is_up_to_date": ("down",),
    "may_promise": ("cut",),
}


def run(first: int, number: int) -> tuple[Coverage, int, list[str]]:
    """Histories of consecutive seeds: what was covered, how many events, and what went wrong."""
    coverage: Coverage = Counter()
    events, wrong = 0, []
    for seed in range(first, first + number):
        try:
            events += History(seed, coverage).run().events
        except ViolationError as violation:
            wrong.append(f"seed {seed}: {violation}")
    return coverage, events, wrong


def show(coverage: Coverage) -> None:
    print(f"\n{len(coverage)} pairs of (phase, event):")
    for phase in Phase:
        pairs = {kind: times for (at, kind), times in sorted(coverage.items(), key=str) if at is phase}
        print(f"  {phase.name:12}", ", ".join(f"{kind} {times}" for kind, times in pairs.items()))


def permissive(name: str) -> Callable[..., object]:
    """The guard, removed: everything is allowed."""
    return (lambda claimed, _: claimed) if name == "newest_epoch" else lambda *_: True


def all_guards() -> set[str]:
    return {
        name for name, value in inspect.getmembers(guards, inspect.isfunction) if value.__module__ == guards.__name__
    }


@pytest.mark.timeout(120)
def test_histories_keep_every_promise() -> None:
    coverage, events, wrong = run(0, SHORT)
    assert not wrong, "\n".join(wrong[:10])
    assert events >= 20 * SHORT
    assert {phase for phase, _ in coverage} == set(Phase)
    assert len(coverage) >= 40


def test_a_history_is_decided_by_its_seed() -> None:
    first, second = list[str](), list[str]()
    History(7, log=first).run()
    History(7, log=second).run()
    assert first == second


def test_every_guard_is_in_the_table() -> None:
    assert set(REMOVED) == all_guards()


@pytest.mark.parametrize("guard", REMOVED)
def test_without_a_guard_a_promise_is_broken(guard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, guard, permissive(guard))
    for seed in range(ENOUGH):
        try:
            History(seed, kinds=REMOVED[guard]).run()
        except ViolationError:
            return
    pytest.fail(f"{ENOUGH} histories do not notice that {guard} is gone: remove it, or strengthen the model")


@pytest.mark.parametrize("guard", REMOVED)
def test_with_all_guards_the_same_faults_break_none(guard: str) -> None:
    for seed in range(10):
        History(seed, kinds=REMOVED[guard]).run()


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_a_hundred_thousand_histories_keep_every_promise() -> None:
    number, first = int(os.environ.get("DSLITE_HISTORIES", LONG)), int(os.environ.get("DSLITE_SEED", SHORT))
    coverage: Coverage = Counter()
    events, wrong = 0, list[str]()
    with ProcessPoolExecutor() as pool:
        starts = range(first, first + number, CHUNK)
        for covered, some, violations in pool.map(
            run, starts, [min(CHUNK, first + number - start) for start in starts]
        ):
            coverage.update(covered)
            events += some
            wrong += violations
    print(f"\n{number} histories, {events} events, {len(wrong)} violations")
    show(coverage)
    assert not wrong, "\n".join(wrong[:20])
