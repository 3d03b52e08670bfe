"""What a Kea should have of ours, without any Kea."""

from __future__ import annotations

import copy
from ipaddress import IPv6Address, IPv6Network
from itertools import islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assignments import OTHER, S0, S1, S2, spread, whole
from dhcp_network import HOMES
from dslite_contract.rules import overlap
from dslite_operator.distribution.buckets import bucket_of, duid_in
from dslite_operator.distribution.maps import Area
from dslite_operator.distribution.providers.asking import QUESTIONS
from dslite_operator.distribution.providers.errors import ForeignError, OptionError, UnsuitableError
from dslite_operator.distribution.providers.kea.dialect import Dialect, dialect
from dslite_operator.distribution.providers.kea.expressions import behind, in_buckets
from dslite_operator.distribution.providers.kea.patching import changed_classes, copies, patch, stages
from dslite_operator.distribution.providers.kea.questions import Link, checks, links
from dslite_operator.distribution.providers.kea.rendering import check, render
from dslite_operator.distribution.providers.kea.surroundings import left_out, without_missing
from dslite_operator.distribution.providers.kea.timers import timers
from dslite_operator.distribution.providers.provider import Assignment, Part

OLD, NEW = dialect("2.6.3", ["config-hash-get"]), dialect("3.0.4", ["config-hash-get", "class-update"])


def document(*subnets: dict[str, Any], **more: Any) -> dict[str, Any]:
    found = subnets or ({"id": 7, "subnet": str(HOMES)}, {"id": 3, "subnet": str(OTHER)})
    return {
        "Dhcp6": {"subnet6": list(found), "interfaces-config": {"interfaces": ["eth0", "eth9/2001:db8::9"]}, **more}
    }


# ---------------------------------------------------------------- rendering
def test_d21_one_name_is_an_option_of_the_subnet() -> None:
    made = render([whole(copy="the map")], "us", OLD)
    assert not made.classes
    assert made.options[HOMES]["data"] == "s0.east.aftr.example.net."
    assert (
        made.options[HOMES]["user-context"]["dslite"].items()
        >= {"owner": "us", "group": "isp/homes", "map": "the map"}.items()
    )


def test_d21_several_names_are_classes_that_their_subnets_ask_for() -> None:
    for one, only in ((OLD, "only-if-required"), (NEW, "only-in-additional-list")):
        made = render([spread((S0, S1), "lastNibble")], "us", one)
        assert not made.options
        assert (
            list(made.classes)
            == made.asked[HOMES]
            == ["dslite/isp/homes/s0.east.aftr.example.net", "dslite/isp/homes/s1.east.aftr.example.net"]
        )
        assert all(body[only] is True for body in made.classes.values())
        assert [body["test"].count(" == ") for body in made.classes.values()] == [8, 8]


def test_parts_of_a_group_have_rules_of_their_own() -> None:
    parts = (Part((Area(HOMES, "a"), Area(OTHER, "a")), (S0,)), Part((Area(HOMES, "b"),), (S0,)))
    made = render([Assignment("isp/homes", "whole", parts)], "us", OLD)
    assert list(made.classes) == [
        "dslite/isp/homes/s0.east.aftr.example.net",
        "dslite/isp/homes/s0.east.aftr.example.net/2",
    ]
    assert made.asked == {HOMES: list(made.classes), OTHER: [next(iter(made.classes))]}


def test_groups_that_cannot_be_told_apart_are_refused() -> None:
    for ours, its in (
        (Area(HOMES), Area(HOMES)),
        (Area(HOMES, "a"), Area(HOMES)),
        (Area(HOMES, "a*"), Area(HOMES, "ab")),
    ):
        with pytest.raises(ForeignError, match=r"subnet 2001:db8:40::/64 is asked for by groups isp/one and isp/two"):
            check([whole("isp/one", S0, ours), whole("isp/two", S1, its)])
    check([whole("isp/one", S0, Area(HOMES, "a*")), whole("isp/two", S1, Area(HOMES, "b*"), Area(OTHER))])


def test_a_map_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(OptionError, match=r"group isp/homes: 2 names for the 256 buckets of last"):
        check([Assignment("isp/homes", "last", (Part((Area(HOMES),), (S0, S1)),))])


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("a", "a", True),
        ("a", "b", False),
        ("a*", "ab", True),
        ("ab", "a*", True),
        ("ab*", "a*", True),
        ("a*", "b*", False),
        ("ab*", "a", False),
        ("", "a", True),
        ("", "", True),
    ],
)
def test_interface_ids_that_match_the_same(one: str, other: str, both: bool) -> None:
    assert overlap(one, other) is both


def test_expressions() -> None:
    assert (
        in_buckets([3, 1], "last")
        == "(substring(option[1].hex, -1, 1) == 0x01) or (substring(option[1].hex, -1, 1) == 0x03)"
    )
    assert behind("ab") == "relay6[-1].option[18].hex == 0x6162"
    assert behind("ab*") == "substring(relay6[-1].option[18].hex, 0, 2) == 0x6162"
    assert duid_in(0xA5, "lastTwoLowNibbles")[-2:] == b"\x0a\x05"


@pytest.mark.parametrize("version", ["2.1.7", "1.9", "what"])
def test_a_kea_that_is_too_old_is_named(version: str) -> None:
    with pytest.raises(UnsuitableError, match=rf"Kea {version} is too old"):
        dialect(version, [])


# ---------------------------------------------------------------- patching
subnets = st.fixed_dictionaries(
    {},
    optional={
        "option-data": st.just([{"name": "dns-servers", "data": "2001:db8::53"}]), "user-context": st.just({"site": 7}),
        "require-client-classes": st.lists(st.sampled_from(["voice", "guests"]), min_size=1, unique=True),
        "renew-timer": st.integers(100, 10_000), "pools": st.just([{"pool": "2001:db8::/80"}]),
    },
)  # fmt: skip
groups = st.sampled_from(
    [
        [], [whole()], [whole(renew_s=60, copy="a")], [spread((S0, S1))], [spread((S1, S0, None))],
        [spread((S0, S2), "lastNibble", Area(HOMES, "x*")), whole("isp/others", S1, Area(OTHER), renew_s=99)],
    ]
)  # fmt: skip


classes = st.sampled_from([{}, {"client-classes": [{"name": "voice", "test": "option[16].exists"}]}])


@settings(max_examples=200)
@given(subnets, subnets, classes, st.lists(groups, min_size=1, max_size=4))
def test_any_history_ends_as_its_last_step_alone_and_without_us_as_it_began(
    one: Any, other: Any, theirs: Any, history: Any
) -> None:
    begun = document({"id": 7, "subnet": str(HOMES), **one}, {"id": 3, "subnet": str(OTHER), **other}, **theirs)
    untouched = copy.deepcopy(begun)
    found = begun
    for step in history:
        found = patch(found, render(step, "us", OLD), OLD)
    assert patch(found, render(history[-1], "us", OLD), OLD) == found
    assert [subnet["id"] for subnet in found["Dhcp6"]["subnet6"]] == [7, 3]
    ended = patch(found, render([], "us", OLD), OLD)
    for subnet in (*ended["Dhcp6"]["subnet6"], *untouched["Dhcp6"]["subnet6"]):
        if not subnet.get("option-data"):
            subnet.pop("option-data", None)
    assert ended == untouched


def named(group: str, *slots: str, **more: Any) -> Assignment:
    """A group on the other subnet."""
    return spread(slots, "last", Area(OTHER), group=group, **more)


@pytest.mark.parametrize(
    "shops", [named("isp/shops", S0, copy="map"), named("isp/shops", S0, S1, renew_s=60, copy="map")]
)
def test_what_a_group_has_stays_while_others_are_told_something_new(shops: Assignment) -> None:
    """Whatever stands in its way: its name, its classes, its T1 and the copy of its map."""
    theirs = {"pd-pools": [{"prefix": "2001:db8::", "prefix-len": 48, "option-data": [{"code": 64, "data": "mine."}]}]}
    begun = document({"id": 7, "subnet": str(HOMES)}, {"id": 3, "subnet": str(OTHER), "renew-timer": 600})
    found = patch(begun, render([whole(copy="old"), shops], "us", OLD), OLD)
    found["Dhcp6"]["subnet6"][1] |= theirs
    with pytest.raises(ForeignError, match=r"has an aftr-name 'mine.'"):
        patch(found, render([whole(name=S1, copy="new"), shops], "us", OLD), OLD)
    left = render([whole(name=S1, copy="new")], "us", OLD, {"isp/shops"})
    after = patch(found, left, OLD)
    assert after["Dhcp6"]["subnet6"][1] == found["Dhcp6"]["subnet6"][1]
    assert after["Dhcp6"].get("client-classes") == found["Dhcp6"].get("client-classes")
    assert copies(after, "us") == {"isp/homes": "new", "isp/shops": "map"}
    assert patch(after, left, OLD) == after


@pytest.mark.parametrize("names", [(S0,), (S0, S1)])
def test_b4s_of_a_group_that_is_left_as_it_is_are_told_by_no_other(names: tuple[str, ...]) -> None:
    found = patch(document(), render([named("isp/shops", *names)], "us", OLD), OLD)
    with pytest.raises(ForeignError, match=r"subnet 2001:db8:41::/64: its B4s are told by group isp/shops as before"):
        patch(found, render([whole("isp/others", S2, Area(OTHER))], "us", OLD, {"isp/shops"}), OLD)
    shared = render([named("isp/shops", S0, S1)], "us", OLD)
    beside = render([whole("isp/others", S2, Area(OTHER, "x*"))], "us", OLD, {"isp/shops"})
    assert len(patch(patch(document(), shared, OLD), beside, OLD)["Dhcp6"]["client-classes"]) == 3


def test_the_old_renew_timer_comes_back_and_is_never_made_longer() -> None:
    begun = document({"id": 7, "subnet": str(HOMES), "renew-timer": 600}, {"id": 3, "subnet": str(OTHER)})
    shorter = patch(begun, render([whole(renew_s=60)], "us", OLD), OLD)
    again = patch(shorter, render([whole(renew_s=30)], "us", OLD), OLD)
    longer = patch(again, render([whole(renew_s=9000)], "us", OLD), OLD)
    assert [one["Dhcp6"]["subnet6"][0]["renew-timer"] for one in (shorter, again, longer)] == [60, 30, 600]
    assert patch(longer, render([whole()], "us", OLD), OLD)["Dhcp6"]["subnet6"][0]["renew-timer"] == 600


@pytest.mark.parametrize(
    ("said", "own"),
    [({"renew-timer": 120}, {}), ({"preferred-lifetime": 240}, {}), ({"preferred-lifetime": 240}, {"renew-timer": 0})],
)
def test_t1_that_a_subnet_has_from_elsewhere_is_not_made_longer_either(said: Any, own: Any) -> None:
    """From the whole, or from its preferred lifetime."""
    begun = document(
        {"id": 7, "subnet": str(HOMES), **own}, {"id": 3, "subnet": str(OTHER), "renew-timer": 1800}, **said
    )
    drained = whole("isp/homes", S0, Area(HOMES), Area(OTHER), renew_s=300)
    found = patch(begun, render([drained], "us", OLD), OLD)
    assert [one["renew-timer"] for one in found["Dhcp6"]["subnet6"]] == [120, 300]
    assert patch(found, render([drained], "us", OLD), OLD) == found
    assert timers(patch(found, render([whole()], "us", OLD), OLD)) == timers(found) == timers(begun)


def test_a_drain_of_another_operator_is_waited_for() -> None:
    theirs = patch(document(), render([whole("isp/others", S0, Area(OTHER), renew_s=60)], "they", OLD), OLD)
    with pytest.raises(ForeignError, match=r"subnet 2001:db8:41::/64: its renew-timer is of another operator, they"):
        patch(theirs, render([spread((S0, S1), "last", Area(OTHER, "x"), renew_s=60)], "us", OLD), OLD)


def test_a_class_of_our_name_that_is_not_ours_is_left() -> None:
    taken = document(**{"client-classes": [{"name": "dslite/isp/homes/s0.east.aftr.example.net"}]})
    with pytest.raises(ForeignError, match=r"class dslite/isp/homes/s0.east.aftr.example.net is not ours"):
        patch(taken, render([spread((S0, S1))], "us", OLD), OLD)


def test_a_name_of_the_shared_network_comes_before_classes_alone() -> None:
    option = [{"code": 64, "space": "dhcp6", "data": "mine.example.net"}]
    shared = {"name": "campus", "option-data": option, "subnet6": [{"id": 7, "subnet": str(HOMES)}]}
    begun = {"Dhcp6": {"subnet6": [], "shared-networks": [shared]}}
    patch(begun, render([whole()], "us", OLD), OLD)
    with pytest.raises(ForeignError, match=r"its shared network campus has an aftr-name 'mine.example.net'"):
        patch(begun, render([spread((S0, S1))], "us", OLD), OLD)


def test_many_obstacles_are_counted() -> None:
    wanted = render(
        [whole("isp/homes", S0, *(Area(subnet) for subnet in islice(HOMES.subnets(new_prefix=80), 9)))], "us", OLD
    )
    with pytest.raises(ForeignError, match=r"there is no subnet .*; and 4 more$"):
        patch(document(), wanted, OLD)


def test_copies_are_ours_alone() -> None:
    found = patch(document(), render([spread((S0, S1), copy="ours")], "us", OLD), OLD)
    found = patch(found, render([whole("isp/others", S0, Area(OTHER), copy="theirs")], "they", OLD), OLD)
    assert copies(found, "us") == {"isp/homes": "ours"}
    assert copies(found, "they") == {"isp/others": "theirs"}


def test_classes_alone_are_seen_and_no_bucket_is_ever_in_none() -> None:
    before = patch(document(), render([spread((S0, S1))], "us", NEW), NEW)
    after = patch(before, render([spread((S1, S0))], "us", NEW), NEW)
    found = changed_classes(before, after)
    assert found is not None
    assert len(found) == 2
    tests = [body["test"] for body in stages(found)]
    assert tests[:2] == [f"({old['test']}) or ({new['test']})" for old, new in found]
    assert tests[2:] == [new["test"] for _, new in found]
    assert changed_classes(before, patch(before, render([spread((S0, S1, S2))], "us", NEW), NEW)) is None
    assert changed_classes(before, patch(before, render([whole()], "us", NEW), NEW)) is None


# ---------------------------------------------------------------- questions, surroundings
def test_questions_come_as_from_the_subnets_relay() -> None:
    relayed = {"id": 7, "subnet": str(HOMES), "relay": {"ip-addresses": ["2001:db8:ffff::1"]}, "interface-id": "vlan7"}
    begun = document(relayed, {"id": 3, "subnet": str(OTHER)})
    groups = [whole("isp/a", S2, Area(OTHER)), spread((S0, S1))]
    after = patch(begun, render(groups, "us", OLD), OLD)
    asked = checks(begun, after, groups, OLD)
    assert [one.name for one in asked] == [S2, S0, S1]
    assert [str(one.question.link) for one in asked] == ["2001:db8:41::1", "2001:db8:ffff::1", "2001:db8:ffff::1"]
    assert asked[1].question.interface_id == b"vlan7"
    (alive,) = checks(after, begun, [], OLD)
    assert alive.name is None


def test_a_relay_that_several_subnets_have_tells_none_of_them_apart() -> None:
    """Nor does an Interface-ID: Kea takes the first subnet that has it, so the question comes from an address of the right one."""
    first, second, third = HOMES, OTHER, IPv6Network("2001:db8:42::/64")
    relay, own = {"ip-addresses": [str(second[1])]}, {"ip-addresses": ["2001:db8:ffff::1"]}
    inside = [{"id": 1, "subnet": str(first)}, {"id": 2, "subnet": str(second), "relay": relay, "interface-id": "eth7"}]
    inside.append({"id": 3, "subnet": str(third), "relay": own, "interface-id": "eth8"})
    shared = {"name": "campus", "relay": relay, "interface-id": "eth7", "subnet6": inside}
    assert links({"Dhcp6": {"shared-networks": [shared]}}) == {
        first: Link(first[1], None), second: Link(second[2], None), third: Link(IPv6Address("2001:db8:ffff::1"), "eth8"),
    }  # fmt: skip


def test_a_group_is_asked_for_where_it_is_changed() -> None:
    """And each of its names once, whatever its buckets."""
    begun = document({"id": 7, "subnet": str(HOMES)}, {"id": 3, "subnet": str(OTHER)})
    before = patch(begun, render([spread((S0, None, S1, S0), "last", Area(HOMES))], "us", OLD), OLD)
    wider = spread((S0, None, S1, S0), "last", Area(HOMES), Area(OTHER))
    asked = checks(before, patch(before, render([wider], "us", OLD), OLD), [wider], OLD)
    assert [(one.name, str(one.question.link)) for one in asked] == [(S0, "2001:db8:41::1"), (S1, "2001:db8:41::1")]
    assert [wider.parts[0].names[bucket_of(one.question.duid, "last")] for one in asked] == [S0, S1]


@pytest.mark.parametrize("one", [OLD, NEW])
def test_a_group_of_which_classes_alone_are_changed_is_asked_for_before_others(one: Dialect) -> None:
    """The last of more names than are asked for."""
    areas = [Area(subnet) for subnet in islice(HOMES.subnets(new_prefix=80), QUESTIONS + 1)]
    begun = document(*({"id": number, "subnet": str(area.subnet)} for number, area in enumerate(areas, 1)))
    groups = [spread((S0, S1), "lastNibble", area, group=f"isp/{n:02}") for n, area in enumerate(areas)]
    before = patch(begun, render(groups, "us", one), one)
    groups[-1] = spread((S1, S0), "lastNibble", areas[-1], group=groups[-1].group)
    asked = checks(before, patch(before, render(groups, "us", one), one), groups, one)
    assert [check.name for check in asked if check.question.link in areas[-1].subnet] == [S1, S0]
    assert len(asked) == QUESTIONS


def test_an_interface_or_address_that_kea_misses_is_left_out_and_noted() -> None:
    gone = without_missing(
        document(), "Failed to select interface: interface 'eth0' doesn't exist in the system (<wire>:0:1)"
    )
    assert gone is not None
    assert gone["Dhcp6"]["interfaces-config"]["interfaces"] == ["eth9/2001:db8::9"]
    assert left_out(gone) == ["eth0"]
    with pytest.raises(ForeignError, match=r"it serves without eth0, which it could not find"):
        patch(gone, render([whole()], "us", OLD), OLD)
    words = "interface 'eth9' doesn't have address '2001:db8::9' assigned"
    lost = without_missing(document(), words)
    assert lost is not None
    assert left_out(lost) == ["eth9/2001:db8::9"]
    assert without_missing(lost, "interface 'eth0' doesn't exist in the system") is None
    assert without_missing(document(), "Unable to open database") is None
