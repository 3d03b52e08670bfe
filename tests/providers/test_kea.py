"""A real Kea told the names of slots, and asked as B4s behind a relay ask it."""

from __future__ import annotations

import copy
from ipaddress import IPv6Network

import pytest

from assignments import OTHER, S0, S1, S2, b4, spread, whole
from dhcp_network import HOMES, Network
from dslite_operator.distribution.buckets import SHORTEST_DUID, Cut
from dslite_operator.distribution.maps import Area
from dslite_operator.distribution.providers.errors import SilentError
from dslite_operator.distribution.providers.provider import B4
from kea_servers import HOOKS, RunningKea, configuration, running_kea, subnet


async def test_o01_a_group_on_its_subnet_is_told_one_name(server: RunningKea) -> None:
    provider = server.provider()
    plan = provider.render([whole()])
    assert await provider.observe(b4(0)) is None
    assert (await provider.apply(plan)).changed
    assert await provider.observe(b4(0)) == S0
    assert await provider.observe(b4(0, subnet=OTHER)) is None
    assert not (await provider.apply(plan)).changed
    assert S0 in server.file.read_text()


@pytest.mark.parametrize("cut", ["last", "lastNibble", "lastTwoLowNibbles"])
async def test_d21_a_group_over_three_slots_is_told_by_buckets(server: RunningKea, cut: Cut) -> None:
    provider, names = server.provider(), (S0, S1, S2)
    await provider.apply(provider.render([spread(names, cut), whole("isp/others", S2, Area(OTHER))]))
    document = await server.document()
    for bucket in range(0, 16 if cut == "lastNibble" else 256, 5):
        assert await provider.observe(b4(bucket, cut)) == names[bucket % 3], bucket
        assert await provider.observe(b4(bucket, cut, OTHER)) == S2
    # Nothing that a DUID of other bytes has beside the bucket matters, in hexadecimal or in ASCII.
    for digit in "0123456789":
        bucket = (
            ord(digit)
            if cut == "last"
            else ord(digit) & 15
            if cut == "lastNibble"
            else (ord("7") & 15) << 4 | ord(digit) & 15
        )
        asked = b4(bucket, cut).__class__(b"\0\2\0\0\0\x09SERIAL-7" + digit.encode(), HOMES)
        assert await provider.observe(asked) == names[bucket % 3], digit
    assert await server.document() == document


async def test_a_duid_that_is_too_short_for_a_bucket_is_answered_by_nobody(server: RunningKea) -> None:
    provider = server.provider()
    await provider.apply(provider.render([spread((S0, S1), "lastTwoLowNibbles")]))
    assert await provider.observe(B4(b"\0\3\1", HOMES)) == S1
    with pytest.raises(SilentError):
        await provider.observe(B4(b"\0\3\1"[: SHORTEST_DUID - 1], HOMES))


async def test_d21_groups_on_one_subnet_are_told_apart_by_their_relays_interface(server: RunningKea) -> None:
    provider = server.provider()
    north, south = Area(HOMES, "north-*"), Area(HOMES, "south-7")
    await provider.apply(
        provider.render([whole("isp/north", S0, north), spread((S1, S2), "last", south, group="isp/south")])
    )
    assert await provider.observe(b4(0, interface_id="north-12")) == S0
    assert await provider.observe(b4(0, interface_id="south-7")) == S1
    assert await provider.observe(b4(1, interface_id="south-7")) == S2
    assert await provider.observe(b4(1, interface_id="south-71")) is None
    assert await provider.observe(b4(1)) is None


@pytest.mark.short
@pytest.mark.parametrize("said", [{"relay": {"ip-addresses": [str(HOMES[1])]}}, {"interface-id": "vlan7"}])
async def test_groups_in_one_shared_network_are_asked_for_each_on_its_subnet(
    network: Network, version: str, said: dict[str, object]
) -> None:
    """Its relay is said of the network, and Kea says it of each of its subnets."""
    campus = {"name": "campus", "subnet6": [subnet(7, str(HOMES)), subnet(3, str(OTHER))], **said}
    document = configuration(version, "kea-1", **{"shared-networks": [campus]})
    document["Dhcp6"]["subnet6"] = []
    with running_kea(network, version, document) as server:
        provider = server.provider()
        await provider.apply(provider.render([whole("isp/others", S1, Area(OTHER))]))
        await provider.apply(provider.render([whole(), whole("isp/others", S1, Area(OTHER))]))
        assert [await provider.observe(b4(0, subnet=one)) for one in (HOMES, OTHER)] == [S0, S1]


async def test_a_bucket_without_a_slot_is_told_nothing(server: RunningKea) -> None:
    provider = server.provider()
    await provider.apply(provider.render([spread((S0, None))]))
    assert [await provider.observe(b4(bucket)) for bucket in (0, 1)] == [S0, None]


async def test_nothing_of_others_is_touched_and_the_end_is_as_the_beginning(network: Network, version: str) -> None:
    mine = {
        "name": "voice",
        "test": "option[16].exists",
        "option-data": [{"name": "dns-servers", "data": "2001:db8::53"}],
    }
    asks = "evaluate-additional-classes" if version == "3.0" else "require-client-classes"
    only = "only-in-additional-list" if version == "3.0" else "only-if-required"
    kept = subnet(9, "2001:db8:42::/64", **{"user-context": {"site": 7}, asks: ["guests"], "renew-timer": 600})
    subnets = [subnet(7, str(HOMES), **{asks: ["guests"]}), subnet(3, str(OTHER))]
    network_of = [{"name": "campus", "subnet6": [kept]}]
    classes = [mine, {"name": "guests", "test": "option[17].exists", only: True}]
    document = configuration(version, "kea-1", *subnets, **{"client-classes": classes, "shared-networks": network_of})
    with running_kea(network, version, document) as server:
        before, provider = await server.document(), server.provider()
        groups = [
            spread((S0, S1), copy="a map"),
            whole("isp/campus", S2, Area(IPv6Network("2001:db8:42::/64")), renew_s=60),
        ]
        await provider.apply(provider.render(groups))
        assert await provider.observe(b4(1)) == S1
        assert await provider.observe(b4(1, subnet=IPv6Network("2001:db8:42::/64"))) == S2
        after = await server.document()
        assert _foreign(after, asks) == _foreign(before, asks)
        assert after["Dhcp6"]["shared-networks"][0]["subnet6"][0]["renew-timer"] == 60
        assert await provider.copies() == {"isp/homes": "a map"}
        await provider.apply(provider.render([]))
        assert await server.document() == before


def _foreign(document: dict[str, object], asks: str) -> dict[str, object]:
    """A configuration without what is ours."""

    def without(thing: object) -> object:
        if isinstance(thing, list):
            return [without(one) for one in thing if not (isinstance(one, dict) and _ours(one))]
        if not isinstance(thing, dict):
            return thing
        kept = {key: without(value) for key, value in thing.items() if key != "renew-timer"}
        if asks in kept:
            kept[asks] = [name for name in thing[asks] if not name.startswith("dslite/")]
        if isinstance(kept.get("user-context"), dict):
            kept["user-context"] = {key: value for key, value in thing["user-context"].items() if key != "dslite"}
        return kept

    found = without(copy.deepcopy(document))
    assert isinstance(found, dict)
    return found


def _ours(one: dict[str, object]) -> bool:
    context = one.get("user-context")
    return isinstance(context, dict) and "dslite" in context and "subnet" not in one


@pytest.mark.distribution
async def test_a_map_that_changes_changes_classes_alone_on_3(network: Network) -> None:
    hooks = [{"library": f"{HOOKS}/libdhcp_class_cmds.so"}]
    document = configuration("3.0", "kea-1", **{"hooks-libraries": hooks})
    with running_kea(network, "3.0", document) as server:
        provider = server.provider()
        await provider.apply(provider.render([spread((S0, S1))]))
        before = server.commands()
        await provider.apply(provider.render([spread((S1, S0))]))
        made = server.commands() - before
        assert [await provider.observe(b4(bucket)) for bucket in range(4)] == [S1, S0, S1, S0]
        assert (made["config-set"], made["config-test"], made["config-get"]) == (0, 0, 1)
        assert (made["class-update"], made["class-get"], made["config-write"]) == (4, 2, 1)
        assert "s1.east" in server.file.read_text()
