"""Rules across fields and objects: what a single value cannot show.

`pool_problems` takes one AftrPool, `group_problems` the B4Groups that go with it; both yield problems, never raise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network

from dslite_contract.errors import Problem
from dslite_contract.schema import (
    AftrPool,
    AftrPoolSpec,
    B4Group,
    Bypass,
    Interface,
    NatPool,
    Peer,
    effective_durability,
)
from dslite_contract.slots import carrying_slots
from dslite_contract.values import DSLITE_RANGE, NEVER_ROUTED, PORTS_PER_ADDRESS, RFC1918

Finding = tuple[str, str]  # path in YAML spelling, sentence

PRIVATE_SOURCES = (*RFC1918, DSLITE_RANGE)  # admitted without being named (RFC 6333 section 11)
DEFAULT_NAMESPACE = "default"
DEFAULT_INTERFACES = {"access": "access", "internet": "internet"}  # name: side, in a pool that names none
FAMILIES = {"access": ("ipv6",), "internet": ("ipv4",), "both": ("ipv4", "ipv6")}  # by side


def owner_name(kind: str, name: str) -> str:
    """How messages name an object: "AftrPool east"."""
    return f"{kind} {name}"


def refused(value: object, allowed: str) -> str:
    """The sentence of a refusal."""
    return f"{value} is not allowed: {allowed}"


def pool_problems(pool: AftrPool) -> Iterator[Problem]:
    """What is wrong with a pool whose fields are all valid by themselves."""
    owner = owner_name("AftrPool", pool.metadata.name)
    for rule in RULES:
        for path, sentence in rule(pool.spec):
            yield Problem(owner, f"spec.{path}", sentence)


def softwire_rules(spec: AftrPoolSpec) -> Iterator[Finding]:
    """Every slot needs an address of its own: prefix::1 to prefix::slots."""
    if spec.softwire.prefix.num_addresses <= spec.slots:
        needed = f"{spec.slots + 1} addresses or more for {spec.slots} slots (slot i has prefix::(i+1))"
        yield "softwire.prefix", refused(spec.softwire.prefix, needed)


def nat_pool_rules(spec: AftrPoolSpec) -> Iterator[Finding]:
    """Names unique; slots that exist; prefixes large enough, routable and disjoint."""
    yield from unique_names("nat.pools", spec.nat.pools)
    for number, pool in enumerate(spec.nat.pools):
        path = f"nat.pools[{number}]"
        if pool.slots and pool.slots.last >= spec.slots:
            yield f"{path}.slots", refused(str(pool.slots), f"slots of this pool, 0 to {spec.slots - 1}")
        yield from prefix_size_rules(path, pool, len(pool.slots) if pool.slots else spec.slots)
    yield from overlaps(list(nat_prefixes(spec)))


def unique_names(path: str, items: Sequence[NatPool | Interface | Peer]) -> Iterator[Finding]:
    """Entries of a map list have different names."""
    first: dict[str, int] = {}
    for number, item in enumerate(items):
        if first.setdefault(item.name, number) != number:
            yield (
                f"{path}[{number}].name",
                refused(item.name, f"a name other than that of spec.{path}[{first[item.name]}]"),
            )


def prefix_size_rules(path: str, pool: NatPool, slots: int) -> Iterator[Finding]:
    """Each prefix gives every slot that carries it at least one address, and the internet routes it."""
    for number, prefix in enumerate(pool.prefixes):
        place = f"{path}.prefixes[{number}]"
        if prefix.num_addresses < slots:
            yield place, refused(prefix, f"at least {slots} addresses, one for each slot that carries the pool")
        special = first_overlap(prefix, (*NEVER_ROUTED, DSLITE_RANGE))
        if special:
            yield place, refused(prefix, f"addresses outside {special}")


def nat_prefixes(spec: AftrPoolSpec) -> Iterator[tuple[str, IPv4Network]]:
    """All NAT prefixes of the pool with their paths."""
    for pool_number, pool in enumerate(spec.nat.pools):
        for number, prefix in enumerate(pool.prefixes):
            yield f"nat.pools[{pool_number}].prefixes[{number}]", prefix


def overlaps(prefixes: Sequence[tuple[str, IPv4Network]]) -> Iterator[Finding]:
    """Prefixes that share an address with an earlier one (RFC 6333 section 8.1: pools are disjoint)."""
    for number, (path, prefix) in enumerate(prefixes):
        for earlier_path, earlier in prefixes[:number]:
            if prefix.overlaps(earlier):
                yield path, refused(prefix, f"it overlaps spec.{earlier_path} ({earlier})")
                break


def first_overlap(prefix: IPv4Network, others: Iterable[IPv4Network]) -> IPv4Network | None:
    """The first of `others` that shares an address with `prefix`."""
    return next((other for other in others if prefix.overlaps(other)), None)


def port_block_rules(spec: AftrPoolSpec) -> Iterator[Finding]:
    """A subscriber's blocks fit the ports of one address."""
    size, most = spec.nat.port_block.size, spec.nat.port_block.max_per_subscriber
    if size * most > PORTS_PER_ADDRESS:
        fits = f"at most {PORTS_PER_ADDRESS // size} blocks of {size} ports ({PORTS_PER_ADDRESS} ports of an address)"
        yield "nat.portBlock.maxPerSubscriber", refused(most, fits)


def bypass_rules(spec: AftrPoolSpec) -> Iterator[Finding]:
    """Bypassed addresses are unique, routable, outside the pools, and each at one slot (requirement D17)."""
    slot_of: dict[object, tuple[int, int]] = {}
    first_of: dict[Bypass, int] = {}
    for number, entry in enumerate(spec.nat.bypass):
        path = f"nat.bypass[{number}]"
        host = IPv4Network(entry.address)
        special = first_overlap(host, (*NEVER_ROUTED, *PRIVATE_SOURCES))
        if special:
            yield f"{path}.address", refused(entry.address, f"an address outside {special}, since it is announced")
        inside = next((place for place, prefix in nat_prefixes(spec) if entry.address in prefix), None)
        if inside:
            yield f"{path}.address", refused(entry.address, f"an address outside spec.{inside}")
        if entry.slot >= spec.slots:
            yield f"{path}.slot", refused(entry.slot, f"a slot of this pool, 0 to {spec.slots - 1}")
        slot, first = slot_of.setdefault(entry.address, (entry.slot, number))
        if slot != entry.slot:
            yield f"{path}.slot", refused(entry.slot, f"{slot}, as spec.nat.bypass[{first}] has for {entry.address}")
        if first_of.setdefault(entry, number) != number:
            yield path, f"the same as spec.nat.bypass[{first_of[entry]}]: leave one out"


def source_rules(spec: AftrPoolSpec) -> Iterator[Finding]:
    """Sources and destinations beside the private ones (requirements C09, D18, D26)."""
    nat = spec.nat
    for number, prefix in enumerate(nat.pre_authorized_sources):
        path = f"nat.preAuthorizedSources[{number}]"
        special = first_overlap(prefix, (*NEVER_ROUTED, *PRIVATE_SOURCES))
        if special:
            yield path, refused(prefix, f"addresses outside {special}")
        pool = next(((place, other) for place, other in nat_prefixes(spec) if prefix.overlaps(other)), None)
        if pool:
            yield path, refused(prefix, f"it overlaps spec.{pool[0]} ({pool[1]})")
    for number, prefix in enumerate(nat.allowed_private_destinations):
        if not any(prefix.subnet_of(other) for other in PRIVATE_SOURCES):
            inside = ", ".join(str(other) for other in PRIVATE_SOURCES[:-1])
            path = f"nat.allowedPrivateDestinations[{number}]"
            yield path, refused(prefix, f"a prefix inside {inside} or {DSLITE_RANGE}")
    if nat.no_translation_destinations and not (nat.pre_authorized_sources or nat.bypass):
        unique = "only with preAuthorizedSources or bypass, which make sources unique (RFC 6888 REQ-6)"
        yield "nat.noTranslationDestinations", refused(", ".join(map(str, nat.no_translation_destinations)), unique)


def interface_rules(spec: AftrPoolSpec) -> Iterator[Finding]:
    """Interfaces have one device each, cover both sides, and those that NAT pools name exist."""
    if not spec.interfaces:
        return
    yield from unique_names("interfaces", spec.interfaces)
    for number, interface in enumerate(spec.interfaces):
        if (interface.sriov is None) == (interface.pod_network is None):
            yield f"interfaces[{number}]", "exactly one of sriov and podNetwork is needed"
    for side in ("access", "internet"):
        if not any(interface.side in (side, "both") for interface in spec.interfaces):
            yield "interfaces", f"none has side {side} or both: one is needed"
    to_internet = [interface.name for interface in spec.interfaces if interface.side != "access"]
    for number, pool in enumerate(spec.nat.pools):
        if pool.interface is not None and pool.interface not in to_internet:
            known = f"an interface of side internet or both ({', '.join(to_internet) or 'there is none'})"
            yield f"nat.pools[{number}].interface", refused(pool.interface, known)


def routing_rules(spec: AftrPoolSpec) -> Iterator[Finding]:
    """Exactly one way; BGP peers have different names and addresses, and an interface whose side routes the families they are told."""
    if spec.routing is None:
        return
    if (spec.routing.bgp is None) == (spec.routing.layer2 is None):
        yield "routing", "exactly one of bgp and layer2 is needed"
    if spec.routing.bgp is None:
        return
    path, peers = "routing.bgp.peers", spec.routing.bgp.peers
    yield from unique_names(path, peers)
    sides = {one.name: one.side for one in spec.interfaces} or DEFAULT_INTERFACES
    first_of: dict[object, int] = {}
    for number, peer in enumerate(peers):
        yield from peer_rules(f"{path}[{number}]", peer, sides)
        if first_of.setdefault(peer.address, number) != number:
            other = f"an address other than that of spec.{path}[{first_of[peer.address]}]"
            yield f"{path}[{number}].address", refused(peer.address, other)


def peer_rules(path: str, peer: Peer, sides: Mapping[str, str]) -> Iterator[Finding]:
    """A peer's interface exists; each of its families is the session's own, and that interface's."""
    if peer.interface not in sides:
        yield f"{path}.interface", refused(peer.interface, f"an interface of the pool ({', '.join(sides)})")
        return
    side = sides[peer.interface]
    for number, family in enumerate(peer.families):
        place = f"{path}.families[{number}]"
        if family in peer.families[:number]:
            yield place, refused(family, "each family once")
        elif family not in FAMILIES[side]:
            only = " or ".join(FAMILIES[side])
            yield place, refused(family, f"{only}, since interface {peer.interface} has side {side}")
        elif family != f"ipv{peer.address.version}":
            yield place, refused(family, f"ipv{peer.address.version}, the family of the session's address")


def store_rules(spec: AftrPoolSpec) -> Iterator[Finding]:
    """Several AFTRs need a store and a slot each; a store is one Redis, and an embedded one has no replicas."""
    if spec.replicas > spec.slots:
        yield "replicas", refused(spec.replicas, f"at most one for each of the {spec.slots} slots")
    if spec.store is None:
        if spec.replicas > 1:
            yield "replicas", refused(spec.replicas, "1 without spec.store, by which AFTRs share bindings")
        return
    if (spec.store.embedded is None) == (spec.store.secret_ref is None):
        yield "store", "exactly one of embedded and secretRef is needed"
    elif spec.store.embedded is not None and effective_durability(spec.store) == "replicated":
        yield "store.durability", refused("replicated", "none, memory or disk with embedded, which is a single Redis")


def autoscaling_rules(spec: AftrPoolSpec) -> Iterator[Finding]:
    """The fewest pods are not more than the most, which have a slot each; several need a store."""
    bounds = spec.autoscaling
    if bounds is None:
        return
    if bounds.max_replicas > spec.slots:
        yield "autoscaling.maxReplicas", refused(bounds.max_replicas, f"at most one for each of the {spec.slots} slots")
    if bounds.min_replicas > bounds.max_replicas:
        yield "autoscaling.minReplicas", refused(bounds.min_replicas, f"at most maxReplicas ({bounds.max_replicas})")
    if spec.store is None:
        yield "autoscaling", "spec.store is needed, by which AFTRs share bindings"


def failover_rules(spec: AftrPoolSpec) -> Iterator[Finding]:
    """An old owner ends before ports that its successor freed may be given to others."""
    drain, hold_down = spec.failover.drain_seconds, spec.nat.port_block.hold_down_seconds
    if drain >= hold_down:
        yield "failover.drainSeconds", refused(drain, f"less than spec.nat.portBlock.holdDownSeconds ({hold_down})")


RULES = (
    softwire_rules,
    nat_pool_rules,
    port_block_rules,
    bypass_rules,
    source_rules,
    interface_rules,
    routing_rules,
    store_rules,
    autoscaling_rules,
    failover_rules,
)


def group_problems(pool: AftrPool, groups: Sequence[B4Group]) -> Iterator[Problem]:
    """What is wrong with B4Groups whose fields are valid by themselves, with their pool and with each other."""
    names: set[str] = set()
    holder_of: dict[object, str] = {}
    for group in groups:
        owner = owner_name("B4Group", group.metadata.name)
        if group.metadata.name in names:
            yield Problem(owner, "metadata.name", refused(group.metadata.name, "a name that no other B4Group has"))
        names.add(group.metadata.name)
        for path, sentence in (*reference_rules(pool, group), *distribution_rules(pool, group)):
            yield Problem(owner, path, sentence)
        for number, prefix in enumerate(group.spec.prefixes):
            path = f"spec.prefixes[{number}]"
            holder = holder_of.setdefault(prefix, f"spec.prefixes[{number}] of {owner}")
            if holder != f"spec.prefixes[{number}] of {owner}":
                yield Problem(owner, path, refused(prefix, f"it equals {holder}"))
            if prefix.subnet_of(pool.spec.softwire.prefix):
                tunnel = f"a prefix outside spec.softwire.prefix ({pool.spec.softwire.prefix}), which is the AFTRs' own"
                yield Problem(owner, path, refused(prefix, tunnel))
    yield from shared_subnet_rules(groups)


def reference_rules(pool: AftrPool, group: B4Group) -> Iterator[Finding]:
    """The group belongs to this pool and namespace, and its NAT pool exists."""
    if group.spec.pool_ref.name != pool.metadata.name:
        yield "spec.poolRef.name", refused(group.spec.pool_ref.name, f"{pool.metadata.name}, the AftrPool given")
    namespace = pool.metadata.namespace or DEFAULT_NAMESPACE
    if (group.metadata.namespace or DEFAULT_NAMESPACE) != namespace:
        given = group.metadata.namespace or DEFAULT_NAMESPACE
        yield "metadata.namespace", refused(given, f"{namespace}, the namespace of the AftrPool")
    known = [nat_pool.name for nat_pool in pool.spec.nat.pools]
    if group.spec.nat_pool not in known:
        yield "spec.natPool", refused(group.spec.nat_pool, f"a NAT pool of the AftrPool ({', '.join(known)})")


def distribution_rules(pool: AftrPool, group: B4Group) -> Iterator[Finding]:
    """A group is spread over slots that carry its NAT pool; only a DHCPv6 server can spread it, or tell clients of a subnet apart."""
    spec = group.spec
    nat_pool = next((one for one in pool.spec.nat.pools if one.name == spec.nat_pool), None)
    if nat_pool is not None and spec.slots > len(carriers := carrying_slots(pool, nat_pool)):
        fits = f"at most {len(carriers)}, for slots {carriers} carry NAT pool {spec.nat_pool}"
        yield "spec.slots", refused(spec.slots, fits)
    if spec.dhcp is None and spec.slots > 1:
        yield "spec.slots", refused(spec.slots, "1 without spec.dhcp, by which each B4 learns its slot")
    if spec.dhcp is None and spec.match is not None:
        yield "spec.match", "spec.dhcp is needed, whose clients it tells apart"
    if spec.move_window is not None and spec.move_window.start == spec.move_window.end:
        yield "spec.moveWindow.end", refused(spec.move_window.end, "a time other than spec.moveWindow.start")


def shared_subnet_rules(groups: Sequence[B4Group]) -> Iterator[Problem]:
    """Groups that share a subnet of a DHCPv6 server tell its clients apart: each has a match, and no client matches two."""
    users: dict[tuple[str, IPv6Network], list[B4Group]] = {}
    for group in groups:
        server, subnets = (group.spec.dhcp.server, group.spec.dhcp.subnets) if group.spec.dhcp else ("", ())
        for number, subnet in enumerate(subnets):
            before = users.setdefault((server, subnet), [])
            rival = next((other for other in before if match_alike(group, other)), None)
            if rival is group:
                sentence = refused(subnet, "each subnet once")
            elif rival is not None:
                other = owner_name("B4Group", rival.metadata.name)
                sentence = refused(subnet, f"it is {other}'s: give both a spec.match that tells their clients apart")
            if rival is not None:
                yield Problem(owner_name("B4Group", group.metadata.name), f"spec.dhcp.subnets[{number}]", sentence)
            before.append(group)


def match_alike(one: B4Group, other: B4Group) -> bool:
    """Whether a client may match both groups."""
    if one.spec.match is None or other.spec.match is None:
        return True
    return overlap(one.spec.match.relay_interface_id, other.spec.match.relay_interface_id)


def overlap(one: str, other: str) -> bool:
    """Whether a client may match both Interface-IDs, each of which may end in *; an empty one matches every client."""
    return not (one and other) or begins_with(one, other) or begins_with(other, one)


def begins_with(text: str, pattern: str) -> bool:
    """Whether what `text` matches is matched by `pattern`: the same, or its beginning with * at the end."""
    return text == pattern or (pattern.endswith("*") and text.removesuffix("*").startswith(pattern[:-1]))
