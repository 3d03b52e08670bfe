"""Fragments of both kinds, both ways (D03, D04, D05, N09, C06)."""

from __future__ import annotations

import itertools

import pytest

import packets
from packets import (
    MORE_FRAGMENTS,
    IPv4,
    IPv6,
    fragment4,
    fragment6,
    fragment_header,
    ipv4,
    ipv6,
    reassemble4,
    reassemble6,
    sent_to_access,
    sent_to_internet,
    tcp,
    udp,
)
from rig import AFTR, B4, HOST, SERVER, Boot, Endpoint, Output, Rig, b4, icmp_error, inner_of, one, refused, translated

pytestmark = pytest.mark.nojit


def frames(outputs: list[Output]) -> list[bytes]:
    return [frame for _, frame in outputs]


def all_from(rig: Rig, side: packets.Side, pieces: list[bytes]) -> list[Output]:
    """Send packets one by one; all that came out."""
    return [output for piece in pieces for output in rig.send(side, packets.eth(piece))]


def softwire_packet(payload: bytes, *, src: str = B4, df: bool = True, port: int = 5000, tc: int = 0) -> bytes:
    inner = ipv4(udp(port, 53, payload), src=HOST, dst=SERVER, df=df, tos=tc & 3)
    return ipv6(inner, src=src, dst=AFTR, traffic_class=tc)


# ------------------------------------------------------------------------------------------------ D03
@pytest.mark.parametrize("size", [1461, 1500, 2908, 2909, 4000, 9000])
def test_d03_ipv6_is_fragmented_after_encapsulation(rig: Rig, size: int) -> None:
    endpoint = rig.open(udp(5000, 53))
    rig.since()
    body = bytes(range(256)) * 36
    outputs = rig.down(
        ipv4(udp(53, endpoint.port, body[: size - 28]), src=SERVER, dst=endpoint.address, df=False, identification=7)
    )
    assert {side for side, _ in outputs} == {"access"}
    whole = IPv6(reassemble6(frames(outputs)))
    inner = ipv4(udp(53, 5000, body[: size - 28]), src=SERVER, dst=HOST, df=False, identification=7, ttl=63)
    assert whole.raw == ipv6(inner, src=AFTR, dst=B4, flow_label=whole.flow_label)
    expected = fragment6(whole.raw, identification=IPv6(outputs[0][1][14:]).fragment_id, mtu=1500)
    assert outputs == [sent_to_access(piece) for piece in expected]
    number = len(expected)
    rig.counted(
        internet={"rx": 1, "forwarded": 1},
        access={"tx": number, "split": number - 1},
        events={"ipv6-fragments-sent": number},
    )


def test_d03_a_packet_that_fits_exactly_is_not_fragmented(rig: Rig) -> None:
    endpoint = rig.open(udp(5000, 53))
    rig.since()
    outputs = rig.down(ipv4(udp(53, endpoint.port, bytes(1432)), src=SERVER, dst=endpoint.address, df=False))
    expected = ipv4(udp(53, 5000, bytes(1432)), src=SERVER, dst=HOST, df=False, ttl=63)
    assert outputs == [rig.to_softwire(expected, outputs)]
    assert len(outputs[0][1]) == 1514
    rig.was_forwarded("internet", events={"ipv6-fragments-sent": 0})


@pytest.mark.parametrize("size", [1501, 2000, 2980, 5000])
def test_d03_too_large_for_the_internet_is_fragmented_when_df_is_clear(rig: Rig, size: int) -> None:
    outer = softwire_packet(bytes(size - 28), df=False)
    pieces = fragment6(outer, mtu=1500)
    outputs = all_from(rig, "access", pieces)
    assert {side for side, _ in outputs} == {"internet"}
    whole = IPv4(reassemble4(frames(outputs)))
    endpoint = Endpoint(whole.src, whole.sport)
    rig.check_endpoint(endpoint)
    expected = translated(
        outer[40:], endpoint, udp(endpoint.port, 53, bytes(size - 28)), identification=whole.identification
    )
    assert whole.raw == expected
    assert outputs == [sent_to_internet(piece) for piece in fragment4(expected, mtu=1500)]
    rig.counted(
        access={"rx": len(pieces), "merged": len(pieces) - 1, "forwarded": 1},
        internet={"tx": len(outputs), "split": len(outputs) - 1},
        events={"reassembled": 1, "ipv4-fragments-sent": len(outputs)},
    )


def test_d03_too_large_for_the_internet_is_refused_when_df_is_set(rig: Rig) -> None:
    outer = softwire_packet(bytes(1600), df=True)
    outputs = all_from(rig, "access", fragment6(outer, mtu=1500))
    refused(rig, outputs, 3, 4, outer[40:], rest=1500)
    rig.counted(
        access={"rx": 2, "merged": 1, "dropped": 1, "originated": 1, "tx": 1},
        drops={"drop-too-big": 1},
        events={"icmp-too-big-sent": 1, "reassembled": 1},
    )


# ------------------------------------------------------------------------------------------------ D04
def check_reassembled(rig: Rig, outer: bytes, outputs: list[Output], pieces: int) -> None:
    inner = outer[40:]
    payload = IPv4(inner).payload[8:]
    endpoint = rig.endpoint(outputs)
    assert outputs == [sent_to_internet(translated(inner, endpoint, udp(endpoint.port, 53, payload)))]
    rig.counted(
        access={"rx": pieces, "merged": pieces - 1, "forwarded": 1}, internet={"tx": 1}, events={"reassembled": 1}
    )


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_d04_fragments_in_any_order(rig: Rig, order: tuple[int, ...]) -> None:
    outer = softwire_packet(bytes(range(256)) * 5)
    pieces = fragment6(outer, [8, 512, 16])
    for place in order[:-1]:
        assert rig.up6(pieces[place]) == []
        rig.counted(access={"rx": 1, "held": 1})
    outputs = rig.up6(pieces[order[-1]])
    inner, payload = outer[40:], IPv4(outer[40:]).payload[8:]
    endpoint = rig.endpoint(outputs)
    assert outputs == [sent_to_internet(translated(inner, endpoint, udp(endpoint.port, 53, payload)))]
    rig.counted(
        access={"rx": 1, "merged": 3, "forwarded": 1, "held": -3}, internet={"tx": 1}, events={"reassembled": 1}
    )


def test_d04_destination_options_before_and_after_the_fragment_header(rig: Rig) -> None:
    """The fragmentable part may begin with Destination Options; the unfragmentable part too (RFC 8200 4.5)."""
    inner = ipv4(udp(5000, 53, bytes(1300)), src=HOST, dst=SERVER)
    part = packets.options_header(packets.IPIP) + inner
    pieces = [
        ipv6(
            packets.options_header(packets.FRAGMENT)
            + fragment_header(packets.DESTINATION, start, start == 0, 9)
            + part[start : start + 800],
            src=B4,
            dst=AFTR,
            next_header=packets.DESTINATION,
        )
        for start in (0, 800)
    ]
    check_reassembled(rig, ipv6(inner, src=B4, dst=AFTR), all_from(rig, "access", pieces), 2)


def test_d04_atomic_fragments_are_handled_alone(rig: Rig) -> None:
    """RFC 6946: an atomic fragment neither waits for nor joins others of its identification."""
    outer = softwire_packet(bytes(1000))
    waiting = fragment6(softwire_packet(bytes(900), port=6000), [400])
    assert rig.up6(waiting[0]) == []
    atomic = fragment6(outer)
    assert len(atomic) == 1
    outputs = rig.up6(atomic[0])
    endpoint = rig.endpoint(outputs)
    assert outputs == [sent_to_internet(translated(outer[40:], endpoint, udp(endpoint.port, 53, bytes(1000))))]
    assert len(rig.up6(waiting[1])) == 1
    rig.counted(access={"rx": 3, "forwarded": 2, "merged": 1}, internet={"tx": 2})


def test_d04_identifications_of_two_b4s_and_two_packets_do_not_mix(rig: Rig) -> None:
    outers = [softwire_packet(bytes([n]) * 1000, src=home) for n, home in ((1, B4), (2, b4(2)), (3, B4))]
    pieces = [fragment6(outer, [504], identification=7 + (n == 2)) for n, outer in enumerate(outers)]
    assert all_from(rig, "access", [piece[1] for piece in pieces]) == []
    outputs = all_from(rig, "access", [piece[0] for piece in pieces])
    assert [inner_of(output).payload[8:] for output in outputs] == [bytes([n]) * 1000 for n in (1, 2, 3)]
    rig.counted(access={"rx": 6, "forwarded": 3, "merged": 3}, internet={"tx": 3}, events={"reassembled": 3})


@pytest.mark.parametrize(
    "places",
    [
        [(0, 496, True), (488, 1008, True)],  # begins before the first ends
        [(488, 1008, True), (0, 496, True)],
        [(0, 800, True), (400, 600, True)],  # inside another
        [(400, 600, True), (0, 800, True)],
        [(0, 400, True), (800, 1028, False), (392, 800, True)],  # across
    ],
)
def test_d04_overlap_drops_the_whole_packet(rig: Rig, places: list[tuple[int, int, bool]]) -> None:
    """RFC 5722; also fragments that arrive later are dropped, and nothing is sent about it."""
    payload = softwire_packet(bytes(1000))[40:]
    assert len(payload) == 1028
    for start, end, more in places:
        packet = fragment_header(packets.IPIP, start, more, 5) + payload[start:end]
        assert rig.up6(ipv6(packet, src=B4, dst=AFTR, next_header=packets.FRAGMENT)) == []
    rig.was_dropped("access", "drop-overlap", len(places))
    rig.wait(3)
    assert rig.since()["access"] == {}
    check_reassembled(rig, *whole_again(rig), 2)


def whole_again(rig: Rig) -> tuple[bytes, list[Output]]:
    """The next good packet passes."""
    outer = softwire_packet(bytes(1000))
    return outer, all_from(rig, "access", fragment6(outer, [504], identification=99))


def test_d04_incomplete_packets_time_out(rig: Rig) -> None:
    pieces = fragment6(softwire_packet(bytes(1000)), [200, 200])
    assert rig.up6(pieces[0]) == []
    rig.wait(1)
    assert rig.up6(pieces[2]) == []
    rig.counted(access={"rx": 2, "held": 2})
    rig.wait(0.999)  # 1.999 s after the first of them
    rig.counted()
    rig.wait(0.001)
    rig.counted(access={"held": -2, "dropped": 2}, drops={"drop-reassembly-timeout": 2})
    assert rig.up6(pieces[1]) == []  # too late: begins anew
    rig.counted(access={"rx": 1, "held": 1})
    rig.wait(2)
    rig.counted(access={"held": -1, "dropped": 1}, drops={"drop-reassembly-timeout": 1})


def test_d04_reassembly_timeout_is_configurable(boot: Boot) -> None:
    rig = boot({"softwire": {"reassembly": {"timeoutSeconds": 5}}})
    assert rig.up6(fragment6(softwire_packet(bytes(1000)), [504])[0]) == []
    rig.wait(4.9)
    rig.counted(access={"rx": 1, "held": 1})
    rig.wait(0.1)
    rig.counted(access={"held": -1, "dropped": 1}, drops={"drop-reassembly-timeout": 1})


def test_d04_packets_up_to_max_packet_bytes(rig: Rig) -> None:
    outer = softwire_packet(bytes(9216 - 40 - 28), df=False)
    assert len(outer) == 9216
    outputs = all_from(rig, "access", fragment6(outer, mtu=1500))
    assert len(reassemble4(frames(outputs))) == 9176
    rig.counted(access={"rx": 7, "forwarded": 1, "merged": 6}, internet={"tx": 7, "split": 6})


def test_d04_larger_packets_are_dropped(rig: Rig) -> None:
    pieces = fragment6(softwire_packet(bytes(9400), df=False), mtu=1500)
    assert all_from(rig, "access", pieces) == []
    rig.was_dropped("access", "drop-reassembly-too-big", 7)
    rig.wait(3)
    assert rig.since()["access"] == {}


def test_d04_contexts_per_subscriber_are_one_sixteenth(boot: Boot) -> None:
    rig = boot({"softwire": {"reassembly": {"maxContexts": 64}}})
    pieces = [fragment6(softwire_packet(bytes(1000)), [504], identification=n) for n in range(6)]
    assert all_from(rig, "access", [piece[0] for piece in pieces[:4]]) == []
    rig.counted(access={"rx": 4, "held": 4})
    assert rig.up6(pieces[4][0]) == []
    rig.was_dropped("access", "drop-reassembly-subscriber-limit")
    assert len(rig.up6(pieces[0][1])) == 1  # one less
    rig.counted(access={"rx": 1, "held": -1, "forwarded": 1, "merged": 1}, internet={"tx": 1})
    assert rig.up6(pieces[5][0]) == []
    rig.counted(access={"rx": 1, "held": 1})


def test_d04_contexts_per_slot(boot: Boot) -> None:
    rig = boot({"softwire": {"reassembly": {"maxContexts": 64}}})
    for subscriber in range(1, 17):
        for number in range(4):
            piece = fragment6(softwire_packet(bytes(1000), src=b4(subscriber)), [504], identification=number)[0]
            assert rig.up6(piece) == []
    rig.counted(access={"rx": 64, "held": 64})
    assert rig.up6(fragment6(softwire_packet(bytes(1000), src=b4(17)), [504])[0]) == []
    rig.was_dropped("access", "drop-reassembly-full")
    rig.wait(2)
    rig.counted(access={"held": -64, "dropped": 64}, drops={"drop-reassembly-timeout": 64})
    outer = softwire_packet(bytes(1000), src=b4(17))
    check_reassembled(rig, outer, all_from(rig, "access", fragment6(outer, [504])), 2)


def test_d04_bytes_per_subscriber_are_one_sixteenth(boot: Boot) -> None:
    """Held bytes count by themselves: far fewer contexts than allowed, each with much in it."""
    rig = boot({"softwire": {"reassembly": {"maxBytes": "1Mi"}}})  # 64 KiB for one subscriber
    for number in range(16):
        for piece in fragment6(softwire_packet(bytes(8000), df=False), mtu=1500, identification=number)[:5]:
            assert rig.up6(piece) == []
    found = rig.since()
    dropped = found["access"]["dropped"]
    assert found["drops"] == {"drop-reassembly-subscriber-limit": dropped}
    held = found["access"]["held"]
    assert 24 <= held <= 45, "64 KiB of fragments of 1448 bytes; as frames, or as buffers of up to 2.5 KiB"
    rig.wait(2)
    rig.counted(access={"held": -held, "dropped": held}, drops={"drop-reassembly-timeout": held})


@pytest.mark.parametrize(
    ("ecns", "result"),
    [
        ((2, 2), 2),
        ((1, 1), 1),
        ((2, 3), 3),  # RFC 3168 5.3: congestion experienced is not lost
        ((3, 2), 3),
        ((1, 3), 3),
        ((3, 3), 3),
        ((0, 0), 0),
    ],
)
def test_d04_ecn_of_fragments_is_combined(rig: Rig, ecns: tuple[int, int], result: int) -> None:
    inner = ipv4(udp(5000, 53, bytes(1000)), src=HOST, dst=SERVER, tos=packets.ECT0 if ecns[0] else 0)
    if ecns == (1, 1):
        inner = ipv4(udp(5000, 53, bytes(1000)), src=HOST, dst=SERVER, tos=packets.ECT1)
    pieces = fragment6(ipv6(inner, src=B4, dst=AFTR), [504])
    marked = [bytes([0x60, piece[1] | ecn << 4]) + piece[2:] for piece, ecn in zip(pieces, ecns, strict=True)]
    outputs = all_from(rig, "access", marked)
    assert one(outputs, "internet").tos == result
    rig.counted(access={"rx": 2, "forwarded": 1, "merged": 1}, internet={"tx": 1})


@pytest.mark.parametrize("ecns", [(0, 3), (3, 0)])
def test_d04_congestion_marks_among_fragments_that_are_not_ecn_capable(rig: Rig, ecns: tuple[int, int]) -> None:
    """RFC 3168 5.3: CE must not be set then, so the packet is dropped."""
    pieces = fragment6(softwire_packet(bytes(1000)), [504])
    marked = [bytes([0x60, piece[1] | ecn << 4]) + piece[2:] for piece, ecn in zip(pieces, ecns, strict=True)]
    assert all_from(rig, "access", marked) == []
    found = rig.since()
    assert set(found["drops"]) == {"drop-ecn"}
    assert found["access"]["dropped"] + found["access"].get("merged", 0) == 2


def test_d04_sent_fragment_ids_are_unpredictable(rig: Rig) -> None:
    endpoint = rig.open(udp(5000, 53))
    ids = []
    for _ in range(16):
        outputs = rig.down(ipv4(udp(53, endpoint.port, bytes(1472)), src=SERVER, dst=endpoint.address, df=False))
        assert len({IPv6(frame[14:]).fragment_id for _, frame in outputs}) == 1
        ids.append(IPv6(outputs[0][1][14:]).fragment_id)
    steps = {(b - a) % 2**32 for a, b in itertools.pairwise(ids)}
    assert len(set(ids)) == 16
    assert len(steps) >= 15, "no constant step"


@pytest.mark.parametrize(
    ("start", "end", "more"),
    [
        (0, 0, True),  # empty
        (8, 8, False),  # empty last
        (0, 12, True),  # not a multiple of 8, and not the last
        (65528, 65528 + 40, False),  # past 65,535 bytes
        (65528, 65528 + 8, True),
    ],
)
def test_d04_impossible_fragments(rig: Rig, start: int, end: int, more: bool) -> None:
    packet = fragment_header(packets.IPIP, start, more, 5) + bytes(end - start)
    assert rig.up6(ipv6(packet, src=B4, dst=AFTR, next_header=packets.FRAGMENT)) == []
    rig.was_dropped("access", "drop-bad-fragment")
    check_reassembled(rig, *whole_again(rig), 2)


# ------------------------------------------------------------------------------------------------ D05
@pytest.mark.parametrize("size", [1461, 1500])
def test_d05_df_set_and_too_big_gets_code_4(rig: Rig, size: int) -> None:
    endpoint = rig.open(udp(5000, 53))
    rig.since()
    packet = ipv4(udp(53, endpoint.port, bytes(size - 28)), src=SERVER, dst=endpoint.address, ttl=50)
    outputs = rig.down(packet)
    icmp_error(outputs, 3, 4, packet, src=endpoint.address, dst=SERVER, rest=1460, side="internet")
    rig.was_dropped("internet", "drop-too-big", answered=1, events={"icmp-too-big-sent": 1, "icmp-sent": 0})


def test_d05_df_set_and_fitting_passes(rig: Rig) -> None:
    endpoint = rig.open(udp(5000, 53))
    rig.since()
    outputs = rig.down(ipv4(udp(53, endpoint.port, bytes(1432)), src=SERVER, dst=endpoint.address))
    expected = ipv4(udp(53, 5000, bytes(1432)), src=SERVER, dst=HOST, ttl=63)
    assert outputs == [rig.to_softwire(expected, outputs)]
    rig.was_forwarded("internet")


@pytest.mark.parametrize("mtu", [1280, 1400, 1540, 1600])
def test_d05_code_4_reports_the_tunnel_mtu_less_40(boot: Boot, mtu: int) -> None:
    rig = boot({"softwire": {"tunnelMtu": mtu}})
    endpoint = rig.open(udp(5000, 53))
    packet = ipv4(udp(53, endpoint.port, bytes(mtu - 40 - 28)), src=SERVER, dst=endpoint.address)
    assert one(rig.down(packet), "access").total_length == mtu - 40
    packet = ipv4(udp(53, endpoint.port, bytes(mtu - 40 - 27)), src=SERVER, dst=endpoint.address)
    icmp_error(rig.down(packet), 3, 4, packet, src=endpoint.address, dst=SERVER, rest=mtu - 40, side="internet")


def test_d05_policy_fragment(boot: Boot) -> None:
    rig = boot({"softwire": {"dontFragment": "fragment"}})
    endpoint = rig.open(udp(5000, 53))
    rig.since()
    outputs = rig.down(ipv4(udp(53, endpoint.port, bytes(1472)), src=SERVER, dst=endpoint.address))
    whole = IPv6(reassemble6(frames(outputs)))
    inner = ipv4(udp(53, 5000, bytes(1472)), src=SERVER, dst=HOST, ttl=63)
    assert whole.raw == ipv6(inner, src=AFTR, dst=B4, flow_label=whole.flow_label)
    rig.counted(
        internet={"rx": 1, "forwarded": 1},
        access={"tx": 2, "split": 1},
        events={"ipv6-fragments-sent": 2, "icmp-too-big-sent": 0},
    )


def test_d05_tcp_with_df_gets_code_4_with_its_ports_quoted(rig: Rig) -> None:
    endpoint = rig.open(tcp(5000, 80, packets.SYN))
    packet = ipv4(tcp(80, endpoint.port, payload=bytes(1460)), src=SERVER, dst=endpoint.address)
    outputs = rig.down(packet)
    found = icmp_error(outputs, 3, 4, packet, src=endpoint.address, dst=SERVER, rest=1460, side="internet")
    assert IPv4(found.payload[8:]).dport == endpoint.port
    assert found.total_length == 576


# ------------------------------------------------------------------------------------------------ N09
def outbound_datagram(size: int = 3000) -> bytes:
    body = udp(5000, 53, bytes(range(250)) * (size // 250))
    return ipv4(body, src=HOST, dst=SERVER, df=False, identification=0x7777)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_n09_fragments_from_behind_a_b4_in_any_order(rig: Rig, order: tuple[int, ...]) -> None:
    """Translated one by one, never put together; the same endpoint and new identification on all."""
    whole = outbound_datagram()
    pieces = fragment4(whole, [1000, 1000])
    outputs: list[Output] = []
    first_at = order.index(0)
    for place, number in enumerate(order):
        got = rig.up(pieces[number])
        if place < first_at:
            assert got == []
            rig.counted(access={"rx": 1, "held": 1})
        elif place == first_at:
            assert len(got) == 1 + first_at
            rig.counted(
                access={"rx": 1, "held": -first_at, "forwarded": 1 + first_at},
                internet={"tx": 1 + first_at},
                events={"ipv4-fragments-translated": 1 + first_at, "mappings-created": 1, "reassembled": 0},
            )
        else:
            assert len(got) == 1
            rig.was_forwarded("access", events={"ipv4-fragments-translated": 1})
        outputs += got
    found = IPv4(reassemble4(frames(outputs)))
    endpoint = Endpoint(found.src, found.sport)
    rig.check_endpoint(endpoint)
    body = udp(endpoint.port, 53, IPv4(whole).payload[8:])
    expected = translated(whole, endpoint, body, identification=found.identification)
    assert found.raw == expected
    assert sorted(frames(outputs)) == sorted(sent_to_internet(piece)[1] for piece in fragment4(expected, [1000, 1000]))
    rig.wait(2)
    rig.counted()  # the context had ended: nothing times out


def test_n09_repeated_fragments_do_not_end_the_datagram(rig: Rig) -> None:
    """Four pieces, the second one three times, the last one before the third: all that came leave, each as often as it came."""
    pieces = fragment4(outbound_datagram(), [800, 800, 800])
    outputs = [output for number in (0, 1, 1, 1, 3, 2) for output in rig.up(pieces[number])]
    assert sorted(IPv4(frame[14:]).offset for _, frame in outputs) == [0, 800, 800, 800, 1600, 2400]
    rig.was_forwarded("access", 6)
    rig.wait(3)
    rig.counted()


def test_n09_a_first_fragment_is_a_multiple_of_8_bytes(rig: Rig) -> None:
    piece = bytearray(fragment4(outbound_datagram(), [1000, 1000])[0])
    piece[2:4] = (len(piece) - 3).to_bytes(2)
    assert rig.up(packets.with_checksum4(bytes(piece[:-3]))) == []
    rig.was_dropped("access", "drop-bad-fragment", events={"mappings-created": 0})


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_n09_fragments_from_the_internet_in_any_order(rig: Rig, order: tuple[int, ...]) -> None:
    endpoint = rig.open(udp(5000, 53))
    rig.since()
    payload = bytes(range(250)) * 12
    whole = ipv4(udp(53, endpoint.port, payload), src=SERVER, dst=endpoint.address, df=False, identification=0x4321)
    pieces = fragment4(whole, [1000, 1000])
    outputs = []
    for number in order:
        outputs += rig.down(pieces[number])
    expected = fragment4(
        ipv4(udp(53, 5000, payload), src=SERVER, dst=HOST, df=False, identification=0x4321, ttl=63), [1000, 1000]
    )
    assert sorted(inner_of(output).raw for output in outputs) == sorted(expected)
    assert len({IPv6(frame[14:]).flow_label for frame in frames(outputs)}) == 1
    for output in outputs:
        assert output == rig.to_softwire(inner_of(output).raw, [output])
    rig.was_forwarded("internet", 3, events={"ipv4-fragments-translated": 3, "reassembled": 0})
    rig.wait(2)
    rig.counted()


def test_n09_fragments_without_their_first_time_out(rig: Rig) -> None:
    endpoint = rig.open(udp(5000, 53))
    rig.since()
    whole = ipv4(udp(53, endpoint.port, bytes(2000)), src=SERVER, dst=endpoint.address, df=False)
    assert rig.down(fragment4(whole, [1000])[1]) == []
    assert rig.up(fragment4(outbound_datagram(), [1000])[1]) == []
    rig.counted(internet={"rx": 1, "held": 1}, access={"rx": 1, "held": 1})
    rig.wait(2)
    rig.counted(
        internet={"held": -1, "dropped": 1}, access={"held": -1, "dropped": 1}, drops={"drop-reassembly-timeout": 2}
    )


@pytest.mark.parametrize("sizes", [[8], [8, 8, 8], [16, 8]])
def test_n09_smallest_udp_fragments(rig: Rig, sizes: list[int]) -> None:
    """A UDP header is 8 bytes: a first fragment of 8 bytes is complete, and one at offset 8 overlaps nothing."""
    whole = ipv4(udp(5000, 53, bytes(range(100))), src=HOST, dst=SERVER, df=False)
    pieces = fragment4(whole, sizes)
    found = IPv4(reassemble4(frames([output for piece in pieces for output in rig.up(piece)])))
    endpoint = Endpoint(found.src, found.sport)
    body = udp(endpoint.port, 53, bytes(range(100)))
    assert found.raw == translated(whole, endpoint, body, identification=found.identification)
    rig.was_forwarded("access", len(pieces))


def test_n09_tcp_fragments(rig: Rig) -> None:
    whole = ipv4(tcp(5000, 80, payload=bytes(1400)), src=HOST, dst=SERVER, df=False)
    outputs = [output for piece in fragment4(whole, [24, 800]) for output in rig.up(piece)]
    found = IPv4(reassemble4(frames(outputs)))
    endpoint = Endpoint(found.src, found.sport)
    body = tcp(endpoint.port, 80, payload=bytes(1400))
    assert found.raw == translated(whole, endpoint, body, identification=found.identification)
    rig.was_forwarded("access", 3)


def test_n09_icmp_echo_fragments(rig: Rig) -> None:
    whole = ipv4(packets.echo(99, 1, bytes(3000)), src=HOST, dst=SERVER, df=False)
    outputs = [output for piece in fragment4(whole, [1480, 1480]) for output in rig.up(piece)]
    found = IPv4(reassemble4(frames(outputs)))
    assert found.transport_checksum_right
    body = packets.echo(found.sport, 1, bytes(3000))
    endpoint = Endpoint(found.src, found.sport)
    assert found.raw == translated(whole, endpoint, body, identification=found.identification)
    rig.was_forwarded("access", 3)


def test_n09_held_fragments_follow_a_first_that_arrives_inside_ipv6_fragments(rig: Rig) -> None:
    """Both kinds at once: the first IPv4 fragment comes as two IPv6 fragments, after the second IPv4 fragment."""
    pieces = fragment4(outbound_datagram(), [1480, 1480])
    assert rig.up(pieces[1]) == []
    halves = fragment6(ipv6(pieces[0], src=B4, dst=AFTR), [800])
    assert rig.up6(halves[1]) == []
    assert len(rig.up6(halves[0])) == 2
    assert len(rig.up(pieces[2])) == 1
    rig.counted(access={"rx": 4, "merged": 1, "forwarded": 3}, internet={"tx": 3})


@pytest.mark.parametrize(("first", "protocol"), [(8, packets.TCP), (16, packets.TCP)])
def test_n09_first_fragments_too_short_for_their_header(rig: Rig, first: int, protocol: int) -> None:
    """RFC 1858: the ports and flags must stand in the first fragment."""
    whole = ipv4(tcp(5000, 80, payload=bytes(1000)), src=HOST, dst=SERVER, df=False)
    assert IPv4(whole).protocol == protocol
    assert rig.up(fragment4(whole, [first])[0]) == []
    rig.was_dropped("access", "drop-fragment-tiny", events={"mappings-created": 0})


def test_n09_fragments_that_overlap_the_tcp_header(rig: Rig) -> None:
    """RFC 1858, RFC 3128: a fragment at offset 8 could rewrite the flags."""
    whole = ipv4(tcp(5000, 80, payload=bytes(1000)), src=HOST, dst=SERVER, df=False)
    pieces = fragment4(whole, [8, 16])
    assert rig.up(pieces[1]) == []
    rig.was_dropped("access", "drop-fragment-tiny")


def test_n09_fragments_are_bounded_per_subscriber(boot: Boot) -> None:
    rig = boot({"softwire": {"reassembly": {"maxContexts": 64}}})
    for number in range(5):
        whole = ipv4(udp(5000, 53, bytes(2000)), src=HOST, dst=SERVER, df=False, identification=number)
        assert rig.up(fragment4(whole, [1000])[1]) == []
    rig.counted(access={"rx": 5, "held": 4, "dropped": 1}, drops={"drop-reassembly-subscriber-limit": 1})


def test_n09_too_large_first_fragments_are_fragmented_further(rig: Rig) -> None:
    """DF is clear on fragments, so each that does not fit the softwire becomes IPv6 fragments."""
    endpoint = rig.open(udp(5000, 53))
    rig.since()
    whole = ipv4(udp(53, endpoint.port, bytes(2952)), src=SERVER, dst=endpoint.address, df=False)
    pieces = fragment4(whole, [1480])
    outputs = rig.down(pieces[0])
    assert len(outputs) == 2
    inner = IPv6(reassemble6(frames(outputs))).inner
    assert inner.total_length == 1500
    assert int.from_bytes(inner.raw[6:8]) == MORE_FRAGMENTS
    assert len(rig.down(pieces[1])) == 2
    rig.counted(internet={"rx": 2, "forwarded": 2}, access={"tx": 4, "split": 2})


# ------------------------------------------------------------------------------------------------ C06
def test_c06_non_atomic_datagrams_get_new_identifications(rig: Rig) -> None:
    """RFC 6864: no reuse for one (source, destination, protocol) within 65,535 datagrams; here simply counted up."""
    ids = []
    for number in range(40):
        packet = ipv4(udp(5000, 53 + number % 3), src=HOST, dst=SERVER, df=False, identification=1)
        ids.append(one(rig.up(packet), "internet").identification)
    assert len(set(ids)) == 40
    assert {(b - a) % 65536 for a, b in itertools.pairwise(ids)} == {1}


def test_c06_two_hosts_with_the_same_identification_do_not_collide(rig: Rig) -> None:
    """Two B4s behind one external address, the same server and the same identification: what C06 is for."""
    seen: dict[tuple[packets.IPv4Address, int], int] = {}
    for subscriber in range(1, 33):
        packet = ipv4(udp(5000, 53), src=HOST, dst=SERVER, df=False, identification=1)
        found = one(rig.up(packet, b4=b4(subscriber)), "internet")
        key = (found.src, found.identification)
        assert seen.setdefault(key, subscriber) == subscriber
    assert len(seen) == 32


def test_c06_atomic_datagrams_are_untouched(rig: Rig) -> None:
    for identification in (0, 1, 0xFFFF):
        packet = ipv4(udp(5000, 53), src=HOST, dst=SERVER, df=True, identification=identification)
        assert one(rig.up(packet), "internet").identification == identification


def test_c06_the_counter_wraps_without_reuse(rig: Rig) -> None:
    """All 65,536 values before one comes again."""
    if not rig.engine_is_compiled:
        pytest.skip("70,000 packets are for compiled code")
    packet = packets.eth(ipv6(ipv4(udp(5000, 53), src=HOST, dst=SERVER, df=False), src=B4, dst=AFTR))
    ids = []
    for _ in range(257):
        outputs = rig.step([("access", packet)] * 256)
        ids += [IPv4(frame[14:]).identification for ((_, frame),) in outputs]
    assert len(set(ids[:65536])) == 65536
    assert ids[65536] == ids[0]
