"""NAT of TCP: sequences, timers, unsolicited SYNs (rows T)."""

from __future__ import annotations

import pytest

import packets
from packets import ACK, FIN, PSH, RST, SYN, ipv4, sent_to_internet, tcp
from rig import HOST, SERVER, Boot, Endpoint, Rig, icmp_error, translated

pytestmark = pytest.mark.nojit

OTHER = "203.0.113.200"
TRANSITORY, ESTABLISHED = 240, 7440


class Connection:
    """Segments of one connection between HOST:5000 and a server's port 80, each checked byte for byte."""

    def __init__(self, rig: Rig, *, server: str = SERVER, port: int = 5000) -> None:
        self.rig, self.server, self.port = rig, server, port
        self.endpoint: Endpoint | None = None

    def out(self, flags: int, payload: bytes = b"") -> bool:
        """Send from inside; did it pass?"""
        packet = ipv4(tcp(self.port, 80, flags, payload), src=HOST, dst=self.server)
        outputs = self.rig.up(packet)
        if not outputs:
            return False
        found = self.rig.endpoint(outputs)
        assert self.endpoint in (None, found), "the mapping changed"
        self.endpoint = found
        assert outputs == [sent_to_internet(translated(packet, found, tcp(found.port, 80, flags, payload)))]
        return True

    def back(self, flags: int, payload: bytes = b"") -> bool:
        assert self.endpoint
        outputs = self.rig.down(
            ipv4(tcp(80, self.endpoint.port, flags, payload), src=self.server, dst=self.endpoint.address)
        )
        if outputs:
            expected = ipv4(tcp(80, self.port, flags, payload), src=self.server, dst=HOST, ttl=63)
            assert outputs == [self.rig.to_softwire(expected, outputs)]
        return bool(outputs)

    def handshake(self) -> Connection:
        assert self.out(SYN)
        assert self.back(SYN | ACK)
        assert self.out(ACK)
        return self

    def lives(self) -> bool:
        """Is its mapping still there?  (A session's count is the mapping's.)"""
        return bool(self.rig.engine.bindings())

    def lifetime_is(self, seconds: int) -> None:
        """The session, untouched from now, lives so long and no longer than a second more."""
        self.rig.wait(seconds - 0.1)
        assert self.lives()
        self.rig.wait(1.1)
        assert not self.lives()


# ------------------------------------------------------------------------------------------------ T01
def test_t01_handshake_data_and_half_close(rig: Rig) -> None:
    connection = Connection(rig).handshake()
    assert connection.out(PSH | ACK, b"GET / HTTP/1.0\r\n\r\n")
    assert connection.back(ACK, b"x" * 1400)
    assert connection.out(FIN | ACK)
    assert connection.back(ACK, b"the rest, after the half-close")
    assert connection.out(ACK)
    assert connection.back(FIN | ACK)
    assert connection.out(ACK)
    rig.counted(
        access={"rx": 6, "forwarded": 6, "tx": 4},
        internet={"rx": 4, "forwarded": 4, "tx": 6},
        events={"mappings-created": 1, "sessions-created": 1, "mappings-removed": 0},
    )


def test_t01_simultaneous_open(rig: Rig) -> None:
    connection = Connection(rig)
    assert connection.out(SYN)
    assert connection.back(SYN)
    assert connection.out(SYN | ACK)
    assert connection.back(SYN | ACK)
    assert connection.out(ACK)
    connection.lifetime_is(ESTABLISHED)


def test_t01_data_in_syn(rig: Rig) -> None:
    connection = Connection(rig)
    assert connection.out(SYN, b"early")
    assert connection.back(SYN | ACK, b"data")


def test_t01_reset_from_either_side_passes(rig: Rig) -> None:
    connection = Connection(rig).handshake()
    assert connection.back(RST | ACK)
    assert connection.out(RST)
    rig.counted(access={"rx": 3, "forwarded": 3, "tx": 2}, internet={"rx": 2, "forwarded": 2, "tx": 3})


def test_t01_a_server_behind_the_b4_accepts(rig: Rig) -> None:
    """Endpoint-independent filtering: a SYN from a stranger to a mapping passes; the answer from inside opens a session."""
    connection = Connection(rig).handshake()
    assert connection.endpoint
    rig.since()
    syn = ipv4(tcp(4444, connection.endpoint.port, SYN), src=OTHER, dst=connection.endpoint.address)
    outputs = rig.down(syn)
    assert outputs == [rig.to_softwire(ipv4(tcp(4444, 5000, SYN), src=OTHER, dst=HOST, ttl=63), outputs)]
    rig.was_forwarded("internet", events={"sessions-created": 0})
    answer = ipv4(tcp(5000, 4444, SYN | ACK), src=HOST, dst=OTHER)
    port = connection.endpoint.port
    assert rig.up(answer) == [sent_to_internet(translated(answer, connection.endpoint, tcp(port, 4444, SYN | ACK)))]
    rig.was_forwarded("access", events={"sessions-created": 1, "mappings-created": 0})


@pytest.mark.parametrize("flags", [0, FIN, SYN | FIN, FIN | PSH | packets.URG, 0xFF, SYN | ACK, RST | ACK | SYN])
def test_t01_odd_flags_of_a_known_session_pass_unchanged(rig: Rig, flags: int) -> None:
    connection = Connection(rig).handshake()
    assert connection.out(flags)
    assert connection.back(flags)


# ------------------------------------------------------------------------------------------------ T02
def test_t02_unsolicited_syn_is_dropped_silently_by_default(rig: Rig) -> None:
    assert rig.down(ipv4(tcp(4444, 7, SYN), src=OTHER, dst="192.0.2.1")) == []
    rig.was_dropped("internet", "drop-unsolicited-syn")
    rig.wait(10)
    rig.counted()


def held_syn(rig: Rig, port: int = 7, source: str = OTHER) -> bytes:
    packet = ipv4(tcp(4444, port, SYN), src=source, dst="192.0.2.1")
    assert rig.down(packet) == []
    return packet


def test_t02_unsolicited_syn_is_answered_after_six_seconds(boot: Boot) -> None:
    rig = boot({"nat": {"unsolicitedSyn": "icmp"}})
    syn = held_syn(rig)
    rig.counted(internet={"rx": 1, "held": 1}, events={"syns-held": 1})
    rig.wait(5.9)
    rig.counted()
    rig.wait(1.1)
    icmp_error(rig.timed, 3, 3, syn, src="192.0.2.1", dst=OTHER, side="internet")
    rig.counted(
        internet={"held": -1, "dropped": 1, "originated": 1, "tx": 1},
        drops={"drop-unsolicited-syn": 1},
        events={"icmp-sent": 1},
    )
    rig.wait(20)
    rig.counted()


def test_t02_an_outbound_syn_in_time_makes_it_a_simultaneous_open(boot: Boot) -> None:
    """RFC 5382 REQ-4: then the original SYN is silently dropped."""
    rig = boot({"nat": {"unsolicitedSyn": "icmp", "filtering": "address-and-port-dependent"}})
    connection = Connection(rig).handshake()
    assert connection.endpoint
    rig.since()
    syn = ipv4(tcp(80, connection.endpoint.port, SYN), src=OTHER, dst=connection.endpoint.address)
    assert rig.down(syn) == []
    rig.counted(internet={"rx": 1, "held": 1}, events={"syns-held": 1})
    rig.wait(3)
    second = Connection(rig, server=OTHER)
    assert second.out(SYN)
    assert second.endpoint == connection.endpoint
    rig.wait(7)
    rig.counted(
        access={"rx": 1, "forwarded": 1},
        internet={"tx": 1, "held": -1, "dropped": 1},
        drops={"drop-unsolicited-syn": 1},
        events={"icmp-sent": 0},
    )
    assert second.back(SYN | ACK)


def test_t02_the_ring_is_bounded_and_its_overflow_silent(boot: Boot) -> None:
    rig = boot({"nat": {"unsolicitedSyn": "icmp"}})
    frames = [packets.eth(ipv4(tcp(4444, 1024 + n, SYN), src=OTHER, dst="192.0.2.1")) for n in range(1100)]
    assert not any(rig.step([("internet", frame) for frame in frames]))
    rig.counted(
        internet={"rx": 1100, "held": 1024, "dropped": 76},
        drops={"drop-unsolicited-syn": 76},
        events={"syns-held": 1024},
    )
    rig.wait(7)
    found = rig.since()
    sent = found["internet"]["originated"]
    assert found["internet"] == {"held": -1024, "dropped": 1024, "originated": sent, "tx": sent}
    assert sent == found["events"]["icmp-sent"] == 1000, "a slot's burst to the internet"
    assert found["events"]["icmp-rate-limited"] == 24
    assert found["drops"] == {"drop-unsolicited-syn": 1024}


# ------------------------------------------------------------------------------------------------ T03
def test_t03_established_sessions_live_7440_seconds(rig: Rig) -> None:
    Connection(rig).handshake().lifetime_is(ESTABLISHED)


def test_t03_half_open_sessions_are_transitory(rig: Rig) -> None:
    connection = Connection(rig)
    assert connection.out(SYN)
    connection.lifetime_is(TRANSITORY)


def test_t03_after_both_fins_the_session_is_transitory(rig: Rig) -> None:
    connection = Connection(rig).handshake()
    assert connection.out(FIN | ACK)
    rig.wait(1000)
    assert connection.back(FIN | ACK), "half-closed is established"
    assert connection.out(ACK)
    connection.lifetime_is(TRANSITORY)


@pytest.mark.parametrize("others", [0, 1, 3])
def test_t03_a_fin_that_opens_a_session_counts(rig: Rig, others: int) -> None:
    """Mid-stream, as after a takeover, and also when it is not the first session of its mapping."""
    for number in range(others):
        assert Connection(rig, server=f"203.0.113.{number + 1}").out(SYN)
    connection = Connection(rig)
    assert connection.out(FIN | ACK)
    assert connection.back(FIN | ACK)
    connection.lifetime_is(TRANSITORY)


@pytest.mark.parametrize("side", ["inside", "outside"])
def test_t03_reset_makes_the_session_transitory(rig: Rig, side: str) -> None:
    connection = Connection(rig).handshake()
    assert connection.out(RST) if side == "inside" else connection.back(RST)
    connection.lifetime_is(TRANSITORY)


@pytest.mark.parametrize("reset", ["inside", "outside"])
@pytest.mark.parametrize("later", ["inside", "outside"])
def test_t03_a_later_segment_restores_the_session(rig: Rig, reset: str, later: str) -> None:
    """RFC 7857 2: a forged RST must not end a connection that lives."""
    connection = Connection(rig).handshake()
    assert connection.out(RST) if reset == "inside" else connection.back(RST)
    rig.wait(100)
    assert connection.out(ACK, b"d") if later == "inside" else connection.back(ACK, b"d")
    connection.lifetime_is(ESTABLISHED)


@pytest.mark.parametrize("side", ["inside", "outside"])
def test_t03_segments_of_both_sides_refresh(rig: Rig, side: str) -> None:
    connection = Connection(rig).handshake()
    for _ in range(2):
        rig.wait(7000)
        assert connection.out(ACK) if side == "inside" else connection.back(ACK)
    connection.lifetime_is(ESTABLISHED)


def test_t03_a_syn_starts_a_closed_session_again_as_new(rig: Rig) -> None:
    connection = Connection(rig).handshake()
    assert connection.out(FIN | ACK)
    assert connection.back(FIN | ACK)
    assert connection.out(ACK)
    rig.wait(10)
    assert connection.out(SYN)
    assert connection.back(SYN | ACK)
    assert connection.out(ACK)
    rig.counted(
        access={"rx": 6, "forwarded": 6, "tx": 3},
        internet={"rx": 3, "forwarded": 3, "tx": 6},
        events={"sessions-created": 1, "mappings-created": 1},
    )
    connection.lifetime_is(ESTABLISHED)


def test_t03_timeouts_are_configurable(boot: Boot) -> None:
    rig = boot({"nat": {"timeouts": {"tcpEstablishedSeconds": 9000, "tcpTransitorySeconds": 300}}})
    connection = Connection(rig)
    assert connection.out(SYN)
    connection.lifetime_is(300)
    Connection(rig).handshake().lifetime_is(9000)


def test_t03_sessions_of_one_mapping_end_separately(rig: Rig) -> None:
    first = Connection(rig).handshake()
    second = Connection(rig, server=OTHER)
    assert second.out(SYN)
    assert first.endpoint == second.endpoint
    rig.since()
    rig.wait(241)
    rig.counted(events={"sessions-removed": 1, "mappings-removed": 0})
    assert first.back(ACK)
    rig.since()
    rig.wait(7441)
    rig.counted(events={"sessions-removed": 1, "mappings-removed": 1})


def test_t03_the_first_session_may_end_before_others(rig: Rig) -> None:
    """Also when the first one is the one that ends, the mapping and its other sessions stay."""
    first = Connection(rig)
    assert first.out(SYN)
    others = [Connection(rig, server=f"203.0.113.{number}").handshake() for number in range(1, 4)]
    rig.since()
    rig.wait(241)
    rig.counted(events={"sessions-removed": 1, "mappings-removed": 0})
    for connection in others:
        assert connection.back(ACK)
        assert connection.endpoint == first.endpoint


# ------------------------------------------------------------------------------------------------ T04
def test_t04_a_mid_stream_segment_opens_a_session(rig: Rig) -> None:
    """How TCP survives a takeover: transitory until both directions are seen, then established."""
    connection = Connection(rig)
    assert connection.out(ACK, b"data")
    rig.was_forwarded("access", events={"mappings-created": 1, "sessions-created": 1})
    assert connection.back(ACK)
    connection.lifetime_is(ESTABLISHED)


def test_t04_is_transitory_until_both_directions_are_seen(rig: Rig) -> None:
    connection = Connection(rig)
    assert connection.out(ACK, b"data")
    connection.lifetime_is(TRANSITORY)


def test_t04_without_tcp_loose_a_mapping_is_needed(boot: Boot) -> None:
    rig = boot({"nat": {"tcpLoose": False}})
    for flags in (ACK, FIN | ACK, SYN | ACK, PSH | ACK):
        assert not Connection(rig).out(flags)
        rig.was_dropped("access", "drop-tcp-no-session", events={"mappings-created": 0})
    connection = Connection(rig)
    assert connection.out(SYN)
    assert Connection(rig, server=OTHER).out(ACK), "with a mapping any segment opens a session"
    rig.was_forwarded("access", 2, events={"mappings-created": 1, "sessions-created": 2})


def test_t04_a_reset_opens_nothing(rig: Rig) -> None:
    assert not Connection(rig).out(RST)
    rig.was_dropped("access", "drop-tcp-no-session", events={"mappings-created": 0})
    connection = Connection(rig)
    assert connection.out(SYN)
    rig.since()
    other = Connection(rig, server=OTHER)
    assert other.out(RST), "with a mapping it is translated"
    assert other.endpoint == connection.endpoint
    rig.was_forwarded("access", events={"sessions-created": 0, "mappings-created": 0})


def test_t04_restored_bindings_serve_mid_stream_segments(rig: Rig) -> None:
    binding = {
        "softwire": "2001:db8:1000:100::1",
        "slot": 0,
        "protocol": "tcp",
        "internalAddress": HOST,
        "internalPort": 5000,
        "externalAddress": "192.0.2.9",
        "externalPort": 2048,
    }
    rig.engine.preload([binding])
    connection = Connection(rig)
    connection.endpoint = Endpoint(packets.v4("192.0.2.9"), 2048)
    assert connection.back(ACK, b"from the server first")
    assert connection.out(ACK, b"and from inside")
    assert connection.back(ACK)
    connection.lifetime_is(ESTABLISHED)
