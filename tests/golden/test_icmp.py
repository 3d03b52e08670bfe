"""ICMP: queries, errors in all directions, what is dropped (rows I)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import packets
from packets import SYN, IPv4, Segment, echo, echo_reply, icmp4, ipv4, sent_to_internet, tcp, udp
from rig import B4, HOST, SERVER, Boot, Endpoint, Output, Rig, b4, icmp_error, one, refused, translated

pytestmark = pytest.mark.nojit

ROUTER = "203.0.113.99"
INSIDE_ROUTER = "10.0.0.254"
ERRORS = [(3, 0), (3, 1), (3, 3), (3, 4), (3, 13), (11, 0), (11, 1), (12, 0)]


# ------------------------------------------------------------------------------------------------ I01
def test_i01_echo_is_mapped_by_its_identifier(rig: Rig) -> None:
    packet = ipv4(echo(700, 1, b"abc"), src=HOST, dst=SERVER)
    outputs = rig.up(packet)
    endpoint = rig.endpoint(outputs)
    assert outputs == [sent_to_internet(translated(packet, endpoint, echo(endpoint.port, 1, b"abc")))]
    rig.was_forwarded("access", events={"mappings-created": 1})
    outputs = rig.down(ipv4(echo_reply(endpoint.port, 1, b"abc"), src=SERVER, dst=endpoint.address))
    expected = ipv4(echo_reply(700, 1, b"abc"), src=SERVER, dst=HOST, ttl=63)
    assert outputs == [rig.to_softwire(expected, outputs)]
    rig.was_forwarded("internet")
    assert rig.open(echo(700, 2), dst=ROUTER) == endpoint, "endpoint-independent"


def test_i01_two_hosts_with_the_same_identifier(rig: Rig) -> None:
    first, second = rig.open(echo(700)), rig.open(echo(700), src="10.0.0.2")
    assert first != second
    for endpoint, host in ((first, HOST), (second, "10.0.0.2")):
        outputs = rig.down(ipv4(echo_reply(endpoint.port), src=SERVER, dst=endpoint.address))
        assert one(outputs, "access").raw == ipv4(echo_reply(700), src=SERVER, dst=host, ttl=63)


def test_i01_query_mappings_live_60_seconds(rig: Rig) -> None:
    endpoint = rig.open(echo(700))
    reply = ipv4(echo_reply(endpoint.port), src=SERVER, dst=endpoint.address)
    rig.wait(59)
    assert rig.open(echo(700)) == endpoint
    rig.wait(59.9)
    assert len(rig.down(reply)) == 1
    rig.since()
    rig.wait(1.1)
    assert rig.down(reply) == []
    rig.was_dropped("internet", "drop-icmp-unsolicited", events={"mappings-removed": 1})


def test_i01_lifetime_is_configurable(boot: Boot) -> None:
    rig = boot({"nat": {"timeouts": {"icmpSeconds": 90}}})
    endpoint = rig.open(echo(700))
    rig.wait(89.9)
    assert len(rig.down(ipv4(echo_reply(endpoint.port), src=SERVER, dst=endpoint.address))) == 1


@pytest.mark.parametrize("identifier", [0, 1, 1023, 65535])
def test_i01_any_identifier_is_served_also_zero(rig: Rig, identifier: int) -> None:
    endpoint = rig.open(echo(identifier))
    outputs = rig.down(ipv4(echo_reply(endpoint.port), src=SERVER, dst=endpoint.address))
    assert one(outputs, "access").raw == ipv4(echo_reply(identifier), src=SERVER, dst=HOST, ttl=63)


def test_i01_identifiers_ports_and_protocols_do_not_meet(rig: Rig) -> None:
    """A UDP reply to an ICMP mapping's number finds nothing."""
    endpoint = rig.open(echo(700))
    rig.since()
    assert rig.down(ipv4(udp(53, endpoint.port), src=SERVER, dst=endpoint.address)) == []
    rig.was_dropped("internet", "drop-no-mapping")


# ------------------------------------------------------------------------------------------------ I02
Make = Callable[[int], Segment]
BODIES: dict[str, tuple[Segment, Make, Make]] = {
    "udp": (udp(5000, 53, b"query"), lambda port: udp(port, 53, b"query"), lambda port: udp(53, port, b"answer")),
    "udp0": (
        udp(5000, 53, b"query", checksum=0),
        lambda port: udp(port, 53, b"query", checksum=0),
        lambda port: udp(53, port, b"answer", checksum=0),
    ),
    "tcp": (tcp(5000, 80, SYN, seq=9), lambda port: tcp(port, 80, SYN, seq=9), lambda port: tcp(80, port, seq=9)),
    "icmp": (echo(5000, 5), lambda port: echo(port, 5), lambda port: echo_reply(port, 5)),
}


def quoted(packet: bytes, length: int | None) -> bytes:
    return packet if length is None else packet[: 20 + length]


@pytest.mark.parametrize("length", [None, 8, 20])
@pytest.mark.parametrize(("kind", "code"), ERRORS)
@pytest.mark.parametrize("name", BODIES)
def test_i02_errors_from_the_internet(rig: Rig, name: str, kind: int, code: int, length: int | None) -> None:
    """The quoted packet becomes the one that the host sent, checksums included; the router's address stays."""
    inside, outside, _ = BODIES[name]
    endpoint = rig.open(inside)
    rig.since()
    quote = quoted(ipv4(outside(endpoint.port), src=endpoint.address, dst=SERVER, ttl=1, identification=5), length)
    error = ipv4(icmp4(kind, code, 1300 if (kind, code) == (3, 4) else 0, quote), src=ROUTER, dst=endpoint.address)
    outputs = rig.down(error)
    back = quoted(ipv4(inside, src=HOST, dst=SERVER, ttl=1, identification=5), length)
    expected = ipv4(icmp4(kind, code, 1300 if (kind, code) == (3, 4) else 0, back), src=ROUTER, dst=HOST, ttl=63)
    assert outputs == [rig.to_softwire(expected, outputs)]
    rig.was_forwarded("internet", events={"icmp-errors-translated": 1})


@pytest.mark.parametrize("length", [None, 8, 20])
@pytest.mark.parametrize(("kind", "code"), ERRORS)
@pytest.mark.parametrize("name", BODIES)
def test_i02_errors_from_behind_a_b4(rig: Rig, name: str, kind: int, code: int, length: int | None) -> None:
    """Sent by the host or a router of its network: source becomes the external address of the mapping (RFC 5508 R5)."""
    inside, _, answer = BODIES[name]
    endpoint = rig.open(inside)
    rig.since()
    quote = quoted(ipv4(answer(5000), src=SERVER, dst=HOST, ttl=60, identification=6), length)
    for source in (HOST, INSIDE_ROUTER):
        outputs = rig.up(ipv4(icmp4(kind, code, 0, quote), src=source, dst=SERVER))
        back = quoted(ipv4(answer(endpoint.port), src=SERVER, dst=endpoint.address, ttl=60, identification=6), length)
        expected = ipv4(icmp4(kind, code, 0, back), src=endpoint.address, dst=SERVER, ttl=63)
        assert outputs == [sent_to_internet(expected)]
        rig.was_forwarded("access", events={"icmp-errors-translated": 1, "mappings-created": 0})


def test_i02_errors_are_hairpinned(rig: Rig) -> None:
    """Host A sends to B's external endpoint; B's port unreachable comes back to A with A's own packet quoted."""
    near, far = b4(1), b4(2)
    target = rig.open(udp(6000, 53), src="10.0.0.2", b4=far)
    sent = ipv4(udp(5000, target.port, b"hello"), src=HOST, dst=target.address)
    delivered = one(rig.up(sent, b4=near), "access")
    rig.since()
    error = ipv4(packets.unreachable(3, delivered.raw), src="10.0.0.2", dst=delivered.src)
    outputs = rig.up(error, b4=far)
    quote = ipv4(udp(5000, target.port, b"hello"), src=HOST, dst=target.address, ttl=63)
    expected = ipv4(packets.unreachable(3, quote), src=target.address, dst=HOST, ttl=63)
    assert outputs == [rig.to_softwire(expected, outputs, b4=near)]
    rig.counted(access={"rx": 1, "forwarded": 1, "tx": 1}, events={"hairpinned": 1, "icmp-errors-translated": 2})


@pytest.mark.parametrize("size", [0, 1, 27, 28, 100, 548])
def test_i02_quotes_of_any_length(rig: Rig, size: int) -> None:
    endpoint = rig.open(udp(5000, 53))
    rig.since()
    quote = ipv4(udp(endpoint.port, 53, bytes(1000)), src=endpoint.address, dst=SERVER)[:size]
    outputs = rig.down(ipv4(packets.unreachable(1, quote), src=ROUTER, dst=endpoint.address))
    if size < 28:
        assert outputs == []
        rig.was_dropped("internet", "drop-icmp-quote")
        return
    back = ipv4(udp(5000, 53, bytes(1000)), src=HOST, dst=SERVER)[:size]
    assert one(outputs, "access").raw == ipv4(packets.unreachable(1, back), src=ROUTER, dst=HOST, ttl=63)
    rig.was_forwarded("internet")


def test_i02_quoted_options_are_kept(rig: Rig) -> None:
    endpoint = rig.open(udp(5000, 53))
    options = b"\x94\x04\0\0"  # router alert
    quote = ipv4(udp(endpoint.port, 53), src=endpoint.address, dst=SERVER, options=options)
    outputs = rig.down(ipv4(packets.unreachable(1, quote), src=ROUTER, dst=endpoint.address))
    back = ipv4(udp(5000, 53), src=HOST, dst=SERVER, options=options)
    assert one(outputs, "access").raw == ipv4(packets.unreachable(1, back), src=ROUTER, dst=HOST, ttl=63)


def no_mapping(rig: Rig, endpoint: Endpoint) -> list[bytes]:
    """Quotes that belong to no mapping: another port, protocol, direction; later fragments; quoted errors."""
    own: dict[str, Any] = {"src": endpoint.address, "dst": SERVER}
    good = ipv4(udp(endpoint.port, 53), **own)
    return [
        ipv4(udp(endpoint.port ^ 1, 53), **own),
        ipv4(tcp(endpoint.port, 53, SYN), **own),
        ipv4(udp(53, endpoint.port), src=SERVER, dst=endpoint.address),
        ipv4(udp(endpoint.port, 53), df=False, offset=800, **own),
        ipv4(packets.unreachable(1, good), **own),
        ipv4(packets.raw(packets.GRE, bytes(8)), **own),
    ]


@pytest.mark.parametrize("case", range(6))
def test_i02_errors_about_nothing_of_ours_are_dropped(rig: Rig, case: int) -> None:
    endpoint = rig.open(udp(5000, 53))
    rig.since()
    quote = no_mapping(rig, endpoint)[case]
    assert rig.down(ipv4(packets.unreachable(1, quote), src=ROUTER, dst=endpoint.address)) == []
    rig.was_dropped("internet", "drop-icmp-quote")


def test_i02_errors_from_inside_about_nothing_of_ours_are_dropped(rig: Rig) -> None:
    rig.open(udp(5000, 53))
    rig.since()
    for quote in (
        ipv4(udp(53, 5001), src=SERVER, dst=HOST),
        ipv4(udp(53, 5000), src=SERVER, dst="10.0.0.2"),
        ipv4(tcp(53, 5000), src=SERVER, dst=HOST),
    ):
        assert rig.up(ipv4(packets.unreachable(3, quote), src=HOST, dst=SERVER)) == []
        rig.was_dropped("access", "drop-icmp-quote", events={"mappings-created": 0})
    assert (
        rig.up(ipv4(packets.unreachable(3, ipv4(udp(53, 5000), src=SERVER, dst=HOST)), src=HOST, dst=SERVER), b4=b4(2))
        == []
    )
    rig.was_dropped("access", "drop-icmp-quote")


def test_i02_errors_pass_the_strictest_filtering(boot: Boot) -> None:
    """A router on the way is never the remote endpoint of a session; the quoted packet is."""
    rig = boot({"nat": {"filtering": "address-and-port-dependent"}})
    endpoint = rig.open(udp(5000, 53))
    quote = ipv4(udp(endpoint.port, 53), src=endpoint.address, dst=SERVER)
    assert len(rig.down(ipv4(packets.time_exceeded(quote), src=ROUTER, dst=endpoint.address))) == 1


# ------------------------------------------------------------------------------------------------ I03
def burst(rig: Rig, side: packets.Side, packet: bytes, number: int) -> list[Output]:
    outputs: list[Output] = []
    frame = packets.eth(packet)
    for start in range(0, number, 256):
        for got in rig.step([(side, frame)] * min(256, number - start)):
            outputs += got
    return outputs


def test_i03_errors_into_a_softwire_are_limited_per_subscriber(rig: Rig) -> None:
    """50 a second, a burst of 100; another subscriber has its own."""
    packet = ipv4(udp(5000, 53), src=HOST, dst=SERVER, ttl=1)
    outer = packets.ipv6(packet, src=B4, dst="2001:db8:64::1")
    assert len(burst(rig, "access", outer, 130)) == 100
    rig.counted(
        access={"rx": 130, "dropped": 130, "originated": 100, "tx": 100},
        drops={"drop-ttl": 130},
        events={"icmp-sent": 100, "icmp-rate-limited": 30},
    )
    outputs = rig.up(packet, b4=b4(2))
    refused(rig, outputs, 11, 0, packet, b4=b4(2))
    rig.since()
    rig.wait(1)
    assert len(burst(rig, "access", outer, 130)) == 50
    rig.was_dropped("access", "drop-ttl", 130, answered=50, events={"icmp-sent": 50, "icmp-rate-limited": 80})


def test_i03_errors_to_the_internet_are_limited_per_slot(rig: Rig) -> None:
    """1,000 a second, a burst of 1,000."""
    endpoint = rig.open(udp(5000, 53))
    rig.since()
    packet = ipv4(udp(53, endpoint.port), src=SERVER, dst=endpoint.address, ttl=1)
    assert len(burst(rig, "internet", packet, 1100)) == 1000
    rig.was_dropped("internet", "drop-ttl", 1100, answered=1000, events={"icmp-sent": 1000, "icmp-rate-limited": 100})


@pytest.mark.parametrize("ttl", [0, 1])
def test_i03_ttl_expiry_both_ways(rig: Rig, ttl: int) -> None:
    packet = ipv4(udp(5000, 53), src=HOST, dst=SERVER, ttl=ttl)
    outputs = rig.up(packet)
    refused(rig, outputs, 11, 0, packet)
    rig.was_dropped("access", "drop-ttl", answered=1)
    endpoint = rig.open(udp(5000, 53))
    rig.since()
    packet = ipv4(udp(53, endpoint.port), src=SERVER, dst=endpoint.address, ttl=ttl)
    outputs = rig.down(packet)
    icmp_error(outputs, 11, 0, packet, src=endpoint.address, dst=SERVER, side="internet")
    rig.was_dropped("internet", "drop-ttl", answered=1)


def test_i03_ttl_of_two_passes_once(rig: Rig) -> None:
    packet = ipv4(udp(5000, 53), src=HOST, dst=SERVER, ttl=2)
    assert one(rig.up(packet), "internet").ttl == 1


@pytest.mark.parametrize("size", [100, 548, 549, 1400])
def test_i03_errors_quote_what_fits_576_bytes(rig: Rig, size: int) -> None:
    packet = ipv4(udp(5000, 53, bytes(size - 28)), src=HOST, dst=SERVER, ttl=1)
    outputs = rig.up(packet)
    assert one(outputs, "access").total_length == min(28 + size, 576)
    refused(rig, outputs, 11, 0, packet)


def test_i03_no_errors_about_icmp_errors(rig: Rig) -> None:
    endpoint = rig.open(udp(5000, 53))
    rig.since()
    quote = ipv4(udp(endpoint.port, 53), src=endpoint.address, dst=SERVER)
    assert rig.down(ipv4(packets.unreachable(1, quote), src=ROUTER, dst=endpoint.address, ttl=1)) == []
    rig.was_dropped("internet", "drop-ttl")
    quote = ipv4(udp(53, 5000), src=SERVER, dst=HOST)
    assert rig.up(ipv4(packets.unreachable(3, quote), src=HOST, dst=SERVER, ttl=1)) == []
    rig.was_dropped("access", "drop-ttl")


def test_i03_no_errors_about_later_fragments(rig: Rig) -> None:
    whole = ipv4(udp(5000, 53, bytes(2000)), src=HOST, dst=SERVER, df=False, ttl=1)
    first, second = packets.fragment4(whole, [1000])
    outputs = rig.up(first)
    refused(rig, outputs, 11, 0, first)
    rig.was_dropped("access", "drop-ttl", answered=1)
    assert rig.up(second) == []
    rig.wait(3)
    found = rig.since()
    assert found["access"] == {"rx": 1, "dropped": 1}
    assert set(found["drops"]) <= {"drop-ttl", "drop-reassembly-timeout"}


def test_i03_echo_requests_with_expired_ttl_are_answered(rig: Rig) -> None:
    """An echo request is no ICMP error: traceroute -I works."""
    packet = ipv4(echo(700), src=HOST, dst=SERVER, ttl=1)
    refused(rig, rig.up(packet), 11, 0, packet)


# ------------------------------------------------------------------------------------------------ I04
def error_with(endpoint: Endpoint, quote: bytes, **lies: int) -> bytes:
    return ipv4(packets.unreachable(1, quote, **lies), src=ROUTER, dst=endpoint.address)


def test_i04_a_bad_icmp_checksum_is_dropped(rig: Rig) -> None:
    endpoint = rig.open(udp(5000, 53))
    rig.since()
    quote = ipv4(udp(endpoint.port, 53), src=endpoint.address, dst=SERVER)
    assert rig.down(error_with(endpoint, quote, checksum=0x1234)) == []
    rig.was_dropped("internet", "drop-icmp-checksum")
    inside = ipv4(packets.unreachable(3, ipv4(udp(53, 5000), src=SERVER, dst=HOST), checksum=1), src=HOST, dst=SERVER)
    assert rig.up(inside) == []
    rig.was_dropped("access", "drop-icmp-checksum")


def test_i04_a_bad_checksum_of_the_quoted_header_is_dropped(rig: Rig) -> None:
    endpoint = rig.open(udp(5000, 53))
    rig.since()
    quote = ipv4(udp(endpoint.port, 53), src=endpoint.address, dst=SERVER, checksum=0x1234)
    assert rig.down(error_with(endpoint, quote)) == []
    rig.was_dropped("internet", "drop-icmp-checksum")
    quote = ipv4(udp(53, 5000), src=SERVER, dst=HOST, checksum=0x1234)
    assert rig.up(ipv4(packets.unreachable(3, quote), src=HOST, dst=SERVER)) == []
    rig.was_dropped("access", "drop-icmp-checksum")


@pytest.mark.parametrize("body", [udp, tcp])
def test_i04_embedded_transport_checksums_are_not_validated(rig: Rig, body: Callable[..., Segment]) -> None:
    endpoint = rig.open(body(5000, 53))
    rig.since()
    quote = ipv4(body(endpoint.port, 53, checksum=0x1234), src=endpoint.address, dst=SERVER)
    assert len(rig.down(error_with(endpoint, quote))) == 1
    rig.was_forwarded("internet")


# ------------------------------------------------------------------------------------------------ I05
@pytest.mark.parametrize("body", [echo(700), echo_reply(700)])
def test_i05_unsolicited_echo_is_dropped(rig: Rig, body: Segment) -> None:
    """The packet that crashes a neighbour (data-plane.md): counted, and the next one passes."""
    for address in ("192.0.2.0", "192.0.2.1", "192.0.2.15"):
        assert rig.down(ipv4(body, src=ROUTER, dst=address)) == []
    rig.was_dropped("internet", "drop-icmp-unsolicited", 3)
    rig.open(echo(700))


@pytest.mark.parametrize("kind", [4, 5, 6, 9, 10, 13, 14, 15, 16, 17, 18, 30, 40, 255])
def test_i05_other_types_are_not_translated(rig: Rig, kind: int) -> None:
    rig.open(echo(700))
    rig.since()
    assert rig.down(ipv4(icmp4(kind, 0, 0, bytes(20)), src=ROUTER, dst="192.0.2.1")) == []
    rig.was_dropped("internet", "drop-icmp-type")
    assert rig.up(ipv4(icmp4(kind, 0, 0, bytes(20)), src=HOST, dst=SERVER)) == []
    rig.was_dropped("access", "drop-icmp-type", events={"mappings-created": 0})


def test_i05_later_packets_are_served(rig: Rig) -> None:
    for _ in range(3):
        rig.down(ipv4(echo(1), src=ROUTER, dst="192.0.2.1"))
    endpoint = rig.open(echo(700))
    assert IPv4(rig.down(ipv4(echo_reply(endpoint.port), src=SERVER, dst=endpoint.address))[0][1][54:]).sport == 700
