"""The softwire: encapsulation and its reverse, fields of both headers, the AFTR's own addresses (D01-D10, D23-D27)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import packets
from packets import ACK, SYN, IPv4, IPv6, echo, icmp6, ipv4, ipv6, options_header, sent_to_internet, tcp, udp
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
    icmp_error,
    one,
    refused,
    slot_address,
    translated,
)

pytestmark = pytest.mark.nojit

ROUTER6 = "2001:db8:ffff::1"  # a router on the access network: not a registered B4


def test_d01_tunnel_endpoint_and_nat_on_one_node_without_state_per_b4(boot: Boot) -> None:
    """Any B4 of a registered prefix is served by its first packet; each gets an endpoint of its own."""
    rig = boot()
    endpoints = set()
    for number in range(1, 9):
        packet = ipv4(udp(5000, 53, b"query"), src=HOST, dst=SERVER)
        outputs = rig.up(packet, b4=b4(number))
        endpoint = rig.endpoint(outputs)
        assert outputs == [sent_to_internet(translated(packet, endpoint, udp(endpoint.port, 53, b"query")))]
        endpoints.add(endpoint)
    assert len(endpoints) == 8
    rig.was_forwarded("access", 8, events={"mappings-created": 8})


@pytest.mark.parametrize("outer", range(4))
@pytest.mark.parametrize("inner", range(4))
def test_d02_ds_field_and_ecn_outbound(rig: Rig, inner: int, outer: int) -> None:
    """RFC 2983 uniform model: outer DSCP becomes the packet's; RFC 6040 figure 4: ECN of both."""
    packet = ipv4(udp(5000, 53), src=HOST, dst=SERVER, tos=10 << 2 | inner)
    outputs = rig.up(packet, tc=46 << 2 | outer)
    if inner == packets.NOT_ECT and outer == packets.CE:
        assert outputs == []
        rig.was_dropped("access", "drop-ecn")
        return
    if packets.NOT_ECT in (inner, outer):
        ecn = inner
    elif packets.CE in (inner, outer):
        ecn = packets.CE
    else:
        ecn = packets.ECT1 if packets.ECT1 in (inner, outer) else packets.ECT0
    endpoint = rig.endpoint(outputs)
    carried = ipv4(udp(5000, 53), src=HOST, dst=SERVER, tos=46 << 2 | ecn)
    assert outputs == [sent_to_internet(translated(carried, endpoint, udp(endpoint.port, 53)))]
    rig.was_forwarded("access")


def test_d02_only_ecn_is_carried_outside_without_preservation(boot: Boot) -> None:
    rig = boot({"softwire": {"dscpPreservation": False}})
    endpoint = rig.open(udp(5000, 53))
    outputs = rig.down(ipv4(udp(53, endpoint.port), src=SERVER, dst=endpoint.address, tos=0xB9))
    found = IPv6(outputs[0][1][14:])
    assert found.traffic_class == 0x01
    assert found.inner.raw == ipv4(udp(53, 5000), src=SERVER, dst=HOST, tos=0xB9, ttl=63)


@pytest.mark.parametrize("tos", [0, 1, 2, 3, 0x28, 0xB8, 0xB9, 0xBA, 0xBB, 0xFF])
def test_d02_ds_field_and_ecn_inbound(rig: Rig, tos: int) -> None:
    endpoint = rig.open(udp(5000, 53))
    outputs = rig.down(ipv4(udp(53, endpoint.port), src=SERVER, dst=endpoint.address, tos=tos))
    expected = ipv4(udp(53, 5000), src=SERVER, dst=HOST, tos=tos, ttl=63)
    assert outputs == [rig.to_softwire(expected, outputs)]  # to_softwire: traffic class = type of service


def test_d02_dscp_is_kept_inside_without_preservation(boot: Boot) -> None:
    rig = boot({"softwire": {"dscpPreservation": False}})
    packet = ipv4(udp(5000, 53), src=HOST, dst=SERVER, tos=10 << 2 | packets.ECT0)
    outputs = rig.up(packet, tc=46 << 2 | packets.CE)
    endpoint = rig.endpoint(outputs)
    carried = ipv4(udp(5000, 53), src=HOST, dst=SERVER, tos=10 << 2 | packets.CE)
    assert outputs == [sent_to_internet(translated(carried, endpoint, udp(endpoint.port, 53)))]


def test_d07_mss_of_syn_is_lowered_outbound(rig: Rig) -> None:
    packet = ipv4(tcp(5000, 80, SYN, mss=1460), src=HOST, dst=SERVER)
    outputs = rig.up(packet)
    endpoint = rig.endpoint(outputs)
    assert outputs == [sent_to_internet(translated(packet, endpoint, tcp(endpoint.port, 80, SYN, mss=1420)))]
    rig.was_forwarded("access", events={"mss-clamped": 1})


def test_d07_mss_of_syn_ack_is_lowered_inbound(rig: Rig) -> None:
    endpoint = rig.open(tcp(5000, 80, SYN))
    rig.since()
    outputs = rig.down(ipv4(tcp(80, endpoint.port, SYN | ACK, mss=1460), src=SERVER, dst=endpoint.address))
    expected = ipv4(tcp(80, 5000, SYN | ACK, mss=1420), src=SERVER, dst=HOST, ttl=63)
    assert outputs == [rig.to_softwire(expected, outputs)]
    rig.was_forwarded("internet", events={"mss-clamped": 1})


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"\x02\x04\x05\xb4\x04\x02\x08\x0a\0\0\0\1\0\0\0\0\x01\x03\x03\x07", True),  # Linux: MSS, SACK, timestamps
        (b"\x01\x02\x04\x05\xb4\x01\x01\x00", True),  # at an odd place
        (b"\x01\x01\x03\x03\x07\x02\x04\xff\xff\x01\x00\x00", True),  # jumbo, odd place
        (b"\x02\x04\x05\x8c", False),  # 1420 already
        (b"\x02\x04\x02\x18", False),  # 536
        (b"\x02\x04\x00\x00", False),
        (b"", False),  # none: never added
        (b"\x01\x01\x01\x01", False),
        (b"\x00\x02\x04\x05\xb4\x00\x00\x00", False),  # after the end of the list
    ],
)
def test_d07_mss_is_never_raised_never_added_and_found_anywhere(rig: Rig, before: bytes, after: bool) -> None:
    lowered = before.replace(b"\x02\x04\x05\xb4", b"\x02\x04\x05\x8c").replace(b"\x02\x04\xff\xff", b"\x02\x04\x05\x8c")
    packet = ipv4(tcp(5000, 80, SYN, options=before), src=HOST, dst=SERVER)
    outputs = rig.up(packet)
    endpoint = rig.endpoint(outputs)
    expected = tcp(endpoint.port, 80, SYN, options=lowered if after else before)
    assert outputs == [sent_to_internet(translated(packet, endpoint, expected))]
    rig.was_forwarded("access", events={"mss-clamped": int(after)})


def test_d07_mss_of_other_segments_stays(rig: Rig) -> None:
    packet = ipv4(tcp(5000, 80, ACK, mss=1460), src=HOST, dst=SERVER)
    outputs = rig.up(packet)
    endpoint = rig.endpoint(outputs)
    assert outputs == [sent_to_internet(translated(packet, endpoint, tcp(endpoint.port, 80, ACK, mss=1460)))]
    rig.was_forwarded("access", events={"mss-clamped": 0})


def test_d07_mss_follows_the_tunnel_mtu(boot: Boot) -> None:
    rig = boot({"softwire": {"tunnelMtu": 1400}})
    packet = ipv4(tcp(5000, 80, SYN, mss=1460), src=HOST, dst=SERVER)
    outputs = rig.up(packet)
    endpoint = rig.endpoint(outputs)
    assert outputs == [sent_to_internet(translated(packet, endpoint, tcp(endpoint.port, 80, SYN, mss=1320)))]


def test_d07_mss_stays_when_clamping_is_off(boot: Boot) -> None:
    rig = boot({"softwire": {"mssClamping": {"enabled": False}}})
    packet = ipv4(tcp(5000, 80, SYN, mss=1460), src=HOST, dst=SERVER)
    outputs = rig.up(packet)
    endpoint = rig.endpoint(outputs)
    assert outputs == [sent_to_internet(translated(packet, endpoint, tcp(endpoint.port, 80, SYN, mss=1460)))]
    rig.was_forwarded("access", events={"mss-clamped": 0})


def test_d08_aftr_address_shows_in_traceroute(rig: Rig) -> None:
    packet = ipv4(udp(33434, 33434, bytes(32)), src=HOST, dst=SERVER, ttl=1)
    outputs = rig.up(packet)
    refused(rig, outputs, 11, 0, packet)
    rig.was_dropped("access", "drop-ttl", answered=1, events={"icmp-sent": 1, "mappings-created": 0})


@pytest.mark.parametrize("slots", [1, 4])
def test_d08_aftr_address_answers_echo_in_every_slot(boot: Boot, slots: int) -> None:
    rig = boot({"slots": slots})
    for slot in range(slots):
        packet = ipv4(echo(77, 3, b"abcdefgh"), src=HOST, dst="192.0.0.1", ttl=1)
        outputs = rig.up(packet, slot=slot, b4=b4(slot + 1))
        found = one(outputs, "access")
        assert found.tos == 0
        expected = ipv4(
            packets.echo_reply(77, 3, b"abcdefgh"),
            src="192.0.0.1",
            dst=HOST,
            identification=found.identification,
            df=found.df,
        )
        assert outputs == [rig.to_softwire(expected, outputs, b4=b4(slot + 1), slot=slot)]
        rig.counted(access={"rx": 1, "consumed": 1, "originated": 1, "tx": 1}, events={"icmp-sent": 1})


def test_d08_echo_to_the_aftr_address_is_rate_limited(rig: Rig) -> None:
    packet = packets.eth(ipv6(ipv4(echo(77), src=HOST, dst="192.0.0.1"), src=B4, dst=AFTR))
    outputs = rig.step([("access", packet)] * 150)
    answered = sum(len(output) for output in outputs)
    assert answered == 100  # burst of 100 per subscriber
    rig.counted(
        access={"rx": 150, "consumed": 100, "dropped": 50, "originated": 100, "tx": 100},
        drops={"drop-rate-limited": 50},
    )


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (udp(5000, 53), 3),
        (tcp(5000, 80, SYN), 3),
        (packets.raw(packets.GRE, bytes(8)), 2),
        (packets.raw(packets.SCTP, bytes(12)), 2),
    ],
)
def test_d08_anything_else_to_the_aftr_address_is_unreachable(rig: Rig, body: packets.Segment, code: int) -> None:
    packet = ipv4(body, src=HOST, dst="192.0.0.1")
    outputs = rig.up(packet)
    refused(rig, outputs, 3, code, packet)
    rig.was_dropped("access", "drop-aftr-address", answered=1, events={"icmp-sent": 1, "mappings-created": 0})


def test_d08_icmp_errors_to_the_aftr_address_are_not_answered(rig: Rig) -> None:
    quote = ipv4(udp(5000, 53), src="192.0.0.1", dst=HOST)
    assert rig.up(ipv4(packets.unreachable(3, quote), src=HOST, dst="192.0.0.1")) == []
    rig.was_dropped("access", "drop-aftr-address")


@pytest.mark.parametrize("source", ["192.0.0.0", "192.0.0.1"])
def test_d08_aftr_address_as_inner_source_is_dropped(rig: Rig, source: str) -> None:
    assert rig.up(ipv4(udp(5000, 53), src=source, dst=SERVER)) == []
    rig.was_dropped("access", "drop-source-reserved")


def test_d08_icmp_to_the_internet_comes_from_the_address_it_was_sent_to(rig: Rig) -> None:
    endpoint = rig.open(udp(5000, 53))
    rig.since()
    packet = ipv4(udp(53, endpoint.port), src=SERVER, dst=endpoint.address, ttl=1)
    outputs = rig.down(packet)
    icmp_error(outputs, 11, 0, packet, src=endpoint.address, dst=SERVER, side="internet")
    rig.was_dropped("internet", "drop-ttl", answered=1, events={"icmp-sent": 1})


def test_d09_overlapping_inner_addresses_never_meet(rig: Rig) -> None:
    endpoints = [rig.open(udp(5000, 53), b4=b4(number)) for number in (1, 2, 3)]
    assert len(set(endpoints)) == 3
    for number, endpoint in enumerate(endpoints, 1):
        outputs = rig.down(ipv4(udp(53, endpoint.port, b"answer"), src=SERVER, dst=endpoint.address))
        expected = ipv4(udp(53, 5000, b"answer"), src=SERVER, dst=HOST, ttl=63)
        assert outputs == [rig.to_softwire(expected, outputs, b4=b4(number))]


def test_d09_key_is_softwire_address_protocol_and_port(rig: Rig) -> None:
    """One B4: another host, protocol or port is another mapping; the same is the same."""
    first = rig.open(udp(5000, 53))
    assert rig.open(udp(5000, 53)) == first
    assert rig.open(udp(5000, 53), src="10.0.0.2") != first
    assert rig.open(udp(5001, 53)) != first
    rig.since()
    rig.open(tcp(5000, 53, SYN))
    rig.open(echo(5000))
    rig.was_forwarded("access", 2, events={"mappings-created": 2})


def test_d10_reverse_lookup_rebuilds_the_encapsulation(boot: Boot) -> None:
    rig = boot({"slots": 4})
    for slot in range(4):
        home = b4(slot + 1, 7)
        endpoint = rig.open(tcp(10000, 80, SYN), b4=home, slot=slot)
        rig.check_endpoint(endpoint, slot)
        outputs = rig.down(ipv4(tcp(80, endpoint.port, SYN | ACK), src=SERVER, dst=endpoint.address, ttl=57))
        outer = IPv6(outputs[0][1][14:])
        assert (str(outer.src), str(outer.dst)) == (slot_address(slot), home)
        assert (outer.next_header, outer.hop_limit, outer.traffic_class) == (4, 64, 0)
        expected = ipv4(tcp(80, 10000, SYN | ACK), src=SERVER, dst=HOST, ttl=56)
        assert outputs == [rig.to_softwire(expected, outputs, b4=home, slot=slot)]


# ------------------------------------------------------------------------------------------------ D23: appendix B
APPENDIX_B4 = "2001:db8:0:1::1"
APPENDIX_AFTR = "2001:db8:0:2::1"
APPENDIX_SERVER = "198.51.100.1"
APPENDIX_EXTERNAL = Endpoint(packets.v4("192.0.2.1"), 5000)
APPENDIX_SPEC: dict[str, Any] = {
    "softwire": {"prefix": "2001:db8:0:2::/64"},
    "nat": {"pools": [{"name": "default", "prefixes": ["192.0.2.0/24"]}], "subscriberMaskV6": 64},
}
APPENDIX_GROUPS = [group("homes", "2001:db8:0:1::/64")]
GATEWAY, DIRECT_HOST = "10.0.0.1", "192.0.0.2"


def appendix_binding(inside: str) -> dict[str, Any]:
    return {
        "softwire": APPENDIX_B4,
        "slot": 0,
        "protocol": "tcp",
        "internalAddress": inside,
        "internalPort": 10000,
        "externalAddress": "192.0.2.1",
        "externalPort": 5000,
    }


def appendix_frames(inside: str) -> tuple[bytes, bytes, bytes]:
    """Outbound datagram 2 (in the softwire), its datagram 3, inbound datagram 1."""
    syn = ipv4(tcp(10000, 80, SYN), src=inside, dst=APPENDIX_SERVER)
    out = translated(syn, APPENDIX_EXTERNAL, tcp(5000, 80, SYN))
    back = ipv4(tcp(80, 5000, SYN | ACK), src=APPENDIX_SERVER, dst="192.0.2.1")
    return ipv6(syn, src=APPENDIX_B4, dst=APPENDIX_AFTR), out, back


def check_appendix_inbound(frame: bytes, inside: str) -> None:
    """Inbound datagram 2, every field of both headers; only the flow label is free."""
    inner = ipv4(tcp(80, 10000, SYN | ACK), src=APPENDIX_SERVER, dst=inside, ttl=63)
    label = IPv6(frame[14:]).flow_label
    outer = ipv6(inner, src=APPENDIX_AFTR, dst=APPENDIX_B4, flow_label=label)
    assert frame == packets.sent_to_access(outer)[1]


@pytest.mark.parametrize("inside", [GATEWAY, DIRECT_HOST])
def test_d23_appendix_b(boot: Boot, inside: str) -> None:
    rig = boot(APPENDIX_SPEC, APPENDIX_GROUPS)
    rig.engine.preload([appendix_binding(inside)])
    softwire, out, back = appendix_frames(inside)
    assert rig.up6(softwire) == [sent_to_internet(out)]
    rig.was_forwarded("access", events={"hairpinned": 0})
    ((side, frame),) = rig.down(back)
    assert side == "access"
    check_appendix_inbound(frame, inside)
    rig.was_forwarded("internet")
    (binding,) = rig.engine.bindings()
    assert {key: binding[key] for key in appendix_binding(inside)} == appendix_binding(inside)


@pytest.mark.parametrize("inside", [GATEWAY, DIRECT_HOST])
def test_d23_appendix_b_inbound_alone(boot: Boot, inside: str) -> None:
    """The binding alone is enough: nothing was sent from inside before."""
    rig = boot(APPENDIX_SPEC, APPENDIX_GROUPS)
    rig.engine.preload([appendix_binding(inside)])
    ((_, frame),) = rig.down(appendix_frames(inside)[2])
    check_appendix_inbound(frame, inside)
    rig.was_forwarded("internet")


@pytest.mark.parametrize("inside", [GATEWAY, DIRECT_HOST])
def test_d23_appendix_b_by_replay(tmp_path: Path, inside: str) -> None:
    softwire, out, back = appendix_frames(inside)
    config = tmp_path / "config.yaml"
    config.write_text(config_text(APPENDIX_SPEC, APPENDIX_GROUPS))
    (tmp_path / "bindings.json").write_text(json.dumps([appendix_binding(inside)]))
    packets.write_pcap(tmp_path / "access.pcap", [(1_000_000_000, packets.eth(softwire))])
    packets.write_pcap(tmp_path / "internet.pcap", [(1_050_000_000, packets.eth(back))], nanoseconds=False)
    command = [str(Path(sys.executable).with_name("aftr")), "replay", "--config", str(config)]
    for option in ("access", "internet"):
        command += [f"--{option}", f"{tmp_path}/{option}.pcap", f"--{option}-out", f"{tmp_path}/{option}-out.pcap"]
    command += ["--bindings", f"{tmp_path}/bindings.json", "--counters", f"{tmp_path}/counters.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert packets.read_pcap(tmp_path / "internet-out.pcap") == [(1_000_000_000, sent_to_internet(out)[1])]
    ((time, frame),) = packets.read_pcap(tmp_path / "access-out.pcap")
    assert time == 1_050_000_000
    check_appendix_inbound(frame, inside)
    counters = json.loads((tmp_path / "counters.json").read_text())
    for side in ("access", "internet"):
        assert {name: n for name, n in counters[side].items() if n} == {"rx": 1, "forwarded": 1, "tx": 1}
    assert not any(counters["drops"].values())


# ------------------------------------------------------------------------------------------------ D24: real B4s
@pytest.mark.parametrize(
    ("before", "first"),
    [
        (options_header(packets.IPIP), packets.DESTINATION),  # Linux ip6tnl, encaplimit 4
        (options_header(packets.IPIP, b"\x05\x02\x00\x00\x01\x00"), packets.HOP_BY_HOP),  # router alert
        (
            options_header(packets.DESTINATION, b"\x01\x04\0\0\0\0") + options_header(packets.IPIP),
            packets.HOP_BY_HOP,
        ),
        (options_header(packets.IPIP, bytes(30)), packets.DESTINATION),  # 32 bytes
    ],
)
def test_d24_options_before_the_inner_packet(rig: Rig, before: bytes, first: int) -> None:
    packet = ipv4(udp(5000, 53, b"q"), src=HOST, dst=SERVER)
    outputs = rig.up(packet, before=before, next_header=first)
    endpoint = rig.endpoint(outputs)
    assert outputs == [sent_to_internet(translated(packet, endpoint, udp(endpoint.port, 53, b"q")))]
    rig.was_forwarded("access")


@pytest.mark.parametrize("size", [0, 1, 8, 56, 1400])
def test_d24_tunnel_address_answers_echo(rig: Rig, size: int) -> None:
    request = ipv6(icmp6(128, 0, 0x00070003, bytes(range(256))[:size] * 1), src=B4, dst=AFTR)
    outputs = rig.up6(request)
    ((side, frame),) = outputs
    found = IPv6(frame[14:])
    expected = ipv6(icmp6(129, 0, 0x00070003, bytes(range(256))[:size]), src=AFTR, dst=B4, flow_label=found.flow_label)
    assert (side, frame) == packets.sent_to_access(expected)
    rig.counted(access={"rx": 1, "consumed": 1, "originated": 1, "tx": 1}, events={"icmp-sent": 1})


def test_d24_tunnel_address_drops_echo_with_a_bad_checksum(rig: Rig) -> None:
    assert rig.up6(ipv6(icmp6(128, 0, 1, b"x", checksum=0x1234), src=B4, dst=AFTR)) == []
    rig.was_dropped("access", "drop-icmp-checksum")


# ------------------------------------------------------------------------------------------------ D25: ICMPv6 errors
def into_softwire(rig: Rig, endpoint: Endpoint, size: int = 1000, *, df: bool = True) -> bytes:
    """A packet of the AFTR's in a softwire, to be quoted by a router: `size` is the inner length."""
    outputs = rig.down(ipv4(udp(53, endpoint.port, bytes(size - 28)), src=SERVER, dst=endpoint.address, df=df))
    assert outputs[0][0] == "access"
    return outputs[0][1][14:]


def too_big(quote: bytes, mtu: int, *, source: str = ROUTER6, target: str = AFTR, **lies: int) -> bytes:
    return ipv6(icmp6(2, 0, mtu, quote[:1232], **lies), src=source, dst=target)


def code_4_mtu(rig: Rig, endpoint: Endpoint, size: int) -> int:
    """MTU that a DF packet of `size` bytes from the internet is refused with, 0 if it passes."""
    outputs = rig.down(ipv4(udp(53, endpoint.port, bytes(size - 28)), src=SERVER, dst=endpoint.address))
    if outputs[0][0] == "access":
        assert len(outputs) == 1
        return 0
    found = one(outputs, "internet")
    assert found.payload[:2] == bytes([3, 4])
    assert found.src == endpoint.address
    return int.from_bytes(found.payload[6:8])


@pytest.mark.parametrize(("reported", "believed"), [(1400, 1400), (1280, 1280), (1279, 1280), (68, 1280), (0, 1280)])
def test_d25_packet_too_big_lowers_the_path_mtu_of_this_b4(rig: Rig, reported: int, believed: int) -> None:
    endpoint, other = rig.open(udp(5000, 53)), rig.open(udp(5000, 53), b4=b4(2))
    quote = into_softwire(rig, endpoint, 1460)
    rig.since()
    assert rig.up6(too_big(quote, reported)) == []
    rig.counted(access={"rx": 1, "consumed": 1}, events={"path-mtu-lowered": 1, "path-mtu-ignored": 0})
    assert code_4_mtu(rig, endpoint, believed - 39) == believed - 40
    assert code_4_mtu(rig, endpoint, believed - 40) == 0
    assert code_4_mtu(rig, other, 1460) == 0
    rig.since()


def test_d25_lowered_path_mtu_is_kept_600_seconds(boot: Boot) -> None:
    rig = boot({"nat": {"timeouts": {"udpSeconds": 3600}}})
    endpoint = rig.open(udp(5000, 53))
    rig.up6(too_big(into_softwire(rig, endpoint, 1460), 1300))
    rig.wait(599)
    assert code_4_mtu(rig, endpoint, 1460) == 1260
    rig.wait(2)
    assert code_4_mtu(rig, endpoint, 1460) == 0


def test_d25_lowered_path_mtu_shapes_fragments(rig: Rig) -> None:
    endpoint = rig.open(udp(5000, 53))
    rig.up6(too_big(into_softwire(rig, endpoint, 1460), 1280))
    rig.since()
    outputs = rig.down(ipv4(udp(53, endpoint.port, bytes(1400)), src=SERVER, dst=endpoint.address, df=False))
    assert len(outputs) == 2
    assert all(len(frame) - 14 <= 1280 for _, frame in outputs)
    rig.counted(internet={"rx": 1, "forwarded": 1}, access={"tx": 2, "split": 1}, events={"ipv6-fragments-sent": 2})


def test_d25_packet_too_big_about_others_is_ignored(rig: Rig) -> None:
    """Believed only if the quoted packet is ours: source a slot address, destination a known softwire."""
    endpoint = rig.open(udp(5000, 53))
    quote = into_softwire(rig, endpoint, 1460)
    stranger = quote[:24] + packets.v6(b4(9)).packed + quote[40:]
    not_ours = quote[:8] + packets.v6(ROUTER6).packed + quote[24:]
    rig.since()
    for wrong in (stranger, not_ours):
        assert rig.up6(too_big(wrong, 1300)) == []
        rig.counted(access={"rx": 1, "consumed": 1}, events={"path-mtu-lowered": 0, "path-mtu-ignored": 1})
    assert rig.up6(too_big(quote, 1300, checksum=1)) == []
    rig.was_dropped("access", "drop-icmp-checksum", events={"path-mtu-lowered": 0})
    assert code_4_mtu(rig, endpoint, 1460) == 0


@pytest.mark.parametrize("code", [0, 1, 3, 4])
def test_d25_unreachable_is_relayed_to_the_original_source(rig: Rig, code: int) -> None:
    """RFC 2473 8.2: an unreachable tunnel end is ICMPv4 host unreachable for the source of the tunnelled packet."""
    endpoint = rig.open(udp(5000, 53))
    original = ipv4(udp(53, endpoint.port, b"answer"), src=SERVER, dst=endpoint.address)
    ((_, carried),) = rig.down(original)
    rig.since()
    outputs = rig.up6(ipv6(icmp6(1, code, 0, carried[14:]), src=ROUTER6, dst=AFTR))
    quote = ipv4(udp(53, endpoint.port, b"answer"), src=SERVER, dst=endpoint.address, ttl=63)
    icmp_error(outputs, 3, 1, quote, src=endpoint.address, dst=SERVER, side="internet")
    rig.counted(access={"rx": 1, "consumed": 1}, internet={"originated": 1, "tx": 1})


def test_d25_unreachable_about_others_is_dropped(rig: Rig) -> None:
    endpoint = rig.open(udp(5000, 53))
    quote = into_softwire(rig, endpoint)
    stranger = quote[:24] + packets.v6(b4(9)).packed + quote[40:]
    rig.since()
    for wrong in (stranger, quote[:47], quote[:30], b""):
        assert rig.up6(ipv6(icmp6(1, 3, 0, wrong), src=ROUTER6, dst=AFTR)) == []
        rig.was_dropped("access", "drop-icmp-quote")


def test_d25_unreachable_about_no_mapping_is_dropped(rig: Rig) -> None:
    """A softwire of ours, but a packet that cannot have been: no mapping has this inner destination."""
    rig.open(udp(5000, 53))
    rig.since()
    for body, host in ((udp(53, 5001), HOST), (tcp(53, 5000), HOST), (udp(53, 5000), "10.0.0.2")):
        quote = ipv6(ipv4(body, src=SERVER, dst=host), src=AFTR, dst=B4)
        assert rig.up6(ipv6(icmp6(1, 3, 0, quote), src=ROUTER6, dst=AFTR)) == []
        rig.was_dropped("access", "drop-icmp-quote", events={"icmp-sent": 0})


@pytest.mark.parametrize("lives", [True, False])
def test_d25_unreachable_about_a_hairpinned_packet_goes_back_to_its_sender(rig: Rig, lives: bool) -> None:
    """As an ICMPv4 error from the address that it was sent to; if the sender's mapping has ended, nobody is told."""
    near, far = b4(1), b4(2)
    target = rig.open(udp(6000, 53), src="10.0.0.2", b4=far)
    sent = ipv4(udp(5000, target.port, b"hello"), src=HOST, dst=target.address)
    ((_, carried),) = rig.up(sent, b4=near)
    if not lives:
        rig.wait(200)
        rig.open(udp(6000, 53), src="10.0.0.2", b4=far)
        rig.wait(150)
    rig.since()
    outputs = rig.up6(ipv6(icmp6(1, 3, 0, carried[14:]), src=ROUTER6, dst=AFTR))
    if not lives:
        assert outputs == []
        rig.counted(access={"rx": 1, "consumed": 1}, events={"icmp-sent": 0})
        return
    quote = ipv4(udp(5000, target.port, b"hello"), src=HOST, dst=target.address, ttl=63)
    found = icmp_error(outputs, 3, 1, quote, src=target.address, dst=HOST, side="access")
    assert outputs == [rig.to_softwire(found.raw, outputs, b4=near)]
    rig.counted(access={"rx": 1, "consumed": 1, "originated": 1, "tx": 1}, events={"icmp-sent": 1})


# ------------------------------------------------------------------------------------------------ D27: flow label
def test_d27_flow_label_is_a_function_of_the_inner_flow(rig: Rig) -> None:
    endpoints = [rig.open(udp(5000 + number, 53)) for number in range(32)]
    labels: list[int] = []
    for endpoint in endpoints:
        seen = set()
        for payload in (b"a", b"bb"):
            ((_, frame),) = rig.down(ipv4(udp(53, endpoint.port, payload), src=SERVER, dst=endpoint.address))
            seen.add(IPv6(frame[14:]).flow_label)
        assert len(seen) == 1, "one flow, one label"
        labels += seen
    assert len(set(labels)) >= 30, (
        "labels of different flows differ (20 bits; two equal pairs among 32: 1 in 4 million)"
    )


def test_d27_flow_label_is_the_same_on_all_fragments(rig: Rig) -> None:
    endpoint = rig.open(udp(5000, 53))
    small = rig.down(ipv4(udp(53, endpoint.port), src=SERVER, dst=endpoint.address))
    large = rig.down(ipv4(udp(53, endpoint.port, bytes(4000)), src=SERVER, dst=endpoint.address, df=False))
    assert len(large) == 3
    assert {IPv6(frame[14:]).flow_label for _, frame in [*small, *large]} == {IPv6(small[0][1][14:]).flow_label}


def test_yaml_defaults_of_the_tests_are_a_valid_configuration() -> None:
    from dslite_contract.load import load_config

    assert load_config(config_text(), ignore=("interfaces", "routing", "store"))
    assert yaml.safe_load(config_text().split("---")[0])["kind"] == "AftrPool"
    assert IPv4(ipv4(udp(1, 2), src=HOST, dst=SERVER)).transport_checksum_right
