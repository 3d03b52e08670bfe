"""What is decided of names, on values alone; and that no history of wishes leaves a B4 with a name that does not resolve."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from contract_objects import SMALL
from dns_servers import ZONE
from dslite_contract.load import load_config
from dslite_operator.distribution.dns.plan import Change, Use, plan
from dslite_operator.distribution.dns.records import Held, Mark, Wanted, by_zone, mark_of, wanted_of
from dslite_operator.distribution.dns.resolving import Said, judged
from slot_names import HOUR, MARK, NOW, S0, S1, UNUSED, address, wishes

SECOND = timedelta(seconds=1)
FIRST = {S0: Wanted(address(1), "edge/east")}


def held(*addresses: int, text: str = MARK, others: tuple[str, ...] = ()) -> Held:
    return Held(frozenset(map(address, addresses)), (text,) if text else (), others)


def changes(wanted: dict[str, Wanted], found: dict[str, Held], use: Use = UNUSED) -> list[Change]:
    return list(plan(wanted, found, "metro", use, NOW).changes)


def test_slots_have_the_names_and_addresses_of_the_contract() -> None:
    assert wishes() == {S0: Wanted(address(1), "edge/east"), S1: Wanted(address(2), "edge/east")}


def test_a_pool_that_names_no_namespace_is_in_the_default_one() -> None:
    assert {one.pool for one in wanted_of(load_config(SMALL).pool).values()} == {"default/east"}


@pytest.mark.parametrize("until", [None, NOW])
def test_a_mark_is_what_it_was_written_from(until: datetime | None) -> None:
    mark = Mark("metro", "edge/east", until)
    assert mark_of(str(mark)) == mark


@pytest.mark.parametrize(
    "text",
    [
        "",
        "dslite",
        "dslite owner=metro",
        "heritage=external-dns owner=metro pool=p",
        f"{MARK} until=tomorrow",
        f"x{MARK}",
    ],
)
def test_other_texts_are_no_marks(text: str) -> None:
    assert mark_of(text) is None


def test_fields_that_a_newer_operator_adds_are_passed_over() -> None:
    assert mark_of(f"{MARK} since=2026") == Mark("metro", "edge/east")
    assert changes(FIRST, {S0: held(1, text=f"{MARK} since=2026")}) == []


@pytest.mark.parametrize(
    ("found", "before", "written"),
    [
        (None, None, address(1)),  # nothing there
        (held(), MARK, address(1)),  # its AAAA gone
        (held(2), MARK, address(1)),  # another one
        (held(1, 2), MARK, address(1)),  # one too many
        (held(1, text="dslite owner=metro pool=edge/old"), "dslite owner=metro pool=edge/old", None),  # a pool that was
        (
            held(1, text=f"{MARK} until=2026-11-27T00:00:00Z"),
            f"{MARK} until=2026-11-27T00:00:00Z",
            None,
        ),  # wanted again
    ],
)
def test_what_is_free_or_ours_becomes_what_it_should_be(
    found: Held | None, before: str | None, written: object
) -> None:
    made = changes(FIRST, {} if found is None else {S0: found})
    assert made == [Change(S0, before, written, Mark("metro", "edge/east"))]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (held(9, text="dslite owner=metro-2 pool=core/east"), "belongs to the installation metro-2: it has AAAA"),
        (held(9, text=""), "is not ours: it has AAAA 2001:db8:6400::9; remove that, or take another domain"),
        (held(text="", others=("CNAME",)), "is not ours: it has CNAME; "),
        (Held(frozenset({address(9)}), (MARK, "v=spf1")), 'is not ours: it has AAAA 2001:db8:6400::9, TXT "dslite'),
    ],
)
def test_what_others_have_is_refused_with_their_name(found: Held, said: str) -> None:
    made = plan(FIRST, {S0: found}, "metro", UNUSED, NOW)
    assert made.changes == ()
    assert made.refusals[S0].startswith(f"{S0} {said}")
    assert plan({}, {S0: found}, "metro", UNUSED, NOW).changes == ()


def test_what_others_keep_right_is_nobodys_trouble() -> None:
    made = plan(FIRST, {S0: held(1, text="heritage=external-dns")}, "metro", UNUSED, NOW)
    assert (made.changes, made.refusals) == ((), {})


def test_first_what_is_published_then_what_is_marked_last_what_is_removed() -> None:
    found = {
        f"a.east.{ZONE}": held(7, text=f"{MARK} until={NOW:%Y-%m-%dT%H:%M:%SZ}"),
        f"b.east.{ZONE}": held(8),
    }
    assert [one.name[:2] for one in changes(FIRST, found)] == ["s0", "b.", "a."]


def test_o02_names_of_a_pool_of_which_nothing_is_known_stay() -> None:
    """Neither is one marked, nor does one go that was marked before; those of other pools do."""
    old = held(2, text=f"{MARK} until={NOW:%Y-%m-%dT%H:%M:%SZ}")
    found = {S0: held(1), S1: old, f"s0.west.{ZONE}": held(3, text="dslite owner=metro pool=edge/west")}
    assert [one.name for one in changes({}, found)] == [S0, f"s0.west.{ZONE}", S1]
    assert [one.name for one in changes({}, found, Use((), HOUR, {"edge/east"}))] == [f"s0.west.{ZONE}"]


def test_a_name_is_in_the_longest_of_the_zones_that_have_it() -> None:
    parts = by_zone(FIRST, ["example.net", ZONE, f"west.{ZONE}", "ftr.example.net"])
    assert {zone: list(part) for zone, part in parts.items() if part} == {ZONE: [S0]}
    assert by_zone({ZONE: FIRST[S0]}, [ZONE]) == {ZONE: {}}


# ---------------------------------------------------------------- histories
def applied(zone: dict[str, Held], change: Change) -> None:
    """What a server does with an update (RFC 2136 section 3)."""
    there = zone.get(change.name)
    assert (there is None) if change.before is None else (there is not None and there.texts == (change.before,))
    if change.mark is None:
        del zone[change.name]
        return
    addresses = frozenset({change.address}) if change.address else (there or Held()).addresses
    zone[change.name] = Held(addresses, (str(change.mark),))


class Histories(RuleBasedStateMachine):
    """Names wanted or not, handed out when they may be, withdrawn at any time, with operators that remember nothing.

    A lease that was given with a name is over one lifetime later, and until then the name must have its AAAA.
    """

    names = tuple(f"s{slot}.east.{ZONE}" for slot in range(3))

    def __init__(self) -> None:
        super().__init__()
        self.zone: dict[str, Held] = {f"mail.{ZONE}": held(99, text="")}
        self.wanted: dict[str, Wanted] = {}
        self.told: dict[str, datetime] = {}  # when each name was last in a lease that was given
        self.handed: set[str] = set()
        self.now = NOW

    @rule(slots=st.sets(st.sampled_from(range(3))))
    def want(self, slots: set[int]) -> None:
        self.wanted = {self.names[slot]: Wanted(address(slot + 1), "edge/east") for slot in sorted(slots)}

    @rule(name=st.sampled_from(names))
    def hand_out(self, name: str) -> None:
        answers: dict[str, Said] = {one: self.zone.get(one, Held()).addresses for one in self.wanted}
        standing = judged(self.wanted, {"a server": answers}, {})
        if name in standing.resolved:
            self.handed.add(name)

    @rule(name=st.sampled_from(names))
    def withdraw(self, name: str) -> None:
        self.handed.discard(name)

    @rule(seconds=st.integers(0, 5000))
    def wait(self, seconds: int) -> None:
        self.told |= dict.fromkeys(self.handed, self.now + seconds * SECOND)
        self.now += seconds * SECOND

    @rule(known=st.booleans())
    def reconcile(self, known: bool) -> None:
        self.told |= dict.fromkeys(self.handed, self.now)
        use = Use(frozenset(self.handed) if known else None, HOUR)
        for change in plan(self.wanted, self.zone, "metro", use, self.now).changes:
            applied(self.zone, change)
        assert plan(self.wanted, self.zone, "metro", use, self.now).changes == ()

    @precondition(lambda self: self.zone.keys() & set(self.names))
    @rule(name=st.sampled_from(names))
    def damage(self, name: str) -> None:
        """Somebody removes an AAAA that nobody was told of."""
        if name in self.zone and name not in self.told and name not in self.handed:
            self.zone[name] = Held(frozenset(), self.zone[name].texts)

    @invariant()
    def leases_resolve(self) -> None:
        living = self.handed | {name for name, at in self.told.items() if self.now <= at + HOUR}
        for name in living:
            assert self.zone[name].addresses == {address(self.names.index(name) + 1)}

    @invariant()
    def others_are_left_alone(self) -> None:
        assert self.zone[f"mail.{ZONE}"] == held(99, text="")


Histories.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
test_histories = Histories.TestCase
