"""The configuration schema: AftrPool and B4Group, one shape for `aftr`, the lab and the operator.

YAML spells fields in camelCase, Python in snake_case; unknown fields are refused.  Names follow RFC 8512 (NAT) and
RFC 8513 (DS-Lite) where these have a word.  A field is in the schema when it works; those to come are in `later.py`.

Each leaf's description ends with how it may change while the pool serves (`changes.py` reads it there):
  [live]       applied without a restart, nothing is dropped
  [rolling]    each pod is replaced in turn, after handing its slots over
  [drain]      bindings that depend on the old value must end first (an entry *added* to a list is live)
  [immutable]  never: make a new object
What one field cannot show (overlaps, names that must exist, sums) is in `rules.py`.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_serializer
from pydantic.alias_generators import to_camel

from dslite_contract.values import (
    PORTS_PER_ADDRESS,
    SlotRange,
    choice,
    domain_name,
    interface_id,
    ipv4_address,
    ipv4_prefix,
    ipv6_prefix,
    label,
    peer_address,
    power_of_two,
    quantity,
    secret_name,
    slot_range,
    switch,
    text,
    time_of_day,
    whole,
    whole_or_all,
)

API_VERSION = "dslite.dev/v1alpha1"
LARGEST_SLOTS = 1024
KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
WEEK_S = 7 * 86400  # longest timer: stamps are milliseconds modulo 2^32

UDP_TIMEOUT_MIN_S = 120  # RFC 4787 REQ-5
TCP_ESTABLISHED_TIMEOUT_MIN_S = 7440  # RFC 5382 REQ-5
TCP_TRANSITORY_TIMEOUT_MIN_S = 240  # RFC 5382 REQ-5
ICMP_TIMEOUT_MIN_S = 60  # RFC 5508 REQ-2
IPV6_MTU_MIN = 1280  # RFC 8200 section 5
REASSEMBLY_TIMEOUT_MAX_S = 60  # RFC 8200 section 4.5
FRAME_MAX = 9216

HEARTBEAT_MS = 100
DEAD_AFTER_MAX_MS = 60_000
AS_MAX = 0xFFFFFFFE  # RFC 7300: the last one is reserved

Filtering = Literal["endpoint-independent", "address-dependent", "address-and-port-dependent"]
Durability = Literal["none", "memory", "replicated", "disk"]
BucketBytes = Literal["last", "lastNibble", "lastTwoLowNibbles"]


class Model(BaseModel):
    """Base of all models: frozen, no unknown fields, camelCase in YAML."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )


class Metadata(Model):
    """Name of an object."""

    name: Annotated[str, label()] = Field(description="Name, also a label of the slots' domain names. [immutable]")
    namespace: Annotated[str | None, label()] = Field(
        default=None, description="Kubernetes namespace; a pool and its groups share it. [immutable]"
    )


class MssClamping(Model):
    """TCP MSS rewriting (RFC 6333 section 6.3)."""

    enabled: Annotated[bool, switch()] = Field(
        default=True, description="Lower the MSS of SYN and SYN-ACK, both ways, to the inner MTU less 40. [live]"
    )


class Reassembly(Model):
    """Bounds of reassembly, per slot; one subscriber gets a sixteenth."""

    timeout_seconds: Annotated[int, whole(1, REASSEMBLY_TIMEOUT_MAX_S)] = Field(
        default=2, description="Seconds until an incomplete packet is dropped. [live]"
    )
    max_contexts: Annotated[int, whole(16, 1 << 20)] = Field(
        default=4096, description="Packets that may wait for fragments at a time, per slot. [rolling]"
    )
    max_bytes: Annotated[int, quantity(32 * KIB, 16 * GIB, "32Ki to 16Gi")] = Field(
        default=64 * MIB, description="Bytes of waiting fragments, per slot. [rolling]"
    )
    max_packet_bytes: Annotated[int, whole(1500, FRAME_MAX)] = Field(
        default=FRAME_MAX, description="Largest packet that is put together, in bytes. [rolling]"
    )


class Softwire(Model):
    """The IPv6 side: IPv4-in-IPv6 softwires (RFC 6333 section 6)."""

    prefix: Annotated[IPv6Network, ipv6_prefix(longest=127)] = Field(
        description="Slot i has the tunnel address prefix::(i+1). [immutable]"
    )
    domain: Annotated[str, domain_name()] = Field(
        description="Slot i of pool p has the name s<i>.<p>.<domain> (RFC 6334). [immutable]"
    )
    tunnel_mtu: Annotated[int, whole(IPV6_MTU_MIN, FRAME_MAX)] = Field(
        default=1500, description="MTU in bytes of the IPv6 path to the B4s; the inner MTU is 40 less. [live]"
    )
    dscp_preservation: Annotated[bool, switch()] = Field(
        default=True, description="Carry DSCP between outer and inner header, both ways (RFC 2983). [live]"
    )
    mss_clamping: MssClamping = Field(default=MssClamping(), description="TCP MSS rewriting.")
    dont_fragment: Annotated[Literal["icmp", "fragment"], choice("icmp", "fragment")] = Field(
        default="icmp",
        description="An inner packet with DF that does not fit: answer type 3 code 4, or fragment outside "
        "(RFC 2473 section 7.2). [live]",
    )
    reassembly: Reassembly = Field(default=Reassembly(), description="Reassembly of IPv6 and IPv4 fragments.")


class NatPool(Model):
    """External IPv4 addresses, chosen by a B4Group's natPool."""

    name: Annotated[str, label()] = Field(description="Name that B4Groups refer to. [drain]")
    prefixes: tuple[Annotated[IPv4Network, ipv4_prefix(shortest=8)], ...] = Field(
        min_length=1, max_length=16, description="External prefixes, each divided equally among the slots. [drain]"
    )
    slots: Annotated[SlotRange | None, slot_range()] = Field(
        default=None, description="The slots that carry this pool, a power of two many; absent: all. [drain]"
    )
    interface: Annotated[str | None, label()] = Field(
        default=None, description="Internet interface of these addresses; absent: the only one. [live]"
    )

    @field_serializer("slots", when_used="json")
    def spell_slots(self, slots: SlotRange | None) -> str | None:
        """The range as YAML has it."""
        return None if slots is None else str(slots)


class PortBlock(Model):
    """Port block allocation (RFC 6888 REQ-14, RFC 7422 terms)."""

    size: Annotated[int, power_of_two(64, 4096)] = Field(
        default=256, description="Ports of a block, the same range for TCP, UDP and ICMP identifiers. [drain]"
    )
    max_per_subscriber: Annotated[int, whole(1, PORTS_PER_ADDRESS // 64)] = Field(
        default=8, description="Blocks that one subscriber may hold. [live]"
    )
    hold_down_seconds: Annotated[int, whole(10, 86400)] = Field(
        default=120, description="Seconds that a freed block rests (RFC 6888 REQ-8). [live]"
    )


class Limits(Model):
    """Limits per subscriber (RFC 6888 REQ-4, REQ-5)."""

    sessions_per_subscriber: Annotated[int, whole(1, 1 << 24)] = Field(
        default=4096, description="Sessions that one subscriber may have. [live]"
    )
    new_sessions_per_second: Annotated[int, whole(1, 1_000_000)] = Field(
        default=200, description="New sessions a second that one subscriber may open for long. [live]"
    )
    new_session_burst: Annotated[int, whole(1, 10_000_000)] = Field(
        default=1000, description="New sessions that one subscriber may open at once. [live]"
    )
    memory_bytes_per_subscriber: Annotated[int, quantity(64, TIB, "64 to 1Ti")] = Field(
        default=4 * MIB, description="Bytes of table entries that one subscriber may use. [live]"
    )


class LimitOverrides(Model):
    """The pool's limits as one B4Group changes them; what is absent is the pool's."""

    sessions_per_subscriber: Annotated[int | None, whole(1, 1 << 24)] = Field(
        default=None, description="Sessions that one subscriber may have. [live]"
    )
    new_sessions_per_second: Annotated[int | None, whole(1, 1_000_000)] = Field(
        default=None, description="New sessions a second that one subscriber may open for long. [live]"
    )
    new_session_burst: Annotated[int | None, whole(1, 10_000_000)] = Field(
        default=None, description="New sessions that one subscriber may open at once. [live]"
    )
    memory_bytes_per_subscriber: Annotated[int | None, quantity(64, TIB, "64 to 1Ti")] = Field(
        default=None, description="Bytes of table entries that one subscriber may use. [live]"
    )


class Timeouts(Model):
    """Lifetimes of mappings and sessions; the minima are those of the RFCs."""

    udp_seconds: Annotated[int, whole(UDP_TIMEOUT_MIN_S, WEEK_S, note="RFC 4787 REQ-5")] = Field(
        default=300, description="Seconds that an idle UDP mapping lives (RFC 4787 REQ-5). [live]"
    )
    tcp_established_seconds: Annotated[int, whole(TCP_ESTABLISHED_TIMEOUT_MIN_S, WEEK_S, note="RFC 5382 REQ-5")] = (
        Field(default=7440, description="Seconds that an idle established TCP session lives (RFC 5382 REQ-5). [live]")
    )
    tcp_transitory_seconds: Annotated[int, whole(TCP_TRANSITORY_TIMEOUT_MIN_S, WEEK_S, note="RFC 5382 REQ-5")] = Field(
        default=240, description="Seconds that an idle opening or closing TCP session lives (RFC 5382 REQ-5). [live]"
    )
    icmp_seconds: Annotated[int, whole(ICMP_TIMEOUT_MIN_S, WEEK_S, note="RFC 5508 REQ-2")] = Field(
        default=60, description="Seconds that an idle ICMP query mapping lives (RFC 5508 REQ-2). [live]"
    )


class Bypass(Model):
    """Packets of one interior host that pass untranslated (RFC 6333 section 11)."""

    b4: Annotated[IPv6Network, ipv6_prefix()] = Field(description="Prefix of the B4's tunnel source address. [drain]")
    address: Annotated[IPv4Address, ipv4_address()] = Field(
        description="Source address of the host, announced as /32 by the owner of `slot`. [drain]"
    )
    port: Annotated[int, whole(1, 65535)] = Field(description="Source port. [drain]")
    protocol: Annotated[Literal["tcp", "udp"], choice("tcp", "udp")] = Field(description="Protocol. [drain]")
    destination: Annotated[IPv4Network | None, ipv4_prefix()] = Field(
        default=None, description="Only towards this prefix; absent: everywhere. [drain]"
    )
    slot: Annotated[int, whole(0, LARGEST_SLOTS - 1)] = Field(
        description="Slot that owns the address; all entries of one address name the same. [drain]"
    )


class Nat(Model):
    """NAT44 (RFC 6333 section 8, RFC 4787, RFC 5382, RFC 5508, RFC 6888)."""

    pools: tuple[NatPool, ...] = Field(min_length=1, max_length=16, description="Disjoint external pools. [drain]")
    port_block: PortBlock = Field(default=PortBlock(), description="Port block allocation.")
    subscriber_mask_v6: Annotated[int, whole(32, 128)] = Field(
        default=56, description="Prefix length that counts as one subscriber (RFC 8512, RFC 7785). [immutable]"
    )
    max_softwires_per_subscriber: Annotated[int, whole(1, 1024)] = Field(
        default=1, description="Softwires that one subscriber may have at a time (RFC 8513). [live]"
    )
    state_migrate: Annotated[bool, switch()] = Field(
        default=True,
        description="A B4 that changes its address inside its prefix keeps its mappings (RFC 7785). [live]",
    )
    b4_address_change_limit_seconds: Annotated[int, whole(0, WEEK_S)] = Field(
        default=1800, description="Seconds between two such changes (RFC 8513). [live]"
    )
    filtering: Annotated[
        Filtering, choice("endpoint-independent", "address-dependent", "address-and-port-dependent")
    ] = Field(default="endpoint-independent", description="Filtering (RFC 4787 REQ-8, RFC 5382 REQ-3). [rolling]")
    limits: Limits = Field(default=Limits(), description="Limits per subscriber.")
    timeouts: Timeouts = Field(default=Timeouts(), description="Lifetimes of mappings and sessions.")
    allocation: Annotated[Literal["dynamic"], choice("dynamic", later={"deterministic": "Governance"})] = Field(
        default="dynamic", description="How port blocks are given out. [drain]"
    )
    tcp_loose: Annotated[bool, switch()] = Field(
        default=True, description="A TCP segment from inside opens a session also in mid-stream. [live]"
    )
    unsolicited_syn: Annotated[Literal["drop", "icmp"], choice("drop", "icmp")] = Field(
        default="drop",
        description="A SYN that nobody asked for: drop, or type 3 code 3 after 6 s (RFC 5382 REQ-4). [live]",
    )
    icmp_refusal_code: Annotated[Literal[1, 13], choice(1, 13)] = Field(
        default=1, description="Code of the type 3 message for a refused mapping (RFC 6888 REQ-11). [live]"
    )
    udp_refresh_by_inbound: Annotated[bool, switch()] = Field(
        default=False, description="Inbound packets refresh UDP mappings as well (RFC 4787 REQ-6). [live]"
    )
    no_translation_destinations: tuple[Annotated[IPv4Network, ipv4_prefix(shortest=1)], ...] = Field(
        default=(),
        max_length=64,
        description="Not translated towards these, from unique sources only (RFC 6888 REQ-6). [drain]",
    )
    bypass: tuple[Bypass, ...] = Field(
        default=(), max_length=256, description="Interior hosts that pass untranslated (RFC 6333 section 11). [drain]"
    )
    pre_authorized_sources: tuple[Annotated[IPv4Network, ipv4_prefix(shortest=1)], ...] = Field(
        default=(),
        max_length=64,
        description="Inner sources besides RFC 1918 and 192.0.0.0/29, translated like them. [drain]",
    )
    allowed_private_destinations: tuple[Annotated[IPv4Network, ipv4_prefix(shortest=8)], ...] = Field(
        default=(), max_length=64, description="Private inner destinations that are let through. [live]"
    )


class Capacity(Model):
    """Sizes of a slot's tables, fixed when the slot opens."""

    mappings_per_slot: Annotated[int, whole(1, 1 << 26)] = Field(
        default=262144, description="Mappings, each with its first session. [rolling]"
    )
    extra_sessions_per_slot: Annotated[int, whole(0, 1 << 26)] = Field(
        default=131072, description="Sessions beyond the first of their mapping. [rolling]"
    )
    subscribers_per_slot: Annotated[int, whole(1, 1 << 24)] = Field(
        default=16384, description="Subscribers, and as many softwires. [rolling]"
    )


class Sriov(Model):
    """An SR-IOV virtual function."""

    network_attachment: Annotated[
        str, text(r"[a-z0-9]([a-z0-9./-]*[a-z0-9])?", 253, "name or namespace/name of a NetworkAttachmentDefinition")
    ] = Field(description="NetworkAttachmentDefinition. [rolling]")
    resource_name: Annotated[
        str, text(r"[a-z0-9][a-z0-9.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*", 317, "a resource such as example.com/aftr_access")
    ] = Field(description="Resource of the device plugin. [rolling]")


class PodNetwork(Model):
    """The pod's own interface."""


class Interface(Model):
    """An interface of the AFTR, by name; its device is exactly one of `sriov` and `podNetwork`."""

    name: Annotated[str, label()] = Field(description="Name that NAT pools and flags refer to. [rolling]")
    side: Annotated[Literal["access", "internet", "both"], choice("access", "internet", "both")] = Field(
        description="access (IPv6), internet (IPv4), or both (one-armed). [rolling]"
    )
    sriov: Sriov | None = Field(default=None, description="An SR-IOV virtual function. [rolling]")
    pod_network: PodNetwork | None = Field(default=None, description="The pod's own interface. [rolling]")


class Peer(Model):
    """A router that learns by BGP which of our AFTRs serves which addresses."""

    name: Annotated[str, label()] = Field(description="Name of the session. [live]")
    interface: Annotated[str, label()] = Field(
        description="Interface of the session; its address is the next hop. [rolling]"
    )
    address: Annotated[IPv4Address | IPv6Address, peer_address()] = Field(description="The router's address. [rolling]")
    asn: Annotated[int, whole(1, AS_MAX)] = Field(description="The router's AS number. [rolling]")
    families: tuple[Annotated[Literal["ipv4", "ipv6"], choice("ipv4", "ipv6")], ...] = Field(
        min_length=1,
        max_length=2,
        description="What is announced: ipv6 the slots' tunnel addresses, ipv4 their external addresses. [rolling]",
    )
    password_secret: Annotated[str | None, secret_name()] = Field(
        default=None, description="Secret with the password of the session (RFC 2385). [rolling]"
    )


class Bgp(Model):
    """BGP sessions to the routers on both sides; each route's MED is 2^32-1 less the epoch of its slot's owner."""

    local_asn: Annotated[int, whole(1, AS_MAX)] = Field(description="The AFTRs' AS number. [rolling]")
    peers: tuple[Peer, ...] = Field(min_length=1, max_length=16, description="Sessions of every AFTR. [live]")


class Layer2(Model):
    """Tunnel and external addresses are on the links themselves: AFTRs answer for them (RFC 4861, RFC 826) and announce a takeover."""


class Routing(Model):
    """How routers learn where a slot is: exactly one of `bgp` and `layer2`."""

    bgp: Bgp | None = Field(default=None, description="By BGP, as docs/routing.md describes. [rolling]")
    layer2: Layer2 | None = Field(
        default=None,
        description="By neighbour discovery and ARP on links that the AFTRs share, as docs/routing.md describes. [rolling]",
    )


class EmbeddedStore(Model):
    """One Redis that runs beside the pool: the lab's, later the operator's."""


class Store(Model):
    """Where bindings are kept besides the AFTR that made them: a Redis, exactly one of `embedded` and `secretRef`."""

    embedded: EmbeddedStore | None = Field(default=None, description="One Redis, run for this pool. [rolling]")
    secret_ref: Annotated[str | None, secret_name()] = Field(
        default=None, description="Secret with the addresses and the credentials of a Redis. [rolling]"
    )
    durability: Annotated[Durability | None, choice("none", "memory", "replicated", "disk")] = Field(
        default=None,
        description="What a binding survives once its first packet has left: none (stored after forwarding), memory (loss of any "
        "AFTRs), replicated (also of the Redis primary), disk (also a restart of Redis); absent: memory with embedded, "
        "replicated with secretRef. [rolling]",
    )
    wait_replicas: Annotated[int | Literal["all"], whole_or_all(1, 16)] = Field(
        default="all", description="Redis replicas that acknowledge a write, with replicated and disk. [rolling]"
    )
    on_loss: Annotated[Literal["serve", "refuse"], choice("serve", "refuse")] = Field(
        default="serve",
        description="New mappings while the store cannot be reached: in memory only, or none. [live]",
    )
    adopt: Annotated[bool, switch()] = Field(
        default=False,
        description="Take over a store that another cluster or another pool of this name wrote. [rolling]",
    )


class Failover(Model):
    """When an AFTR counts as dead, and how its slots move."""

    dead_after_milliseconds: Annotated[int, whole(2 * HEARTBEAT_MS, DEAD_AFTER_MAX_MS)] = Field(
        default=400, description="Milliseconds without a heartbeat (one each 100 ms) until others take over. [rolling]"
    )
    drain_seconds: Annotated[int, whole(0, 86399)] = Field(
        default=2, description="Seconds that the old owner goes on after a planned move; below holdDownSeconds. [live]"
    )
    failsafe: Annotated[Literal["strict", "available"], choice("strict", "available")] = Field(
        default="strict",
        description="Serving without the store: only while every member agrees (strict), or also without them. [rolling]",
    )
    restored_filtering_grace_seconds: Annotated[int, whole(0, 3600)] = Field(
        default=10,
        description="Seconds for which the stricter filterings admit inbound packets of restored mappings; 0: not at all. [live]",
    )


class Targets(Model):
    """What the autoscaler keeps use below."""

    worker_utilization_percent: Annotated[int, whole(1, 100)] = Field(
        default=60, description="Busy share of the packet threads, over all pods. [live]"
    )
    port_utilization_percent: Annotated[int, whole(1, 100)] = Field(
        default=70, description="Share of the port blocks that cannot be given out. [live]"
    )


class Autoscaling(Model):
    """Number of AFTR pods by their own use; `spec.replicas` is then only the number at first creation."""

    min_replicas: Annotated[int, whole(1, LARGEST_SLOTS)] = Field(default=2, description="Fewest pods. [live]")
    max_replicas: Annotated[int, whole(1, LARGEST_SLOTS)] = Field(
        description="Most pods, at most one for each slot. [live]"
    )
    targets: Targets = Field(default=Targets(), description="What use is kept below.")
    scale_down_stabilization_seconds: Annotated[int, whole(0, 86400)] = Field(
        default=900, description="Seconds for which fewer pods must have been enough. [live]"
    )


class AftrPoolSpec(Model):
    """What an AftrPool asks for."""

    release: Annotated[str, text(r"[A-Za-z0-9]?[A-Za-z0-9_.+-]*", 63, "a release such as 0.1.0, or nothing")] = Field(
        default="", description="Release of the pods' template; filled with the operator's own at creation. [rolling]"
    )
    replicas: Annotated[int, whole(1, LARGEST_SLOTS)] = Field(
        default=1, description="AFTR pods, at most one for each slot; more than one need a store. [live]"
    )
    slots: Annotated[int, power_of_two(1, LARGEST_SLOTS)] = Field(
        default=16, description="Virtual AFTRs that the pool's pods share. [immutable]"
    )
    softwire: Softwire = Field(description="The IPv6 side.")
    nat: Nat = Field(description="Address translation.")
    capacity: Capacity = Field(default=Capacity(), description="Sizes of a slot's tables.")
    interfaces: tuple[Interface, ...] = Field(
        default=(), max_length=16, description="Interfaces of the AFTR. [rolling]"
    )
    routing: Routing | None = Field(
        default=None,
        description="How routers learn where a slot is; absent: routes to the one AFTR are static. [rolling]",
    )
    store: Store | None = Field(
        default=None, description="Where bindings are kept; absent: in the one AFTR's memory. [rolling]"
    )
    failover: Failover = Field(default=Failover(), description="When an AFTR counts as dead, and how its slots move.")
    autoscaling: Autoscaling | None = Field(
        default=None, description="Number of pods by their use; absent: `replicas` is the number. [live]"
    )
    deletion_drain_seconds: Annotated[int, whole(0, 86400)] = Field(
        default=600, description="Seconds for which a deleted pool waits for its last mapping to end. [live]"
    )
    allow_disruption: Annotated[bool, switch()] = Field(
        default=False, description="Carry out changes that end live mappings; otherwise they are refused. [live]"
    )
    rollout: Annotated[Literal["surge", "inPlace"], choice("surge", "inPlace")] = Field(
        default="surge",
        description="Replace a pod after its successor is ready, or, where nodes have no spare device, before (inPlace). [live]",
    )


class AftrPool(Model):
    """A pool of AFTRs: one configuration, served by any of its pods."""

    api_version: Annotated[str, choice(API_VERSION)] = Field(description="Version of the schema. [immutable]")
    kind: Annotated[Literal["AftrPool"], choice("AftrPool")] = Field(description="Kind of the object. [immutable]")
    metadata: Metadata = Field(description="Name of the object.")
    spec: AftrPoolSpec = Field(description="What the pool asks for.")


class PoolRef(Model):
    """Reference to the AftrPool that serves a group, in the group's namespace."""

    name: Annotated[str, label()] = Field(description="Name of the AftrPool. [immutable]")


class Dhcp(Model):
    """The DHCPv6 server that tells these B4s the name of their slot (option 64, RFC 6334)."""

    server: Annotated[str, label()] = Field(description="Name of a DHCPv6 server of the installation. [live]")
    subnets: tuple[Annotated[IPv6Network, ipv6_prefix()], ...] = Field(
        min_length=1, max_length=256, description="That server's subnets that these B4s ask from. [live]"
    )
    bucket_bytes: Annotated[BucketBytes, choice("last", "lastNibble", "lastTwoLowNibbles")] = Field(
        default="last",
        description="What of a DUID divides a group that has several slots into buckets: its last byte (256 buckets), the low half "
        "of that byte (16), or the low halves of its last two bytes (256), where bytes are digits in ASCII. [immutable]",
    )


class Match(Model):
    """Which of the clients on these subnets belong to the group, where subnets alone do not say it."""

    relay_interface_id: Annotated[str, interface_id()] = Field(
        description="Interface-ID of the relay nearest to the client (option 18, RFC 8415 section 21.18), or how it begins, "
        "with * at the end. [live]"
    )


class MoveWindow(Model):
    """The part of each day in which B4s may be moved."""

    start: Annotated[str, time_of_day()] = Field(description="When it begins, in UTC. [live]")
    end: Annotated[str, time_of_day()] = Field(
        description="When it ends, in UTC; before `start`: on the day after. [live]"
    )


class B4GroupSpec(Model):
    """What a B4Group asks for."""

    pool_ref: PoolRef = Field(description="The pool that serves these B4s.")
    prefixes: tuple[Annotated[IPv6Network, ipv6_prefix()], ...] = Field(
        min_length=1, max_length=256, description="Where these B4s' tunnel source addresses come from. [live]"
    )
    nat_pool: Annotated[str, label()] = Field(
        default="default", description="The pool's NAT pool that they use. [drain]"
    )
    limits: LimitOverrides = Field(default=LimitOverrides(), description="Overrides of the pool's limits.")
    subscriber_mask_v6: Annotated[int | None, whole(32, 128)] = Field(
        default=None, description="Override of the pool's subscriberMaskV6. [immutable]"
    )
    max_softwires_per_subscriber: Annotated[int | None, whole(1, 1024)] = Field(
        default=None, description="Override of the pool's maxSoftwiresPerSubscriber. [live]"
    )
    dhcp: Dhcp | None = Field(
        default=None, description="How these B4s learn the name of their slot; absent: not from us. [live]"
    )
    match: Match | None = Field(
        default=None, description="Which clients of the subnets are these B4s; absent: all of them. [live]"
    )
    slots: Annotated[int, whole(1, LARGEST_SLOTS)] = Field(
        default=1, description="Slots that the group is spread over, of those that carry its NAT pool. [live]"
    )
    rebalance: Annotated[Literal["manual", "automatic"], choice("manual", "automatic")] = Field(
        default="manual",
        description="Moves that only level the load of slots: when a person asks for them, or whenever a slot has more than its "
        "share. [live]",
    )
    max_moves_per_hour: Annotated[int, whole(1, 10_000_000)] = Field(
        default=10_000, description="B4s that may be given another slot within an hour. [live]"
    )
    move_window: MoveWindow | None = Field(
        default=None, description="When B4s may be given another slot; absent: at any time. [live]"
    )


class B4Group(Model):
    """B4s that are served alike; nested prefixes are allowed, the longest wins."""

    api_version: Annotated[str, choice(API_VERSION)] = Field(description="Version of the schema. [immutable]")
    kind: Annotated[Literal["B4Group"], choice("B4Group")] = Field(description="Kind of the object. [immutable]")
    metadata: Metadata = Field(description="Name of the object.")
    spec: B4GroupSpec = Field(description="What the group asks for.")


def effective_durability(store: Store) -> Durability:
    """What a binding survives: as given, else memory in an embedded store and replicated in another."""
    return store.durability or ("memory" if store.embedded is not None else "replicated")


def effective_limits(pool: AftrPool, group: B4Group) -> Limits:
    """The limits that hold for each subscriber of `group`."""
    overrides = group.spec.limits.model_dump(exclude_none=True)
    return pool.spec.nat.limits.model_copy(update=overrides)


def effective_subscriber_mask(pool: AftrPool, group: B4Group) -> int:
    """Prefix length that counts as one subscriber in `group`."""
    own = group.spec.subscriber_mask_v6
    return pool.spec.nat.subscriber_mask_v6 if own is None else own


def effective_max_softwires(pool: AftrPool, group: B4Group) -> int:
    """Softwires that one subscriber of `group` may have at a time."""
    own = group.spec.max_softwires_per_subscriber
    return pool.spec.nat.max_softwires_per_subscriber if own is None else own
