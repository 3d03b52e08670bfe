"""Assignment: balanced, minimal, the same on every pod, and the same however far its moves have been carried out."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftr.failover.assignment import assign, eligible, next_handover, warm_copies, weight

NAMES = [f"pod-{letter}" for letter in "abcdefghijkl"]
members_of = st.sets(st.sampled_from(NAMES), min_size=1)
SLOTS = st.sampled_from([1, 2, 4, 8, 16, 32])


@st.composite
def pools(draw: st.DrawFn) -> tuple[frozenset[str], tuple[str | None, ...]]:
    """Members, and owners of whom some are dead and some are nobody."""
    owners = draw(SLOTS.flatmap(lambda n: st.lists(st.sampled_from([*NAMES, None]), min_size=n, max_size=n)))
    return frozenset(draw(members_of)), tuple(owners)


def loads(members: frozenset[str], assigned: tuple[str | None, ...]) -> list[int]:
    count = Counter(assigned)
    return [count[member] for member in members]


def least_moves(members: frozenset[str], owners: tuple[str | None, ...]) -> int:
    """By trying all ways to hand out the larger shares: how many slots must move."""
    floor, larger = divmod(len(owners), len(members))
    have = {member: owners.count(member) for member in members}
    kept = max(
        sum(min(have[member], floor + (member in chosen)) for member in members)
        for chosen in itertools.combinations(sorted(members), larger)
    )
    return len(owners) - kept


@given(pools())
def test_loads_differ_by_at_most_one(pool: tuple[frozenset[str], tuple[str | None, ...]]) -> None:
    members, owners = pool
    assigned = assign(members, owners)
    assert set(assigned) <= members
    assert max(loads(members, assigned)) - min(loads(members, assigned)) <= 1


@given(pools())
def test_only_what_must_move_moves(pool: tuple[frozenset[str], tuple[str | None, ...]]) -> None:
    members, owners = pool
    assigned = assign(members, owners)
    assert sum(a != b for a, b in zip(assigned, owners, strict=True)) == least_moves(members, owners)


@given(pools(), st.randoms(use_true_random=False))
def test_the_order_of_members_says_nothing(pool: tuple[frozenset[str], tuple[str | None, ...]], random: object) -> None:
    members, owners = pool
    shuffled = sorted(members)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert assign(shuffled, owners) == assign(members, owners)
    assert warm_copies(shuffled, owners) == warm_copies(members, owners)


@given(pools(), st.data())
def test_moves_half_carried_out_leave_the_others_as_they_were(
    pool: tuple[frozenset[str], tuple[str | None, ...]], data: st.DataObject
) -> None:
    members, owners = pool
    target = assign(members, owners)
    done = data.draw(st.lists(st.booleans(), min_size=len(owners), max_size=len(owners)))
    halfway = tuple(t if d else o for t, o, d in zip(target, owners, done, strict=True))
    assert assign(members, halfway) == target


@given(pools())
def test_the_warm_copy_is_with_the_real_taker(pool: tuple[frozenset[str], tuple[str | None, ...]]) -> None:
    members, owners = pool
    warm = warm_copies(members, owners)
    for slot, owner in enumerate(owners):
        if owner in members and len(members) > 1:
            assert warm[slot] == assign(members - {owner}, owners)[slot] != owner


@given(members_of, SLOTS)
def test_a_settled_pool_that_loses_one_moves_only_its_slots(names: set[str], slots: int) -> None:
    members = frozenset(names)
    settled = assign(members, (None,) * slots)
    assert assign(members, settled) == settled
    for gone in sorted(members) if len(members) > 1 else []:
        after = assign(members - {gone}, settled)
        assert all(a == b for a, b in zip(after, settled, strict=True) if b != gone)


def test_a_pool_of_one_serves_all_and_has_no_warm_copy() -> None:
    assert assign({"a"}, (None,) * 4) == ("a",) * 4
    assert warm_copies({"a"}, ("a",) * 4) == (None,) * 4


def test_an_empty_pool_serves_nothing() -> None:
    assert assign((), ("a", None)) == (None, None)


def test_weights_are_the_same_on_every_pod() -> None:
    assert weight("pod-a", 3) == 0x2347FFE12F8EDBAF


def test_seven_to_eight_pods_moves_two_slots() -> None:
    seven = assign(NAMES[:7], (None,) * 16)
    eight = assign(NAMES[:8], seven)
    assert sum(a != b for a, b in zip(seven, eight, strict=True)) == 2


@pytest.mark.parametrize(
    ("linked", "leaving", "expected"),
    [("abc", "", "abc"), ("ab", "", "ab"), ("", "", "abc"), ("abc", "a", "bc"), ("a", "a", "bc"), ("ab", "abc", "ab")],
)
def test_only_members_with_links_own_slots_unless_none_has(linked: str, leaving: str, expected: str) -> None:
    assert eligible("abc", linked, leaving) == frozenset(expected)


@pytest.mark.parametrize(("able", "expected"), [("bc", "b"), ("a", "a"), ("c", "c"), ("", "b")])
def test_only_who_reads_what_is_stored_owns_slots_unless_nobody_does(able: str, expected: str) -> None:
    assert eligible("abc", linked="b", leaving="", readers=able) == frozenset(expected)


def test_one_handover_at_a_time() -> None:
    owners, assigned = ("a", "a", "b", "a"), ("a", "b", "c", "c")
    assert next_handover("a", owners, assigned, busy=(), warm={1, 3}) == 1
    assert next_handover("a", owners, assigned, busy=(), warm={2, 3}) == 3, (
        "slot 1's target is not ready, slot 2 is b's"
    )
    assert next_handover("a", owners, assigned, busy={3}, warm={1, 3}) is None
