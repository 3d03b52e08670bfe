"""Frames as small as those of a pod (4 KiB): what is made in one never runs over into the next."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import packets
from aftr.ops import engine
from packets import echo, fragment6, icmp6, ipv4, ipv6, reassemble6, udp
from rig import AFTR, B4, HOST, SERVER, Rig, b4, config_text

pytestmark = pytest.mark.nojit
POD_CHUNK = 4096


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setattr(engine, "CHUNK", POD_CHUNK)
    made = Rig(config_text({"softwire": {"tunnelMtu": 9000}}))
    yield made
    made.close()


def together(rig: Rig, large: bytes) -> list[bytes]:
    """Fragments of a large packet and three small ones in one burst; what the small ones became."""
    small = [ipv4(udp(5000 + number, 53, bytes([number]) * 40), src=HOST, dst=SERVER) for number in range(3)]
    for packet in small:
        rig.up(packet, b4=b4(2))
    expected = [rig.up(packet, b4=b4(2))[0][1] for packet in small]
    pieces = [("access", packets.eth(piece)) for piece in fragment6(large, [1400] * (len(large) // 1400))]
    frames = [("access", packets.eth(ipv6(packet, src=b4(2), dst=AFTR))) for packet in small]
    rig.since()
    outputs = rig.step([*pieces, *frames])  # type: ignore[list-item]
    assert [out[0][1] for out in outputs[-3:]] == expected
    return [frame for out in outputs[:-3] for _, frame in out]


def test_d24_an_echo_too_large_for_a_frame_is_not_answered(rig: Rig) -> None:
    assert together(rig, ipv6(icmp6(128, 0, 7, bytes(8000)), src=B4, dst=AFTR)) == []
    assert rig.since()["drops"] == {"drop-no-frame": 1}


def test_d24_an_echo_that_fits_is(rig: Rig) -> None:
    answers = together(rig, ipv6(icmp6(128, 0, 7, bytes(3000)), src=B4, dst=AFTR))
    assert len(answers) == 1
    assert rig.since()["drops"] == {}


def test_d08_an_echo_to_the_aftr_too_large_for_a_frame_is_not_answered(rig: Rig) -> None:
    inner = ipv4(echo(7, 1, bytes(8000)), src=HOST, dst="192.0.0.1")
    assert together(rig, ipv6(inner, src=B4, dst=AFTR)) == []
    assert rig.since()["drops"] == {"drop-no-frame": 1}


def test_d03_fragments_are_no_larger_than_frames(rig: Rig) -> None:
    """The way back of 8,000 bytes, by a tunnel MTU of 9,000: IPv6 fragments of what a frame holds."""
    endpoint = rig.open(udp(5000, 53))
    packet = ipv4(udp(53, endpoint.port, bytes(3500)), src=SERVER, dst=endpoint.address)
    assert len(rig.down(packet)) == 1
    large = ipv6(ipv4(udp(5000, 53, bytes(8000)), src=HOST, dst=SERVER, df=False), src=B4, dst=AFTR)
    frames = together(rig, large)
    assert len(frames) > 5
    assert max(map(len, frames)) <= 1514
    assert reassemble6 is not None
