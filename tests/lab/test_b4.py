"""The reference B4 on the wire, against a plain kernel socket in the AFTR's place (the lab without its AFTR)."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

import packets
from running_lab import SAMPLE, SERVER, Lab, lab_up

pytestmark = pytest.mark.lab

B4_ADDRESS = "2001:db8:1000::1"
TUNNEL_ADDRESS = "2001:db8:64::1"
HOST = "192.168.1.10"
B4 = [sys.executable, "-m", "aftr.b4"]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_up("b4test", SAMPLE, "--b4s", "1", "--without-aftr") as lab:
        lab.run("aftr-1", "ip", "address", "add", f"{TUNNEL_ADDRESS}/128", "dev", "lo")
        yield lab


@dataclass
class Wire:
    """The AFTR's end of the access link: every frame, and a raw socket that encapsulates."""

    frames: socket.socket
    softwire: socket.socket

    def next_ipv6(self) -> packets.IPv6:
        """The next IPv6 packet from the B4 that is not neighbour discovery."""
        while True:
            packet = packets.IPv6(self.frames.recv(65535)[14:])
            if str(packet.src) == B4_ADDRESS and packet.next_header != packets.ICMPV6:
                return packet

    def send(self, inner: bytes, traffic_class: int = 0) -> None:
        """Encapsulate towards the B4; the kernel fragments what is larger than the link."""
        self.softwire.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, traffic_class)
        self.softwire.sendto(inner, (B4_ADDRESS, 0))

    def next_inner(self) -> packets.IPv4:
        """The next decapsulated packet from the B4, reassembled by the kernel."""
        return packets.IPv4(self.softwire.recv(65535))


@pytest.fixture
def wire(lab: Lab) -> Iterator[Wire]:
    with (
        lab.socket("aftr-1", socket.AF_PACKET, socket.SOCK_RAW, socket.htons(packets.ETHERTYPE_IPV6)) as frames,
        lab.socket("aftr-1", socket.AF_INET6, socket.SOCK_RAW, packets.IPIP) as softwire,
    ):
        frames.bind(("access", packets.ETHERTYPE_IPV6))
        softwire.bind((TUNNEL_ADDRESS, 0))
        yield Wire(frames, softwire)


@contextmanager
def ping(lab: Lab, *options: str) -> Iterator[None]:
    """One echo request from the host towards the server; nobody answers."""
    with lab.running("host-1", "ping", "-c1", "-W1", *options, SERVER):
        yield


def echo_request(size: int, tos: int = 0) -> bytes:
    """An IPv4 packet of `size` bytes from the server to the host."""
    echo = packets.icmp4(8, rest=7 << 16 | 1, payload=(bytes(range(256)) * 8)[: size - 28])
    return packets.ipv4(echo, src=SERVER, dst=HOST, tos=tos)


def test_b01_outer_packets_are_fragmented_after_encapsulation(lab: Lab, wire: Wire) -> None:
    with ping(lab, "-s", "1472", "-M", "do"):
        first, second = wire.next_ipv6(), wire.next_ipv6()
    assert len(first.raw) <= 1500
    assert (first.fragment_offset, first.fragment_more) == (0, True)
    assert (second.fragment_offset, second.fragment_more) == (len(first.payload) - 8, False)
    whole = packets.IPv6(packets.reassemble6(bytes(14) + part.raw for part in (first, second)))
    assert whole.inner.total_length == 1500
    assert whole.inner.df
    assert not whole.inner.is_fragment
    assert whole.inner.transport_checksum_right
    assert wire.next_inner().raw == whole.inner.raw


def test_b01_an_inner_packet_is_never_fragmented_and_no_code_4_is_made(lab: Lab, wire: Wire) -> None:
    with ping(lab, "-s", "1472", "-M", "dont"):
        inner = wire.next_inner()
    assert inner.total_length == 1500
    assert not inner.is_fragment
    result = lab.shell("host-1", f"ping -c1 -W0.2 -s 1472 -M do {SERVER} || true")
    assert "needed" not in result
    assert "too long" not in result


def test_b01_a_smaller_path_mtu_decides_over_the_wan_mtu(lab: Lab, wire: Wire) -> None:
    lab.run(
        "b4-1", "ip", "-6", "route", "replace", f"{TUNNEL_ADDRESS}/128", "via", "fe80::1", "dev", "wan", "mtu", "1280"
    )
    try:
        with ping(lab, "-s", "1472"):
            sizes = [len(wire.next_ipv6().raw) for _ in range(2)]
    finally:
        lab.run("b4-1", "ip", "-6", "route", "delete", f"{TUNNEL_ADDRESS}/128")
    assert sizes[0] <= 1280
    assert sum(sizes) > 1540


def test_b01_fragments_are_reassembled_before_decapsulation(lab: Lab, wire: Wire) -> None:
    with lab.socket("host-1", socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as host:
        sent = echo_request(1500)
        wire.send(sent)
        received = host.recv(65535)
    assert received[20:] == sent[20:]
    reply = wire.next_inner()
    assert reply.total_length == 1500
    assert reply.payload[0] == 0, "the host's echo reply came back through the softwire"


def test_b01_overlapping_fragments_are_dropped(lab: Lab, wire: Wire) -> None:
    inner = echo_request(1400)
    with (
        lab.socket("host-1", socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as host,
        lab.socket("aftr-1", socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw,
    ):
        for offset, end in ((0, 808), (800, 1400)):
            header = packets.fragment_header(packets.IPIP, offset, end < 1400, identification=99)
            fragment = header + inner[offset:end]
            raw.sendto(
                packets.ipv6(fragment, src=TUNNEL_ADDRESS, dst=B4_ADDRESS, next_header=packets.FRAGMENT),
                (B4_ADDRESS, 0),
            )
        wire.send(echo_request(100))
        assert len(host.recv(65535)) == 100, "the next good packet passes, the overlapping one never came"


def test_b01_tun_mtu_is_1500_whatever_the_wan_mtu_is(lab: Lab) -> None:
    with lab_up("b4small", SAMPLE, "--b4s", "1", "--without-aftr", "--access-mtu", "1280") as small:
        for mine, wan in ((lab, 1500), (small, 1280)):
            links = json.loads(mine.run("b4-1", "ip", "-json", "link"))
            mtu = {link["ifname"]: link["mtu"] for link in links}
            assert mtu["wan"] == wan
            assert mtu["softwire"] == 1500


def test_b03_no_nat_between_lan_and_softwire(lab: Lab, wire: Wire) -> None:
    with ping(lab):
        inner = wire.next_inner()
    assert (str(inner.src), str(inner.dst)) == (HOST, SERVER)
    assert inner.ttl == 63, "one hop"


def test_b03_softwire_address_and_default_route(lab: Lab) -> None:
    assert "192.0.0.2/29" in lab.run("b4-1", "ip", "-4", "-oneline", "address", "show", "softwire")
    assert lab.run("b4-1", "ip", "route", "show", "default").startswith("default dev softwire")


def test_d02_traffic_class_both_ways(lab: Lab, wire: Wire) -> None:
    with ping(lab, "-Q", "0xb8"):
        outer = wire.next_ipv6()
    assert outer.traffic_class == 0xB8
    assert wire.next_inner().tos == 0xB8
    with lab.socket("host-1", socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as host:
        wire.send(echo_request(100, tos=0x02), traffic_class=0x28 | 3)  # congestion experienced on the way
        received = packets.IPv4(host.recv(65535))
        assert received.tos == 0x28 | 3
        assert received.header_checksum_right


def test_d27_flow_label_is_set(lab: Lab, wire: Wire) -> None:
    with ping(lab):
        outer = wire.next_ipv6()
    assert outer.flow_label
    assert outer.hop_limit == 63, "64 before the router"


def test_packets_of_others_are_not_taken_for_the_aftrs(lab: Lab, wire: Wire) -> None:
    with (
        lab.socket("aftr-1", socket.AF_INET6, socket.SOCK_RAW, packets.IPIP) as stranger,
        lab.socket("host-1", socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as host,
    ):
        stranger.sendto(echo_request(200), (B4_ADDRESS, 0))  # from the link's address
        wire.send(echo_request(100))
        assert len(host.recv(65535)) == 100


def test_d24_encapsulation_limit_header_as_linux_sends_it(lab: Lab, wire: Wire) -> None:
    command = [*B4, "--aftr", TUNNEL_ADDRESS, "--wan", "wan", "--tun", "limited", "--encap-limit", "4"]
    with lab.running("b4-1", *command) as b4:
        assert b4.stdout is not None
        assert "is up on limited" in b4.stdout.readline()
        with ping(lab):
            outer = wire.next_ipv6()
        assert outer.next_header == packets.DESTINATION
        assert outer.payload[:8] == packets.options_header(packets.IPIP)
        assert str(packets.IPv4(outer.payload[8:]).src) == HOST
    lab.run("b4-1", "ip", "route", "replace", "default", "dev", "softwire")


def test_b05_refuses_a_wan_with_ipv4(lab: Lab) -> None:
    lab.run("b4-1", "ip", "address", "add", "203.0.113.5/24", "dev", "wan")
    try:
        refused = subprocess.run(
            ["ip", "netns", "exec", lab.namespace("b4-1"), *B4, "--aftr", TUNNEL_ADDRESS, "--wan", "wan"],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
    finally:
        lab.run("b4-1", "ip", "address", "delete", "203.0.113.5/24", "dev", "wan")
    assert refused.returncode == 78
    assert refused.stderr.startswith("aftr b4: WAN interface wan has the IPv4 address 203.0.113.5")
    assert len(refused.stderr.splitlines()) == 1


def test_an_unreachable_aftr_does_not_end_the_b4(lab: Lab, wire: Wire) -> None:
    """ICMPv6 errors about the softwire are counted; packets flow again when the AFTR is back."""
    lab.run("aftr-1", "ip", "address", "delete", f"{TUNNEL_ADDRESS}/128", "dev", "lo")
    lab.shell("host-1", f"ping -c3 -i0.1 -W0.3 {SERVER} || true")
    lab.run("aftr-1", "ip", "address", "add", f"{TUNNEL_ADDRESS}/128", "dev", "lo")
    with lab.socket("aftr-1", socket.AF_INET6, socket.SOCK_RAW, packets.IPIP) as back:
        back.bind((TUNNEL_ADDRESS, 0))
        with ping(lab):
            assert str(packets.IPv4(back.recv(65535)).src) == HOST
