"""Who is served, from which addresses, to which destinations, out of which pool (D12, D17, D18, D20, D26, C09, O06)."""

from __future__ import annotations

from typing import Any

import pytest

import packets
from packets import ACK, SYN, IPv4Address, ipv4, sent_to_internet, tcp, udp
from rig import (
    AFTR,
    B4,
    HOST,
    SERVER,
    Boot,
    Endpoint,
    Rig,
    b4,
    config_text,
    group,
    one,
    translated,
)

pytestmark = pytest.mark.nojit

TWO_POOLS: dict[str, Any] = {
    "nat": {
        "pools": [
            {"name": "default", "prefixes": ["192.0.2.0/28"]},
            {"name": "business", "prefixes": ["198.18.7.0/30", "203.0.113.64/30"]},
        ]
    }
}
HOMES = group("homes", "2001:db8:1000::/40")
BUSINESS = group("business", "2001:db8:2000::/40", natPool="business")
OFFICE = "2001:db8:2000:100::1"


# ------------------------------------------------------------------------------------------------ D12
def test_d12_a_pool_is_chosen_by_group(boot: Boot) -> None:
    rig = boot(TWO_POOLS, [HOMES, BUSINESS])
    default = packets.IPv4Network("192.0.2.0/28")
    business = [packets.IPv4Network(text) for text in ("198.18.7.0/30", "203.0.113.64/30")]
    for number in range(1, 9):
        assert rig.open(udp(5000, 53), b4=b4(number)).address in default
        home = str(packets.v6(OFFICE) + (number << 72))
        endpoint = rig.open(udp(5000, 53), b4=home)
        assert any(endpoint.address in network for network in business)
        outputs = rig.down(ipv4(udp(53, endpoint.port), src=SERVER, dst=endpoint.address))
        assert outputs == [rig.to_softwire(ipv4(udp(53, 5000), src=SERVER, dst=HOST, ttl=63), outputs, b4=home)]


def test_d12_disjoint_prefixes_of_one_pool_are_all_used(boot: Boot) -> None:
    spec = {"nat": {"pools": [{"name": "default", "prefixes": ["198.18.7.0/31", "203.0.113.64/31"]}]}}
    rig = boot(spec)
    used = {rig.open(udp(5000, 53), b4=b4(number)).address for number in range(1, 65)}
    assert used == {IPv4Address(text) for text in ("198.18.7.0", "198.18.7.1", "203.0.113.64", "203.0.113.65")}


def test_d12_a_slot_without_the_groups_pool_refuses_it(boot: Boot) -> None:
    spec = {
        "slots": 2,
        "nat": {
            "pools": [
                {"name": "default", "prefixes": ["192.0.2.0/28"]},
                {"name": "business", "prefixes": ["203.0.113.64/30"], "slots": "1-1"},
            ]
        },
    }
    rig = boot(spec, [HOMES, BUSINESS])
    assert rig.up(ipv4(udp(5000, 53), src=HOST, dst=SERVER), b4=OFFICE, slot=0) == []
    rig.was_dropped("access", "drop-no-pool")
    endpoint = rig.open(udp(5000, 53), b4=OFFICE, slot=1)
    assert endpoint.address in packets.IPv4Network("203.0.113.64/30")


@pytest.mark.parametrize("slots", [2, 4])
def test_d12_each_slot_has_its_equal_part_of_every_prefix(boot: Boot, slots: int) -> None:
    rig = boot({"slots": slots})
    size = 16 // slots
    for slot in range(slots):
        for number in range(1, 9):
            endpoint = rig.open(udp(5000, 53), b4=b4(slot * 16 + number), slot=slot)
            first = int(IPv4Address("192.0.2.0")) + slot * size
            assert first <= int(endpoint.address) < first + size


@pytest.mark.parametrize(
    "pools",
    [
        [{"name": "default", "prefixes": ["192.0.2.0/28"]}, {"name": "b", "prefixes": ["192.0.2.8/29"]}],
        [{"name": "default", "prefixes": ["192.0.2.0/28", "192.0.2.0/27"]}],
    ],
)
def test_d12_overlapping_pools_are_refused(pools: list[dict[str, Any]]) -> None:
    from dslite_contract.load import load_config

    with pytest.raises(Exception, match=r"192\.0\.2\.") as caught:
        load_config(config_text({"nat": {"pools": pools}}), ignore=("interfaces", "routing", "store"))
    assert "overlap" in str(caught.value)


# ------------------------------------------------------------------------------------------------ D13
def test_d13_nat_behaves_per_bcp_127(rig: Rig) -> None:
    """RFC 4787 and 5382 in short: mapping and filtering endpoint-independent, paired, no overloading."""
    endpoints = {}
    for port in range(5000, 5010):
        for body in (udp(port, 53), tcp(port, 80, SYN)):
            first = rig.open(body)
            assert rig.open(body, dst="203.0.113.5") == first, "endpoint-independent mapping"
            endpoints[port, body.protocol] = first
    assert len({(endpoint, protocol) for (_, protocol), endpoint in endpoints.items()}) == 20
    assert len({endpoint.address for endpoint in endpoints.values()}) == 1, "paired"
    stranger = ipv4(udp(9, endpoints[5000, packets.UDP].port), src="203.0.113.77", dst=endpoints[5000, 17].address)
    assert one(rig.down(stranger), "access").dport == 5000, "endpoint-independent filtering"


# ------------------------------------------------------------------------------------------------ D17
FIXED = "203.0.113.10"
BYPASS: dict[str, Any] = {
    "nat": {"bypass": [{"b4": "2001:db8:1000::/48", "address": FIXED, "port": 5060, "protocol": "udp", "slot": 0}]}
}


def fixed_packet(**fields: Any) -> bytes:
    return ipv4(udp(5060, 5060, b"INVITE"), **{"src": FIXED, "dst": SERVER} | fields)


def test_d17_bypass_forwards_without_translation(boot: Boot) -> None:
    rig = boot(BYPASS)
    outputs = rig.up(fixed_packet(ttl=64))
    assert outputs == [sent_to_internet(fixed_packet(ttl=63))]
    rig.was_forwarded("access", events={"bypassed": 1})


def test_d17_the_way_back_is_learned(boot: Boot) -> None:
    rig = boot(BYPASS)
    answer = ipv4(udp(5060, 5060, b"200 OK"), src=SERVER, dst=FIXED)
    assert rig.down(answer) == []
    rig.was_dropped("internet", "drop-no-mapping")
    rig.up(fixed_packet())
    rig.since()
    outputs = rig.down(answer)
    expected = ipv4(udp(5060, 5060, b"200 OK"), src=SERVER, dst=FIXED, ttl=63)
    assert outputs == [rig.to_softwire(expected, outputs)]
    rig.was_forwarded("internet", events={"bypassed": 1})


def test_d17_the_first_claimant_holds_the_address_until_idle(boot: Boot) -> None:
    rig = boot(BYPASS)
    rig.up(fixed_packet(), b4=b4(1))
    rig.since()
    assert rig.up(fixed_packet(), b4=b4(2)) == []
    rig.was_dropped("access", "drop-bypass-claimed")
    rig.wait(302)
    assert rig.up(fixed_packet(), b4=b4(2)) == [sent_to_internet(fixed_packet(ttl=63))]
    answer = ipv4(udp(5060, 5060), src=SERVER, dst=FIXED)
    outputs = rig.down(answer)
    expected = ipv4(udp(5060, 5060), src=SERVER, dst=FIXED, ttl=63)
    assert outputs == [rig.to_softwire(expected, outputs, b4=b4(2))]
    assert rig.up(fixed_packet(), b4=b4(1)) == []


def test_d17_only_b4s_of_the_entry_may_use_the_address(boot: Boot) -> None:
    rig = boot({"nat": {"bypass": [BYPASS["nat"]["bypass"][0] | {"b4": "2001:db8:1000:700::/56"}]}})
    assert rig.up(fixed_packet(), b4=b4(7)) == [sent_to_internet(fixed_packet(ttl=63))]
    rig.since()
    assert rig.up(fixed_packet(), b4=b4(8)) == []
    rig.was_dropped("access", "drop-source-not-private")


def test_d17_through_another_slot(boot: Boot) -> None:
    rig = boot({"slots": 2, "nat": {"bypass": [BYPASS["nat"]["bypass"][0] | {"slot": 1}]}})
    assert rig.up(fixed_packet(), slot=0) == []
    rig.was_dropped("access", "drop-bypass-slot")
    assert rig.up(fixed_packet(), slot=1) == [sent_to_internet(fixed_packet(ttl=63))]


def test_d17_optional_destination(boot: Boot) -> None:
    """To another destination the address is only pre-authorised: translated."""
    rig = boot({"nat": {"bypass": [BYPASS["nat"]["bypass"][0] | {"destination": "198.51.100.0/24"}]}})
    assert rig.up(fixed_packet()) == [sent_to_internet(fixed_packet(ttl=63))]
    rig.was_forwarded("access", events={"bypassed": 1})
    packet = fixed_packet(dst="203.0.113.200")
    outputs = rig.up(packet)
    endpoint = rig.endpoint(outputs)
    assert outputs == [sent_to_internet(translated(packet, endpoint, udp(endpoint.port, 5060, b"INVITE")))]
    rig.was_forwarded("access", events={"bypassed": 0, "mappings-created": 1})


def test_d17_other_ports_of_the_address_are_translated(boot: Boot) -> None:
    rig = boot(BYPASS)
    for body in (udp(5061, 53), tcp(5060, 80, SYN)):
        endpoint = rig.open(body, src=FIXED)
        assert endpoint.address != IPv4Address(FIXED)
    rig.was_forwarded("access", 2, events={"bypassed": 0, "mappings-created": 2})


# ------------------------------------------------------------------------------------------------ D18
@pytest.mark.parametrize(
    "source",
    ["10.0.0.0", "10.255.255.255", "172.16.0.1", "172.31.255.254", "192.168.0.1", "192.168.255.255", "192.0.0.2",
     "192.0.0.7"],
)  # fmt: skip
def test_d18_private_sources_are_served(rig: Rig, source: str) -> None:
    packet = ipv4(udp(5000, 53), src=source, dst=SERVER)
    outputs = rig.up(packet)
    endpoint = rig.endpoint(outputs)
    assert outputs == [sent_to_internet(translated(packet, endpoint, udp(endpoint.port, 53)))]
    outputs = rig.down(ipv4(udp(53, endpoint.port), src=SERVER, dst=endpoint.address))
    assert outputs == [rig.to_softwire(ipv4(udp(53, 5000), src=SERVER, dst=source, ttl=63), outputs)]


@pytest.mark.parametrize(
    "source",
    ["9.255.255.255", "11.0.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0", "192.0.0.8",
     "192.0.0.255", "191.255.255.255", "8.8.8.8", "0.0.0.0", "127.0.0.1", "169.254.1.1", "224.0.0.1",
     "255.255.255.255", "100.64.0.1", "192.0.2.1"],
)  # fmt: skip
def test_d18_other_sources_are_dropped(rig: Rig, source: str) -> None:
    assert rig.up(ipv4(udp(5000, 53), src=source, dst=SERVER)) == []
    rig.was_dropped("access", "drop-source-not-private", events={"mappings-created": 0})


def test_d18_pre_authorised_sources_are_translated_like_private_ones(boot: Boot) -> None:
    rig = boot({"nat": {"preAuthorizedSources": ["100.64.0.0/10"]}})
    packet = ipv4(udp(5000, 53), src="100.64.0.1", dst=SERVER)
    outputs = rig.up(packet)
    endpoint = rig.endpoint(outputs)
    assert outputs == [sent_to_internet(translated(packet, endpoint, udp(endpoint.port, 53)))]
    rig.was_forwarded("access")
    assert rig.up(ipv4(udp(5000, 53), src="100.128.0.1", dst=SERVER)) == []
    rig.was_dropped("access", "drop-source-not-private")


# ------------------------------------------------------------------------------------------------ D20
@pytest.mark.parametrize(
    "source", ["2001:db8:1100::1", "2001:db8:fff:ffff::1", "2001:db9::1", "fe80::1", "::ffff:a00:1"]
)
def test_d20_only_registered_b4s_are_served(rig: Rig, source: str) -> None:
    assert rig.up(ipv4(udp(5000, 53), src=HOST, dst=SERVER), b4=source) == []
    rig.was_dropped("access", "drop-not-registered-b4", events={"mappings-created": 0, "softwires-created": 0})


def test_d20_the_longest_prefix_wins(boot: Boot) -> None:
    inner = group("inner", "2001:db8:1000::/48", natPool="business")
    rig = boot(TWO_POOLS, [HOMES, inner])
    assert rig.open(udp(5000, 53), b4="2001:db8:1000:100::1").address not in packets.IPv4Network("192.0.2.0/28")
    assert rig.open(udp(5000, 53), b4="2001:db8:1001:100::1").address in packets.IPv4Network("192.0.2.0/28")


def test_d20_several_prefixes_of_one_group(boot: Boot) -> None:
    rig = boot(None, [group("homes", ["2001:db8:1000::/48", "2001:db8:3000::/48"])])
    rig.open(udp(5000, 53), b4="2001:db8:1000::1")
    rig.open(udp(5000, 53), b4="2001:db8:3000:ffff::1")
    rig.since()
    assert rig.up(ipv4(udp(5000, 53), src=HOST, dst=SERVER), b4="2001:db8:2000::1") == []
    rig.was_dropped("access", "drop-not-registered-b4")


# ------------------------------------------------------------------------------------------------ D26
@pytest.mark.parametrize(
    "destination",
    ["0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.255", "169.254.0.1", "169.254.255.255", "224.0.0.1",
     "239.255.255.250", "240.0.0.1", "255.255.255.255", "10.0.0.2", "172.16.0.1", "172.31.255.255", "192.168.1.1",
     "192.0.0.0", "192.0.0.2", "192.0.0.7"],
)  # fmt: skip
def test_d26_destinations_that_the_internet_does_not_route(rig: Rig, destination: str) -> None:
    assert rig.up(ipv4(udp(5000, 53), src=HOST, dst=destination)) == []
    rig.was_dropped("access", "drop-destination", events={"mappings-created": 0})


@pytest.mark.parametrize(
    "destination",
    ["1.0.0.0", "126.255.255.255", "128.0.0.0", "169.253.0.1", "169.255.0.1", "223.255.255.255", "9.9.9.9", "11.0.0.1",
     "172.15.0.1", "172.32.0.1", "192.167.0.1", "192.169.0.1", "192.0.0.8", "100.64.0.1"],
)  # fmt: skip
def test_d26_neighbouring_destinations_pass(rig: Rig, destination: str) -> None:
    rig.open(udp(5000, 53), dst=destination)
    rig.was_forwarded("access")


def test_d26_allowed_private_destinations(boot: Boot) -> None:
    rig = boot({"nat": {"allowedPrivateDestinations": ["10.20.0.0/16"]}})
    rig.open(udp(5000, 53), dst="10.20.255.1")
    rig.was_forwarded("access")
    assert rig.up(ipv4(udp(5000, 53), src=HOST, dst="10.21.0.1")) == []
    rig.was_dropped("access", "drop-destination")


# ------------------------------------------------------------------------------------------------ C09
UNTRANSLATED: dict[str, Any] = {
    "nat": {"preAuthorizedSources": ["203.0.113.128/25"], "noTranslationDestinations": ["198.51.100.0/24"]}
}


def test_c09_translation_is_off_for_destinations_from_unique_sources(boot: Boot) -> None:
    rig = boot(UNTRANSLATED)
    packet = ipv4(udp(5000, 53, b"q"), src="203.0.113.130", dst=SERVER)
    assert rig.up(packet) == [sent_to_internet(ipv4(udp(5000, 53, b"q"), src="203.0.113.130", dst=SERVER, ttl=63))]
    rig.was_forwarded("access", events={"bypassed": 1})


def test_c09_other_destinations_and_private_sources_are_translated(boot: Boot) -> None:
    rig = boot(UNTRANSLATED)
    assert rig.open(udp(5000, 53), src="203.0.113.130", dst="203.0.113.5").address != IPv4Address("203.0.113.130")
    assert rig.open(udp(5000, 53), src=HOST, dst=SERVER).address != IPv4Address(HOST)
    rig.was_forwarded("access", 2, events={"bypassed": 0, "mappings-created": 2})


def test_c09_is_refused_without_pre_authorised_sources() -> None:
    from dslite_contract.load import load_config

    with pytest.raises(Exception, match="noTranslationDestinations"):
        load_config(
            config_text({"nat": {"noTranslationDestinations": ["198.51.100.0/24"]}}),
            ignore=("interfaces", "routing", "store"),
        )


# ------------------------------------------------------------------------------------------------ O06
def established(rig: Rig, home: str) -> Endpoint:
    """An established TCP connection through a B4: the softwire lives for two hours without a packet."""
    endpoint = rig.open(tcp(5002, 80, SYN), b4=home)
    rig.down(ipv4(tcp(80, endpoint.port, SYN | ACK), src=SERVER, dst=endpoint.address))
    return endpoint


def test_o06_a_b4_that_changes_its_address_keeps_its_bindings(rig: Rig) -> None:
    """RFC 7785: the softwire record's IPv6 address is rewritten and nothing else."""
    old, new = b4(1, 1), b4(1, 0xABCD)
    endpoint = established(rig, old)
    rig.wait(1801)
    rig.open(udp(5001, 53), b4=old)
    before = rig.engine.bindings()
    rig.since()
    packet = ipv4(tcp(5002, 80), src=HOST, dst=SERVER)
    outputs = rig.up(packet, b4=new)
    assert outputs == [sent_to_internet(translated(packet, endpoint, tcp(endpoint.port, 80)))]
    rig.was_forwarded("access", events={"softwires-migrated": 1, "mappings-created": 0, "softwires-created": 0})
    answer = ipv4(tcp(80, endpoint.port), src=SERVER, dst=endpoint.address)
    outputs = rig.down(answer)
    assert outputs == [rig.to_softwire(ipv4(tcp(80, 5002), src=SERVER, dst=HOST, ttl=63), outputs, b4=new)]
    after = rig.engine.bindings()
    assert {binding["softwire"] for binding in before} == {old}
    assert {binding["softwire"] for binding in after} == {new}
    names = ("protocol", "internalAddress", "internalPort", "externalAddress", "externalPort")
    assert sorted([b[name] for name in names] for b in after) == sorted([b[name] for name in names] for b in before)


def test_o06_changes_are_limited_in_time(rig: Rig) -> None:
    old, new, third = b4(1, 1), b4(1, 2), b4(1, 3)
    endpoint = established(rig, old)
    rig.wait(1801)
    assert rig.open(tcp(5002, 80), b4=new) == endpoint  # migrates
    rig.wait(1790)
    rig.since()
    assert rig.up(ipv4(tcp(5002, 80), src=HOST, dst=SERVER), b4=third) == []
    rig.was_dropped("access", "drop-softwire-limit", events={"softwires-migrated": 0})
    assert rig.up(ipv4(tcp(5002, 80), src=HOST, dst=SERVER), b4=old) == [], "not back either"
    rig.was_dropped("access", "drop-softwire-limit")
    rig.wait(11)
    assert rig.open(tcp(5002, 80), b4=third) == endpoint
    rig.was_forwarded("access", events={"softwires-migrated": 1})


def test_o06_the_time_limit_is_configurable(boot: Boot) -> None:
    rig = boot({"nat": {"b4AddressChangeLimitSeconds": 60}})
    endpoint = established(rig, b4(1, 1))
    for host in range(2, 6):
        rig.wait(61)
        rig.since()
        assert rig.open(tcp(5002, 80), b4=b4(1, host)) == endpoint
        rig.was_forwarded("access", events={"softwires-migrated": 1})


def test_o06_without_state_migrate_the_limit_holds(boot: Boot) -> None:
    rig = boot({"nat": {"stateMigrate": False}})
    rig.open(udp(5000, 53), b4=b4(1, 1))
    rig.wait(200)
    rig.since()
    assert rig.up(ipv4(udp(5000, 53), src=HOST, dst=SERVER), b4=b4(1, 2)) == []
    rig.was_dropped("access", "drop-softwire-limit")
    rig.open(udp(5000, 53), b4=b4(1, 1))


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("waits", [False, True])
def test_o06_an_idle_softwire_is_forgotten_after_300_seconds(rig: Rig, before: bool, waits: bool) -> None:
    """Also one that a fragment made that never became a packet, and in the place of an earlier one."""
    if before:
        rig.up(ipv4(udp(0, 53), src=HOST, dst=SERVER))
        rig.wait(400)
    rig.since()
    packet = packets.ipv6(ipv4(udp(0, 53, bytes(100)), src=HOST, dst=SERVER), src=B4, dst=AFTR)
    assert rig.up6(packets.fragment6(packet, [64])[0] if waits else packet) == []
    assert rig.since()["events"] == {"softwires-created": 1}
    rig.wait(299)
    assert rig.since()["events"] == {}
    rig.wait(2)
    assert rig.since()["events"] == {"softwires-removed": 1}


def test_o06_the_limit_is_configurable(boot: Boot) -> None:
    rig = boot({"nat": {"maxSoftwiresPerSubscriber": 2, "stateMigrate": False}})
    endpoints = [rig.open(udp(5000, 53), b4=b4(1, host)) for host in (1, 2)]
    assert endpoints[0] != endpoints[1]
    assert endpoints[0].address == endpoints[1].address, "one subscriber"
    rig.since()
    assert rig.up(ipv4(udp(5000, 53), src=HOST, dst=SERVER), b4=b4(1, 3)) == []
    rig.was_dropped("access", "drop-softwire-limit")


def test_o06_subscriber_is_a_prefix_of_mask_bits(boot: Boot) -> None:
    """With /64 two /64s of one /56 are two subscribers."""
    rig = boot({"nat": {"subscriberMaskV6": 64}})
    other = str(packets.v6(int(packets.v6(B4)) + (1 << 64)))
    rig.open(udp(5000, 53), b4=B4)
    rig.open(udp(5000, 53), b4=other)
    rig.was_forwarded("access", 2)


def test_o06_a_group_may_override_mask_and_maximum(boot: Boot) -> None:
    campus = group("campus", "2001:db8:2000::/40", subscriberMaskV6=48, maxSoftwiresPerSubscriber=3)
    rig = boot({"nat": {"stateMigrate": False}}, [HOMES, campus])
    for number in range(3):
        rig.open(udp(5000, 53), b4=f"2001:db8:2000:{number}00::1")
    rig.since()
    assert rig.up(ipv4(udp(5000, 53), src=HOST, dst=SERVER), b4="2001:db8:2000:300::1") == []
    rig.was_dropped("access", "drop-softwire-limit")
    assert isinstance(rig.open(udp(5000, 53), b4="2001:db8:2001::1"), Endpoint)
