"""Properties that hold of the engine alone: out, in and out again is the identity; checksums are right; endpoints unique."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import packets
from packets import ACK, TCP, UDP, IPv4, Segment, echo, echo_reply, ipv4, sent_to_internet, tcp, udp
from rig import SERVER, Endpoint, Rig, b4, config_text, one, translated

PROTOCOLS = ("udp", "tcp", "icmp")
hosts = st.sampled_from(["10.0.0.1", "10.255.255.254", "172.16.0.1", "172.31.4.5", "192.168.1.1", "192.0.0.2"])
ports = st.integers(1, 65535)
tos = st.integers(0, 255)
payloads = st.binary(max_size=1400)
datagram = st.tuples(
    st.sampled_from(PROTOCOLS), hosts, ports, ports, payloads, tos, st.integers(2, 255), st.booleans(),
    st.integers(0, 65535), st.integers(1, 5),
)  # fmt: skip


@pytest.fixture(scope="module")
def rig() -> Any:
    rig = Rig(config_text({"slots": 2, "softwire": {"mssClamping": {"enabled": False}}}), workers=2)
    yield rig
    rig.close()


def there(protocol: str, port: int, remote: int, payload: bytes) -> Segment:
    if protocol == "icmp":
        return echo(port, remote, payload)
    return udp(port, remote, payload) if protocol == "udp" else tcp(port, remote, ACK, payload)


def back(protocol: str, port: int, remote: int, payload: bytes) -> Segment:
    if protocol == "icmp":
        return echo_reply(port, remote, payload)
    return udp(remote, port, payload) if protocol == "udp" else tcp(remote, port, ACK, payload)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(packet=datagram)
def test_out_in_out_is_the_identity(rig: Rig, packet: tuple[Any, ...]) -> None:
    """What a host sends, echoed by the server, comes back to that host and port; sent again, it leaves as before."""
    protocol, host, port, remote, payload, tos, ttl, df, identification, subscriber = packet
    if not df:
        identification = None
    home, slot = b4(subscriber), subscriber % 2
    fields: dict[str, Any] = {"tos": tos, "ttl": ttl, "df": df}
    inner = ipv4(
        there(protocol, port, remote, payload), src=host, dst=SERVER, identification=identification or 7, **fields
    )
    first = rig.up(inner, b4=home, slot=slot, tc=tos)
    out = one(first, "internet")
    endpoint = Endpoint(out.src, out.sport)
    rig.check_endpoint(endpoint, slot)
    body = there(protocol, endpoint.port, remote, payload)
    new = out.identification if not df else None
    assert first == [sent_to_internet(translated(inner, endpoint, body, identification=new))]
    reply = ipv4(back(protocol, endpoint.port, remote, payload), src=SERVER, dst=endpoint.address, **fields)
    returned = rig.down(reply)
    expected = ipv4(back(protocol, port, remote, payload), src=SERVER, dst=host, **fields | {"ttl": ttl - 1})
    assert returned == [rig.to_softwire(expected, returned, b4=home, slot=slot)]
    again = one(rig.up(inner, b4=home, slot=slot, tc=tos), "internet")
    assert (again.src, again.sport, again.dst, again.dport) == (out.src, out.sport, out.dst, out.dport)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(flows=st.lists(st.tuples(st.sampled_from(PROTOCOLS), hosts, ports, st.integers(1, 12)), min_size=1, max_size=60))
def test_no_two_live_mappings_share_an_external_endpoint(rig: Rig, flows: list[tuple[str, str, int, int]]) -> None:
    for protocol, host, port, subscriber in flows:
        inner = ipv4(there(protocol, port, 80, b""), src=host, dst=SERVER)
        rig.up(inner, b4=b4(subscriber), slot=subscriber % 2)
    bindings = rig.engine.bindings()
    outside = [(binding["externalAddress"], binding["protocol"], binding["externalPort"]) for binding in bindings]
    inside = [
        (binding["softwire"], binding["internalAddress"], binding["protocol"], binding["internalPort"])
        for binding in bindings
    ]
    assert len(set(outside)) == len(outside)
    assert len(set(inside)) == len(inside)
    owner: dict[tuple[str, int], str] = {}
    for binding in bindings:
        block = (binding["externalAddress"], binding["externalPort"] // 256)
        subscriber = binding["softwire"].rsplit("::", 1)[0]
        assert owner.setdefault(block, subscriber) == subscriber, "a block has one subscriber"
    rig.wait(20)  # the rate of new sessions


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(packet=datagram, sizes=st.lists(st.integers(3, 120), max_size=4), shuffle=st.randoms(use_true_random=False))
def test_checksums_are_right_also_of_fragments(
    rig: Rig, packet: tuple[Any, ...], sizes: list[int], shuffle: Any
) -> None:
    """Put together again, what came out of fragments in any order has a right checksum."""
    protocol, host, port, remote, payload, tos, ttl, _, _, subscriber = packet
    body = there(protocol, port, remote, payload + bytes(1000))
    rig.number = getattr(rig, "number", 0) + 1  # type: ignore[attr-defined]
    inner = ipv4(body, src=host, dst=SERVER, tos=tos, ttl=ttl, df=False, identification=rig.number % 65536)  # type: ignore[attr-defined]
    while 8 * sum(sizes) >= len(inner) - 20:  # the last fragment has bytes of its own
        sizes = sizes[:-1]
    pieces = packets.fragment4(inner, [8 * size for size in sizes])
    shuffle.shuffle(pieces)
    outputs = [output for piece in pieces for output in rig.up(piece, b4=b4(subscriber), slot=subscriber % 2, tc=tos)]
    assert len(outputs) == len(pieces)
    whole = IPv4(packets.reassemble4(frame for _, frame in outputs)) if len(pieces) > 1 else one(outputs, "internet")
    assert whole.header_checksum_right
    assert whole.transport_checksum_right
    assert whole.protocol in (TCP, UDP, packets.ICMP)
    assert (whole.ttl, whole.tos) == (ttl - 1, tos)
