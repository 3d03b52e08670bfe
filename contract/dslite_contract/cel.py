"""The rules of `rules.py` that one object can show, in CEL (the API server's expression language), by the model they stand at.

CEL has no bit operations, so powers of two come from a table; every list and string that a rule walks is bounded, or the API
server refuses the definition for its cost.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network

from dslite_contract.rules import FAMILIES, PRIVATE_SOURCES
from dslite_contract.values import CEL_SLOT_COUNT, DSLITE_RANGE, NEVER_ROUTED, PORTS_PER_ADDRESS


@dataclass(frozen=True)
class Rule:
    """An expression that must hold, and the sentence for when it does not."""

    cel: str
    message: str


def cidrs(prefixes: Iterable[IPv4Network]) -> str:
    """A list of prefixes."""
    return "[" + ", ".join(f"cidr('{prefix}')" for prefix in prefixes) + "]"


def names(prefixes: Iterable[IPv4Network]) -> str:
    """Prefixes as a sentence has them."""
    return ", ".join(map(str, prefixes))


def outside(values: str, prefixes: Iterable[IPv4Network]) -> str:
    """None of the prefixes in the list `values` shares an address with `prefixes`."""
    return (
        f"{values}.all(mine, !{cidrs(prefixes)}.exists(other, "
        "other.containsCIDR(cidr(mine)) || cidr(mine).containsCIDR(other)))"
    )


def one_of(*fields: str) -> Rule:
    """Exactly one of the fields is there."""
    present = " + ".join(f"(has(self.{name}) ? 1 : 0)" for name in fields)
    return Rule(f"{present} == 1", f"exactly one of {' and '.join(fields)} is needed")


LOG2 = "{" + ", ".join(f"{1 << place}: {place}" for place in range(11)) + "}"
CARRIERS = f"(has(pool.slots) ? {CEL_SLOT_COUNT.format(slots='pool.slots')} : self.slots)"
LAST_SLOT = "int(pool.slots.split('-')[size(pool.slots.split('-')) - 1])"
NOT_EXTERNAL = (*NEVER_ROUTED, DSLITE_RANGE)
NOT_ANNOUNCED = (*NEVER_ROUTED, *PRIVATE_SOURCES)
SIDES = "self.interfaces.exists(one, one.side in ['{side}', 'both'])"
NO_INTERFACES = "!has(self.interfaces) || size(self.interfaces) == 0"
# No prefix contains another than itself (that it is listed once, the list's type says): so no two share an address.
DISJOINT = (
    "self.pools.all(pool, pool.prefixes.all(mine, "
    "self.pools.map(other, other.prefixes.filter(its, cidr(mine).containsCIDR(its)).size()).sum() == 1))"
)
NOT_POOLED = (
    "!has(self.preAuthorizedSources) || self.preAuthorizedSources.all(mine, self.pools.all(pool, pool.prefixes.all(its, "
    "!(cidr(mine).containsCIDR(cidr(its)) || cidr(its).containsCIDR(cidr(mine))))))"
)
# A pool that names no interfaces has access and internet.
PEERS = "!has(self.routing) || !has(self.routing.bgp) || self.routing.bgp.peers.all(peer, {})"
NAMED = "has(self.interfaces) && size(self.interfaces) > 0"

POOL_RULES = (
    Rule(
        f"cidr(self.softwire.prefix).prefixLength() < 128 - {LOG2}[self.slots]",
        "softwire.prefix: more addresses than slots are needed (slot i has prefix::(i+1))",
    ),
    Rule(
        f"self.nat.pools.all(pool, !has(pool.slots) || {LAST_SLOT} < self.slots)",
        "nat.pools: slots are those of this pool, 0 to slots - 1",
    ),
    Rule(
        f"self.nat.pools.all(pool, pool.prefixes.all(mine, cidr(mine).prefixLength() <= 32 - {LOG2}[{CARRIERS}]))",
        "nat.pools: a prefix has at least one address for each slot that carries its pool",
    ),
    Rule(
        "!has(self.nat.bypass) || self.nat.bypass.all(entry, entry.slot < self.slots)",
        "nat.bypass: slot is one of this pool, 0 to slots - 1",
    ),
    *(
        Rule(
            f"{NO_INTERFACES} || {SIDES.format(side=side)}", f"interfaces: none has side {side} or both: one is needed"
        )
        for side in ("access", "internet")
    ),
    Rule(
        f"{NO_INTERFACES} || self.nat.pools.all(pool, !has(pool.interface) || "
        "self.interfaces.exists(one, one.name == pool.interface && one.side != 'access'))",
        "nat.pools: interface is one of side internet or both",
    ),
    Rule(
        f"{NO_INTERFACES} || self.interfaces.filter(one, has(one.podNetwork)).size() <= 1",
        "interfaces: podNetwork is given twice: a pod has one interface of its own",
    ),
    Rule(
        PEERS.format(
            f"{NAMED} ? self.interfaces.exists(one, one.name == peer.interface) : peer.interface in ['access', 'internet']"
        ),
        "routing.bgp.peers: interface is one of the pool's",
    ),
    *(
        Rule(
            PEERS.format(
                f"!('{family}' in peer.families) || ({NAMED} ? self.interfaces.exists(one, one.name == peer.interface "
                f"&& one.side in {sorted(side for side, known in FAMILIES.items() if family in known)}) "
                f": peer.interface == '{side}')"
            ),
            f"routing.bgp.peers: {family} is announced by interfaces of side {side} or both",
        )
        for family, side in (("ipv6", "access"), ("ipv4", "internet"))
    ),
    Rule("self.replicas <= self.slots", "replicas: at most one for each slot"),
    Rule("self.replicas == 1 || has(self.store)", "replicas: 1 without store, by which AFTRs share bindings"),
    Rule("!has(self.autoscaling) || has(self.store)", "autoscaling: store is needed, by which AFTRs share bindings"),
    Rule(
        "!has(self.autoscaling) || self.autoscaling.maxReplicas <= self.slots",
        "autoscaling.maxReplicas: at most one for each slot",
    ),
    Rule(
        "self.failover.drainSeconds < self.nat.portBlock.holdDownSeconds",
        "failover.drainSeconds: less than nat.portBlock.holdDownSeconds",
    ),
)

NAT_RULES = (
    Rule(DISJOINT, "pools: prefixes of NAT pools overlap"),
    Rule(
        f"self.pools.all(pool, {outside('pool.prefixes', NOT_EXTERNAL)})",
        f"pools: a prefix lies outside {names(NOT_EXTERNAL)}",
    ),
    Rule(
        "!has(self.bypass) || self.bypass.all(entry, "
        f"!{cidrs(NOT_ANNOUNCED)}.exists(other, other.containsIP(ip(entry.address))))",
        f"bypass: an address is announced, so it lies outside {names(NOT_ANNOUNCED)}",
    ),
    Rule(
        "!has(self.bypass) || self.bypass.all(entry, "
        "self.pools.all(pool, pool.prefixes.all(its, !cidr(its).containsIP(ip(entry.address)))))",
        "bypass: an address lies outside the NAT pools",
    ),
    Rule(
        "!has(self.bypass) || self.bypass.all(entry, "
        "self.bypass.all(other, entry.address != other.address || entry.slot == other.slot))",
        "bypass: all entries of one address name the same slot",
    ),
    Rule(
        f"!has(self.preAuthorizedSources) || {outside('self.preAuthorizedSources', NOT_ANNOUNCED)}",
        f"preAuthorizedSources: a prefix lies outside {names(NOT_ANNOUNCED)}",
    ),
    Rule(NOT_POOLED, "preAuthorizedSources: a prefix overlaps a NAT pool"),
    Rule(
        "!has(self.allowedPrivateDestinations) || self.allowedPrivateDestinations.all(mine, "
        f"{cidrs(PRIVATE_SOURCES)}.exists(other, other.containsCIDR(cidr(mine))))",
        f"allowedPrivateDestinations: a prefix lies inside {names(PRIVATE_SOURCES[:-1])} or {DSLITE_RANGE}",
    ),
    Rule(
        "!has(self.noTranslationDestinations) || size(self.noTranslationDestinations) == 0 || "
        "(has(self.preAuthorizedSources) && size(self.preAuthorizedSources) > 0) || "
        "(has(self.bypass) && size(self.bypass) > 0)",
        "noTranslationDestinations: only with preAuthorizedSources or bypass, which make sources unique (RFC 6888 REQ-6)",
    ),
)

OBJECT_RULES: dict[str, tuple[Rule, ...]] = {
    "AftrPoolSpec": POOL_RULES,
    "Nat": NAT_RULES,
    "PortBlock": (
        Rule(
            f"self.size * self.maxPerSubscriber <= {PORTS_PER_ADDRESS}",
            f"maxPerSubscriber: at most {PORTS_PER_ADDRESS} / size (a subscriber's blocks fit the ports of one address)",
        ),
    ),
    "Interface": (one_of("sriov", "podNetwork"),),
    "Routing": (one_of("bgp", "layer2"),),
    "Bgp": (
        Rule(
            "self.peers.all(peer, self.peers.exists_one(other, ip(other.address) == ip(peer.address)))",
            "peers: each has an address of its own",
        ),
    ),
    "Peer": (
        Rule(
            "self.families.all(family, family == (ip(self.address).family() == 4 ? 'ipv4' : 'ipv6'))",
            "families: that of the session's address",
        ),
    ),
    "Store": (
        one_of("embedded", "secretRef"),
        Rule(
            "!has(self.embedded) || !has(self.durability) || self.durability != 'replicated'",
            "durability: none, memory or disk with embedded, which is a single Redis",
        ),
    ),
    "B4GroupSpec": (
        Rule("self.slots == 1 || has(self.dhcp)", "slots: 1 without dhcp, by which each B4 learns its slot"),
        Rule("!has(self.match) || has(self.dhcp)", "match: dhcp is needed, whose clients it tells apart"),
    ),
    "MoveWindow": (Rule("self.start != self.end", "end: a time other than start"),),
    "Autoscaling": (Rule("self.minReplicas <= self.maxReplicas", "minReplicas: at most maxReplicas"),),
}
