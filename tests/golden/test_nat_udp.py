"""NAT of UDP, and what is the same for all protocols: mapping, filtering, hairpinning (rows N)."""

from __future__ import annotations

import itertools

import pytest

import packets
from aftr.ops.tables import BindingError
from packets import SYN, IPv4, echo, ipv4, ipv6, sent_to_internet, tcp, udp
from rig import (
    AFTR,
    B4,
    HOST,
    SERVER,
    Boot,
    Endpoint,
    Output,
    Rig,
    b4,
    icmp_error,
    one,
    refused,
    slot_address,
    translated,
)

pytestmark = pytest.mark.nojit

OTHER = "203.0.113.200"


def answer(endpoint: Endpoint, *, src: str = SERVER, sport: int = 53, body: bytes = b"") -> bytes:
    return ipv4(udp(sport, endpoint.port, body), src=src, dst=endpoint.address)


def reaches(rig: Rig, endpoint: Endpoint, *, src: str = SERVER, sport: int = 53, port: int = 5000) -> bool:
    outputs = rig.down(answer(endpoint, src=src, sport=sport))
    if outputs:
        assert outputs == [rig.to_softwire(ipv4(udp(sport, port), src=src, dst=HOST, ttl=63), outputs)]
    return bool(outputs)


# ------------------------------------------------------------------------------------------------ N01-N03
def test_n01_mapping_is_endpoint_independent(rig: Rig) -> None:
    first = rig.open(udp(5000, 53))
    for destination, port in ((SERVER, 54), (OTHER, 53), ("203.0.113.9", 1)):
        packet = ipv4(udp(5000, port), src=HOST, dst=destination)
        assert rig.up(packet) == [sent_to_internet(translated(packet, first, udp(first.port, port)))]
    rig.was_forwarded("access", 4, events={"mappings-created": 1, "sessions-created": 0})


def test_n01_tcp_mapping_is_endpoint_independent(rig: Rig) -> None:
    first = rig.open(tcp(5000, 80, SYN))
    assert rig.open(tcp(5000, 80, SYN), dst=OTHER) == first
    assert rig.open(tcp(5000, 81, SYN), dst=OTHER) == first
    rig.was_forwarded("access", 3, events={"mappings-created": 1, "sessions-created": 3})


def test_n02_addresses_are_paired(boot: Boot) -> None:
    """All mappings of a subscriber, also of several hosts and over several blocks, have one external address."""
    rig = boot({"nat": {"portBlock": {"size": 64, "maxPerSubscriber": 8}}})
    for subscriber in range(1, 5):
        found = {
            rig.open(udp(5000 + number, 53), src=f"10.0.0.{1 + number % 3}", b4=b4(subscriber)).address
            for number in range(200)
        }
        assert len(found) == 1
    rig.was_forwarded("access", 800, events={"port-blocks-allocated": 16})


def test_n02_another_address_when_the_paired_one_has_no_block_left(boot: Boot) -> None:
    pools = [{"name": "default", "prefixes": ["192.0.2.0/31"]}]
    rig = boot({"nat": {"pools": pools, "portBlock": {"size": 4096, "maxPerSubscriber": 15}}})
    addresses = [rig.open(udp(5000, 53), b4=b4(number)).address for number in range(1, 31)]
    assert all(addresses.count(address) == 15 for address in set(addresses)), "15 blocks of 4,096 above 1,023 each"
    assert len(set(addresses)) == 2


def test_n03_ports_are_never_overloaded(boot: Boot) -> None:
    rig = boot({"nat": {"pools": [{"name": "default", "prefixes": ["192.0.2.5/32"]}], "portBlock": {"size": 64}}})
    endpoints = [
        rig.open(udp(5000 + number, 53), b4=b4(subscriber)) for subscriber in range(1, 5) for number in range(100)
    ]
    assert len(set(endpoints)) == 400
    assert all(1024 <= endpoint.port <= 65535 for endpoint in endpoints)
    blocks = {(endpoint.port // 64, number // 100) for number, endpoint in enumerate(endpoints)}
    assert len(blocks) == 8, "two blocks for each of four subscribers, none shared"


def test_n03_all_ports_above_1023_are_used_and_none_below(boot: Boot) -> None:
    spec = {
        "nat": {
            "pools": [{"name": "default", "prefixes": ["192.0.2.5/32"]}],
            "portBlock": {"size": 4096, "maxPerSubscriber": 1},
        }
    }
    rig = boot(spec)
    starts = {rig.open(udp(5000, 53), b4=b4(number)).port // 4096 for number in range(1, 16)}
    assert starts == set(range(1, 16))
    rig.since()
    assert len(rig.up(ipv4(udp(5000, 53), src=HOST, dst=SERVER), b4=b4(16))) == 1
    rig.was_dropped("access", "drop-no-port-block", answered=1)


# ------------------------------------------------------------------------------------------------ N04
def test_n04_mapping_lives_300_seconds_and_no_longer(rig: Rig) -> None:
    endpoint = rig.open(udp(5000, 53))
    rig.wait(299.9)
    assert reaches(rig, endpoint)
    rig.since()
    rig.wait(1.1)
    assert not reaches(rig, endpoint)
    rig.was_dropped("internet", "drop-no-mapping", events={"mappings-removed": 1})


def test_n04_outbound_packets_refresh(rig: Rig) -> None:
    endpoint = rig.open(udp(5000, 53))
    for _ in range(4):
        rig.wait(250)
        assert rig.open(udp(5000, 99), dst=OTHER) == endpoint
    rig.wait(299)
    assert reaches(rig, endpoint)


def test_n04_inbound_packets_do_not_refresh(rig: Rig) -> None:
    endpoint = rig.open(udp(5000, 53))
    rig.wait(200)
    assert reaches(rig, endpoint)
    rig.wait(102)
    assert not reaches(rig, endpoint)


def test_n04_inbound_packets_refresh_when_configured(boot: Boot) -> None:
    rig = boot({"nat": {"udpRefreshByInbound": True}})
    endpoint = rig.open(udp(5000, 53))
    for _ in range(3):
        rig.wait(200)
        assert reaches(rig, endpoint)
    rig.wait(302)
    assert not reaches(rig, endpoint)


def test_n04_lifetime_is_configurable_and_at_least_two_minutes(boot: Boot) -> None:
    rig = boot({"nat": {"timeouts": {"udpSeconds": 120}}})
    endpoint = rig.open(udp(5000, 53))
    rig.wait(119.9)
    assert reaches(rig, endpoint)
    rig.wait(1.1)
    assert not reaches(rig, endpoint)


# ------------------------------------------------------------------------------------------------ N05
@pytest.mark.parametrize(
    ("filtering", "same_port", "same_address", "stranger"),
    [
        ("endpoint-independent", True, True, True),
        ("address-dependent", True, True, False),
        ("address-and-port-dependent", True, False, False),
    ],
)
def test_n05_filtering(boot: Boot, filtering: str, same_port: bool, same_address: bool, stranger: bool) -> None:
    rig = boot({"nat": {"filtering": filtering}})
    endpoint = rig.open(udp(5000, 53))
    rig.since()
    for passes, src, sport in ((same_port, SERVER, 53), (same_address, SERVER, 54), (stranger, OTHER, 53)):
        assert reaches(rig, endpoint, src=src, sport=sport) == passes
        if passes:
            rig.was_forwarded("internet")
        else:
            rig.was_dropped("internet", "drop-filtered")


@pytest.mark.parametrize("filtering", ["address-dependent", "address-and-port-dependent"])
def test_n05_a_packet_from_inside_opens_the_filter(boot: Boot, filtering: str) -> None:
    rig = boot({"nat": {"filtering": filtering}})
    endpoint = rig.open(udp(5000, 53))
    assert not reaches(rig, endpoint, src=OTHER)
    assert rig.open(udp(5000, 53), dst=OTHER) == endpoint
    assert reaches(rig, endpoint, src=OTHER)
    assert reaches(rig, endpoint, src=SERVER)


@pytest.mark.parametrize("filtering", ["address-dependent", "address-and-port-dependent"])
def test_n05_filters_end_with_their_session(boot: Boot, filtering: str) -> None:
    """The mapping lives on by packets to another remote host; the first one's permission ends."""
    rig = boot({"nat": {"filtering": filtering}})
    endpoint = rig.open(udp(5000, 53))
    for _ in range(3):
        rig.wait(150)
        assert rig.open(udp(5000, 53), dst=OTHER) == endpoint
    assert reaches(rig, endpoint, src=OTHER)
    assert not reaches(rig, endpoint, src=SERVER)


def test_n05_tcp_filtering(boot: Boot) -> None:
    rig = boot({"nat": {"filtering": "address-and-port-dependent"}})
    endpoint = rig.open(tcp(5000, 80, SYN))
    rig.since()
    back = tcp(80, endpoint.port, SYN | packets.ACK)
    assert len(rig.down(ipv4(back, src=SERVER, dst=endpoint.address))) == 1
    rig.was_forwarded("internet")
    assert rig.down(ipv4(back, src=OTHER, dst=endpoint.address)) == []
    rig.was_dropped("internet", "drop-filtered")


def test_n05_icmp_filtering(boot: Boot) -> None:
    rig = boot({"nat": {"filtering": "address-dependent"}})
    endpoint = rig.open(echo(700))
    assert len(rig.down(ipv4(packets.echo_reply(endpoint.port), src=SERVER, dst=endpoint.address))) == 1
    rig.since()
    assert rig.down(ipv4(packets.echo_reply(endpoint.port), src=OTHER, dst=endpoint.address)) == []
    rig.was_dropped("internet", "drop-filtered")


# ------------------------------------------------------------------------------------------------ N06
def pair(rig: Rig, *, slot: int = 0) -> tuple[Endpoint, str, str]:
    """A mapping of the second B4's host, to be reached by the first B4; the B4s' addresses."""
    target = rig.open(udp(6000, 53), src="10.0.0.2", b4=b4(2), slot=slot)
    rig.since()
    return target, b4(1), b4(2)


@pytest.mark.parametrize("slot", [0, 1])
def test_n06_hairpin_with_external_source(boot: Boot, slot: int) -> None:
    """Within a slot and between two: out of the sender's external endpoint, TTL lowered once, counted once."""
    rig = boot({"slots": 2})
    target, near, far = pair(rig, slot=slot)
    packet = ipv4(udp(5000, target.port, b"hello"), src=HOST, dst=target.address, ttl=33)
    outputs = rig.up(packet, b4=near)
    found = one(outputs, "access")
    source = Endpoint(found.src, found.sport)
    rig.check_endpoint(source, 0)
    expected = ipv4(udp(source.port, 6000, b"hello"), src=source.address, dst="10.0.0.2", ttl=32)
    assert outputs == [rig.to_softwire(expected, outputs, b4=far, slot=slot)]
    rig.counted(access={"rx": 1, "forwarded": 1, "tx": 1}, events={"hairpinned": 1, "mappings-created": 1})
    back = ipv4(udp(6000, source.port, b"hi"), src="10.0.0.2", dst=source.address)
    outputs = rig.up(back, b4=far, slot=slot)
    expected = ipv4(udp(target.port, 5000, b"hi"), src=target.address, dst=HOST, ttl=63)
    assert outputs == [rig.to_softwire(expected, outputs, b4=near)]
    rig.counted(access={"rx": 1, "forwarded": 1, "tx": 1}, events={"hairpinned": 1, "mappings-created": 0})


def test_n06_hairpin_behind_one_b4(rig: Rig) -> None:
    target = rig.open(udp(6000, 53), src="10.0.0.2")
    rig.since()
    outputs = rig.up(ipv4(udp(5000, target.port), src=HOST, dst=target.address))
    found = one(outputs, "access")
    expected = ipv4(udp(found.sport, 6000), src=found.src, dst="10.0.0.2", ttl=63)
    assert outputs == [rig.to_softwire(expected, outputs)]
    assert found.src == target.address, "paired"
    rig.counted(access={"rx": 1, "forwarded": 1, "tx": 1}, events={"hairpinned": 1})


@pytest.mark.parametrize("body", [udp(5000, 7), tcp(5000, 7, SYN), echo(7)])
def test_n06_hairpin_without_mapping_is_never_sent_out(rig: Rig, body: packets.Segment) -> None:
    assert rig.up(ipv4(body, src=HOST, dst="192.0.2.7")) == []
    rig.was_dropped("access", "drop-no-mapping")


def test_n06_hairpin_with_df_clear_has_a_new_identification(rig: Rig) -> None:
    target, near, far = pair(rig)
    packet = ipv4(udp(5000, target.port), src=HOST, dst=target.address, df=False, identification=1)
    ids = []
    for _ in range(3):
        outputs = rig.up(packet, b4=near)
        found = one(outputs, "access")
        expected = ipv4(
            udp(found.sport, 6000), src=found.src, dst="10.0.0.2", ttl=63, df=False, identification=found.identification
        )
        assert outputs == [rig.to_softwire(expected, outputs, b4=far)]
        ids.append(found.identification)
    assert {(b - a) % 65536 for a, b in itertools.pairwise(ids)} == {1}


def test_n06_filtering_of_the_receiving_end_applies(boot: Boot) -> None:
    rig = boot({"nat": {"filtering": "address-and-port-dependent"}})
    target, near, far = pair(rig)
    packet = ipv4(udp(5000, target.port), src=HOST, dst=target.address)
    assert rig.up(packet, b4=near) == []
    rig.was_dropped("access", "drop-filtered")
    (source,) = [binding for binding in rig.engine.bindings() if binding["softwire"] == near]
    reply = ipv4(udp(6000, source["externalPort"]), src="10.0.0.2", dst=source["externalAddress"])
    assert len(rig.up(reply, b4=far)) == 1  # the sender has asked for it: passes, and opens the other filter
    assert len(rig.up(packet, b4=near)) == 1


def test_n06_mss_is_clamped_once_and_ttl_lowered_once(rig: Rig) -> None:
    target = rig.open(tcp(6000, 80, SYN), src="10.0.0.2", b4=b4(2))
    rig.since()
    outputs = rig.up(ipv4(tcp(5000, target.port, SYN, mss=1460), src=HOST, dst=target.address, ttl=2))
    found = one(outputs, "access")
    expected = ipv4(tcp(found.sport, 6000, SYN, mss=1420), src=found.src, dst="10.0.0.2", ttl=1)
    assert outputs == [rig.to_softwire(expected, outputs, b4=b4(2))]
    rig.counted(access={"rx": 1, "forwarded": 1, "tx": 1}, events={"hairpinned": 1})


def test_n06_hairpinned_ttl_expiry_is_answered_into_the_senders_softwire(rig: Rig) -> None:
    target, near, _ = pair(rig)
    packet = ipv4(udp(5000, target.port), src=HOST, dst=target.address, ttl=1)
    outputs = rig.up(packet, b4=near)
    refused(rig, outputs, 11, 0, packet, b4=near)
    rig.was_dropped("access", "drop-ttl", answered=1)


def test_n06_hairpinned_packets_too_large_for_the_other_softwire(boot: Boot) -> None:
    """The inner MTU is one for all, so only a larger inner packet (in IPv6 fragments) meets it."""
    rig = boot()
    target, near, far = pair(rig)
    inner = ipv4(udp(5000, target.port, bytes(1472)), src=HOST, dst=target.address)
    pieces = packets.fragment6(ipv6(inner, src=near, dst=AFTR), mtu=1500)
    assert rig.up6(pieces[0]) == []
    outputs = rig.up6(pieces[1])
    quote = ipv4(udp(5000, target.port, bytes(1472)), src=HOST, dst=target.address, ttl=63)
    found = icmp_error(outputs, 3, 4, quote, src=target.address, dst=HOST, rest=1460, side="access")
    assert outputs == [rig.to_softwire(found.raw, outputs, b4=near)]
    rig.counted(
        access={"rx": 2, "merged": 1, "dropped": 1, "originated": 1, "tx": 1},
        drops={"drop-too-big": 1},
        events={"icmp-too-big-sent": 1},
    )
    inner = ipv4(udp(5000, target.port, bytes(1472)), src=HOST, dst=target.address, df=False)
    assert rig.up6(packets.fragment6(ipv6(inner, src=near, dst=AFTR), mtu=1500)[0]) == []
    outputs = rig.up6(packets.fragment6(ipv6(inner, src=near, dst=AFTR), mtu=1500)[1])
    assert len(outputs) == 2
    assert packets.v6(far) == packets.IPv6(outputs[0][1][14:]).dst
    rig.counted(access={"rx": 2, "merged": 1, "forwarded": 1, "tx": 2, "split": 1}, events={"hairpinned": 1})


def test_n06_hairpinned_fragments(rig: Rig) -> None:
    target, near, far = pair(rig)
    whole = ipv4(udp(5000, target.port, bytes(range(200)) * 10), src=HOST, dst=target.address, df=False)
    outputs: list[Output] = []
    for piece in reversed(packets.fragment4(whole, [800, 800])):
        outputs += rig.up(piece, b4=near)
    assert [packets.IPv6(frame[14:]).dst for _, frame in outputs] == [packets.v6(far)] * 3
    inner = IPv4(packets.reassemble4(packets.eth(packets.IPv6(frame[14:]).payload) for _, frame in outputs))
    assert inner.raw == ipv4(
        udp(inner.sport, 6000, bytes(range(200)) * 10),
        src=inner.src,
        dst="10.0.0.2",
        ttl=63,
        df=False,
        identification=inner.identification,
    )
    rig.counted(access={"rx": 3, "forwarded": 3, "tx": 3})


# ------------------------------------------------------------------------------------------------ N07
def test_n07_behaviour_is_deterministic(boot: Boot) -> None:
    """The same seed and the same frames give the same bytes; another seed other secrets."""
    frames = [
        packets.eth(
            ipv6(ipv4(udp(5000 + n, 53), src=HOST, dst=SERVER, df=n % 2 == 0), src=b4(n % 5 + 1), dst=slot_address(0))
        )
        for n in range(50)
    ]
    first, second, third = (boot(seed=seed) for seed in (7, 7, 8))
    results = [[rig.send("access", frame) for frame in frames] for rig in (first, second, third)]
    assert results[0] == results[1]
    assert results[0] != results[2]


# ------------------------------------------------------------------------------------------------ N08
def test_n08_icmp_neither_ends_nor_refreshes_a_mapping(rig: Rig) -> None:
    endpoint = rig.open(udp(5000, 53))
    quote = ipv4(udp(endpoint.port, 53), src=endpoint.address, dst=SERVER, ttl=60)
    for kind, code in ((3, 0), (3, 1), (3, 2), (3, 3), (3, 10), (11, 0), (12, 0)):
        error = ipv4(packets.icmp4(kind, code, 0, quote), src=SERVER, dst=endpoint.address)
        assert len(rig.down(error)) == 1
        assert reaches(rig, endpoint)
    rig.wait(200)
    inner_quote = ipv4(udp(53, 5000), src=SERVER, dst=HOST)
    assert len(rig.up(ipv4(packets.unreachable(3, inner_quote), src=HOST, dst=SERVER))) == 1
    assert len(rig.down(ipv4(packets.unreachable(3, quote), src=SERVER, dst=endpoint.address))) == 1
    rig.wait(102)
    assert not reaches(rig, endpoint), "302 s after the last packet from inside"


def test_n08_df_is_honoured(rig: Rig) -> None:
    """Outbound DF stays as it was, set or clear."""
    for df in (True, False):
        assert one(rig.up(ipv4(udp(5000, 53), src=HOST, dst=SERVER, df=df)), "internet").df == df


# ------------------------------------------------------------------------------------------------ N10
FIXED = {
    "softwire": B4,
    "slot": 0,
    "protocol": "udp",
    "internalAddress": HOST,
    "internalPort": 5000,
    "externalAddress": "192.0.2.3",
    "externalPort": 40000,
}
FIXED_ENDPOINT = Endpoint(packets.v4("192.0.2.3"), 40000)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"internalPort": 10000.9}, "is not usable"),
        ({"internalPort": 0}, "not between 1 and 65535"),
        ({"internalAddress": "192.0.0.1"}, "the AFTR's own"),
    ],
)
def test_a_binding_that_cannot_be_is_refused(rig: Rig, change: dict[str, object], sentence: str) -> None:
    with pytest.raises(BindingError, match=sentence):
        rig.engine.preload([{**FIXED, **change}])
    assert rig.engine.bindings() == []


def test_a_binding_that_would_move_another_softwire_is_refused(rig: Rig) -> None:
    other = {**FIXED, "softwire": b4(1, 2), "internalPort": 6000, "externalPort": 40001}
    with pytest.raises(BindingError, match="its softwire is not admitted"):
        rig.engine.preload([FIXED, other])


def test_n10_checksum_zero_stays_zero(rig: Rig) -> None:
    packet = ipv4(udp(5000, 53, b"abc", checksum=0), src=HOST, dst=SERVER)
    outputs = rig.up(packet)
    endpoint = rig.endpoint(outputs)
    assert outputs == [sent_to_internet(translated(packet, endpoint, udp(endpoint.port, 53, b"abc", checksum=0)))]
    outputs = rig.down(ipv4(udp(53, endpoint.port, b"d", checksum=0), src=SERVER, dst=endpoint.address))
    expected = ipv4(udp(53, 5000, b"d", checksum=0), src=SERVER, dst=HOST, ttl=63)
    assert outputs == [rig.to_softwire(expected, outputs)]


def test_n10_a_checksum_is_never_zeroed(rig: Rig) -> None:
    """Of all 16-bit payloads just one makes the translated checksum 0: it is sent as 0xffff (RFC 768)."""
    rig.engine.preload([FIXED])
    header = ones_for(FIXED_ENDPOINT.address, SERVER, FIXED_ENDPOINT.port, 53)
    payload = (0xFFFF - header).to_bytes(2)
    packet = ipv4(udp(5000, 53, payload), src=HOST, dst=SERVER)
    (output,) = rig.up(packet)
    assert output == sent_to_internet(translated(packet, FIXED_ENDPOINT, udp(40000, 53, payload)))
    assert IPv4(output[1][14:]).payload[6:8] == b"\xff\xff"


def ones_for(src: packets.V4, dst: packets.V4, sport: int, dport: int) -> int:
    """One's complement sum of a UDP packet with a payload of two zero bytes."""
    body = udp(sport, dport, b"\0\0", checksum=0).data
    return packets.ones_sum(body, packets.ones_sum(packets.pseudo4(src, dst, packets.UDP, len(body))))


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 64, 65, 1431, 1432])
def test_n10_checksums_are_updated_for_odd_and_even_sizes(rig: Rig, size: int) -> None:
    body = bytes(range(251)) * 6
    packet = ipv4(udp(5000, 53, body[:size]), src=HOST, dst=SERVER)
    outputs = rig.up(packet)
    endpoint = rig.endpoint(outputs)
    assert outputs == [sent_to_internet(translated(packet, endpoint, udp(endpoint.port, 53, body[:size])))]
    outputs = rig.down(answer(endpoint, body=body[:size]))
    assert outputs == [rig.to_softwire(ipv4(udp(53, 5000, body[:size]), src=SERVER, dst=HOST, ttl=63), outputs)]


def test_n10_a_wrong_checksum_stays_wrong(rig: Rig) -> None:
    """Updated, not computed anew: what the access network broke is not repaired."""
    right = IPv4(ipv4(udp(5000, 53, b"abcd"), src=HOST, dst=SERVER)).payload[6:8]
    packet = ipv4(udp(5000, 53, b"abcd", checksum=int.from_bytes(right) ^ 0x0100), src=HOST, dst=SERVER)
    found = one(rig.up(packet), "internet")
    assert not found.transport_checksum_right
    assert found.header_checksum_right


# ------------------------------------------------------------------------------------------------ N11
@pytest.mark.parametrize("protocol", [0, 2, 4, 41, 47, 50, 51, 58, 132, 255])
def test_n11_other_protocols_are_refused(rig: Rig, protocol: int) -> None:
    packet = ipv4(packets.raw(protocol, bytes(40)), src=HOST, dst=SERVER)
    outputs = rig.up(packet)
    refused(rig, outputs, 3, 2, packet)
    rig.was_dropped("access", "drop-protocol", answered=1, events={"icmp-sent": 1})


def test_n11_other_protocols_from_the_internet(rig: Rig) -> None:
    rig.open(udp(5000, 53))
    rig.since()
    rig.down(ipv4(packets.raw(packets.GRE, bytes(40)), src=SERVER, dst="192.0.2.1"))
    found = rig.since()
    assert found["drops"] == {"drop-protocol": 1}
    assert found["internet"]["dropped"] == 1


def test_n11_answers_are_rate_limited(rig: Rig) -> None:
    packet = packets.eth(ipv6(ipv4(packets.raw(packets.GRE, bytes(8)), src=HOST, dst=SERVER), src=B4, dst=AFTR))
    outputs = rig.step([("access", packet)] * 130)
    assert sum(len(output) for output in outputs) == 100
    rig.counted(
        access={"rx": 130, "dropped": 130, "originated": 100, "tx": 100},
        drops={"drop-protocol": 130},
        events={"icmp-sent": 100, "icmp-rate-limited": 30},
    )


def test_n11_later_fragments_of_other_protocols_are_not_answered(rig: Rig) -> None:
    packet = ipv4(packets.raw(packets.GRE, bytes(40)), src=HOST, dst=SERVER, df=False, offset=800)
    assert rig.up(packet) == []
    rig.was_dropped("access", "drop-protocol")
