"""Who is on which slot, by leases where a server shows them, else by the prefixes of groups."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from typing import Any

import pytest

from cluster_objects import configured, group, pool
from dslite_contract.schema import B4Group
from dslite_operator.distribution.counting import Softwire, Stray
from dslite_operator.distribution.maps import Area, BucketMap
from dslite_operator.distribution.observed import observed
from dslite_operator.distribution.providers.provider import Given
from dslite_operator.distribution.wishes import Count

HOMES, SHOPS = IPv6Network("2001:db8:40::/64"), IPv6Network("2001:db8:41::/64")
AREA = Area(HOMES)


def groups(*more: Any, **spec: Any) -> tuple[B4Group, ...]:
    """Homes, divided by nibbles, in prefixes that shops have a part of."""
    dhcp = {"server": "metro", "subnets": [str(HOMES)], "bucketBytes": "lastNibble"}
    homes = group("homes", "2001:db8:5000::/36", **{"slots": 2, "dhcp": dhcp, **spec})
    return configured(pool(), homes, group("shops", "2001:db8:5100::/40"), *more).groups


def address(number: int) -> IPv6Address:
    return IPv6Network("2001:db8:5000::/36")[number << 64]


def lease(number: int, subnet: IPv6Network = HOMES) -> Given:
    """Of the B4 with that number, which is in that bucket: a prefix, out of which its softwire's address is."""
    return Given(subnet, b"\0\3\0\1" + bytes([number]), IPv6Network((int(address(number)), 64)), 7200)


def softwires(*slots: int) -> list[Softwire]:
    """B4 number n is on the slot given n-th, with ten sessions."""
    return [Softwire(address(number) + 1, slot, 10) for number, slot in enumerate(slots)]


def told(*slots: int) -> BucketMap:
    return BucketMap("edge/homes", "east", "lastNibble", {AREA: slots}, levelled=2)


def test_leases_and_softwires_are_put_together() -> None:
    leases = {"metro": [lease(0), lease(1), lease(16), lease(2, SHOPS)]}
    homes = observed(groups(), leases, softwires(0, 1))["edge/homes"]
    assert list(homes.counts[AREA])[:3] == [Count(2, 10), Count(1, 10), Count(0, 0)]
    assert [dict(votes) for votes in homes.seen[AREA]][:3] == [{0: 1}, {1: 1}, {}]
    assert homes.on_slots == {0: 1, 1: 1}
    assert list(homes.strays(told(*[0] * 16))) == [Stray(Softwire(address(1) + 1, 1, 10), 0)]
    assert homes.counts_by(told(*[0] * 16)) == homes.counts


@pytest.mark.parametrize("cut", ["last", "lastNibble", "lastTwoLowNibbles"])
@pytest.mark.parametrize("duid", [b"", b"\5", b"\0\3"])
def test_a_client_whose_duid_is_too_short_is_not_counted_and_ends_nothing(cut: str, duid: bytes) -> None:
    """Kea answers none, but a lease of one may have come from elsewhere."""
    dhcp = {"server": "metro", "subnets": [str(HOMES)], "bucketBytes": cut}
    leases = {"metro": [lease(0)._replace(duid=duid), lease(1)]}
    homes = observed(groups(dhcp=dhcp), leases, softwires(0, 1))["edge/homes"]
    assert sum(count.b4s for count in homes.counts[AREA]) == 1
    assert [one.softwire.slot for one in homes.strays(told(*[1] * 16))] == [0]


def test_a_softwire_without_a_lease_is_a_stray_wherever_it_is() -> None:
    homes = observed(groups(), {"metro": []}, softwires(0))["edge/homes"]
    assert [one.told for one in homes.strays(told(*[0] * 16))] == [None]


def test_without_leases_a_b4_may_be_on_any_slot_of_its_group() -> None:
    homes = observed(groups(), {"metro": None}, softwires(0, 1, 3))["edge/homes"]
    assert (homes.counts, homes.leases) == ({}, None)
    assert [dict(votes) for votes in homes.seen[AREA]] == [{0: 1, 1: 1, 3: 1}]
    assert [one.softwire.slot for one in homes.strays(told(*[0, 1] * 8))] == [3]
    assert homes.counts_by(told(0, *[1] * 15))[AREA][0] == Count(1, 10)


def test_the_longest_prefix_says_whose_a_softwire_is() -> None:
    shop = Softwire(IPv6Address("2001:db8:5100::1"), 2)
    assert observed(groups(), {"metro": None}, [shop])["edge/homes"].softwires == ()
    assert observed(groups()[:1], {"metro": None}, [shop])["edge/homes"].softwires == (shop,)


@pytest.mark.parametrize("beside", [True, False])
def test_leases_on_a_subnet_that_groups_share_tell_no_group(beside: bool) -> None:
    """Of another pool, or nobody: in a step of its own a group of ten would have moved as one of thousands, or with none."""
    shared = {"server": "metro", "subnets": [str(HOMES)], "bucketBytes": "lastNibble"}
    flats = group("flats", "2001:db8:7000::/36", dhcp=shared, match={"relayInterfaceId": "b-*"})
    found = observed(
        groups(*[flats] * beside, match={"relayInterfaceId": "a-*"}), {"metro": [lease(0), lease(1)]}, softwires(0)
    )
    assert all(one.leases is None for one in found.values())
    assert sum(count.b4s for count in found["edge/homes"].counts_by(told(*[0] * 16))[AREA]) == 1
