"""Who holds what: accepted before new, older before younger, in every order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assignments import S0, whole
from cluster_objects import configured, group, pool
from contract_objects import NORTH, full
from dslite_operator.claims import Claim, Clients, Holder, Wanted, group_claims, judge, pool_claims
from dslite_operator.distribution.maps import Area
from dslite_operator.distribution.providers.kea.rendering import check

WEST, EAST = Holder("AftrPool", "edge", "west"), Holder("AftrPool", "edge", "east")


def nat(*prefixes: str) -> tuple[Claim, ...]:
    return tuple(Claim("nat", IPv4Network(one), f"spec.nat.pools[0].prefixes[{n}]") for n, one in enumerate(prefixes))


def test_accepted_wins_over_an_older_object_that_was_edited() -> None:
    wanted = [Wanted(EAST, "2026-01-01", nat("192.0.2.0/24")), Wanted(WEST, "2026-02-01", nat("192.0.2.128/25"))]
    found = judge({WEST: nat("192.0.2.128/25")}, wanted)
    assert list(found) == [EAST]
    assert found[EAST][0].line == (
        "spec.nat.pools[0].prefixes[0]: 192.0.2.0/24 is not allowed: it overlaps 192.0.2.128/25 of AftrPool edge/west"
    )


def test_of_two_new_ones_the_older_wins_then_the_name() -> None:
    same = nat("192.0.2.0/24")
    assert list(judge({}, [Wanted(EAST, "2026-02-01", same), Wanted(WEST, "2026-01-01", same)])) == [EAST]
    found = judge({}, [Wanted(WEST, "2026-01-01", same), Wanted(EAST, "2026-01-01", same)])
    assert list(found) == [WEST]
    assert found[WEST][0].line.endswith("192.0.2.0/24 is not allowed: it is held by AftrPool edge/east")


def test_who_is_refused_gets_nothing_new() -> None:
    third = Holder("AftrPool", "edge", "zoo")
    wanted = [
        Wanted(EAST, "1", nat("192.0.2.0/24")), Wanted(WEST, "2", nat("192.0.2.0/25", "198.51.100.0/24")),
        Wanted(third, "3", nat("198.51.100.0/25")),
    ]  # fmt: skip
    assert list(judge({}, wanted)) == [WEST]


def test_an_object_may_move_inside_its_own() -> None:
    assert judge({EAST: nat("192.0.2.0/24")}, [Wanted(EAST, "1", nat("192.0.2.0/25", "192.0.2.128/25"))]) == {}


def test_tunnels_and_names_of_pools() -> None:
    one, two = configured(pool("east")).pool, configured(pool("east", "core", 1)).pool
    claims = [
        Wanted(Holder("AftrPool", p.metadata.namespace or "", "east"), "1", tuple(pool_claims(p))) for p in (one, two)
    ]
    found = judge({}, claims)
    assert [refused.claim.sort for refused in found[Holder("AftrPool", "edge", "east")]] == ["fqdn"]


def test_only_an_equal_prefix_of_b4s_is_anothers() -> None:
    objects = configured(pool(), group("a", "2001:db8:1000::/36"), group("b", "2001:db8:1000::/40"))
    wanted = [Wanted(Holder("B4Group", "edge", g.metadata.name), "1", tuple(group_claims(g))) for g in objects.groups]
    assert judge({}, wanted) == {}
    other = Wanted(Holder("B4Group", "core", "c"), "2", wanted[0].claims)
    assert list(judge({}, [*wanted, other])) == [other.holder]


def test_clients_of_a_dhcpv6_server_are_of_one_group_in_the_cluster() -> None:
    north = full().groups[0]
    wanted = Wanted(Holder("B4Group", "edge", "north"), "1", tuple(group_claims(north))[2:])
    other = Wanted(Holder("B4Group", "core", "n"), "2", wanted.claims)
    assert judge({}, [wanted, other])[other.holder][0].line == (
        "spec.dhcp.subnets[0]: metro 2001:db8:1000::/48 dslam-7* is not allowed: it is held by B4Group edge/north"
    )
    elsewhere = full({"spec.match.relayInterfaceId": "dslam-8"}, NORTH).groups[0]
    assert judge({}, [wanted, Wanted(other.holder, "2", tuple(group_claims(elsewhere))[2:])]) == {}


def clients(name: str, area: Area, server: str = "metro") -> Wanted:
    """Of a group in a namespace of its own, older ones first by name."""
    return Wanted(
        Holder("B4Group", name, name), name, (Claim("clients", Clients(server, area), "spec.dhcp.subnets[0]"),)
    )


SHARED, ELSEWHERE = IPv6Network("2001:db8:1000::/48"), IPv6Network("2001:db8:2000::/48")


@pytest.mark.parametrize(("mine", "its"), [("b-*", ""), ("", "b-*"), ("dslam-7*", "dslam-*"), ("dslam-*", "dslam-71")])
def test_clients_that_two_groups_may_match_are_the_older_ones(mine: str, its: str) -> None:
    """Else no DHCPv6 server could be told either, nor anybody else that it tells."""
    older, later = clients("a", Area(SHARED, its)), clients("b", Area(SHARED, mine))
    found = judge({}, [later, older])
    assert list(found) == [later.holder]
    assert f"it overlaps {f'metro {SHARED} {its}'.rstrip()} of B4Group a/a" in found[later.holder][0].line
    assert list(judge({later.holder: later.claims}, [later, older])) == [older.holder], "accepted goes first"
    for other in (Area(ELSEWHERE, its), Area(SHARED, "c*")):
        assert judge({}, [clients("a", other), clients("b", Area(SHARED, "b-*"))]) == {}
    assert judge({}, [older, clients("b", Area(SHARED, mine), "another")]) == {}


areas = st.builds(Area, st.sampled_from([SHARED, ELSEWHERE]), st.sampled_from(["", "a", "a*", "ab", "ab*", "b*", "bc"]))


@settings(deadline=None)
@given(st.lists(areas, max_size=8), st.randoms())
def test_whoever_has_clients_can_tell_them_apart(asked: Sequence[Area], random: object) -> None:
    """What is left of them any server can be told."""
    wanted = [clients(f"g{n}", area) for n, area in enumerate(asked)]
    found = judge({}, wanted)
    random.shuffle(wanted)  # type: ignore[attr-defined]
    assert judge({}, wanted) == found
    kept = [one for one in wanted if one.holder not in found]
    values = [(one.holder.name, one.claims[0].value) for one in kept]
    check([whole(f"isp/{name}", S0, value.area) for name, value in values if isinstance(value, Clients)])


SUBNETS = ["2001:db8:1000::/48", "2001:db8:2000::/48"]


def told(name: str, *subnets: str, pool: str = "east", wrong: bool = False) -> Wanted:
    """A group that is told its AFTR in these subnets, older ones first by name."""
    its = Claim("x", "x", "x", pool)
    claims = [
        replace(its, sort="b4s", value=IPv6Network(one), path=f"spec.prefixes[{n}]") for n, one in enumerate(subnets)
    ]
    claims += [replace(its, sort="clients", value=Clients("metro", Area(IPv6Network(one)))) for one in subnets]
    return Wanted(Holder("B4Group", "edge", name), name, tuple(claims), wrong)


def test_what_a_group_lets_go_of_is_another_ones_of_its_pool_at_once() -> None:
    """Divided, merged, or under another name: both are in one configuration, and the B4s go on."""
    whole, south = told("homes", *SUBNETS), told("south", SUBNETS[1])
    has = {whole.holder: whole.claims}
    assert judge(has, [told("homes", SUBNETS[0]), south]) == {}
    assert judge(has, [told("north", SUBNETS[0]), south]) == {}
    assert judge({south.holder: south.claims, **has}, [whole]) == {}
    assert list(judge(has, [whole, south])) == [south.holder], "homes wants it still"
    assert list(judge(has, [told("homes", wrong=True), south])) == [south.holder], "homes keeps it"
    assert list(judge(has, [told("homes", SUBNETS[0]), told("south", SUBNETS[1], pool="west")])) == [south.holder]
    assert list(judge(has, [told("homes", SUBNETS[0]), told("flats", SUBNETS[1]), south])) == [south.holder]


prefixes = st.builds(lambda base, length: IPv4Network((base << 28 >> (32 - length) << (32 - length), length)),
                     st.integers(0, 15), st.integers(4, 8))  # fmt: skip


@settings(deadline=None)
@given(st.lists(st.lists(prefixes, min_size=1, max_size=3), max_size=6), st.randoms())
def test_any_order_gives_the_same_and_nobody_shares(asked: Sequence[Sequence[IPv4Network]], random: object) -> None:
    wanted = [
        Wanted(Holder("AftrPool", "edge", f"p{n}"), str(n % 3), tuple(Claim("nat", one, "x") for one in disjoint(some)))
        for n, some in enumerate(asked)
    ]
    found = judge({}, wanted)
    shuffled = list(wanted)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert judge({}, shuffled) == found
    kept = [(one.holder, claim.value) for one in wanted if one.holder not in found for claim in one.claims]
    for holder, mine in kept:
        assert not any(other != holder and mine.overlaps(its) for other, its in kept)  # type: ignore[union-attr, arg-type]


def disjoint(some: Sequence[IPv4Network]) -> list[IPv4Network]:
    found: list[IPv4Network] = []
    for one in some:
        found += [] if any(one.overlaps(other) for other in found) else [one]
    return found
