"""What the configuration says, read from its YAML with the documented defaults; nothing of the product's schema."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

import yaml

UNITS = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}
RFC1918 = [IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")]
DSLITE_RANGE = IPv4Network("192.0.0.0/29")  # RFC 6333 section 10
AFTR_ADDRESS = IPv4Address("192.0.0.1")
UNROUTED = [
    IPv4Network(text) for text in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3")
]  # requirement D26
INTERNET_MTU = 1500
FIRST_PORT = 1024  # RFC 4787 REQ-3


def number_of_bytes(value: int | str) -> int:
    if isinstance(value, str) and value[-2:] in UNITS:
        return int(value[:-2]) * UNITS[value[-2:]]
    return int(value)


def networks(values: list[str]) -> list[IPv4Network]:
    return [IPv4Network(value) for value in values]


@dataclass(frozen=True)
class Pool:
    name: str
    prefixes: list[IPv4Network]
    slots: list[int]

    def of_slot(self, slot: int) -> list[IPv4Network]:
        """The slot's equal part of every prefix."""
        if slot not in self.slots:
            return []
        bits = len(self.slots).bit_length() - 1
        return [list(prefix.subnets(bits))[self.slots.index(slot)] for prefix in self.prefixes]


@dataclass(frozen=True)
class Limits:
    sessions: int
    rate: int
    burst: int


@dataclass(frozen=True)
class Group:
    name: str
    prefixes: list[IPv6Network]
    pool: str
    limits: Limits
    mask: int
    max_softwires: int

    def subscriber(self, b4: IPv6Address) -> IPv6Network:
        return IPv6Network((b4, self.mask), strict=False)


@dataclass(frozen=True)
class Bypass:
    b4: IPv6Network
    address: IPv4Address
    port: int
    protocol: int
    slot: int
    destination: IPv4Network | None

    def matches(self, source: IPv4Address, port: int, protocol: int, destination: IPv4Address) -> bool:
        return (self.address, self.port, self.protocol) == (source, port, protocol) and (
            self.destination is None or destination in self.destination
        )


@dataclass
class Policy:
    slots: int
    addresses: list[IPv6Address]
    pools: dict[str, Pool]
    groups: list[Group]
    tunnel_mtu: int
    dscp_preservation: bool
    mss_clamping: bool
    dont_fragment: str
    reassembly_ms: int
    max_contexts: int
    max_bytes: int
    max_packet_bytes: int
    block_size: int
    max_blocks: int
    hold_down_ms: int
    state_migrate: bool
    change_limit_ms: int
    filtering: str
    udp_ms: int
    tcp_established_ms: int
    tcp_transitory_ms: int
    icmp_ms: int
    tcp_loose: bool
    unsolicited_syn: str
    refusal_code: int
    udp_refresh_by_inbound: bool
    untranslated: list[IPv4Network]
    pre_authorised: list[IPv4Network]
    allowed_private: list[IPv4Network]
    layer2: bool
    bypass: list[Bypass] = field(default_factory=list)

    @classmethod
    def from_yaml(cls, text: str) -> Policy:
        documents = [document for document in yaml.safe_load_all(text) if document]
        spec = next(document for document in documents if document["kind"] == "AftrPool")["spec"]
        softwire, nat = spec["softwire"], spec["nat"]
        reassembly = softwire.get("reassembly", {})
        block, timeouts = nat.get("portBlock", {}), nat.get("timeouts", {})
        slots = spec.get("slots", 16)
        first = int(IPv6Network(softwire["prefix"]).network_address) + 1
        return cls(
            slots=slots,
            addresses=[IPv6Address(first + slot) for slot in range(slots)],
            pools={pool["name"]: read_pool(pool, slots) for pool in nat["pools"]},
            groups=[read_group(document["spec"], document["metadata"]["name"], nat)
                    for document in documents if document["kind"] == "B4Group"],
            tunnel_mtu=softwire.get("tunnelMtu", 1500),
            dscp_preservation=softwire.get("dscpPreservation", True),
            mss_clamping=softwire.get("mssClamping", {}).get("enabled", True),
            dont_fragment=softwire.get("dontFragment", "icmp"),
            reassembly_ms=1000 * reassembly.get("timeoutSeconds", 2),
            max_contexts=reassembly.get("maxContexts", 4096),
            max_bytes=number_of_bytes(reassembly.get("maxBytes", "64Mi")),
            max_packet_bytes=reassembly.get("maxPacketBytes", 9216),
            block_size=block.get("size", 256),
            max_blocks=block.get("maxPerSubscriber", 8),
            hold_down_ms=1000 * block.get("holdDownSeconds", 120),
            state_migrate=nat.get("stateMigrate", True),
            change_limit_ms=1000 * nat.get("b4AddressChangeLimitSeconds", 1800),
            filtering=nat.get("filtering", "endpoint-independent"),
            udp_ms=1000 * timeouts.get("udpSeconds", 300),
            tcp_established_ms=1000 * timeouts.get("tcpEstablishedSeconds", 7440),
            tcp_transitory_ms=1000 * timeouts.get("tcpTransitorySeconds", 240),
            icmp_ms=1000 * timeouts.get("icmpSeconds", 60),
            tcp_loose=nat.get("tcpLoose", True),
            unsolicited_syn=nat.get("unsolicitedSyn", "drop"),
            refusal_code=nat.get("icmpRefusalCode", 1),
            udp_refresh_by_inbound=nat.get("udpRefreshByInbound", False),
            untranslated=networks(nat.get("noTranslationDestinations", [])),
            pre_authorised=networks(nat.get("preAuthorizedSources", [])),
            allowed_private=networks(nat.get("allowedPrivateDestinations", [])),
            layer2="layer2" in spec.get("routing", {}),
            bypass=[read_bypass(entry) for entry in nat.get("bypass", [])],
        )  # fmt: skip

    def group_of(self, b4: IPv6Address) -> Group | None:
        """The group with the longest prefix that holds this B4 (operator.md: nested prefixes)."""
        found = [(prefix.prefixlen, group) for group in self.groups for prefix in group.prefixes if b4 in prefix]
        return max(found, key=lambda pair: pair[0])[1] if found else None

    def slot_of_external(self, address: IPv4Address) -> int | None:
        for pool in self.pools.values():
            for slot in pool.slots:
                if any(address in network for network in pool.of_slot(slot)):
                    return slot
        return None

    def allows_source(self, address: IPv4Address) -> bool:
        return any(address in network for network in [*RFC1918, DSLITE_RANGE, *self.pre_authorised])

    def allows_destination(self, address: IPv4Address) -> bool:
        if any(address in network for network in self.allowed_private):
            return True
        return not any(address in network for network in [*UNROUTED, *RFC1918, DSLITE_RANGE])

    def block_starts(self) -> range:
        """First ports of the aligned blocks above the well-known ports."""
        first = -(-FIRST_PORT // self.block_size) * self.block_size
        return range(first, 65536, self.block_size)


def read_pool(pool: dict[str, Any], slots: int) -> Pool:
    text = str(pool.get("slots", f"0-{slots - 1}"))
    first, _, last = text.partition("-")
    return Pool(pool["name"], networks(pool["prefixes"]), list(range(int(first), int(last or first) + 1)))


def read_group(spec: dict[str, Any], name: str, nat: dict[str, Any]) -> Group:
    limits = {**nat.get("limits", {}), **spec.get("limits", {})}
    return Group(
        name=name,
        prefixes=[IPv6Network(prefix) for prefix in spec["prefixes"]],
        pool=spec.get("natPool", "default"),
        limits=Limits(
            limits.get("sessionsPerSubscriber", 4096),
            limits.get("newSessionsPerSecond", 200),
            limits.get("newSessionBurst", 1000),
        ),
        mask=spec.get("subscriberMaskV6") or nat.get("subscriberMaskV6", 56),
        max_softwires=spec.get("maxSoftwiresPerSubscriber") or nat.get("maxSoftwiresPerSubscriber", 1),
    )


def read_bypass(entry: dict[str, Any]) -> Bypass:
    return Bypass(
        b4=IPv6Network(entry["b4"]),
        address=IPv4Address(entry["address"]),
        port=entry["port"],
        protocol={"tcp": 6, "udp": 17}[entry["protocol"]],
        slot=entry["slot"],
        destination=IPv4Network(entry["destination"]) if entry.get("destination") else None,
    )
