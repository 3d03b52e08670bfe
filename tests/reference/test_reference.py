"""The reference by itself: it accepts what is right, and says what is not."""

from __future__ import annotations

import pytest

import packets
from packets import ACK, SYN, IPv4Address, ipv4, ipv6, sent_to_internet, tcp, udp
from reference import Reference
from rig import AFTR, B4, HOST, SERVER, b4, config_text, group

NOW = 10**13
TIGHT = {"nat": {"pools": [{"name": "default", "prefixes": ["192.0.2.1/32"]}], "portBlock": {"size": 4096}}}


def softwire(inner: bytes, home: str = B4) -> bytes:
    return packets.eth(ipv6(inner, src=home, dst=AFTR))


@pytest.mark.parametrize("inside", ["10.0.0.1", "192.0.0.2"])
def test_d23_appendix_b(inside: str) -> None:
    """Both directions; the endpoint 192.0.2.1:5000 is what the engine is seen to have chosen."""
    spec = {
        "softwire": {"prefix": "2001:db8:0:2::/64"},
        "nat": {"pools": [{"name": "default", "prefixes": ["192.0.2.0/24"]}], "subscriberMaskV6": 64},
    }
    home, aftr, server = "2001:db8:0:1::1", "2001:db8:0:2::1", "198.51.100.1"
    reference = Reference(config_text(spec, [group("homes", "2001:db8:0:1::/64")]))
    out = packets.eth(ipv6(ipv4(tcp(10000, 80, SYN), src=inside, dst=server), src=home, dst=aftr))
    sent = sent_to_internet(ipv4(tcp(5000, 80, SYN), src="192.0.2.1", dst=server, ttl=63))
    assert reference.expect(out, "access", NOW, [sent]) == []
    back = packets.eth(ipv4(tcp(80, 5000, SYN | ACK), src=server, dst="192.0.2.1"))
    inner = ipv4(tcp(80, 10000, SYN | ACK), src=server, dst=inside, ttl=63)
    delivered = packets.sent_to_access(ipv6(inner, src=aftr, dst=home, flow_label=7))
    assert reference.expect(back, "internet", NOW, [delivered]) == []
    assert reference.live() == [(home, packets.TCP, inside, 10000, "192.0.2.1", 5000)]
    other_label = packets.sent_to_access(ipv6(inner, src=aftr, dst=home, flow_label=8))
    assert reference.expect(back, "internet", NOW, [other_label]) != [], "one flow, one label"


@pytest.mark.parametrize(
    ("fields", "port"), [({"ttl": 64}, 5000), ({"ttl": 63, "tos": 4}, 5000), ({"ttl": 63, "src": "192.0.2.2"}, 5000),
                         ({"ttl": 63}, 1000), ({"ttl": 63, "identification": 9}, 5000)],
)  # fmt: skip
def test_n03_what_is_wrong_is_told(fields: dict[str, str], port: int) -> None:
    reference = Reference(config_text(TIGHT))
    frame = softwire(ipv4(udp(5000, 53), src=HOST, dst=SERVER))
    body = ipv4(udp(port, 53), **{"src": "192.0.2.1", "dst": SERVER} | fields)  # type: ignore[arg-type]
    assert reference.expect(frame, "access", NOW, [sent_to_internet(body)]) != []


def test_n03_a_block_of_another_subscriber_is_no_choice() -> None:
    reference = Reference(config_text(TIGHT))
    for subscriber, port, wrong in ((1, 5000, False), (2, 5001, True), (3, 9000, False), (1, 20000, True)):
        inner = ipv4(udp(5000 + (port == 20000), 53), src=HOST, dst=SERVER)
        sent = sent_to_internet(ipv4(udp(port, 53), src="192.0.2.1", dst=SERVER, ttl=63))
        found = reference.expect(softwire(inner, b4(subscriber)), "access", NOW, [sent])
        assert bool(found) == wrong, found


def test_c02_a_resting_block_is_no_choice() -> None:
    reference = Reference(config_text(TIGHT))
    sent = sent_to_internet(ipv4(udp(5000, 53), src="192.0.2.1", dst=SERVER, ttl=63))
    frames = [softwire(ipv4(udp(5000, 53), src=HOST, dst=SERVER), b4(subscriber)) for subscriber in (1, 2)]
    assert reference.expect(frames[0], "access", NOW, [sent]) == []
    later = NOW + 301 * 10**9
    assert reference.expect(frames[1], "access", later, [sent]) != []
    reference = Reference(config_text(TIGHT))
    assert reference.expect(frames[0], "access", NOW, [sent]) == []
    reference.advance(later)
    assert reference.expect(frames[1], "access", later + 121 * 10**9, [sent]) == []
    assert reference.slots[0].outside(IPv4Address("192.0.2.1"), packets.UDP, 5000)
