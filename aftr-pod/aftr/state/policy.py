"""Configuration -> the pod's policy records: written at start, and again (in place, generation + 1) when live fields change."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

import numpy as np

from aftr.lowlevel.bits import Memory
from aftr.state.layout import (
    ACCESS,
    ALLOWED_PRIVATE,
    BOTH,
    BYPASS,
    GROUP,
    HOP,
    INTERFACE,
    INTERNET,
    MAX_HOPS,
    MAX_INTERFACES,
    NO_TRANSLATION,
    POD,
    POOL,
    PRE_AUTHORIZED,
    PREFIX,
    PROTOCOL_TCP,
    PROTOCOL_UDP,
    RANGE,
    ROUTE,
    bypass_at,
    group_at,
    hop_at,
    interface_at,
    pod_at,
    pool_at,
    prefix_at,
    range_at,
    route_at,
)
from dslite_contract.load import Configuration
from dslite_contract.schema import B4Group, effective_limits, effective_max_softwires, effective_subscriber_mask
from dslite_contract.slots import slot_address
from dslite_contract.tables import Planner, external_ranges

MAX_SLOTS, MAX_POOLS, MAX_RANGES, MAX_PREFIXES, MAX_BYPASSES = 1024, 16, 1024, 256, 512
MAX_GROUPS = 65536  # B4Group prefixes of a pool
MAX_ROUTES = 64  # per interface, beside the default route
SIDES = {"access": ACCESS, "internet": INTERNET, "both": BOTH}
OCTET_SPECIAL, OCTET_OWN = 1, 2  # as path/locate.py reads them
SPECIAL_OCTETS = (0, 10, 127, 169, 172, 192, *range(224, 256))  # first octets of destinations of row D26
_FILTERINGS = {"endpoint-independent": 0, "address-dependent": 1, "address-and-port-dependent": 2}


@dataclass(frozen=True)
class InterfaceSetting:
    """An interface as the engine sees it: MTU in bytes, VLAN 0 for none, MAC of 6 bytes."""

    name: str
    side: str
    mtu: int
    vlan: int = 0
    mac: bytes = bytes(6)


@dataclass(frozen=True)
class Hop:
    """A next hop's Ethernet addresses; `destination` None while the neighbour is unknown."""

    destination: bytes | None
    source: bytes


@dataclass(frozen=True)
class RouteSetting:
    """A destination prefix and its next hops (ECMP); a prefix of length 0 is the default route."""

    prefix: IPv4Network | IPv6Network
    hops: tuple[Hop, ...]


@dataclass(frozen=True)
class PolicyPlan:
    """Where the policy's tables lie in the arena."""

    groups: int
    ranges: int
    prefixes: int
    bypasses: int
    octets: int
    pools: int
    interfaces: int
    hops: int
    routes: int
    slot_table: int
    slot_workers: int


def plan_policy(planner: Planner) -> PolicyPlan:
    """Take the room for the policy; the planner stands at 0."""
    planner.place(POD.itemsize)
    return PolicyPlan(
        groups=planner.place(MAX_GROUPS * GROUP.itemsize),
        ranges=planner.place(MAX_RANGES * RANGE.itemsize),
        prefixes=planner.place(MAX_PREFIXES * PREFIX.itemsize),
        bypasses=planner.place(MAX_BYPASSES * BYPASS.itemsize),
        octets=planner.place(256),
        pools=planner.place((MAX_POOLS + 1) * POOL.itemsize),
        interfaces=planner.place(MAX_INTERFACES * INTERFACE.itemsize),
        hops=planner.place(MAX_INTERFACES * (MAX_ROUTES + 1) * MAX_HOPS * HOP.itemsize),
        routes=planner.place(MAX_INTERFACES * MAX_ROUTES * ROUTE.itemsize),
        slot_table=planner.place(MAX_SLOTS * 8),
        slot_workers=planner.place(MAX_SLOTS * 8),
    )


def write_tables(memory: Memory, plan: PolicyPlan) -> None:
    """Where everything is: once, before anything else."""
    pod = pod_at(memory, 0)
    pod.group_table = plan.groups
    pod.range_table = plan.ranges
    pod.prefix_table = plan.prefixes
    pod.bypass_table = plan.bypasses
    pod.octet_class = plan.octets
    pod.pool_table = plan.pools
    pod.interface_table = plan.interfaces
    pod.slot_table = plan.slot_table
    pod.slot_workers = plan.slot_workers


def write_secrets(memory: Memory, secrets: list[int]) -> None:
    """Four 64-bit secrets of this boot."""
    pod = pod_at(memory, 0)
    pod.secret0, pod.secret1, pod.secret2, pod.secret3 = secrets


def write_policy(
    memory: Memory, plan: PolicyPlan, configuration: Configuration, interfaces: list[InterfaceSetting]
) -> None:
    """All fields that may change while the pod runs.  No worker may run meanwhile."""
    spec = configuration.pool.spec
    pod = pod_at(memory, 0)
    first = int(slot_address(configuration.pool, 0))
    pod.slots = spec.slots
    pod.tunnel_hi, pod.tunnel_lo = first >> 64, first & ((1 << 64) - 1)
    softwire, nat = spec.softwire, spec.nat
    pod.tunnel_mtu = softwire.tunnel_mtu
    pod.dscp_preservation = int(softwire.dscp_preservation)
    pod.mss_clamping = int(softwire.mss_clamping.enabled)
    pod.dont_fragment = int(softwire.dont_fragment == "fragment")
    pod.reassembly_timeout = softwire.reassembly.timeout_seconds * 1000
    pod.max_contexts = softwire.reassembly.max_contexts
    pod.max_context_bytes = softwire.reassembly.max_bytes
    pod.max_packet_bytes = softwire.reassembly.max_packet_bytes
    pod.hold_down = nat.port_block.hold_down_seconds * 1000
    pod.filtering = _FILTERINGS[nat.filtering]
    pod.tcp_loose = int(nat.tcp_loose)
    pod.unsolicited_syn = int(nat.unsolicited_syn == "icmp")
    pod.refusal_code = nat.icmp_refusal_code
    pod.udp_refresh_by_inbound = int(nat.udp_refresh_by_inbound)
    pod.state_migrate = int(nat.state_migrate)
    pod.address_change_limit = nat.b4_address_change_limit_seconds * 1000
    pod.udp_timeout = nat.timeouts.udp_seconds * 1000
    pod.tcp_established = nat.timeouts.tcp_established_seconds * 1000
    pod.tcp_transitory = nat.timeouts.tcp_transitory_seconds * 1000
    pod.icmp_timeout = nat.timeouts.icmp_seconds * 1000
    pod.answers_neighbours = int(spec.routing is not None and spec.routing.layer2 is not None)
    pod.generation += 1
    write_groups(memory, plan, configuration)
    write_ranges(memory, plan, configuration)
    write_prefixes(memory, plan, configuration)
    write_bypasses(memory, plan, configuration)
    write_interfaces(memory, plan, configuration, interfaces)


def write_groups(memory: Memory, plan: PolicyPlan, configuration: Configuration) -> None:
    """One entry per B4Group prefix, the longest first."""
    pairs = [
        (prefix, number, group) for number, group in enumerate(configuration.groups) for prefix in group.spec.prefixes
    ]
    pairs.sort(key=lambda pair: -pair[0].prefixlen)
    pool_numbers = {nat_pool.name: number for number, nat_pool in enumerate(configuration.pool.spec.nat.pools)}
    for place, (prefix, number, group) in enumerate(pairs):
        entry = group_at(memory, plan.groups + place * GROUP.itemsize)
        entry.hi, entry.lo = split(int(prefix.network_address))
        entry.mask_hi, entry.mask_lo = split(int(prefix.netmask))
        entry.group = number
        entry.pool = pool_numbers[group.spec.nat_pool]
        write_limits(entry, configuration, group)
    pod_at(memory, 0).groups = len(pairs)


def write_limits(entry: object, configuration: Configuration, group: B4Group) -> None:
    """The limits that hold for each subscriber of a group."""
    pool = configuration.pool
    limits = effective_limits(pool, group)
    values = {
        "subscriber_bits": effective_subscriber_mask(pool, group),
        "max_softwires": effective_max_softwires(pool, group),
        "sessions": limits.sessions_per_subscriber,
        "session_rate": limits.new_sessions_per_second,
        "session_burst": limits.new_session_burst,
        "memory": limits.memory_bytes_per_subscriber,
        "max_blocks": pool.spec.nat.port_block.max_per_subscriber,
    }
    for name, value in values.items():
        setattr(entry, name, value)


def split(value: int) -> tuple[int, int]:
    """High and low half of an IPv6 address."""
    return value >> 64, value & ((1 << 64) - 1)


def write_ranges(memory: Memory, plan: PolicyPlan, configuration: Configuration) -> None:
    """External prefixes, and which first octets of destinations need a closer look."""
    octets = memory[plan.octets : plan.octets + 256]
    octets[:] = 0
    octets[list(SPECIAL_OCTETS)] = OCTET_SPECIAL
    ranges = external_ranges(configuration)
    for number, place in enumerate(ranges):
        entry = range_at(memory, plan.ranges + number * RANGE.itemsize)
        entry.base, entry.mask, entry.part_shift = place.base, place.mask, place.part_shift
        entry.first_slot, entry.slots, entry.first_external = place.first_slot, place.slots, place.first_external
        entry.pool = min(place.pool, MAX_POOLS)
        octets[place.base >> 24 : ((place.base | ~place.mask & 0xFFFFFFFF) >> 24) + 1] |= OCTET_OWN
    pod_at(memory, 0).ranges = len(ranges)


def write_prefixes(memory: Memory, plan: PolicyPlan, configuration: Configuration) -> None:
    """Lists of IPv4 prefixes by kind; destinations that are not translated always get a closer look."""
    nat = configuration.pool.spec.nat
    lists = (
        (PRE_AUTHORIZED, nat.pre_authorized_sources),
        (ALLOWED_PRIVATE, nat.allowed_private_destinations),
        (NO_TRANSLATION, nat.no_translation_destinations),
    )
    octets = memory[plan.octets : plan.octets + 256]
    number = 0
    for kind, prefixes in lists:
        for prefix in prefixes:
            entry = prefix_at(memory, plan.prefixes + number * PREFIX.itemsize)
            entry.kind, entry.base, entry.mask = kind, int(prefix.network_address), int(prefix.netmask)
            number += 1
            if kind == NO_TRANSLATION:
                octets[int(prefix.network_address) >> 24 : (int(prefix.broadcast_address) >> 24) + 1] |= OCTET_SPECIAL
    pod_at(memory, 0).prefixes = number


def write_bypasses(memory: Memory, plan: PolicyPlan, configuration: Configuration) -> None:
    """Provisioned untranslated endpoints (row D17)."""
    entries = configuration.pool.spec.nat.bypass
    for number, bypass in enumerate(entries):
        entry = bypass_at(memory, plan.bypasses + number * BYPASS.itemsize)
        entry.hi, entry.lo = split(int(bypass.b4.network_address))
        entry.mask_hi, entry.mask_lo = split(int(bypass.b4.netmask))
        entry.address, entry.port, entry.slot = int(bypass.address), bypass.port, bypass.slot
        entry.protocol = PROTOCOL_TCP if bypass.protocol == "tcp" else PROTOCOL_UDP
        entry.destination = int(bypass.destination.network_address) if bypass.destination else 0
        entry.destination_mask = int(bypass.destination.netmask) if bypass.destination else 0
    pod_at(memory, 0).bypasses = len(entries)


# ---------------------------------------------------------------- interfaces and next hops
def write_interfaces(
    memory: Memory, plan: PolicyPlan, configuration: Configuration, interfaces: list[InterfaceSetting]
) -> None:
    """Sides, MTUs, VLANs and MACs; which interface each NAT pool leaves by."""
    pod = pod_at(memory, 0)
    for number, setting in enumerate(interfaces):
        entry = interface_at(memory, plan.interfaces + number * INTERFACE.itemsize)
        entry.side, entry.mtu, entry.vlan = SIDES[setting.side], setting.mtu, setting.vlan
        entry.mac = int.from_bytes(setting.mac)
    pod.interfaces = len(interfaces)
    pod.access_interface = next(n for n, setting in enumerate(interfaces) if setting.side != "internet")
    internet = [n for n, setting in enumerate(interfaces) if setting.side != "access"]
    by_name = {setting.name: number for number, setting in enumerate(interfaces)}
    for number, nat_pool in enumerate(configuration.pool.spec.nat.pools):
        wanted = by_name.get(nat_pool.interface or "", internet[0])
        pool_at(memory, plan.pools + number * POOL.itemsize).interface = wanted
    pool_at(memory, plan.pools + MAX_POOLS * POOL.itemsize).interface = internet[0]


def write_hops(memory: Memory, plan: PolicyPlan, interface: int, routes: list[RouteSetting]) -> None:
    """The routes of an interface, longest prefix first; the default route's hops come first in memory.

    Safe while workers run: counts are lowered before and raised after the entries change.
    """
    entry = interface_at(memory, plan.interfaces + interface * INTERFACE.itemsize)
    area = plan.hops + interface * (MAX_ROUTES + 1) * MAX_HOPS * HOP.itemsize
    table = plan.routes + interface * MAX_ROUTES * ROUTE.itemsize
    default = next((route for route in routes if route.prefix.prefixlen == 0), None)
    others = sorted(
        (route for route in routes if route.prefix.prefixlen > 0), key=lambda route: -route.prefix.prefixlen
    )
    entry.route_count = 0
    entry.hops, entry.routes = area, table
    entry.hop_count = put_hops(memory, area, default.hops if default else ())
    for number, route in enumerate(others[:MAX_ROUTES]):
        record = route_at(memory, table + number * ROUTE.itemsize)
        hops = area + (number + 1) * MAX_HOPS * HOP.itemsize
        network, mask = int(route.prefix.network_address), int(route.prefix.netmask)
        record.hi, record.lo = split(network)
        record.mask_hi, record.mask_lo = split(mask) if route.prefix.version == 6 else (-1, mask)
        record.hops = hops
        record.hop_count = put_hops(memory, hops, route.hops)
    entry.route_count = min(len(others), MAX_ROUTES)


def put_hops(memory: Memory, area: int, hops: tuple[Hop, ...]) -> int:
    """Write next hops; how many."""
    for number, hop in enumerate(hops[:MAX_HOPS]):
        record = hop_at(memory, area + number * HOP.itemsize)
        header = np.frombuffer((hop.destination or bytes(6)) + hop.source, np.uint8)
        record.ethernet0 = int.from_bytes(header[:8].tobytes(), "little")
        record.ethernet1 = int.from_bytes(header[8:12].tobytes(), "little")
        record.resolved = int(hop.destination is not None)
    return min(len(hops), MAX_HOPS)
