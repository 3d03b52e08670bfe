"""Random histories: a list of actions, each a tuple of small numbers, played by `Player` on an engine.

Numbers are taken modulo what there is (B4s, live mappings, remote hosts), so that any list is a valid history, hypothesis
can shrink it, and most packets meet state that earlier ones made.
"""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import strategies as st

import packets
from packets import ACK, FIN, ICMP, PSH, RST, SYN, TCP, UDP, IPv4, Segment, echo, echo_reply, ipv4, ipv6, tcp, udp
from properties.duel import Duel
from reference.state import Mapping
from rig import b4, slot_address

SERVERS = ("198.51.100.1", "198.51.100.2", "203.0.113.7")
HOSTS = ("10.0.0.1", "192.168.1.2", "192.0.0.2")
FIXED, UNIQUE = "203.0.113.10", "203.0.113.130"
FLAGS = (SYN, SYN | ACK, ACK, ACK, PSH | ACK, FIN | ACK, RST, RST | ACK, FIN, 0)
SIZES = (0, 1, 2, 3, 7, 64, 513, 1200)
PROTOCOLS = (UDP, TCP, ICMP)

small = st.integers(0, 11)
# What, and five numbers: who, which, remote, form, size.
action = st.tuples(
    st.sampled_from(
        ["out"] * 6 + ["reply"] * 6 + ["hairpin"] * 2 + ["error in", "error out", "error hairpin", "out fragments", "in fragments",
        "softwire fragments", "hairpin fragments", "stranger", "time", "time", "expired", "large", "move", "too big", "aftr",
        "refused", "unreachable", "fixed"]
    ),
    small, small, small, small, st.integers(0, 255),
)  # fmt: skip
histories = st.lists(action, min_size=30, max_size=150)


def assert_unique_endpoints(duel: Duel) -> None:
    """No two live mappings share an external endpoint (by the reference's books, which equal the engine's)."""
    live = [(m.external, m.protocol, m.external_port) for slot in duel.reference.slots for m in slot.mappings]
    assert len(live) == len(set(live))


class Player:
    def __init__(self, duel: Duel, *, parity: bool = False) -> None:
        self.duel, self.parity = duel, parity
        self.moved: dict[int, int] = {}  # subscriber: interface number of its B4
        self.sent = 0
        self.delivered: list[tuple[str, int, bytes]] = []  # B4, slot, inner packet that a host received

    # ------------------------------------------------------------------------------------------ sending
    def play(self, actions: list[tuple[str, int, int, int, int, int]]) -> None:
        for what, *numbers in actions:
            getattr(self, what.replace(" ", "_"))(*numbers)
            assert_unique_endpoints(self.duel)

    def frames(self, side: packets.Side, items: list[bytes]) -> None:
        """One after the other; with two workers an empty frame before some makes another worker receive them."""
        for item in items:
            self.sent += 1
            burst: list[tuple[packets.Side, bytes]] = [(side, packets.eth(item))]
            if self.parity and self.sent % 3 == 0:
                burst.insert(0, (side, b""))
            for where, frame in self.duel.step(burst)[-1]:
                if where == "access":
                    self.note(packets.IPv6(frame[14:]))

    def note(self, outer: packets.IPv6) -> None:
        if outer.next_header == packets.IPIP:
            slot = int(outer.src) - int(packets.v6(slot_address(0)))
            self.delivered = [*self.delivered[-20:], (str(outer.dst), slot, outer.payload)]

    def home(self, who: int) -> tuple[str, int]:
        """B4 and slot of a subscriber; each subscriber keeps to a slot."""
        subscriber = who % 6
        return b4(subscriber + 1, 1 + self.moved.get(subscriber, 0)), subscriber % self.duel.reference.policy.slots

    def softwire(self, who: int, inner: bytes, tc: int | None = None) -> bytes:
        source, slot = self.home(who)
        return ipv6(inner, src=source, dst=slot_address(slot), traffic_class=inner[1] if tc is None else tc)

    def mapping(self, which: int, protocol: int | None = None) -> Mapping | None:
        live = [m for slot in self.duel.reference.slots for m in slot.mappings if protocol in (None, m.protocol)]
        return live[which % len(live)] if live else None

    def body_out(self, protocol: int, port: int, remote_port: int, form: int, size: int) -> Segment:
        payload = bytes(itertools.islice(itertools.cycle(range(1, 250)), SIZES[size % len(SIZES)]))
        if protocol == TCP:
            flags = FLAGS[form % len(FLAGS)]
            return tcp(port, remote_port, flags, payload, mss=1460 if flags & SYN and size % 2 else None, seq=size)
        if protocol == UDP:
            return udp(port, remote_port, payload, checksum=0 if form == 11 else None)
        return echo(port, form, payload)

    def body_in(self, protocol: int, port: int, remote_port: int, form: int, size: int) -> Segment:
        if protocol == ICMP:
            return (echo if form % 4 == 3 else echo_reply)(port, form, bytes(size % 32))
        return self.body_out(protocol, remote_port, port, form, size)

    # ------------------------------------------------------------------------------------------ packets
    def inner(self, which: int, remote: int, form: int, size: int, *, dst: packets.V4 | None = None, port: int = 0,
              **fields: Any) -> bytes:  # fmt: skip
        protocol = PROTOCOLS[which % 3]
        return ipv4(
            self.body_out(protocol, 5000 + which // 3, port or 53 + remote % 2, form, size),
            src=HOSTS[form % 3],
            dst=dst or SERVERS[remote % 3],
            **{"df": size % 3 > 0, "tos": (form * 37) & 0xFF, "ttl": 64 - form, "identification": size} | fields,
        )

    def out(self, who: int, which: int, remote: int, form: int, size: int) -> None:
        inner = self.inner(which, remote, form, size)
        tc = inner[1] if size % 4 else (inner[1] & 3 and inner[1] | packets.CE)
        self.frames("access", [self.softwire(who, inner, tc)])

    def in_packet(
        self, which: int, remote: int, form: int, size: int, *, sender: str = "", **fields: Any
    ) -> bytes | None:
        mapping = self.mapping(which)
        if mapping is None:
            return None
        body = self.body_in(mapping.protocol, mapping.external_port, 53 + remote % 2, form, size)
        fields = {"df": size % 3 > 0, "tos": (form * 41) & 0xFF, "ttl": 60 - form, "identification": size} | fields
        return ipv4(body, src=sender or SERVERS[remote % 3], dst=mapping.external, **fields)

    def reply(self, who: int, which: int, remote: int, form: int, size: int) -> None:
        packet = self.in_packet(which + 7 * who, remote, form, size)
        self.frames("internet", [packet] if packet else [])

    def stranger(self, who: int, which: int, remote: int, form: int, size: int) -> None:
        """To a pool address where there is most likely nothing."""
        body = self.body_in(PROTOCOLS[which % 3], 1024 + 251 * size, 80, form, size)
        self.frames("internet", [ipv4(body, src=SERVERS[remote % 3], dst=f"192.0.2.{who % 4}")])

    def hairpin(self, who: int, which: int, remote: int, form: int, size: int) -> None:
        mapping = self.mapping(which + 5 * remote)
        if mapping is None:
            return
        kind = PROTOCOLS.index(mapping.protocol)
        if mapping.protocol == ICMP:
            return  # an identifier is no remote port: an echo cannot be addressed to a mapping
        inner = self.inner(kind + 3 * (form % 3), remote, form, size, dst=mapping.external, port=mapping.external_port)
        self.frames("access", [self.softwire(who, inner)])

    def expired(self, who: int, which: int, remote: int, form: int, size: int) -> None:
        """TTL ends here."""
        if form % 2:
            self.frames("access", [self.softwire(who, self.inner(which, remote, form, size, ttl=size % 2, tos=0))])
            return
        packet = self.in_packet(which, remote, 2, size, ttl=size % 2)
        if packet and IPv4(packet).protocol != TCP:
            self.frames("internet", [packet])

    def refused(self, who: int, which: int, remote: int, form: int, size: int) -> None:
        """What is not served: sources, destinations, protocols, B4s, resets without connection."""
        good: dict[str, Any] = {"src": HOSTS[0], "dst": SERVERS[0]}
        inner = [
            ipv4(udp(5000, 53), **good | {"src": "8.8.8.8"}),
            ipv4(udp(5000, 53), **good | {"src": "192.0.0.1"}),
            ipv4(udp(5000, 53), **good | {"dst": "10.9.9.9"}),
            ipv4(udp(5000, 53), **good | {"dst": "239.1.1.1"}),
            ipv4(packets.raw(packets.GRE, bytes(12)), **good),
            ipv4(udp(0, 53), **good),
            ipv4(udp(5000, 53, b"abcd", length=200), **good),
            ipv4(tcp(5900, 80, RST), **good),
            ipv4(udp(5000, 53), **good, options=b"\x83\x04\x04\x00"),
            ipv4(udp(5000, 53), **good, checksum=0x5555),
        ][(which + form) % 10]
        self.frames(
            "access",
            [self.softwire(who, inner) if size % 8 else ipv6(inner, src="2001:db8:ffff::9", dst=slot_address(0))],
        )

    def aftr(self, who: int, which: int, remote: int, form: int, size: int) -> None:
        body = [echo(7, size, bytes(size)), udp(5000, 53), tcp(5000, 80, SYN), packets.raw(packets.SCTP, bytes(12))][
            which % 4
        ]
        self.frames("access", [self.softwire(who, ipv4(body, src=HOSTS[form % 3], dst="192.0.0.1"))])
        if which % 5 == 0:
            source, slot = self.home(who)
            request = ipv6(packets.icmp6(128, 0, size, bytes(size)), src=source, dst=slot_address(slot))
            self.frames("access", [request])

    def fixed(self, who: int, which: int, remote: int, form: int, size: int) -> None:
        """Of a bypassed address, or a unique one: passes untranslated, or is translated, by port and destination."""
        source, protocol = (FIXED, UNIQUE)[which % 2], PROTOCOLS[remote % 3]
        body = self.body_out(protocol, (5060, 5061)[form % 2], 5060, form, size)
        packet = ipv4(body, src=source, dst=SERVERS[form % 3], df=size % 3 > 0, identification=size)
        self.frames("access", [self.softwire(who, packet)])
        if size % 3 == 0:
            body = self.body_in(protocol, 5060, 5060, form, size)
            self.frames("internet", [ipv4(body, src=SERVERS[which % 3], dst=source)])

    # ------------------------------------------------------------------------------------------ errors
    def error_in(self, who: int, which: int, remote: int, form: int, size: int) -> None:
        """From a router on the way, about a packet that left through a live mapping."""
        mapping = self.mapping(which + 5 * who)
        if mapping is None:
            return
        body = self.body_out(mapping.protocol, mapping.external_port, 53, form, size)
        quote = ipv4(body, src=mapping.external, dst=SERVERS[remote % 3], df=size % 2 == 0, ttl=1)
        self.frames("internet", [self.error(quote, form, size, "203.0.113.99", mapping.external)])

    def error_out(self, who: int, which: int, remote: int, form: int, size: int) -> None:
        """From a host behind a B4, about a packet that it received."""
        if not self.delivered:
            return
        home, slot, inner = self.delivered[which % len(self.delivered)]
        if home not in [self.home(number)[0] for number in range(6)]:
            return
        quote = IPv4(inner)
        packet = self.error(inner, form, size, str(quote.dst), quote.src)
        if quote.protocol == ICMP and quote.payload[:1] not in (b"\0", b"\x08"):
            return
        self.frames("access", [ipv6(packet, src=home, dst=slot_address(slot))])

    error_hairpin = error_out

    def error(self, quote: bytes, form: int, size: int, src: packets.V4, dst: packets.V4) -> bytes:
        kind, code = [(3, 1), (3, 3), (3, 4), (11, 0), (12, 0)][form % 5]
        head = IPv4(quote).header_length
        cut = quote[: head + (8, 8, 20, 28, 500)[size % 5]]
        return ipv4(packets.icmp4(kind, code, 1280 if (kind, code) == (3, 4) else 0, cut), src=src, dst=dst)

    def too_big(self, who: int, which: int, remote: int, form: int, size: int) -> None:
        """ICMPv6 Packet Too Big about a softwire packet of ours."""
        if not self.delivered:
            return
        home, slot, inner = self.delivered[which % len(self.delivered)]
        quote = ipv6(inner, src=slot_address(slot), dst=home if form else b4(99))
        error = packets.icmp6(2, 0, 1280 + size, quote[:1200])
        if home in [self.home(number)[0] for number in range(6)]:
            self.frames("access", [ipv6(error, src="2001:db8:ffff::1", dst=slot_address(slot))])

    def unreachable(self, who: int, which: int, remote: int, form: int, size: int) -> None:
        if not self.delivered:
            return
        home, slot, inner = self.delivered[which % len(self.delivered)]
        quote = ipv6(inner, src=slot_address(slot), dst=home)
        error = packets.icmp6(1, form % 5, 0, quote[:1200])
        if home in [self.home(number)[0] for number in range(6)] and IPv4(inner).protocol in (TCP, UDP):
            self.frames("access", [ipv6(error, src="2001:db8:ffff::1", dst=slot_address(slot))])

    # ------------------------------------------------------------------------------------------ fragments
    def shuffled(self, pieces: list[bytes], order: int) -> list[bytes]:
        orders = list(itertools.permutations(range(len(pieces))))
        return [pieces[place] for place in orders[order % len(orders)]]

    def datagram(self, which: int, form: int, size: int) -> int:
        return 1000 + 8 * size + form

    def out_fragments(self, who: int, which: int, remote: int, form: int, size: int) -> None:
        body = self.body_out(PROTOCOLS[which % 3], 5000 + which // 3, 53, 2, 0)
        body = Segment(body.protocol, body.data + bytes(1000 + size), body.checksum_at, body.pseudo)
        if body.protocol == UDP:
            body = udp(5000 + which // 3, 53, bytes(1000 + size))
        inner = ipv4(body, src=HOSTS[form % 3], dst=SERVERS[remote % 3], df=False, identification=0x100 + self.sent)
        pieces = packets.fragment4(inner, [480, 80 + 8 * form][: 1 + form % 2])
        self.frames("access", [self.softwire(who, piece) for piece in self.shuffled(pieces, size)])

    def in_fragments(self, who: int, which: int, remote: int, form: int, size: int) -> None:
        mapping = self.mapping(which)
        if mapping is None:
            return
        if mapping.protocol == UDP:
            body = udp(53, mapping.external_port, bytes(1000 + size))
        elif mapping.protocol == TCP:
            body = tcp(53, mapping.external_port, ACK, bytes(1000 + size))
        else:
            body = echo_reply(mapping.external_port, 1, bytes(1000 + size))
        packet = ipv4(body, src=SERVERS[remote % 3], dst=mapping.external, df=False, identification=0x100 + self.sent)
        pieces = packets.fragment4(packet, [480, 80 + 8 * form][: 1 + form % 2])
        self.frames("internet", self.shuffled(pieces, size))

    def hairpin_fragments(self, who: int, which: int, remote: int, form: int, size: int) -> None:
        mapping = self.mapping(which, UDP)
        if mapping is None:
            return
        body = udp(5000, mapping.external_port, bytes(1000 + size))
        inner = ipv4(body, src=HOSTS[form % 3], dst=mapping.external, df=False, identification=0x100 + self.sent)
        pieces = packets.fragment4(inner, [480, 80])
        self.frames("access", [self.softwire(who, piece) for piece in self.shuffled(pieces, size)])

    def softwire_fragments(self, who: int, which: int, remote: int, form: int, size: int) -> None:
        """IPv6 fragments, in any order; sometimes one is missing."""
        inner = self.inner(which, remote, form, 7, df=size % 2 == 0)
        pieces = packets.fragment6(self.softwire(who, inner), [400, 8 + 8 * form], identification=0x10000 + self.sent)
        pieces = self.shuffled(pieces, size)
        self.frames("access", pieces[: -1 if size % 9 == 0 else None])

    def large(self, who: int, which: int, remote: int, form: int, size: int) -> None:
        """From the internet, larger than a softwire takes: code 4, or IPv6 fragments."""
        mapping = self.mapping(which, UDP)
        if mapping is None:
            return
        body = udp(53 + remote % 2, mapping.external_port, bytes(1240 + 8 * size))
        self.frames("internet", [ipv4(body, src=SERVERS[remote % 3], dst=mapping.external, df=form % 2 == 0)])

    # ------------------------------------------------------------------------------------------ time, addresses
    def time(self, who: int, which: int, remote: int, form: int, size: int) -> None:
        self.duel.pass_time(
            [1, 100, 999, 1000, 2000, 5000, 61_000, 121_000, 241_000, 301_000, 2_000_000, 8_000_000][which] + size
        )

    def move(self, who: int, which: int, remote: int, form: int, size: int) -> None:
        """A B4 comes back with another address of its prefix, if its subscriber has mappings to keep."""
        subscriber = who % 6
        slot = self.duel.reference.slots[self.home(who)[1]]
        home = packets.v6(self.home(who)[0])
        if not any(mapping.softwire.b4 == home for mapping in slot.mappings):
            return
        before = self.moved.get(subscriber, 0)
        self.moved[subscriber] = before + 1
        self.out(who, which, remote, form, size | 1)
        if packets.v6(self.home(who)[0]) not in slot.softwires:
            self.moved[subscriber] = before  # refused: too early
