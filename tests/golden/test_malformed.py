"""Bad input: every length field, header chain and fragment offset, options, checksums, VLANs, nested tunnels.

Each is counted under one name and survived: nothing leaks, and the next good packet passes (`good`, after each).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import packets
from packets import (
    ACK,
    DESTINATION,
    FRAGMENT,
    HOP_BY_HOP,
    IPIP,
    SYN,
    Segment,
    echo,
    eth,
    fragment_header,
    icmp6,
    ipv4,
    ipv6,
    options_header,
    raw,
    sent_to_internet,
    tcp,
    udp,
)
from rig import AFTR, B4, HOST, SERVER, Endpoint, Rig, refused, translated

pytestmark = pytest.mark.nojit

INNER = ipv4(udp(5000, 53, b"good"), src=HOST, dst=SERVER)
OUTER = ipv6(INNER, src=B4, dst=AFTR)
POOL = "192.0.2.1"  # any address of the pool
INTERNET = ipv4(udp(53, 5000), src=SERVER, dst=POOL)


def good(rig: Rig) -> Endpoint:
    """A good packet passes both ways."""
    rig.since()
    outputs = rig.up6(OUTER)
    endpoint = rig.endpoint(outputs)
    assert outputs == [sent_to_internet(translated(INNER, endpoint, udp(endpoint.port, 53, b"good")))]
    outputs = rig.down(ipv4(udp(53, endpoint.port, b"back"), src=SERVER, dst=endpoint.address))
    assert outputs == [rig.to_softwire(ipv4(udp(53, 5000, b"back"), src=SERVER, dst=HOST, ttl=63), outputs)]
    rig.counted(
        access={"rx": 1, "forwarded": 1, "tx": 1},
        internet={"rx": 1, "forwarded": 1, "tx": 1},
        events={"reassembled": 0},
    )
    return endpoint


def dropped(rig: Rig, side: packets.Side, frame: bytes, name: str) -> None:
    good(rig)
    assert rig.send(side, frame) == []
    rig.was_dropped(side, name)
    good(rig)


# ------------------------------------------------------------------------------------------------ Ethernet
@pytest.mark.parametrize("size", [0, 1, 13])
@pytest.mark.parametrize("side", ["access", "internet"])
def test_d24_frames_shorter_than_ethernet(rig: Rig, side: packets.Side, size: int) -> None:
    dropped(rig, side, eth(OUTER if side == "access" else INTERNET)[:size], "drop-truncated")


@pytest.mark.parametrize(
    ("side", "frame"),
    [
        ("access", packets.vlan(eth(OUTER), 7)),
        ("internet", packets.vlan(eth(INTERNET), 7)),
        ("access", packets.vlan(packets.vlan(eth(OUTER), 7), 8, 0x88A8)),
        ("access", eth(INNER)),  # IPv4 on the access side
        ("internet", eth(OUTER)),
        ("access", eth(bytes(28), ethertype=0x0806)),
        ("internet", eth(bytes(28), ethertype=0x0806)),
        ("access", eth(OUTER, ethertype=0x0100)),  # 802.3 length
        ("internet", eth(INTERNET, ethertype=0xFFFF)),
    ],
)
def test_d24_other_ethertypes_and_vlan_tags(rig: Rig, side: packets.Side, frame: bytes) -> None:
    dropped(rig, side, frame, "drop-ethertype")


def test_d24_priority_tag_is_read_over(rig: Rig) -> None:
    """A tag with VLAN id 0 only carries a priority (IEEE 802.1Q): the frame belongs to the untagged interface."""
    assert len(rig.send("access", packets.vlan(eth(OUTER), 0))) == 1
    rig.was_forwarded("access")


# ------------------------------------------------------------------------------------------------ IPv6 header
@pytest.mark.parametrize("size", [14, 15, 33, 53])
def test_d24_truncated_ipv6_header(rig: Rig, size: int) -> None:
    dropped(rig, "access", eth(OUTER)[:size], "drop-truncated")


@pytest.mark.parametrize("size", [54, 60, 73, 74, 81, len(OUTER) + 13])
def test_d24_frame_shorter_than_payload_length(rig: Rig, size: int) -> None:
    dropped(rig, "access", eth(OUTER)[:size], "drop-truncated")


@pytest.mark.parametrize("version", [0, 4, 5, 7, 15])
def test_d24_ipv6_version(rig: Rig, version: int) -> None:
    frame = eth(ipv6(INNER, src=B4, dst=AFTR, version=version), ethertype=packets.ETHERTYPE_IPV6)
    dropped(rig, "access", frame, "drop-ipv6-header")


def test_d24_payload_length_lies(rig: Rig) -> None:
    for length, name in (
        (len(INNER) + 1, "drop-truncated"),
        (65535, "drop-truncated"),
        (len(INNER) - 1, "drop-truncated"),  # the inner packet does not fit its outer payload
        (20, "drop-truncated"),
        (19, "drop-truncated"),
        (1, "drop-truncated"),
    ):
        dropped(rig, "access", eth(ipv6(INNER, src=B4, dst=AFTR, length=length)), name)


def test_d24_payload_length_zero_is_no_jumbogram(rig: Rig) -> None:
    """RFC 2675 is not supported: neither with nor without its option."""
    dropped(rig, "access", eth(ipv6(INNER, src=B4, dst=AFTR, length=0)), "drop-truncated")
    jumbo = options_header(IPIP, b"\xc2\x04\x00\x01\x00\x00") + INNER
    dropped(rig, "access", eth(ipv6(jumbo, src=B4, dst=AFTR, next_header=HOP_BY_HOP, length=0)), "drop-truncated")


@pytest.mark.parametrize("padding", [1, 6, 46, 500])
def test_d24_bytes_after_the_payload_are_padding(rig: Rig, padding: int) -> None:
    good(rig)
    outputs = rig.send("access", eth(OUTER + bytes(padding)))
    endpoint = rig.endpoint(outputs)
    assert outputs == [sent_to_internet(translated(INNER, endpoint, udp(endpoint.port, 53, b"good")))]
    rig.was_forwarded("access")


def test_d24_bytes_after_the_inner_packet_are_padding(rig: Rig) -> None:
    outputs = rig.up6(ipv6(INNER + b"trailing", src=B4, dst=AFTR))
    endpoint = rig.endpoint(outputs)
    assert outputs == [sent_to_internet(translated(INNER, endpoint, udp(endpoint.port, 53, b"good")))]


@pytest.mark.parametrize("source", ["::", "ff02::1", "ff0e::1234", AFTR])
def test_d24_impossible_sources(rig: Rig, source: str) -> None:
    dropped(rig, "access", eth(ipv6(INNER, src=source, dst=AFTR)), "drop-ipv6-header")


@pytest.mark.parametrize("destination", ["2001:db8:64::", "2001:db8:64::2", "2001:db8:64:1::1", "ff02::1", B4, "::"])
def test_d24_destinations_that_are_not_ours(rig: Rig, destination: str) -> None:
    dropped(rig, "access", eth(ipv6(INNER, src=B4, dst=destination)), "drop-not-local")


# ------------------------------------------------------------------------------------------------ header chains
OPTIONS = options_header


@pytest.mark.parametrize(
    ("chain", "first"),
    [
        (OPTIONS(HOP_BY_HOP) + OPTIONS(IPIP), DESTINATION),  # Hop-by-Hop not first
        (OPTIONS(HOP_BY_HOP) + OPTIONS(IPIP), HOP_BY_HOP),  # twice
        (bytes([IPIP, 0, 0, 0, 0, 0, 0, 0]), packets.ROUTING),
        (OPTIONS(packets.ROUTING) + bytes([IPIP, 0, 0, 0, 0, 0, 0, 0]), DESTINATION),
        (bytes([IPIP, 1]) + bytes(10), packets.AH),
        (bytes([IPIP, 0]) + bytes(6), 135),  # Mobility
        (bytes([IPIP, 0]) + bytes(6), 139),  # HIP
        (bytes([IPIP, 0]) + bytes(6), 140),  # Shim6
        (OPTIONS(DESTINATION) * 8 + OPTIONS(IPIP), DESTINATION),  # nine
        (fragment_header(FRAGMENT, 0, False, 1) * 8 + fragment_header(IPIP, 0, False, 1), FRAGMENT),
        (fragment_header(HOP_BY_HOP, 0, False, 1) + OPTIONS(IPIP), FRAGMENT),
    ],
)
def test_d24_header_chains_that_are_refused(rig: Rig, chain: bytes, first: int) -> None:
    frame = eth(ipv6(chain + INNER, src=B4, dst=AFTR, next_header=first))
    dropped(rig, "access", frame, "drop-extension-header")


@pytest.mark.parametrize(
    ("chain", "first"),
    [
        (OPTIONS(DESTINATION) * 7 + OPTIONS(IPIP), DESTINATION),  # eight
        (fragment_header(FRAGMENT, 0, False, 1) * 7 + fragment_header(IPIP, 0, False, 1), FRAGMENT),
        (OPTIONS(FRAGMENT) + fragment_header(DESTINATION, 0, False, 1) + OPTIONS(IPIP), HOP_BY_HOP),
    ],
)
def test_d24_long_header_chains_that_pass(rig: Rig, chain: bytes, first: int) -> None:
    """RFC 8200 4.1: in any order and any number, except Hop-by-Hop."""
    outputs = rig.up6(ipv6(chain + INNER, src=B4, dst=AFTR, next_header=first))
    endpoint = rig.endpoint(outputs)
    assert outputs == [sent_to_internet(translated(INNER, endpoint, udp(endpoint.port, 53, b"good")))]
    rig.was_forwarded("access")


@pytest.mark.parametrize(
    "next_header", [packets.TCP, packets.UDP, packets.IPV6, packets.ESP, packets.NO_NEXT, 47, 132, 253]
)
def test_d24_payloads_that_are_no_softwire(rig: Rig, next_header: int) -> None:
    dropped(rig, "access", eth(ipv6(OUTER, src=B4, dst=AFTR, next_header=next_header)), "drop-not-softwire")


def test_d24_nested_tunnels(rig: Rig) -> None:
    """IPv6 in the softwire is no softwire; IPv4 in the inner IPv4 is a protocol that is not translated."""
    dropped(rig, "access", eth(ipv6(OUTER, src=B4, dst=AFTR, next_header=packets.IPV6)), "drop-not-softwire")
    dropped(rig, "access", eth(ipv6(options_header(packets.IPV6) + OUTER, src=B4, dst=AFTR, next_header=DESTINATION)),
            "drop-not-softwire")  # fmt: skip
    packet = ipv4(raw(IPIP, INNER), src=HOST, dst=SERVER)
    refused(rig, rig.up(packet), 3, 2, packet)
    rig.was_dropped("access", "drop-protocol", answered=1)
    packet = ipv4(raw(packets.IPV6, OUTER), src=HOST, dst=SERVER)
    refused(rig, rig.up(packet), 3, 2, packet)
    rig.was_dropped("access", "drop-protocol", answered=1)


@pytest.mark.parametrize(
    ("chain", "first"),
    [
        (b"", DESTINATION),
        (b"\x04", DESTINATION),
        (options_header(IPIP)[:7], DESTINATION),
        (options_header(IPIP, length=255), DESTINATION),
        (options_header(IPIP, length=1), HOP_BY_HOP),
        (options_header(DESTINATION) + options_header(IPIP, length=9), DESTINATION),
        (fragment_header(IPIP, 0, False, 1)[:7], FRAGMENT),
        (b"", FRAGMENT),
        (b"", HOP_BY_HOP),
        (b"", IPIP),
        (b"", packets.ICMPV6),
        (icmp6(128, 0, 1).data[:7], packets.ICMPV6),
        (INNER[:19], IPIP),
        (options_header(IPIP), DESTINATION),
    ],
)
def test_d24_headers_longer_than_the_packet(rig: Rig, chain: bytes, first: int) -> None:
    dropped(rig, "access", eth(ipv6(chain, src=B4, dst=AFTR, next_header=first)), "drop-truncated")


@pytest.mark.parametrize("kind", [0, 5, 100, 127, 129, 130, 131, 132, 143, 200, 255])
def test_d24_other_icmpv6_types(rig: Rig, kind: int) -> None:
    dropped(rig, "access", eth(ipv6(icmp6(kind, 0, 0, bytes(60)), src=B4, dst=AFTR)), "drop-icmp-type")


# ------------------------------------------------------------------------------------------------ inner IPv4 header
@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"version": 0}, "drop-ipv4-header"),
        ({"version": 6}, "drop-ipv4-header"),
        ({"version": 15}, "drop-ipv4-header"),
        ({"ihl": 0}, "drop-ipv4-header"),
        ({"ihl": 4}, "drop-ipv4-header"),
        ({"length": 0}, "drop-ipv4-header"),
        ({"length": 19}, "drop-ipv4-header"),
        ({"length": len(INNER) + 1}, "drop-truncated"),
        ({"length": 65535}, "drop-truncated"),
        ({"checksum": 0}, "drop-ipv4-checksum"),
        ({"checksum": 0xFFFF}, "drop-ipv4-checksum"),
        ({"checksum": 0x1234}, "drop-ipv4-checksum"),
    ],
)
@pytest.mark.parametrize("side", ["access", "internet"])
def test_d24_ipv4_headers_that_lie(rig: Rig, side: packets.Side, fields: dict[str, Any], name: str) -> None:
    endpoint = good(rig)
    if side == "access":
        frame = eth(ipv6(ipv4(udp(5000, 53, b"good"), src=HOST, dst=SERVER, **fields), src=B4, dst=AFTR))
    else:
        packet = ipv4(udp(53, endpoint.port, b"good"), src=SERVER, dst=endpoint.address, **fields)
        frame = eth(packet, ethertype=packets.ETHERTYPE_IPV4)
    dropped(rig, side, frame, name)


@pytest.mark.parametrize("side", ["access", "internet"])
def test_d24_header_length_beyond_total_length(rig: Rig, side: packets.Side) -> None:
    packet = ipv4(udp(5000, 53, bytes(40)), src=HOST, dst=SERVER, ihl=15, length=59)
    packet = packets.with_checksum4(packet)
    if side == "internet":
        packet = packets.with_checksum4(packet[:16] + packets.v4(POOL).packed + packet[20:])
    frame = eth(ipv6(packet, src=B4, dst=AFTR)) if side == "access" else eth(packet)
    dropped(rig, side, frame, "drop-ipv4-header")


@pytest.mark.parametrize("size", [14, 15, 33])
def test_d24_truncated_ipv4_header_from_the_internet(rig: Rig, size: int) -> None:
    dropped(rig, "internet", eth(INTERNET)[:size], "drop-truncated")


@pytest.mark.parametrize("destination", ["192.0.1.255", "192.0.2.16", "198.51.100.1", "0.0.0.0", "255.255.255.255",
                                         "224.0.0.1", "10.0.0.1", "192.0.0.1"])  # fmt: skip
def test_d24_internet_destinations_that_are_not_ours(rig: Rig, destination: str) -> None:
    dropped(rig, "internet", eth(ipv4(udp(53, 5000), src=SERVER, dst=destination)), "drop-not-local")


@pytest.mark.parametrize("padding", [1, 18, 100])
def test_d24_ethernet_padding_from_the_internet_is_removed(rig: Rig, padding: int) -> None:
    endpoint = good(rig)
    rig.since()
    packet = ipv4(udp(53, endpoint.port), src=SERVER, dst=endpoint.address)
    outputs = rig.send("internet", eth(packet + bytes(padding)))
    assert outputs == [rig.to_softwire(ipv4(udp(53, 5000), src=SERVER, dst=HOST, ttl=63), outputs)]
    rig.was_forwarded("internet")


# ------------------------------------------------------------------------------------------------ IPv4 options
LOOSE, STRICT = b"\x83\x07\x04" + bytes(4), b"\x89\x07\x04" + bytes(4)


@pytest.mark.parametrize(
    "options", [LOOSE, STRICT, b"\x01" + LOOSE, b"\x01\x01\x94\x04\0\0" + STRICT, b"\x07\x07\x04" + bytes(4) + LOOSE]
)
def test_d24_source_routes_are_dropped(rig: Rig, options: bytes) -> None:
    """RFC 7126: LSRR and SSRR, wherever they stand."""
    endpoint = good(rig)
    packet = ipv4(udp(5000, 53), src=HOST, dst=SERVER, options=options)
    dropped(rig, "access", eth(ipv6(packet, src=B4, dst=AFTR)), "drop-source-route")
    packet = ipv4(udp(53, endpoint.port), src=SERVER, dst=endpoint.address, options=options)
    dropped(rig, "internet", eth(packet), "drop-source-route")


@pytest.mark.parametrize(
    "options", [b"\x94\x04\0\0", b"\x01\x01\x01\x00", b"\x07\x27\x04" + bytes(36), b"\x44\x0c\x05\0" + bytes(8)]
)
def test_d24_other_options_are_carried(rig: Rig, options: bytes) -> None:
    """Router alert, padding, record route (forty bytes: the most), timestamp: as they are, both ways."""
    packet = ipv4(udp(5000, 53, b"x"), src=HOST, dst=SERVER, options=options)
    outputs = rig.up(packet)
    endpoint = rig.endpoint(outputs)
    assert outputs == [sent_to_internet(translated(packet, endpoint, udp(endpoint.port, 53, b"x")))]
    outputs = rig.down(ipv4(udp(53, endpoint.port, b"y"), src=SERVER, dst=endpoint.address, options=options))
    expected = ipv4(udp(53, 5000, b"y"), src=SERVER, dst=HOST, options=options, ttl=63)
    assert outputs == [rig.to_softwire(expected, outputs)]


@pytest.mark.parametrize(
    "options", [b"\x07\x00\x00\x00", b"\x07\x01\x00\x00", b"\x07\x28\x04\x00", b"\x01\x01\x01\x07", b"\x83\x00\0\0"]
)
def test_d24_broken_options_do_no_harm(rig: Rig, options: bytes) -> None:
    """Lengths of 0, 1, beyond the header, or missing: forwarded or dropped, counted, and the next passes."""
    good(rig)
    outputs = rig.up(ipv4(udp(5000, 53), src=HOST, dst=SERVER, options=options))
    found = rig.since()
    assert found["access"]["rx"] == 1
    assert found["access"].get("forwarded", 0) + found["access"].get("dropped", 0) == 1
    assert len(outputs) == found["access"].get("forwarded", 0)
    good(rig)


# ------------------------------------------------------------------------------------------------ transport headers
def refitted(body: Segment, size: int) -> Segment:
    return Segment(body.protocol, body.data[:size])


SHORT: list[tuple[str, Segment]] = [
    *[(f"udp of {size} bytes", refitted(udp(5000, 53, bytes(20)), size)) for size in (0, 1, 4, 7)],
    *[(f"tcp of {size} bytes", refitted(tcp(5000, 80, SYN), size)) for size in (0, 1, 4, 13, 19)],
    *[(f"icmp of {size} bytes", refitted(echo(7), size)) for size in (0, 1, 4, 7)],
    ("udp length 0", udp(5000, 53, b"abcd", length=0)),
    ("udp length 7", udp(5000, 53, b"abcd", length=7)),
    ("udp length too long", udp(5000, 53, b"abcd", length=13)),
    ("udp length 65535", udp(5000, 53, b"abcd", length=65535)),
    ("tcp offset 0", tcp(5000, 80, SYN, offset=0)),
    ("tcp offset 4", tcp(5000, 80, SYN, offset=4)),
    ("tcp offset too long", tcp(5000, 80, SYN, offset=6)),
    ("tcp offset 15", tcp(5000, 80, SYN, bytes(39), offset=15)),
    ("udp source port 0", udp(0, 53)),
    ("udp destination port 0", udp(5000, 0)),
    ("tcp source port 0", tcp(0, 80, SYN)),
    ("tcp destination port 0", tcp(5000, 0, SYN)),
]


@pytest.mark.parametrize("body", [body for _, body in SHORT], ids=[name for name, _ in SHORT])
def test_d24_transport_headers_that_lie_outbound(rig: Rig, body: Segment) -> None:
    packet = ipv4(body, src=HOST, dst=SERVER)
    dropped(rig, "access", eth(ipv6(packet, src=B4, dst=AFTR)), "drop-transport-header")


SHORT_INBOUND: list[tuple[str, Callable[[int], Segment]]] = [
    ("udp of 0 bytes", lambda port: refitted(udp(53, port), 0)),
    ("udp of 3 bytes", lambda port: refitted(udp(53, port), 3)),
    ("udp of 7 bytes", lambda port: refitted(udp(53, port), 7)),
    ("tcp of 19 bytes", lambda port: refitted(tcp(80, port), 19)),
    ("icmp of 7 bytes", lambda port: refitted(packets.echo_reply(port), 7)),
    ("udp length 7", lambda port: udp(53, port, b"abcd", length=7)),
    ("udp length too long", lambda port: udp(53, port, b"abcd", length=13)),
    ("tcp offset 4", lambda port: tcp(80, port, ACK, offset=4)),
    ("tcp offset 15", lambda port: tcp(80, port, ACK, offset=15)),
    ("udp source port 0", lambda port: udp(0, port)),
]


@pytest.mark.parametrize("make", [make for _, make in SHORT_INBOUND], ids=[name for name, _ in SHORT_INBOUND])
def test_d24_transport_headers_that_lie_inbound(rig: Rig, make: Callable[[int], Segment]) -> None:
    endpoint = good(rig)
    packet = ipv4(make(endpoint.port), src=SERVER, dst=endpoint.address)
    dropped(rig, "internet", eth(packet), "drop-transport-header")


def test_n10_udp_length_shorter_than_the_packet_is_carried(rig: Rig) -> None:
    """RFC 768 and 1122 allow it: what follows the datagram travels along (it is not in the checksum)."""
    body = Segment(packets.UDP, udp(5000, 53, b"abcd").seal4(HOST, SERVER) + b"surplus!")
    outputs = rig.up(ipv4(body, src=HOST, dst=SERVER))
    endpoint = rig.endpoint(outputs)
    sealed = udp(endpoint.port, 53, b"abcd").seal4(endpoint.address, SERVER) + b"surplus!"
    expected = ipv4(Segment(packets.UDP, sealed), src=endpoint.address, dst=SERVER, ttl=63)
    assert outputs == [sent_to_internet(expected)]


@pytest.mark.parametrize(
    "options",
    [
        b"\x02\x00\0\0",
        b"\x02\x01\0\0",
        b"\x03\x00\x02\x04",
        b"\x02\xff\xff\xff",
        b"\x01\x01\x01\x02",
        b"\x05\x28\0\0\x02\x04\xff\xff",
    ],
)
def test_d07_broken_tcp_options_are_carried(rig: Rig, options: bytes) -> None:
    """An option that lies ends the search for the MSS; the segment is carried as it is."""
    packet = ipv4(tcp(5000, 80, SYN, options=options), src=HOST, dst=SERVER)
    outputs = rig.up(packet)
    endpoint = rig.endpoint(outputs)
    assert outputs == [sent_to_internet(translated(packet, endpoint, tcp(endpoint.port, 80, SYN, options=options)))]
    rig.was_forwarded("access", events={"mss-clamped": 0})


# ------------------------------------------------------------------------------------------------ IPv4 fragments
@pytest.mark.parametrize("offset", [8, 16, 1480, 32768, 65520, 65528])
def test_n09_every_offset_alone_waits_and_ends(rig: Rig, offset: int) -> None:
    """A later fragment of UDP is held for its first, and times out; past 65,535 bytes it is impossible."""
    packet = ipv4(raw(packets.UDP, bytes(8)), src=HOST, dst=SERVER, df=False, offset=offset)
    assert rig.up(packet) == []
    if offset + 8 + 20 > 65535:
        rig.was_dropped("access", "drop-bad-fragment")
        return
    rig.counted(access={"rx": 1, "held": 1})
    rig.wait(2)
    rig.counted(access={"held": -1, "dropped": 1}, drops={"drop-reassembly-timeout": 1})
    good(rig)


@pytest.mark.parametrize(("size", "mf"), [(0, True), (0, False), (12, True), (7, True)])
def test_n09_impossible_fragments(rig: Rig, size: int, mf: bool) -> None:
    """Empty, or not a multiple of 8 bytes without being the last."""
    packet = ipv4(raw(packets.UDP, bytes(size)), src=HOST, dst=SERVER, df=False, offset=800, mf=mf)
    dropped(rig, "access", eth(ipv6(packet, src=B4, dst=AFTR)), "drop-bad-fragment")
    packet = ipv4(raw(packets.UDP, bytes(size)), src=SERVER, dst=POOL, df=False, offset=800, mf=mf)
    dropped(rig, "internet", eth(packet), "drop-bad-fragment")


@pytest.mark.parametrize("offset", range(0, 65536, 4096))
def test_d04_every_offset_of_ipv6_fragments(rig: Rig, offset: int) -> None:
    """Alone, not the last: held or too big for maxPacketBytes, and gone after the timeout."""
    packet = fragment_header(IPIP, offset, True, 5) + bytes(1448)
    assert rig.up6(ipv6(packet, src=B4, dst=AFTR, next_header=FRAGMENT)) == []
    if offset + 1448 > 9216:
        rig.was_dropped("access", "drop-reassembly-too-big")
    else:
        rig.counted(access={"rx": 1, "held": 1})
        rig.wait(2)
        rig.counted(access={"held": -1, "dropped": 1}, drops={"drop-reassembly-timeout": 1})
    good(rig)


def test_d04_a_last_fragment_that_ends_before_others(rig: Rig) -> None:
    """Bytes beyond the end that the last fragment states: the packet is dropped, whole."""
    body = INNER + bytes(2000)
    for start, end, more in ((800, 1600, True), (0, 400, True), (400, 600, False)):
        packet = fragment_header(IPIP, start, more, 5) + body[start:end]
        assert rig.up6(ipv6(packet, src=B4, dst=AFTR, next_header=FRAGMENT)) == []
    rig.wait(2)
    found = rig.since()
    assert found["access"] == {"rx": 3, "dropped": 3}
    assert set(found["drops"]) <= {"drop-bad-fragment", "drop-overlap", "drop-reassembly-timeout"}
    good(rig)


def test_d04_a_reassembled_packet_is_checked_like_any_other(rig: Rig) -> None:
    """Lengths of the inner packet that lie, in a softwire packet that was put together."""
    lie = ipv4(udp(5000, 53, bytes(1000)), src=HOST, dst=SERVER, length=1500)
    for number, piece in enumerate(packets.fragment6(ipv6(lie, src=B4, dst=AFTR), [504])):
        assert rig.up6(piece) == []
        assert number in (0, 1)
    rig.counted(access={"rx": 2, "merged": 1, "dropped": 1}, drops={"drop-truncated": 1}, events={"reassembled": 1})
    good(rig)


# ------------------------------------------------------------------------------------------------ ICMP that lies
def test_d25_icmpv6_errors_that_lie(rig: Rig) -> None:
    """Truncated quotes, quotes with extension headers, of fragments, of other things: no harm, no change of state."""
    endpoint = good(rig)
    ours = ipv6(ipv4(udp(53, endpoint.port), src=SERVER, dst=HOST), src=AFTR, dst=B4)
    for kind in (1, 2, 3, 4):
        for quote in (ours[:size] for size in range(0, 68, 3)):
            assert rig.up6(ipv6(icmp6(kind, 0, 1400, quote), src="2001:db8:ffff::1", dst=AFTR)) in ([],) or kind != 2
    rig.since()
    good(rig)


@pytest.mark.parametrize("size", range(48))
def test_i02_quotes_that_lie(rig: Rig, size: int) -> None:
    """Every length of a quote whose header claims options, another version or more bytes than there are."""
    endpoint = good(rig)
    rig.since()
    for first in (0x45, 0x46, 0x4F, 0x44, 0x65, 0x00):
        quote = ipv4(
            udp(endpoint.port, 53), src=endpoint.address, dst=SERVER, options=bytes(max(0, (first & 15) * 4 - 20))
        )
        quote = packets.with_checksum4(bytes([first]) + quote[1:])[:size]
        packet = ipv4(packets.unreachable(1, quote), src="203.0.113.99", dst=endpoint.address)
        outputs = rig.down(packet)
        found = rig.since()
        assert found["internet"]["rx"] == 1
        assert len(outputs) == found["internet"].get("forwarded", 0)
        assert set(found["drops"]) <= {"drop-icmp-quote", "drop-icmp-checksum"}
    good(rig)
