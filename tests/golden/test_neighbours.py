"""Neighbours on a shared link (`routing.layer2`): questions about tunnel and external addresses, and claims to them."""

from __future__ import annotations

from typing import Any

import pytest

import packets
from packets import ENGINE_MAC, ETHERTYPE_ARP, SENDER_MAC, Side, arp, eth, link_option, udp, vlan
from rig import AFTR, SERVER, Boot, Output, Rig, b4, slot_address

pytestmark = pytest.mark.nojit

ROUTER, ROUTER4 = "2001:db8:ffff::1", "203.0.113.1"
GROUP_MAC, BROADCAST, NOBODY = "33:33:ff:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00"
STATION = "02:00:00:00:00:77"  # says so in an option; the frame comes from SENDER_MAC
EXTERNAL = "192.0.2.3"
OURS = link_option(2, ENGINE_MAC)
SOLICITED, OVERRIDE = 1 << 30, 1 << 29


@pytest.fixture
def rig(boot: Boot) -> Rig:
    return boot({"routing": {"layer2": {}}})


@pytest.fixture
def pair(boot: Boot) -> Rig:
    """Two slots, two workers."""
    return boot({"routing": {"layer2": {}}, "slots": 2}, workers=2)


def ask(rig: Rig, packet: bytes, dst: str = GROUP_MAC) -> list[Output]:
    return rig.send("access", eth(packet, dst=dst))


def ask4(rig: Rig, packet: bytes, dst: str = BROADCAST) -> list[Output]:
    return rig.send("internet", eth(packet, dst=dst, ethertype=ETHERTYPE_ARP))


def request(target: str = EXTERNAL, src: str = ROUTER4, **head: Any) -> bytes:
    return arp(1, SENDER_MAC, src, NOBODY, target, **head)


def told(target: str, *, dst: str, station: str, flags: int = SOLICITED | OVERRIDE) -> list[Output]:
    answer = packets.advertisement(target, dst=dst, flags=flags, options=OURS)
    return [("access", eth(answer, dst=station, src=ENGINE_MAC))]


def told4(target: str, *, dst: str = ROUTER4, station: str = SENDER_MAC) -> list[Output]:
    answer = arp(2, ENGINE_MAC, target, station, dst)
    return [("internet", eth(answer, dst=station, src=ENGINE_MAC, ethertype=ETHERTYPE_ARP))]


def answered(rig: Rig, side: Side, number: int = 1) -> None:
    traffic = {"rx": number, "consumed": number, "tx": number, "originated": number}
    rig.counted(**{side: traffic}, events={"neighbours-answered": number})


def claimed(rig: Rig, side: Side, claims: int = 1, slot: int = 0) -> None:
    """A claim was consumed, and noted so many times."""
    from aftr.state.layout import slot_at

    rig.counted(**{side: {"rx": 1, "consumed": 1}}, events={"neighbour-conflicts": claims, "neighbours-answered": 0})
    record = slot_at(rig.engine.pod.memory, rig.engine.pod.slot(slot))
    assert record.claims == claims
    record.claims = 0


# ------------------------------------------------------------------------------------------------ neighbour discovery
def test_a_solicitation_is_answered_with_our_station(rig: Rig) -> None:
    found = ask(rig, packets.solicitation(AFTR, src=ROUTER, options=link_option(1, STATION)))
    assert found == told(AFTR, dst=ROUTER, station=STATION)
    answered(rig, "access")


def test_one_without_a_station_is_answered_to_the_sender_of_the_frame(rig: Rig) -> None:
    """What a neighbour asks that only wants to know whether we are still there (RFC 4861 section 7.3.1)."""
    found = ask(rig, packets.solicitation(AFTR, src=ROUTER, dst=AFTR), dst=ENGINE_MAC)
    assert found == told(AFTR, dst=ROUTER, station=SENDER_MAC)
    answered(rig, "access")


def test_who_has_no_address_yet_is_answered_to_all_nodes(rig: Rig) -> None:
    """Duplicate address detection of our address by another node (RFC 4862 section 5.4)."""
    found = ask(rig, packets.solicitation(AFTR, src="::"))
    assert found == told(AFTR, dst="ff02::1", station="33:33:00:00:00:01", flags=OVERRIDE)
    answered(rig, "access")


def test_other_options_are_passed_over(rig: Rig) -> None:
    nonce = bytes([14, 2]) + bytes(14)  # RFC 3971, RFC 7527
    found = ask(rig, packets.solicitation(AFTR, src=ROUTER, options=nonce + link_option(1, STATION) + nonce))
    assert found == told(AFTR, dst=ROUTER, station=STATION)
    assert ask(rig, packets.solicitation(AFTR, src="::", options=nonce)) != []
    answered(rig, "access", 2)


def test_each_slot_answers_for_its_own_addresses_on_whatever_worker_it_is(pair: Rig) -> None:
    for slot in (0, 1):
        frames: list[tuple[Side, bytes]] = [("access", b"")] if slot == 0 else []
        question = packets.solicitation(slot_address(slot), src=ROUTER)
        found = pair.step([*frames, ("access", eth(question, dst=GROUP_MAC))])[-1]
        assert found == told(slot_address(slot), dst=ROUTER, station=SENDER_MAC)
        question = request(f"192.0.2.{8 * slot + 1}")
        found = pair.step([("internet", eth(question, dst=BROADCAST, ethertype=ETHERTYPE_ARP))])[-1]
        assert found == told4(f"192.0.2.{8 * slot + 1}")
    assert pair.since()["events"] == {"handed-over": 3, "neighbours-answered": 4}


WRONG: dict[str, tuple[bytes, str]] = {
    "has crossed a router": (packets.solicitation(AFTR, src=ROUTER, hop_limit=254), "drop-neighbour-hop-limit"),
    "checksum": (packets.solicitation(AFTR, src=ROUTER, checksum=1), "drop-icmp-checksum"),
    "code": (packets.solicitation(AFTR, src=ROUTER, code=1), "drop-neighbour-header"),
    "from :: to the target": (packets.solicitation(AFTR, src="::", dst=AFTR), "drop-neighbour-header"),
    "from :: to another group": (packets.solicitation(AFTR, src="::", dst="ff02::1"), "drop-neighbour-header"),
    "from :: with a station": (
        packets.solicitation(AFTR, src="::", options=link_option(1, STATION)), "drop-neighbour-option"),
    "from a group": (packets.solicitation(AFTR, src="ff02::1"), "drop-ipv6-header"),
    "from our own address": (packets.solicitation(AFTR, src=AFTR), "drop-ipv6-header"),
    "option of length 0": (packets.solicitation(AFTR, src=ROUTER, options=bytes(8)), "drop-neighbour-option"),
    "option cut off": (packets.solicitation(AFTR, src=ROUTER, options=bytes([1, 1, 2])), "drop-neighbour-option"),
    "option past the end": (
        packets.solicitation(AFTR, src=ROUTER, options=link_option(14, STATION, length=2)), "drop-neighbour-option"),
    "station of another kind of link": (
        packets.solicitation(AFTR, src=ROUTER, options=link_option(1, STATION, length=2) + bytes(8)), "drop-neighbour-option"),
    "station of a group": (packets.solicitation(AFTR, src=ROUTER, options=link_option(1, GROUP_MAC)), "drop-neighbour-option"),
    "cut off": (packets.solicitation(AFTR, src=ROUTER)[:63], "drop-truncated"),
    "payload length below the target": (
        packets.ipv6(packets.icmp6(135, payload=bytes(15)), src=ROUTER, dst=AFTR, hop_limit=255), "drop-truncated"),
    "about another address": (packets.solicitation("2001:db8:64::2", src=ROUTER), "drop-not-local"),
    "router advertisement": (packets.ipv6(packets.icmp6(134), src=ROUTER, dst="ff02::1", hop_limit=255), "drop-not-local"),
    "solicited, to all": (packets.advertisement(AFTR, src=ROUTER, flags=SOLICITED), "drop-neighbour-header"),
    "claim from ::": (packets.advertisement(AFTR, src="::"), "drop-neighbour-header"),
    "claim with an option of length 0": (
        packets.advertisement(AFTR, src=ROUTER, options=bytes(8)), "drop-neighbour-option"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_messages_are_dropped_by_name(rig: Rig, name: str) -> None:
    packet, reason = WRONG[name]
    assert ask(rig, packet) == []
    rig.was_dropped("access", reason)


def test_a_fragmented_solicitation_is_none(rig: Rig) -> None:
    """RFC 6980."""
    whole = packets.solicitation(AFTR, src=b4(), dst=AFTR, options=link_option(1, STATION))
    for piece in packets.fragment6(whole, [16]):
        assert ask(rig, piece, dst=ENGINE_MAC) == []
    rig.counted(access={"rx": 2, "merged": 1, "dropped": 1}, drops={"drop-icmp-type": 1}, events={"reassembled": 1})


@pytest.mark.parametrize("options", [b"", link_option(2, STATION)])
def test_another_stations_advertisement_of_our_address_is_noted(rig: Rig, options: bytes) -> None:
    assert ask(rig, packets.advertisement(AFTR, src=ROUTER, options=options), dst="33:33:00:00:00:01") == []
    rig.counted(access={"rx": 1, "dropped": 0, "consumed": 1}, events={"neighbour-conflicts": 1})


def test_our_own_advertisement_is_no_conflict(rig: Rig) -> None:
    """It comes back where two of our interfaces are on one link."""
    assert ask(rig, packets.advertisement(AFTR, src=ROUTER, options=OURS), dst="33:33:00:00:00:01") == []
    claimed(rig, "access", 0)


# ------------------------------------------------------------------------------------------------ ARP
@pytest.mark.parametrize("dst", [BROADCAST, ENGINE_MAC])
def test_an_arp_request_is_answered_with_our_station(rig: Rig, dst: str) -> None:
    assert ask4(rig, request(), dst) == told4(EXTERNAL)
    answered(rig, "internet")


def test_an_arp_probe_is_answered(rig: Rig) -> None:
    """RFC 5227 section 2.1.1: somebody wants to use our address."""
    assert ask4(rig, request(src="0.0.0.0")) == told4(EXTERNAL, dst="0.0.0.0")
    answered(rig, "internet")


def test_a_padded_request_is_answered(rig: Rig) -> None:
    assert ask4(rig, request() + bytes(18)) == told4(EXTERNAL)


def test_a_bypassed_host_and_every_pool_are_answered_for(boot: Boot) -> None:
    bypass = {"b4": "2001:db8:1000::/56", "address": "203.0.113.10", "port": 5060, "protocol": "udp", "slot": 0}
    pools = [{"name": "default", "prefixes": ["192.0.2.0/28"]}, {"name": "other", "prefixes": ["198.51.100.8/31"]}]
    rig = boot({"routing": {"layer2": {}}, "nat": {"pools": pools, "bypass": [bypass]}})
    for address in ("192.0.2.15", "198.51.100.9", "203.0.113.10"):
        assert ask4(rig, request(address)) == told4(address)
    answered(rig, "internet", 3)


HARDWARE, PROTOCOL, LENGTHS = (bytes.fromhex(text) for text in ("000608000604", "000186dd0604", "000108000804"))
WRONG_ARP: dict[str, tuple[bytes, str]] = {
    "another kind of link": (request(head=HARDWARE), "drop-arp-header"),
    "another protocol": (request(head=PROTOCOL), "drop-arp-header"),
    "other lengths": (request(head=LENGTHS), "drop-arp-header"),
    "reverse": (arp(3, SENDER_MAC, ROUTER4, NOBODY, EXTERNAL), "drop-arp-header"),
    "operation 0": (arp(0, SENDER_MAC, ROUTER4, NOBODY, EXTERNAL), "drop-arp-header"),
    "from a group": (arp(1, GROUP_MAC, ROUTER4, NOBODY, EXTERNAL), "drop-arp-header"),
    "cut off": (request()[:27], "drop-truncated"),
    "about another address": (request("192.0.2.16"), "drop-not-local"),
    "an answer about another address": (arp(2, SENDER_MAC, ROUTER4, ENGINE_MAC, EXTERNAL), "drop-not-local"),
}


@pytest.mark.parametrize("name", WRONG_ARP)
def test_wrong_arp_is_dropped_by_name(rig: Rig, name: str) -> None:
    packet, reason = WRONG_ARP[name]
    assert ask4(rig, packet) == []
    rig.was_dropped("internet", reason)


@pytest.mark.parametrize("operation", [1, 2])
def test_another_stations_gratuitous_arp_is_noted(rig: Rig, operation: int) -> None:
    assert ask4(rig, arp(operation, SENDER_MAC, EXTERNAL, BROADCAST, EXTERNAL)) == []
    claimed(rig, "internet")


def test_our_own_gratuitous_arp_is_no_conflict(rig: Rig) -> None:
    assert ask4(rig, arp(1, ENGINE_MAC, EXTERNAL, NOBODY, EXTERNAL)) == []
    claimed(rig, "internet", 0)


# ------------------------------------------------------------------------------------------------ when nobody is answered
def test_nobody_is_answered_for_a_slot_that_is_closed_here(pair: Rig) -> None:
    pair.engine.pod.shut(1)
    for packet in (
        packets.solicitation(slot_address(1), src=ROUTER),
        packets.advertisement(slot_address(1), src=ROUTER),
    ):
        assert ask(pair, packet) == []
        pair.was_dropped("access", "drop-neighbour-elsewhere")
    assert ask4(pair, request("192.0.2.9")) == []
    pair.was_dropped("internet", "drop-neighbour-elsewhere")
    assert ask(pair, packets.solicitation(AFTR, src=ROUTER)) != []


def test_nobody_is_answered_for_a_slot_that_moves(rig: Rig) -> None:
    """Its next owner announces it: an answer of ours would come after that."""
    from aftr.state.layout import slot_at

    slot_at(rig.engine.pod.memory, rig.engine.pod.slot(0)).frozen = 1
    assert ask(rig, packets.solicitation(AFTR, src=ROUTER)) == []
    rig.was_dropped("access", "drop-slot-frozen")
    assert ask4(rig, request()) == []
    rig.was_dropped("internet", "drop-slot-frozen")


def test_questions_are_answered_at_a_rate(rig: Rig) -> None:
    """1,000 a second for each slot, in all."""
    question: tuple[Side, bytes] = ("access", eth(packets.solicitation(AFTR, src=ROUTER), dst=GROUP_MAC))
    rig.step([question] * 200)
    assert rig.since()["events"] == {"neighbours-answered": 200}
    from aftr.state.layout import slot_at

    slot_at(rig.engine.pod.memory, rig.engine.pod.slot(0)).neighbour_tokens = 1000
    rig.step([question, ("internet", eth(request(), dst=BROADCAST, ethertype=ETHERTYPE_ARP))])
    rig.counted(
        access={"rx": 1, "consumed": 1, "tx": 1, "originated": 1}, internet={"rx": 1, "dropped": 1}, drops={"drop-rate-limited": 1}
    )  # fmt: skip
    rig.wait(0.002)
    rig.step([question] * 3)
    assert rig.since()["drops"] == {"drop-rate-limited": 1}


def test_without_layer_2_neighbours_are_the_kernels(boot: Boot) -> None:
    rig = boot()
    assert ask(rig, packets.solicitation(AFTR, src=ROUTER)) == []
    rig.was_dropped("access", "drop-not-local")
    assert ask(rig, packets.solicitation(AFTR, src=b4(), dst=AFTR)) == []
    rig.was_dropped("access", "drop-icmp-type")
    assert ask4(rig, request()) == []
    rig.was_dropped("internet", "drop-ethertype")


def test_one_arm_with_a_vlan_answers_both_kinds(rig: Rig) -> None:
    from aftr.state.policy import InterfaceSetting, write_interfaces

    engine = rig.engine
    arm = InterfaceSetting("both", "both", 1500, vlan=5, mac=packets.mac(ENGINE_MAC))
    write_interfaces(engine.pod.memory, engine.pod.policy, engine.configuration, [arm])
    for question, dst, ethertype, (answer,) in (
        (packets.solicitation(AFTR, src=ROUTER), GROUP_MAC, None, told(AFTR, dst=ROUTER, station=SENDER_MAC)),
        (request(), BROADCAST, ETHERTYPE_ARP, told4(EXTERNAL)),
    ):
        frame = eth(question, dst=dst, ethertype=ethertype)
        assert rig.send("access", vlan(frame, 5)) == [("access", vlan(answer[1], 5))]
        assert rig.send("access", frame) == []
    traffic = {"rx": 2, "consumed": 1, "dropped": 1, "tx": 1, "originated": 1}
    rig.counted(access=traffic, internet=traffic, drops={"drop-ethertype": 2}, events={"neighbours-answered": 2})


def test_softwires_go_on_as_ever(rig: Rig) -> None:
    endpoint = rig.open(udp(5000, 53))
    assert rig.down(packets.ipv4(udp(53, endpoint.port), src=SERVER, dst=endpoint.address)) != []
    assert rig.send("access", vlan(eth(packets.solicitation(AFTR, src=ROUTER), dst=GROUP_MAC), 5)) == []
    assert rig.send("access", vlan(eth(packets.solicitation(AFTR, src=ROUTER), dst=GROUP_MAC), 0)) != []
