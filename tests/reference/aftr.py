"""The packet's way through an AFTR, step by step, as the requirements and RFCs say.

`Reference.expect` takes a frame and what the engine sent because of it, computes what should have been sent, and returns
the differences.  The engine's random choices are learned from what it sent and checked to be legal (`oracle.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import packets
from packets import (
    ACK,
    CE,
    ECT0,
    ECT1,
    FIN,
    ICMP,
    ICMPV6,
    IPIP,
    NOT_ECT,
    RST,
    SYN,
    TCP,
    UDP,
    IPv4,
    IPv4Address,
    IPv6,
    IPv6Address,
    Side,
    ones_sum,
    pseudo6,
)
from reference.fragments import Context, Contexts
from reference.neighbours import Neighbours, Verdict, is_discovery
from reference.oracle import Oracle
from reference.policy import AFTR_ADDRESS, INTERNET_MTU, Policy
from reference.rewrite import translate, with_fields, with_lower_mss
from reference.state import PATH_MTU_MS, SOFTWIRE_IDLE_MS, Mapping, Session, SlotState, Softwire, Subscriber

SIDES = ("access", "internet")
TRAFFIC = ("rx", "forwarded", "merged", "consumed", "dropped", "held", "tx", "split", "originated")
ICMP_ERRORS = (3, 11, 12)  # translated
NEVER_ANSWERED = (3, 4, 5, 11, 12)  # RFC 1812 4.3.2.7
PORT_PROTOCOLS = (TCP, UDP, ICMP)
MAX_EXTENSION_HEADERS = 8
Answer = tuple[int, int, int]  # ICMP type, code, second word


class Drop(Exception):  # noqa: N818  (the end of a packet's way, not an error)
    """The frame ends here, under this name; `answer` is the ICMP error to its source."""

    def __init__(self, name: str, answer: Answer | None = None) -> None:
        super().__init__(name)
        self.name, self.answer = name, answer


class Held(Exception):  # noqa: N818
    """The frame waits."""


class Consumed(Exception):  # noqa: N818
    """The frame ends here on purpose."""


def decapsulated_ecn(inner: int, outer: int) -> int:
    """RFC 6040 figure 4."""
    if outer == CE and inner == NOT_ECT:
        raise Drop("drop-ecn")
    if inner in (NOT_ECT, CE) or outer == NOT_ECT:
        return inner
    if outer == CE:
        return CE
    return ECT1 if ECT1 in (inner, outer) else ECT0


class Reference:
    def __init__(self, text: str, bindings: Callable[[], list[dict[str, Any]]] | None = None) -> None:
        self.policy = Policy.from_yaml(text)
        self.bindings_of_engine = bindings
        self.events: Counter[str] = Counter()
        self.drops: Counter[str] = Counter()
        self.count: dict[str, Counter[str]] = {side: Counter() for side in SIDES}
        policy = self.policy
        self.slots = [SlotState(policy, number, self.events) for number in range(policy.slots)]
        self.contexts = [Contexts(policy.max_contexts, policy.max_bytes, policy.reassembly_ms) for _ in self.slots]
        self.neighbours = Neighbours(policy)
        self.labels: dict[tuple[object, ...], int] = {}
        self.now = 0
        self.side: Side = "access"
        self.oracle = Oracle([])
        self.outputs: list[tuple[str, bytes]] = []

    # ------------------------------------------------------------------------------------------ the interface
    def expect(self, frame: bytes, side: Side, now_ns: int, observed: Sequence[tuple[str, bytes]]) -> list[str]:
        """What differs between the frames that the engine sent and those that it should have sent."""
        self.advance(now_ns)
        self.oracle = Oracle(observed, self.bindings_of_engine)
        self.outputs, self.side = [], side
        self.receive(frame)
        return self.oracle.complaints + compare(self.outputs, observed)

    def advance(self, now_ns: int) -> None:
        self.now = now_ns // 1_000_000
        for slot, contexts in zip(self.slots, self.contexts, strict=True):
            for context in contexts.expired(self.now):
                self.drop_held(context, "drop-reassembly-timeout")
            slot.expire(self.now, [context.owner for context in contexts.all.values()])

    def settled(self, from_ns: int, to_ns: int) -> bool:
        """No timer ends between these times, so that it does not matter when a sweep looks."""
        old, new = from_ns // 1_000_000, to_ns // 1_000_000
        ends = [end for slot in self.slots for mapping in slot.mappings for end in slot.ends(mapping)]
        idle = [softwire.last_seen + SOFTWIRE_IDLE_MS for slot in self.slots for softwire in slot.softwires.values()]
        return not any(old < end <= new for end in ends) and not any(end <= new for end in idle)

    def counters(self) -> dict[str, dict[str, int]]:
        result = {side: {name: self.count[side][name] for name in TRAFFIC} for side in SIDES}
        return {**result, "drops": +self.drops, "events": +self.events}

    def live(self) -> list[tuple[Any, ...]]:
        """Mappings as (softwire, protocol, internal endpoint, external endpoint)."""
        return sorted(
            (str(m.softwire.b4), m.protocol, str(m.inner), m.port, str(m.external), m.external_port)
            for slot in self.slots
            for m in slot.mappings
        )

    # ------------------------------------------------------------------------------------------ books
    def receive(self, frame: bytes) -> None:
        count = self.count[self.side]
        count["rx"] += 1
        try:
            if self.side == "access":
                self.from_access(frame)
            else:
                self.from_internet(frame)
            count["forwarded"] += 1
        except Drop as drop:
            self.dropped(drop)
        except Held:
            count["held"] += 1
        except Consumed:
            count["consumed"] += 1

    def dropped(self, drop: Drop) -> None:
        self.count[self.side]["dropped"] += 1
        self.drops[drop.name] += 1

    def drop_held(self, context: Context, name: str) -> None:
        number = len(context.held)
        self.count[context.side]["held"] -= number
        self.count[context.side]["dropped"] += number
        self.drops[name] += number
        context.held = []

    def send(self, frames: Sequence[tuple[str, bytes]]) -> None:
        for side, frame in frames:
            self.count[side]["tx"] += 1
            self.outputs.append((side, frame))
        self.count[frames[0][0]]["split"] += len(frames) - 1

    @property
    def at(self) -> int:
        """Number of the next frame that leaves."""
        return len(self.outputs)

    # ------------------------------------------------------------------------------------------ receive, access
    def from_access(self, frame: bytes) -> None:
        if len(frame) < 14:
            raise Drop("drop-truncated")
        if frame[12:14] != b"\x86\xdd":
            raise Drop("drop-ethertype")
        outer = IPv6(frame[14:])
        if len(outer.raw) < 40:
            raise Drop("drop-truncated")
        if outer.version != 6:
            raise Drop("drop-ipv6-header")
        if self.policy.layer2 and is_discovery(outer):
            self.neighbour(self.neighbours.discovery(frame, outer, self.now))
        if outer.dst not in self.policy.addresses:
            raise Drop("drop-not-local")
        if 40 + outer.payload_length > len(outer.raw):
            raise Drop("drop-truncated")
        if outer.src.is_multicast or outer.src.is_unspecified or outer.src in self.policy.addresses:
            raise Drop("drop-ipv6-header")
        slot = self.slots[self.policy.addresses.index(outer.dst)]
        self.through_headers(slot, outer, outer.next_header, outer.payload, MAX_EXTENSION_HEADERS, outer.traffic_class)

    def slot_number(self, address: IPv4Address) -> int | None:
        slot = self.slot_of(address)
        return None if slot is None else slot.number

    def neighbour(self, verdict: Verdict) -> None:
        """A question of a neighbour, or its claim."""
        if verdict.drop:
            raise Drop(verdict.drop)
        self.events["neighbour-conflicts"] += verdict.conflict
        if verdict.answer:
            self.send([verdict.answer])
            self.count[self.side]["originated"] += 1
            self.events["neighbours-answered"] += 1
        raise Consumed

    def through_headers(
        self, slot: SlotState, outer: IPv6, next_header: int, data: bytes, most: int, traffic_class: int
    ) -> None:
        """Over Hop-by-Hop (first only), Destination Options and Fragment headers, at most eight in all."""
        first, fragmented = most == MAX_EXTENSION_HEADERS, False
        while next_header in (packets.HOP_BY_HOP, packets.DESTINATION, packets.FRAGMENT):
            if most == 0 or (next_header == packets.HOP_BY_HOP and not first):
                raise Drop("drop-extension-header")
            most, first = most - 1, False
            if len(data) < 8:
                raise Drop("drop-truncated")
            if next_header == packets.FRAGMENT:
                offset, more = int.from_bytes(data[2:4]) & 0xFFF8, bool(data[3] & 1)
                next_header, identification, data = data[0], data[4:8], data[8:]
                if fragmented and (offset or more):
                    raise Drop("drop-extension-header")
                if offset or more:  # RFC 6946: an atomic fragment is not one
                    fragmented = True
                    next_header, data, traffic_class = self.reassemble(
                        slot, outer, next_header, offset, more, identification, data
                    )
                continue
            size = 8 + 8 * data[1]
            if size > len(data):
                raise Drop("drop-truncated")
            next_header, data = data[0], data[size:]
        if next_header in (packets.ROUTING, packets.AH, 135, 139, 140):
            raise Drop("drop-extension-header")
        if next_header == IPIP:
            self.from_softwire(slot, outer.src, traffic_class, data)
        elif next_header == ICMPV6:
            self.icmpv6(slot, outer, data)
        else:
            raise Drop("drop-not-softwire")

    def reassemble(
        self,
        slot: SlotState,
        outer: IPv6,
        next_header: int,
        offset: int,
        more: bool,
        identification: bytes,
        data: bytes,
    ) -> tuple[int, bytes, int]:
        """Next header, payload and traffic class of the whole packet; raises Held until it is whole (RFC 8200 4.5)."""
        if not data or (more and len(data) % 8) or offset + len(data) > 65535:
            raise Drop("drop-bad-fragment")
        subscriber = self.admit(slot, outer.src, whole=False).subscriber
        contexts = self.contexts[slot.number]
        key = (outer.src, outer.dst, identification)
        context = contexts.all.get(key)
        if context and context.ruined:
            raise Drop(context.ruined)
        refusal = contexts.refusal(subscriber, key, len(data))
        would_complete = context and self.completes(context, offset, more, data)
        if refusal and not would_complete:
            raise Drop(refusal)
        context = contexts.all.setdefault(key, Context(subscriber, "access", self.now))
        if 40 + offset + len(data) > self.policy.max_packet_bytes:
            self.ruin(context, "drop-reassembly-too-big")
        if context.overlaps(offset, len(data)):
            self.ruin(context, "drop-overlap")
        end = offset + len(data) if not more else context.end
        if end is not None and any(start + len(piece) > end for start, piece in context.pieces.items()):
            self.ruin(context, "drop-bad-fragment")
        if end is not None and offset + len(data) > end:
            self.ruin(context, "drop-bad-fragment")
        context.pieces[offset], context.end = data, end
        context.ecn.add(outer.traffic_class & 3)
        if offset == 0:
            context.first = (next_header, outer.traffic_class)
        if not context.complete:
            context.held.append(outer)
            raise Held
        del contexts.all[key]
        self.count["access"]["held"] -= len(context.held)
        self.count["access"]["merged"] += len(context.held)
        self.events["reassembled"] += 1
        next_header, traffic_class = context.first
        ecn = context.combined_ecn()
        if ecn is None:
            raise Drop("drop-ecn")
        return next_header, context.data(), traffic_class & ~3 | ecn

    def completes(self, context: Context, offset: int, more: bool, data: bytes) -> bool:
        trial = Context(None, "access", 0, {**context.pieces, offset: data}, context.end)
        trial.end = trial.end if more else offset + len(data)
        return trial.complete

    def ruin(self, context: Context, name: str) -> None:
        """The whole packet is dropped: what waits, this fragment, and those to come."""
        self.drop_held(context, name)
        context.ruined, context.pieces = name, {}
        raise Drop(name)

    # ------------------------------------------------------------------------------------------ admit
    def subscriber_of(self, slot: SlotState, b4: IPv6Address) -> Subscriber:
        group = self.policy.group_of(b4)
        if group is None:
            raise Drop("drop-not-registered-b4")
        prefix = group.subscriber(b4)
        return slot.subscribers.setdefault(prefix, Subscriber(prefix, group))

    def admit(self, slot: SlotState, b4: IPv6Address, *, whole: bool = True) -> Softwire:
        """The softwire of a B4; a new one, or one that changed its address, within the limits (O06)."""
        subscriber = self.subscriber_of(slot, b4)
        if not self.policy.pools[subscriber.group.pool].of_slot(slot.number):
            raise Drop("drop-no-pool")
        if b4 in slot.softwires:
            if whole:
                slot.softwires[b4].last_seen = self.now
            return slot.softwires[b4]
        others = slot.softwires_of(subscriber)
        if len(others) < subscriber.group.max_softwires:
            slot.softwires[b4] = Softwire(b4, subscriber, self.now)
            self.events["softwires-created"] += 1
            return slot.softwires[b4]
        recently = subscriber.changed is not None and self.now - subscriber.changed < self.policy.change_limit_ms
        if not self.policy.state_migrate or recently:
            raise Drop("drop-softwire-limit")
        moved = others[0]
        del slot.softwires[moved.b4]
        slot.softwires[b4] = moved
        moved.b4, moved.last_seen, moved.path_mtu, subscriber.changed = b4, self.now, None, self.now
        self.events["softwires-migrated"] += 1
        return moved

    # ------------------------------------------------------------------------------------------ IPv4 header
    def sane(self, data: bytes) -> IPv4:
        """The packet without padding, its header checked (0001-engine.md 10: first of all)."""
        if len(data) < 20:
            raise Drop("drop-truncated")
        packet = IPv4(data)
        if data[0] >> 4 != 4 or packet.header_length < 20 or packet.total_length < packet.header_length:
            raise Drop("drop-ipv4-header")
        if packet.total_length > len(data):
            raise Drop("drop-truncated")
        if not packet.header_checksum_right:
            raise Drop("drop-ipv4-checksum")
        if source_routed(packet):
            raise Drop("drop-source-route")
        return IPv4(data[: packet.total_length])

    def transport(self, packet: IPv4) -> None:
        """The transport header of a whole datagram or first fragment (RFC 1858 for the latter)."""
        data = packet.payload
        least = {TCP: 20, UDP: 8, ICMP: 8}[packet.protocol]
        if len(data) < least:
            raise Drop("drop-fragment-tiny" if packet.is_fragment else "drop-transport-header")
        wrong = False
        if packet.protocol == UDP:
            size = int.from_bytes(data[4:6])
            wrong = size < 8 or (size > len(data) and not packet.is_fragment)
        if packet.protocol == TCP:
            size = (data[12] >> 4) * 4
            wrong = size < 20 or (size > len(data) and not packet.is_fragment)
            if size > len(data) and packet.is_fragment:
                raise Drop("drop-fragment-tiny")
        if packet.protocol != ICMP:
            wrong = wrong or 0 in (packet.sport, packet.dport)
        if wrong:
            raise Drop("drop-transport-header")

    def later_fragment(self, packet: IPv4) -> bool:
        """Is it one without ports?  Checks what any fragment must be."""
        if not packet.is_fragment:
            return False
        size = len(packet.payload)
        end = packet.offset + size
        if size == 0 or (packet.mf and size % 8) or end + packet.header_length > 65535:
            raise Drop("drop-bad-fragment")
        if packet.protocol == TCP and 0 < packet.offset < 20:
            raise Drop("drop-fragment-tiny")  # RFC 3128: it would overlap the header
        return packet.offset > 0

    # ------------------------------------------------------------------------------------------ out
    def from_softwire(self, slot: SlotState, b4: IPv6Address, traffic_class: int, data: bytes) -> None:
        packet = self.sane(data)
        ecn = decapsulated_ecn(packet.tos & 3, traffic_class & 3)
        dscp = traffic_class if self.policy.dscp_preservation else packet.tos
        softwire = self.admit(slot, b4)
        packet = IPv4(with_fields(packet.raw, tos=dscp & ~3 | ecn))
        try:
            self.outbound(slot, softwire, packet)
        except Drop as drop:
            if drop.answer:
                self.answer_inside(slot, softwire, packet.raw, drop.answer)
            raise

    def outbound(self, slot: SlotState, softwire: Softwire, packet: IPv4) -> None:
        """0001-engine.md 10: source, 192.0.0.1, destination, protocol, transport, TTL, mapping, MSS, send."""
        if packet.src in (IPv4Address("192.0.0.0"), AFTR_ADDRESS):
            raise Drop("drop-source-reserved")
        bypassed = self.bypasses(slot, softwire, packet)
        if not bypassed and not self.source_allowed(softwire, packet.src):
            raise Drop("drop-source-not-private")
        if packet.dst == AFTR_ADDRESS:
            self.to_aftr(slot, softwire, packet)
        if not self.policy.allows_destination(packet.dst):
            raise Drop("drop-destination")
        if packet.protocol not in PORT_PROTOCOLS:
            raise Drop("drop-protocol", (3, 2, 0))
        if self.later_fragment(packet):
            self.follow_first(slot, softwire, packet)
            return
        self.transport(packet)
        if packet.ttl <= 1:
            raise Drop("drop-ttl", (11, 0, 0))
        if packet.protocol == ICMP and packet.payload[0] in ICMP_ERRORS:
            self.error_from_inside(slot, softwire, packet)
            return
        self.leave(slot, softwire, packet, self.mapping_for(slot, softwire, packet, bypassed))

    def source_allowed(self, softwire: Softwire, source: IPv4Address) -> bool:
        return self.policy.allows_source(source) or any(
            entry.address == source and softwire.b4 in entry.b4 for entry in self.policy.bypass
        )

    def leave(self, slot: SlotState, softwire: Softwire, packet: IPv4, mapping: Mapping) -> None:
        """A whole datagram or first fragment, translated; then the fragments that waited for it."""
        address = mapping.external
        self.events["bypassed"] += mapping.bypassed
        if not packet.is_fragment:
            self.send_translated(slot, softwire, self.translated_out(packet, mapping))
            return
        contexts = self.contexts[slot.number]
        key = ("out", softwire, packet.src, packet.dst, packet.protocol, packet.identification)
        context = self.context_for(slot, key, softwire.subscriber, packet, waits=False)
        context.first = (address, None)
        raw = self.translated_out(packet, mapping)
        context.first = (address, IPv4(raw).identification)
        self.events["ipv4-fragments-translated"] += 1
        try:
            self.send_translated(slot, softwire, raw)
        finally:  # a first fragment that is dropped further on has been translated
            self.release(slot, context, lambda other: self.fragment_out(slot, softwire, other, context))
            if context.complete:
                contexts.all.pop(key, None)

    def translated_out(self, packet: IPv4, mapping: Mapping) -> bytes:
        raw = translate(packet.raw, src=mapping.external, sport=mapping.external_port)
        identification = self.new_identification(packet, mapping.external)
        return with_fields(raw, ttl=packet.ttl - 1, identification=identification)

    def new_identification(self, packet: IPv4, address: IPv4Address) -> int | None:
        """C06: non-atomic datagrams are numbered by their external address."""
        if packet.df and not packet.is_fragment:
            return None
        slot = self.slots[self.policy.slot_of_external(address) or 0]
        found = slot.next_id.get(address, self.oracle.identification(self.at))
        if found is not None:  # else nothing was sent that tells it
            slot.next_id[address] = (found + 1) % 65536
        return found or 0

    def send_translated(self, slot: SlotState, softwire: Softwire, raw: bytes) -> None:
        """To the internet, or, if the destination is ours, into another softwire (N06)."""
        packet = IPv4(self.with_mss(raw))
        target = self.slot_of(packet.dst)
        if target is not None:
            self.events["hairpinned"] += 1
            self.arrive(target, packet, hairpin=True)
            return
        self.to_internet(packet.raw)

    def to_internet(self, raw: bytes) -> None:
        packet = IPv4(raw)
        if len(raw) <= INTERNET_MTU:
            self.send([packets.sent_to_internet(raw)])
            return
        if packet.df:
            raise Drop("drop-too-big", (3, 4, INTERNET_MTU))
        pieces = packets.fragment4(raw, mtu=INTERNET_MTU)
        self.events["ipv4-fragments-sent"] += len(pieces)
        self.send([packets.sent_to_internet(piece) for piece in pieces])

    def with_mss(self, raw: bytes) -> bytes:
        packet = IPv4(raw)
        if packet.protocol != TCP or packet.offset or not self.policy.mss_clamping or not packet.payload[13] & SYN:
            return raw
        raw, lowered = with_lower_mss(raw, self.policy.tunnel_mtu - 80)
        self.events["mss-clamped"] += lowered
        return raw

    # ------------------------------------------------------------------------------------------ mappings
    def mapping_for(self, slot: SlotState, softwire: Softwire, packet: IPv4, bypassed: bool) -> Mapping:
        """The mapping and session of an outbound packet, opened where that is allowed."""
        mapping = slot.inside(softwire, packet.src, packet.protocol, packet.sport, bypassed=bypassed)
        if packet.protocol == TCP:
            return self.tcp_out(slot, softwire, packet, mapping, bypassed)
        refreshes = True
        if packet.protocol == ICMP:
            kind = packet.payload[0]
            if kind not in (0, 8):
                raise Drop("drop-icmp-type")
            refreshes = kind == 8
            if mapping is None and kind == 0:
                raise Drop("drop-icmp-type")
        remote = self.filter_endpoint(packet.protocol, packet.dst, packet.dport)
        with_sessions = self.policy.filtering != "endpoint-independent"
        if mapping is None:
            mapping = self.open(slot, softwire, packet, bypassed)
        elif with_sessions and refreshes and remote not in mapping.sessions:
            self.may_open(slot, softwire.subscriber, packet)
        if with_sessions and refreshes and remote not in mapping.sessions:
            mapping.sessions[remote] = Session(self.now)
            self.events["sessions-created"] += 1
        if refreshes:
            mapping.last_seen = self.now
            if with_sessions:
                mapping.sessions[remote].last_seen = self.now
        return mapping

    def tcp_out(
        self, slot: SlotState, softwire: Softwire, packet: IPv4, mapping: Mapping | None, bypassed: bool
    ) -> Mapping:
        flags = packet.payload[13]
        remote = (packet.dst, packet.dport)
        is_syn = flags & (SYN | ACK | RST) == SYN
        session = mapping.sessions.get(remote) if mapping else None
        if session is None:
            if flags & RST:
                if mapping is None:
                    raise Drop("drop-tcp-no-session")
                return mapping
            if mapping is None:
                if not is_syn and not self.policy.tcp_loose:
                    raise Drop("drop-tcp-no-session")
                mapping = self.open(slot, softwire, packet, bypassed)
            else:
                self.may_open(slot, softwire.subscriber, packet)
            session = mapping.sessions[remote] = Session(self.now)
            self.events["sessions-created"] += 1
        elif is_syn and (session.reset or (session.fin_out and session.fin_in)):
            assert mapping
            session = mapping.sessions[remote] = Session(self.now)
        assert mapping
        session.last_seen, session.out_seen = self.now, True
        session.reset = bool(flags & RST)
        session.fin_out = session.fin_out or bool(flags & FIN)
        return mapping

    def may_open(self, slot: SlotState, subscriber: Subscriber, packet: IPv4) -> None:
        """Limits in the order of 0001-engine.md 7, as far as they are not about ports."""
        refused = (3, self.policy.refusal_code, 0)
        if not subscriber.sessions_bucket.take(self.now):
            raise Drop("drop-session-rate", refused)
        if slot.session_count(subscriber) >= subscriber.group.limits.sessions:
            raise Drop("drop-session-limit", refused)

    def open(self, slot: SlotState, softwire: Softwire, packet: IPv4, bypassed: bool) -> Mapping:
        subscriber = softwire.subscriber
        if bypassed and slot.outside(packet.src, packet.protocol, packet.sport):
            raise Drop("drop-bypass-claimed")  # by another softwire, since it is not this one's
        self.may_open(slot, subscriber, packet)
        if bypassed:
            own = (packet.src, packet.protocol, packet.sport)
            slot.add(Mapping(softwire, *own, packet.src, packet.sport, self.now, bypassed=True))
            return slot.mappings[-1]
        held = slot.blocks_of(subscriber)
        usable = [block for block in held if slot.free_ports(block, packet.protocol)]
        free = slot.free_blocks(subscriber.group.pool, self.now)
        if not usable and len(held) >= self.policy.max_blocks:
            raise Drop("drop-port-limit", (3, self.policy.refusal_code, 0))
        if not usable and not free:
            raise Drop("drop-no-port-block", (3, self.policy.refusal_code, 0))
        networks = self.policy.pools[subscriber.group.pool].of_slot(slot.number)
        found = self.oracle.external(
            self.at, packet, softwire.b4, lambda address: any(address in network for network in networks)
        )
        if found is None:
            self.oracle.complaints.append(f"no mapping was made for {softwire.b4} {packet.src}:{packet.sport}")
            block = min(usable or free)
            found = (block[0], min(slot.free_ports(block, packet.protocol)))
        self.oracle.complaints += self.illegal(slot, subscriber, packet.protocol, found, usable, free)
        mapping = Mapping(softwire, packet.src, packet.protocol, packet.sport, *found, self.now)
        slot.add(mapping)
        return mapping

    def illegal(
        self, slot: SlotState, subscriber: Subscriber, protocol: int, found: tuple[IPv4Address, int],
        usable: list[tuple[IPv4Address, int]], free: set[tuple[IPv4Address, int]],
    ) -> Iterator[str]:  # fmt: skip
        """What is wrong with the choice of an external endpoint."""
        address, port = found
        block = slot.block_of(address, port)
        networks = self.policy.pools[subscriber.group.pool].of_slot(slot.number)
        if not any(address in network for network in networks):
            yield f"{address} is not of pool {subscriber.group.pool} in slot {slot.number}"
        if port < 1024 or block[1] not in self.policy.block_starts():
            yield f"port {port} is in no block"
        if slot.outside(address, protocol, port):
            yield f"{address}:{port} is in use"
        elif usable and block not in usable:
            yield f"block {block} was taken while the subscriber had free ports in {usable}"
        elif not usable and block not in free:
            yield f"block {block} is another subscriber's, or rests"
        same = {other for other in free if other[0] == subscriber.address}
        if not usable and subscriber.address is not None and same and address != subscriber.address:
            yield f"{address} instead of the paired {subscriber.address}, which has free blocks"

    # ------------------------------------------------------------------------------------------ IPv4 fragments
    def context_for(
        self, slot: SlotState, key: tuple[object, ...], owner: object, packet: IPv4, *, waits: bool
    ) -> Context:
        """The datagram's context, with this fragment's bytes noted."""
        contexts = self.contexts[slot.number]
        refusal = contexts.refusal(owner, key, len(packet.payload) if waits else 0)
        if refusal and (waits or key not in contexts.all):
            raise Drop(refusal)
        context = contexts.all.setdefault(key, Context(owner, self.side, self.now))
        context.pieces[packet.offset] = packet.payload
        if not packet.mf:
            context.end = packet.offset + len(packet.payload)
        return context

    def follow_first(self, slot: SlotState, softwire: Softwire, packet: IPv4) -> None:
        key = ("out", softwire, packet.src, packet.dst, packet.protocol, packet.identification)
        known = self.contexts[slot.number].all.get(key)
        context = self.context_for(slot, key, softwire.subscriber, packet, waits=not known or not known.first)
        if context.first is None:
            context.held.append(packet)
            raise Held
        self.fragment_out(slot, softwire, packet, context)
        if context.complete:
            self.contexts[slot.number].all.pop(key, None)

    def fragment_out(self, slot: SlotState, softwire: Softwire, packet: IPv4, context: Context) -> None:
        if packet.ttl <= 1:
            raise Drop("drop-ttl")
        address, identification = context.first
        raw = with_fields(packet.raw, src=address, ttl=packet.ttl - 1, identification=identification)
        self.events["ipv4-fragments-translated"] += 1
        self.send_translated(slot, softwire, raw)

    def release(self, slot: SlotState, context: Context, forward: Callable[[IPv4], None]) -> None:
        """Those that waited follow the first, in the order in which they came."""
        held, context.held = context.held, []
        self.count[context.side]["held"] -= len(held)
        for packet in held:
            try:
                forward(packet)
                self.count[context.side]["forwarded"] += 1
            except Held:
                self.count[context.side]["held"] += 1
            except Drop as drop:
                self.dropped(drop)

    # ------------------------------------------------------------------------------------------ bypass
    def bypasses(self, slot: SlotState, softwire: Softwire, packet: IPv4) -> bool:
        """D17 by entry, C09 by destination; raises where the address is of another slot."""
        if packet.protocol not in PORT_PROTOCOLS or packet.offset:
            return False
        entries = [
            entry
            for entry in self.policy.bypass
            if softwire.b4 in entry.b4 and entry.matches(packet.src, packet.sport, packet.protocol, packet.dst)
        ]
        if entries and entries[0].slot != slot.number:
            raise Drop("drop-bypass-slot")
        unique = any(packet.src in network for network in self.policy.pre_authorised)
        untranslated = unique and any(packet.dst in network for network in self.policy.untranslated)
        return bool(entries) or untranslated

    def slot_of(self, address: IPv4Address) -> SlotState | None:
        """Whose an address on the internet is: of a pool, of a bypass entry, or one that may pass untranslated."""
        target = self.policy.slot_of_external(address)
        if target is None:
            target = next((entry.slot for entry in self.policy.bypass if entry.address == address), None)
        if target is not None:
            return self.slots[target]
        for slot in self.slots:
            if any(m.bypassed and m.external == address for m in slot.mappings):
                return slot
        unique = self.policy.untranslated and any(address in network for network in self.policy.pre_authorised)
        return self.slots[0] if unique else None

    # ------------------------------------------------------------------------------------------ in
    def from_internet(self, frame: bytes) -> None:
        if len(frame) < 14:
            raise Drop("drop-truncated")
        if self.policy.layer2 and frame[12:14] == b"\x08\x06":
            self.neighbour(self.neighbours.arp(frame[14:], self.slot_number, self.now))
        if frame[12:14] != b"\x08\x00":
            raise Drop("drop-ethertype")
        packet = self.sane(frame[14:])
        slot = self.slot_of(packet.dst)
        if slot is None:
            raise Drop("drop-not-local")
        self.arrive(slot, packet, hairpin=False)

    def arrive(self, slot: SlotState, packet: IPv4, *, hairpin: bool) -> None:
        """Inbound, with an answer to the sender where there is one to give."""
        try:
            self.inbound(slot, packet, hairpin=hairpin)
        except Drop as drop:
            if drop.answer:
                self.answer_outside(slot, packet.raw, drop.answer)
            raise Drop(drop.name) from None

    def inbound(self, slot: SlotState, packet: IPv4, *, hairpin: bool) -> None:
        """To a pool address; a hairpinned packet has had its TTL lowered on the way out."""
        if packet.protocol not in PORT_PROTOCOLS:
            raise Drop("drop-protocol", (3, 2, 0))
        key = ("in", packet.src, packet.dst, packet.protocol, packet.identification)
        if self.later_fragment(packet):
            self.follow_first_in(slot, packet, key, hairpin)
            return
        self.transport(packet)
        if packet.ttl <= 1 and not hairpin:
            raise Drop("drop-ttl", (11, 0, 0))
        if packet.protocol == ICMP and packet.payload[0] in ICMP_ERRORS:
            self.error_from_outside(slot, packet, hairpin)
            return
        mapping = self.mapping_of(slot, packet, hairpin)
        self.seen_inbound(mapping, packet)
        raw = translate(packet.raw, dst=mapping.inner, dport=mapping.port)
        raw = with_fields(raw, ttl=packet.ttl - (not hairpin))
        if not packet.is_fragment:
            self.into_softwire(slot, mapping.softwire, raw, self.flow(packet))
            self.events["bypassed"] += mapping.bypassed
            return
        context = self.context_for(slot, key, mapping.softwire.subscriber, packet, waits=False)
        context.first = (mapping, self.flow(packet))
        self.events["ipv4-fragments-translated"] += 1
        self.into_softwire(slot, mapping.softwire, raw, context.first[1])
        self.events["bypassed"] += mapping.bypassed
        self.release(slot, context, lambda other: self.fragment_in(slot, other, context, hairpin))
        if context.complete:
            self.contexts[slot.number].all.pop(key, None)

    def follow_first_in(self, slot: SlotState, packet: IPv4, key: tuple[object, ...], hairpin: bool) -> None:
        known = self.contexts[slot.number].all.get(key)
        owner = object()  # whose it is, only the first fragment can tell
        context = self.context_for(slot, key, owner, packet, waits=not known or not known.first)
        if context.first is None:
            context.held.append(packet)
            raise Held
        self.fragment_in(slot, packet, context, hairpin)
        if context.complete:
            self.contexts[slot.number].all.pop(key, None)

    def fragment_in(self, slot: SlotState, packet: IPv4, context: Context, hairpin: bool) -> None:
        if packet.ttl <= 1 and not hairpin:
            raise Drop("drop-ttl")
        mapping, flow = context.first
        raw = with_fields(packet.raw, dst=mapping.inner, ttl=packet.ttl - (not hairpin))
        self.events["ipv4-fragments-translated"] += 1
        self.into_softwire(slot, mapping.softwire, raw, flow)

    def mapping_of(self, slot: SlotState, packet: IPv4, hairpin: bool) -> Mapping:
        """The mapping that an inbound packet may pass through."""
        syn = packet.protocol == TCP and packet.payload[13] & (SYN | ACK | RST) == SYN
        if packet.protocol == ICMP and packet.payload[0] not in (0, 8):
            raise Drop("drop-icmp-type")
        mapping = slot.outside(packet.dst, packet.protocol, packet.dport)
        if mapping is None:
            if hairpin:
                raise Drop("drop-no-mapping")
            if syn:
                raise Drop("drop-unsolicited-syn")
            raise Drop("drop-icmp-unsolicited" if packet.protocol == ICMP else "drop-no-mapping")
        if not self.admits(mapping, packet):
            raise Drop("drop-filtered")
        return mapping

    def admits(self, mapping: Mapping, packet: IPv4) -> bool:
        """Filtering (N05)."""
        if self.policy.filtering == "endpoint-independent":
            return True
        if self.policy.filtering == "address-dependent":
            return any(address == packet.src for address, _ in mapping.sessions)
        return self.filter_endpoint(packet.protocol, packet.src, packet.sport) in mapping.sessions

    def filter_endpoint(self, protocol: int, address: IPv4Address, port: int) -> tuple[IPv4Address, int]:
        """The remote end of a UDP or ICMP session: no port where only the address is asked about."""
        by_address = protocol == ICMP or self.policy.filtering == "address-dependent"
        return address, 0 if by_address else port

    def seen_inbound(self, mapping: Mapping, packet: IPv4) -> None:
        """Only TCP sessions, and UDP mappings if so configured, notice inbound packets."""
        if packet.protocol == TCP:
            session = mapping.sessions.get((packet.src, packet.sport))
            if session:
                flags = packet.payload[13]
                session.last_seen, session.in_seen = self.now, True
                session.reset = bool(flags & RST)
                session.fin_in = session.fin_in or bool(flags & FIN)
        elif packet.protocol == UDP and self.policy.udp_refresh_by_inbound:
            mapping.last_seen = self.now
            remote = self.filter_endpoint(UDP, packet.src, packet.sport)
            if remote in mapping.sessions:
                mapping.sessions[remote].last_seen = self.now

    # ------------------------------------------------------------------------------------------ encapsulate
    def flow(self, packet: IPv4) -> tuple[object, ...]:
        ports = (0, packet.dport) if packet.protocol == ICMP else (packet.sport, packet.dport)
        return (packet.src, packet.dst, packet.protocol, *ports)

    def label(self, softwire: Softwire, flow: tuple[object, ...] | None) -> int:
        """D27: the same for all packets of a flow (while its mapping lasts), and so on all fragments."""
        found = self.oracle.flow_label(self.at)
        return found if flow is None else self.labels.setdefault((softwire.b4, *flow), found)

    def into_softwire(self, slot: SlotState, softwire: Softwire, raw: bytes, flow: tuple[object, ...] | None) -> None:
        packet = IPv4(raw)
        mtu = softwire.mtu(self.policy, self.now)
        if 40 + len(raw) > mtu and packet.df and self.policy.dont_fragment == "icmp":
            raise Drop("drop-too-big", (3, 4, mtu - 40))
        if not packet.is_fragment:
            raw = self.with_mss(raw)
        traffic_class = packet.tos if self.policy.dscp_preservation else packet.tos & 3
        outer = packets.ipv6(
            raw, src=slot.address, dst=softwire.b4, traffic_class=traffic_class, flow_label=self.label(softwire, flow)
        )
        if len(outer) <= mtu:
            self.send([packets.sent_to_access(outer)])
            return
        pieces = packets.fragment6(outer, identification=self.oracle.fragment_id(self.at), mtu=mtu)
        self.events["ipv6-fragments-sent"] += len(pieces)
        self.send([packets.sent_to_access(piece) for piece in pieces])

    # ------------------------------------------------------------------------------------------ ICMP errors
    def quote_of(self, packet: IPv4) -> IPv4:
        """The quoted packet of an ICMP error, checked (I04)."""
        if ones_sum(packet.payload) != 0xFFFF:
            raise Drop("drop-icmp-checksum")
        quote = IPv4(packet.payload[8:])
        if len(quote.raw) < 20 or quote.raw[0] >> 4 != 4 or quote.header_length < 20:
            raise Drop("drop-icmp-quote")
        if len(quote.raw) < quote.header_length + 8:
            raise Drop("drop-icmp-quote")
        if not quote.header_checksum_right:
            raise Drop("drop-icmp-checksum")
        query = quote.protocol == ICMP and quote.raw[quote.header_length] in (0, 8)
        if quote.offset or not (query or quote.protocol in (TCP, UDP)):
            raise Drop("drop-icmp-quote")
        return quote

    def quoted_ports(self, quote: IPv4) -> tuple[int, int]:
        at = quote.header_length
        if quote.protocol == ICMP:
            identifier = int.from_bytes(quote.raw[at + 4 : at + 6])
            return identifier, identifier
        return int.from_bytes(quote.raw[at : at + 2]), int.from_bytes(quote.raw[at + 2 : at + 4])

    def error_from_outside(self, slot: SlotState, packet: IPv4, hairpin: bool) -> None:
        """I02: about a packet that left through a mapping of ours."""
        quote = self.quote_of(packet)
        sport, _ = self.quoted_ports(quote)
        mapping = slot.outside(quote.src, quote.protocol, sport) if quote.src == packet.dst else None
        if mapping is None:
            raise Drop("drop-icmp-quote")
        inner = translate(quote.raw, src=mapping.inner, sport=mapping.port)
        raw = with_quote(packet, inner, dst=mapping.inner, ttl=packet.ttl - (not hairpin))
        self.into_softwire(slot, mapping.softwire, raw, None)
        self.events["icmp-errors-translated"] += 1

    def mapping_inside(
        self, slot: SlotState, softwire: Softwire, address: IPv4Address, protocol: int, port: int
    ) -> Mapping | None:
        """The mapping, translated or not, of what a host behind the softwire received."""
        found = slot.inside(softwire, address, protocol, port)
        return found or slot.inside(softwire, address, protocol, port, bypassed=True)

    def error_from_inside(self, slot: SlotState, softwire: Softwire, packet: IPv4) -> None:
        """About a packet that came in through a mapping; it leaves from that mapping's address (RFC 5508 REQ-5)."""
        quote = self.quote_of(packet)
        _, dport = self.quoted_ports(quote)
        mapping = self.mapping_inside(slot, softwire, quote.dst, quote.protocol, dport)
        if mapping is None:
            raise Drop("drop-icmp-quote")
        outer = translate(quote.raw, dst=mapping.external, dport=mapping.external_port)
        raw = with_quote(packet, outer, src=mapping.external, ttl=packet.ttl - 1)
        raw = with_fields(raw, identification=self.new_identification(packet, mapping.external))
        self.events["icmp-errors-translated"] += 1
        self.send_translated(slot, softwire, raw)

    # ------------------------------------------------------------------------------------------ answers
    def may_answer(self, original: IPv4) -> bool:
        """RFC 1812 4.3.2.7: not about ICMP errors, later fragments, broadcast or multicast."""
        if original.offset or original.dst.is_multicast or int(original.dst) == 0xFFFFFFFF:
            return False
        return original.protocol != ICMP or original.raw[original.header_length] not in NEVER_ANSWERED

    def answer_inside(self, slot: SlotState, softwire: Softwire, original: bytes, answer: Answer) -> None:
        if not self.may_answer(IPv4(original)):
            return
        if not softwire.subscriber.icmp.take(self.now):
            self.events["icmp-rate-limited"] += 1
            return
        raw = self.icmp_message(answer, original, AFTR_ADDRESS, IPv4(original).src)
        self.originate(answer, lambda: self.into_softwire(slot, softwire, raw, None), "access")

    def answer_outside(self, slot: SlotState, original: bytes, answer: Answer) -> None:
        if not self.may_answer(IPv4(original)):
            return
        if not slot.icmp.take(self.now):
            self.events["icmp-rate-limited"] += 1
            return
        self.tell_sender(answer, original, IPv4(original).dst, IPv4(original).src)

    def tell_sender(self, answer: Answer, original: bytes, src: IPv4Address, dst: IPv4Address) -> None:
        """An ICMP error to the internet; about a hairpinned packet it is hairpinned itself."""
        raw = self.icmp_message(answer, original, src, dst)
        slot = self.slot_of(dst)
        if slot is None:
            self.originate(answer, lambda: self.send([packets.sent_to_internet(raw)]), "internet")
            return
        with suppress(Drop):  # the sender's mapping may have ended since: then nobody is told
            self.originate(answer, lambda: self.error_from_outside(slot, IPv4(raw), hairpin=True), "access")

    def icmp_message(self, answer: Answer, original: bytes, src: IPv4Address, dst: IPv4Address) -> bytes:
        kind, code, rest = answer
        body = packets.icmp4(kind, code, rest, original[: 576 - 28])
        return packets.ipv4(body, src=src, dst=dst, ttl=64, **self.oracle.free_header(self.at))

    def originate(self, answer: Answer, send: Callable[[], None], side: Side) -> None:
        send()
        self.count[side]["originated"] += 1
        self.events["icmp-too-big-sent" if answer[:2] == (3, 4) else "icmp-sent"] += 1

    def to_aftr(self, slot: SlotState, softwire: Softwire, packet: IPv4) -> None:
        """D08: 192.0.0.1 answers echo; anything else is unreachable."""
        if (
            packet.protocol == ICMP
            and not packet.is_fragment
            and packet.payload[:1] == b"\x08"
            and len(packet.payload) >= 8
        ):
            if ones_sum(packet.payload) != 0xFFFF:
                raise Drop("drop-icmp-checksum")
            if not softwire.subscriber.icmp.take(self.now):
                raise Drop("drop-rate-limited")
            body = packets.icmp4(0, 0, int.from_bytes(packet.payload[4:8]), packet.payload[8:])
            header = self.oracle.free_header(self.at)
            raw = packets.ipv4(body, src=AFTR_ADDRESS, dst=packet.src, ttl=64, **header)
            self.originate((0, 0, 0), lambda: self.into_softwire(slot, softwire, raw, None), "access")
            raise Consumed
        code = 3 if packet.protocol in (TCP, UDP) else 2
        answerable = packet.protocol != ICMP
        raise Drop("drop-aftr-address", (3, code, 0) if answerable else None)

    # ------------------------------------------------------------------------------------------ ICMPv6
    def icmpv6(self, slot: SlotState, outer: IPv6, data: bytes) -> None:
        """Echo to the tunnel address (D24), errors about the softwire (D25)."""
        if len(data) < 8:
            raise Drop("drop-truncated")
        if ones_sum(data, ones_sum(pseudo6(outer.src, outer.dst, ICMPV6, len(data)))) != 0xFFFF:
            raise Drop("drop-icmp-checksum")
        if data[0] == 128:
            body = packets.icmp6(129, 0, int.from_bytes(data[4:8]), data[8:])
            label = self.oracle.flow_label(self.at)
            reply = packets.ipv6(body, src=slot.address, dst=outer.src, flow_label=label)
            self.originate((0, 0, 0), lambda: self.send([packets.sent_to_access(reply)]), "access")
            raise Consumed
        if data[0] not in (1, 2, 3, 4):
            raise Drop("drop-icmp-type")
        quote = IPv6(data[8:])
        if len(quote.raw) < 40 or quote.src != slot.address or quote.dst not in slot.softwires:
            if data[0] == 2:
                self.events["path-mtu-ignored"] += 1
                raise Consumed
            raise Drop("drop-icmp-quote")
        softwire = slot.softwires[quote.dst]
        if data[0] == 2:
            believed = max(1280, int.from_bytes(data[4:8]))
            if believed <= softwire.mtu(self.policy, self.now):
                softwire.path_mtu, softwire.path_mtu_until = believed, self.now + PATH_MTU_MS
                self.events["path-mtu-lowered"] += 1
            raise Consumed
        self.relay_unreachable(slot, softwire, quote)

    def relay_unreachable(self, slot: SlotState, softwire: Softwire, quote: IPv6) -> None:
        """RFC 2473 8.2: host unreachable to the source of the packet that was in the softwire."""
        inner = IPv4(quote.raw[40:])
        if quote.next_header != IPIP or len(inner.raw) < 28 or inner.header_length < 20:
            raise Drop("drop-icmp-quote")
        if inner.offset or inner.protocol not in PORT_PROTOCOLS:
            raise Drop("drop-icmp-quote")
        _, dport = self.quoted_ports(inner)
        mapping = self.mapping_inside(slot, softwire, inner.dst, inner.protocol, dport)
        if mapping is None:
            raise Drop("drop-icmp-quote")
        original = translate(inner.raw, dst=mapping.external, dport=mapping.external_port)
        if self.may_answer(IPv4(original)) and slot.icmp.take(self.now):
            self.tell_sender((3, 1, 0), original, mapping.external, inner.src)
        raise Consumed


def with_quote(
    packet: IPv4, quote: bytes, *, src: IPv4Address | None = None, dst: IPv4Address | None = None, ttl: int
) -> bytes:
    """An ICMP error with another quote, its checksum computed anew, and fields of its IPv4 header changed."""
    data = packet.payload[:2] + b"\0\0" + packet.payload[4:8] + quote
    data = data[:2] + packets.checksum(data).to_bytes(2) + data[4:]
    return with_fields(packet.header + data, src=src, dst=dst, ttl=ttl)


def source_routed(packet: IPv4) -> bool:
    """RFC 7126: a loose or strict source route among the options."""
    options = packet.header[20:]
    at = 0
    while at < len(options) and options[at] != 0:
        if options[at] in (131, 137):
            return True
        if options[at] == 1:
            at += 1
            continue
        if at + 1 >= len(options) or options[at + 1] < 2:
            return False
        at += options[at + 1]
    return False


def compare(expected: Sequence[tuple[str, bytes]], observed: Sequence[tuple[str, bytes]]) -> list[str]:
    """Differences as sentences, with the bytes for a bug report."""
    found = []
    if len(expected) != len(observed):
        found.append(f"{len(observed)} frames were sent, not {len(expected)}")
    for number, (want, got) in enumerate(zip(expected, observed, strict=False)):
        if want[0] != got[0]:
            found.append(f"frame {number} went to {got[0]}, not {want[0]}:")
            found += [f"  sent     {packets.describe(got[1])}", f"  expected {packets.describe(want[1])}"]
        elif want[1] != got[1]:
            places = [at for at, (a, b) in enumerate(zip(want[1], got[1], strict=False)) if a != b]
            found.append(f"frame {number} differs at bytes {places[:12]}:")
            found += [f"  {name} {packets.describe(frame)}\n    {frame[:120].hex()}"
                      for name, frame in (("sent    ", got[1]), ("expected", want[1]))]  # fmt: skip
    for side, frame in expected[len(observed) :]:
        found.append(f"missing to {side}: {packets.describe(frame)}")
    for side, frame in observed[len(expected) :]:
        found.append(f"too many, to {side}: {packets.describe(frame)}")
    return found
