"""What a slot knows: subscribers, softwires, mappings, sessions, port blocks, and when they end.

Times are milliseconds.  Every structure is a dict that is searched as it reads; nothing is incremental.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, IPv6Network

from packets import ICMP, TCP, UDP
from reference.policy import Group, Policy

Remote = tuple[IPv4Address, int]
BlockKey = tuple[IPv4Address, int]  # external address, first port

ICMP_SOFTWIRE_RATE, ICMP_SOFTWIRE_BURST = 50, 100  # 0001-engine.md 9, per subscriber
ICMP_INTERNET_RATE, ICMP_INTERNET_BURST = 1000, 1000  # per slot
PATH_MTU_MS = 600_000  # requirement D25
SOFTWIRE_IDLE_MS = 300_000  # then one without mappings is forgotten


@dataclass
class Bucket:
    """Token bucket: `rate` a second, at most `burst`, full at first."""

    rate: int
    burst: int
    tokens: float = -1.0
    since: int = 0

    def take(self, now: int) -> bool:
        if self.tokens < 0:
            self.tokens, self.since = float(self.burst), now
        self.tokens = min(float(self.burst), self.tokens + (now - self.since) * self.rate / 1000)
        self.since = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


@dataclass(eq=False)
class Subscriber:
    prefix: IPv6Network
    group: Group
    icmp: Bucket = field(default_factory=lambda: Bucket(ICMP_SOFTWIRE_RATE, ICMP_SOFTWIRE_BURST))
    sessions_bucket: Bucket = field(init=False)
    address: IPv4Address | None = None  # paired external address
    changed: int | None = None  # when a softwire of it last changed its address

    def __post_init__(self) -> None:
        self.sessions_bucket = Bucket(self.group.limits.rate, self.group.limits.burst)


@dataclass(eq=False)
class Softwire:
    b4: IPv6Address
    subscriber: Subscriber
    last_seen: int
    path_mtu: int | None = None
    path_mtu_until: int = 0

    def mtu(self, policy: Policy, now: int) -> int:
        if self.path_mtu is not None and now < self.path_mtu_until:
            return min(policy.tunnel_mtu, self.path_mtu)
        return policy.tunnel_mtu


@dataclass
class Session:
    """A mapping's conversation with one remote endpoint; TCP flags as 0001-engine.md 3 names them."""

    last_seen: int
    out_seen: bool = False
    in_seen: bool = False
    fin_out: bool = False
    fin_in: bool = False
    reset: bool = False

    @property
    def established(self) -> bool:
        return self.out_seen and self.in_seen and not (self.fin_out and self.fin_in) and not self.reset


@dataclass(eq=False)
class Mapping:
    softwire: Softwire
    inner: IPv4Address
    protocol: int
    port: int
    external: IPv4Address
    external_port: int
    last_seen: int
    sessions: dict[Remote, Session] = field(default_factory=dict)
    bypassed: bool = False  # external endpoint = internal endpoint (D17, C09)

    @property
    def session_count(self) -> int:
        """The first session counts with the mapping, also before there is one."""
        return max(1, len(self.sessions))


class SlotState:
    def __init__(self, policy: Policy, number: int, events: Counter[str]) -> None:
        self.policy, self.number, self.events = policy, number, events
        self.address = policy.addresses[number]
        self.subscribers: dict[IPv6Network, Subscriber] = {}
        self.softwires: dict[IPv6Address, Softwire] = {}
        self.mappings: list[Mapping] = []
        self.blocks: dict[BlockKey, Subscriber] = {}
        self.resting: dict[BlockKey, int] = {}  # since when
        self.next_id: dict[IPv4Address, int] = {}
        self.icmp = Bucket(ICMP_INTERNET_RATE, ICMP_INTERNET_BURST)

    # ------------------------------------------------------------------------------------------ look up
    def inside(
        self, softwire: Softwire, inner: IPv4Address, protocol: int, port: int, *, bypassed: bool = False
    ) -> Mapping | None:
        key = (softwire, inner, protocol, port, bypassed)
        found = [m for m in self.mappings if (m.softwire, m.inner, m.protocol, m.port, m.bypassed) == key]
        return found[0] if found else None

    def outside(self, address: IPv4Address, protocol: int, port: int) -> Mapping | None:
        key = (address, protocol, port)
        found = [m for m in self.mappings if (m.external, m.protocol, m.external_port) == key]
        return found[0] if found else None

    def softwires_of(self, subscriber: Subscriber) -> list[Softwire]:
        return [softwire for softwire in self.softwires.values() if softwire.subscriber is subscriber]

    def mappings_of(self, subscriber: Subscriber) -> list[Mapping]:
        return [mapping for mapping in self.mappings if mapping.softwire.subscriber is subscriber]

    def session_count(self, subscriber: Subscriber) -> int:
        return sum(mapping.session_count for mapping in self.mappings_of(subscriber))

    def block_of(self, address: IPv4Address, port: int) -> BlockKey:
        return address, port - port % self.policy.block_size

    def blocks_of(self, subscriber: Subscriber) -> list[BlockKey]:
        return [key for key, owner in self.blocks.items() if owner is subscriber]

    def free_ports(self, block: BlockKey, protocol: int) -> set[int]:
        address, start = block
        used = {m.external_port for m in self.mappings if (m.external, m.protocol) == (address, protocol)}
        return set(range(start, start + self.policy.block_size)) - used

    def free_blocks(self, pool: str, now: int) -> set[BlockKey]:
        """Neither held by anyone nor resting."""
        found = {
            (address, start)
            for network in self.policy.pools[pool].of_slot(self.number)
            for address in network
            for start in self.policy.block_starts()
        }
        resting = {block for block, since in self.resting.items() if now - since < self.policy.hold_down_ms}
        return found - set(self.blocks) - resting

    # ------------------------------------------------------------------------------------------ change
    def add(self, mapping: Mapping) -> None:
        self.mappings.append(mapping)
        self.events["mappings-created"] += 1
        if mapping.bypassed:
            return
        block = self.block_of(mapping.external, mapping.external_port)
        if block not in self.blocks:
            self.blocks[block] = mapping.softwire.subscriber
            self.resting.pop(block, None)
            self.events["port-blocks-allocated"] += 1
        if mapping.softwire.subscriber.address is None:
            mapping.softwire.subscriber.address = mapping.external

    def timeout(self, mapping: Mapping, session: Session | None) -> int:
        if mapping.protocol == UDP:
            return self.policy.udp_ms
        if mapping.protocol == ICMP:
            return self.policy.icmp_ms
        return self.policy.tcp_established_ms if session and session.established else self.policy.tcp_transitory_ms

    def ends(self, mapping: Mapping) -> list[int]:
        """When its sessions and itself would end if nothing else were seen."""
        found = [session.last_seen + self.timeout(mapping, session) for session in mapping.sessions.values()]
        if mapping.protocol != TCP or not found:
            found.append(mapping.last_seen + self.timeout(mapping, None))
        return found

    def expire(self, now: int, waiting: Sequence[object] = ()) -> None:
        """End what is idle: a TCP mapping ends with its last session, any other by its own timer."""
        for mapping in list(self.mappings):
            before = len(mapping.sessions)
            mapping.sessions = {
                remote: session
                for remote, session in mapping.sessions.items()
                if now < session.last_seen + self.timeout(mapping, session)
            }
            own_end = mapping.last_seen + self.timeout(mapping, None)
            over = not mapping.sessions if mapping.protocol == TCP and before else now >= own_end
            self.events["sessions-removed"] += before - (0 if over else len(mapping.sessions))
            if over:
                self.remove(mapping, now)

        for softwire in list(self.softwires.values()):
            if now >= softwire.last_seen + SOFTWIRE_IDLE_MS and not self.is_used(softwire, waiting):
                del self.softwires[softwire.b4]
                self.events["softwires-removed"] += 1
        used = {softwire.subscriber for softwire in self.softwires.values()}
        self.subscribers = {prefix: found for prefix, found in self.subscribers.items() if found in used}

    def is_used(self, softwire: Softwire, waiting: Sequence[object]) -> bool:
        """By a mapping, or by fragments of its subscriber that wait."""
        return any(m.softwire is softwire for m in self.mappings) or any(
            owner is softwire.subscriber for owner in waiting
        )

    def remove(self, mapping: Mapping, now: int) -> None:
        self.mappings.remove(mapping)
        self.events["mappings-removed"] += 1
        if mapping.bypassed:
            return
        block = self.block_of(mapping.external, mapping.external_port)
        if not any(self.block_of(other.external, other.external_port) == block for other in self.mappings):
            del self.blocks[block]
            self.resting[block] = now
            self.events["port-blocks-released"] += 1
