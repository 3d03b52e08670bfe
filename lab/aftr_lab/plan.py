"""From a configuration to everything that a lab will consist of: nodes, addresses and routes. Pure; nothing is made here.

host-n ─ 192.168.1.0/24 ─ b4-n ─┐                                                    ┌─ internet (198.18.0.80)
                                ├─ access (a bridge, IPv6 only) ─ router ─ access link ─ aftr-a ─┐─ management ─ store (Redis)
host-m ─ 192.168.1.0/24 ─ b4-m ─┘                                    └──── internet link ────────┘
                            dhcp ┘ (where B4s learn their AFTR)   dns, resolver, agent ┘ on the access link
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

from aftr_lab.errors import LabError
from aftr_lab.provider import PLACES, Client, describe_provider, subnets_of
from aftr_lab.stores import MANAGEMENT_LINK, StoreKind, StoreNode, store_nodes, store_url
from dslite_contract.load import Configuration
from dslite_contract.schema import (
    AftrPool,
    B4Group,
    Bgp,
    Durability,
    Peer,
    effective_durability,
    effective_subscriber_mask,
)
from dslite_contract.slots import group_slots, slot_address, slot_bypass_addresses, slot_fqdn, slot_prefixes

ACCESS_LINK = IPv6Network("2001:db8:ffff::/64")
INTERNET_LINK = IPv4Network("198.18.0.0/24")  # RFC 2544: addresses for tests
LAN = IPv4Network("192.168.1.0/24")  # the same behind every B4
ROUTER, SERVER, FIRST_AFTR, LAN_HOST = 1, 80, 11, 10
MOST_AFTRS = SERVER - FIRST_AFTR
SUBSCRIBERS_GATEWAY = IPv6Address("fe80::1")  # the router's address on the access network
ROUTER_IPV6 = ACCESS_LINK[0x1]
ROUTER_IPV4 = INTERNET_LINK[ROUTER]
SERVER_ADDRESS = INTERNET_LINK[SERVER]
B4_LAN_ADDRESS = LAN[1]
HOST_ADDRESS = LAN[LAN_HOST]
STATUS_PORT = 9464
INTERNET_MTU = MANAGEMENT_MTU = 1500
GOLDEN_RATIO = 0x9E37  # its fraction in 16 bits: multiples of it fill a range evenly


@dataclass(frozen=True)
class Aftr:
    """AFTR number `number`, from 1."""

    number: int

    @property
    def name(self) -> str:
        return f"aftr-{self.number}"

    @property
    def access_address(self) -> IPv6Address:
        """::11 for the first one: written like its IPv4 address."""
        return ACCESS_LINK[int(str(FIRST_AFTR + self.number - 1), 16)]

    @property
    def internet_address(self) -> IPv4Address:
        return INTERNET_LINK[FIRST_AFTR + self.number - 1]

    @property
    def management_address(self) -> IPv4Address:
        return MANAGEMENT_LINK[FIRST_AFTR + self.number - 1]


@dataclass(frozen=True)
class Session:
    """The router's BGP session with an AFTR, for one peer of the pool; or (None) its sessions with every AFTR on that link."""

    aftr: Aftr | None
    peer: Peer

    @property
    def name(self) -> str:
        return f"{self.aftr.name}-{self.peer.name}" if self.aftr else self.peer.name

    @property
    def address(self) -> IPv4Address | IPv6Address | IPv4Network | IPv6Network:
        """The AFTR's end, or the link that it is on; the router's is the peer's address."""
        if self.aftr is None:
            return ACCESS_LINK if self.peer.address.version == 6 else INTERNET_LINK
        return self.aftr.access_address if self.peer.address.version == 6 else self.aftr.internet_address


@dataclass(frozen=True)
class B4:
    """B4 number `number`, from 1, with the host behind it."""

    number: int
    group: str
    prefix: IPv6Network  # of the subscriber
    slot: int
    tunnel_address: IPv6Address  # of that slot
    client: Client | None = None  # by which it learns its AFTR, whatever `slot` is; None: it is told

    @property
    def name(self) -> str:
        return f"b4-{self.number}"

    @property
    def duid(self) -> bytes:
        """Who it is to the provider: a DUID-LL (RFC 8415 §11.4), whose last byte is spread as those of many MAC addresses are."""
        spread = self.number * GOLDEN_RATIO >> 8 & 0xFF
        return b"\x00\x03\x00\x01\x02" + self.number.to_bytes(4, "big") + bytes([spread])

    @property
    def host(self) -> str:
        return f"host-{self.number}"

    @property
    def address(self) -> IPv6Address:
        """Its end of the softwire: the WAN's, or the LAN's where the prefix is delegated."""
        return self.prefix[1]


@dataclass(frozen=True)
class Options:
    """What `aftr-lab up` was asked for besides the file."""

    b4s: int = 2
    access_mtu: int = 1500
    workers: int = 1
    mode: str = "auto"
    with_aftr: bool = True
    store: StoreKind | None = None  # None: one Redis with `embedded`, one with a replica behind a `secretRef`
    clients: Sequence[Client] = ()  # DHCPv6 clients, which B4s take in turn; none: B4s are told their AFTR
    outside: bool = False  # the pool's AFTRs are elsewhere, and join the router's links; so is who tells B4s that learn


@dataclass(frozen=True)
class Plan:
    """All of a lab. A node is a namespace `dsl-LAB-NODE`."""

    lab: str
    configuration: Configuration
    options: Options
    aftrs: tuple[Aftr, ...]
    b4s: tuple[B4, ...]

    @property
    def pool(self) -> AftrPool:
        return self.configuration.pool

    @property
    def bgp(self) -> Bgp | None:
        """How the router learns where slots are; None: by asking on its links, or its routes to the one AFTR are static."""
        return self.pool.spec.routing.bgp if self.pool.spec.routing else None

    @property
    def layer2(self) -> bool:
        """Whether slots' addresses are on the router's own links, where it looks for them."""
        return self.pool.spec.routing is not None and self.pool.spec.routing.layer2 is not None

    @property
    def durability(self) -> Durability | None:
        """What the lab's Redis must survive; None: there is no Redis and no management network."""
        store = self.pool.spec.store
        return effective_durability(store) if store and not self.options.outside else None

    @property
    def store(self) -> StoreKind:
        """Which Redis the lab's is."""
        embedded = self.pool.spec.store is None or self.pool.spec.store.embedded is not None
        return self.options.store or ("plain" if embedded else "replica")

    @property
    def stores(self) -> tuple[StoreNode, ...]:
        """Its nodes."""
        return store_nodes(self.store) if self.durability else ()

    @property
    def provider(self) -> tuple[str, ...]:
        """The nodes of the servers that B4s learn from, and, outside, of the way to Kea for who tells it."""
        if not self.options.clients:
            return ()
        return tuple(node for node in PLACES if node != "agent" or self.options.outside)

    @property
    def learners(self) -> tuple[B4, ...]:
        """B4s that learn their AFTR."""
        return tuple(b4 for b4 in self.b4s if b4.client)

    @property
    def told_outside(self) -> tuple[B4, ...]:
        """Those of them that somebody else tells, an operator in a cluster: their slots are not known here."""
        return self.learners if self.options.outside else ()

    def namespace(self, node: str) -> str:
        return f"dsl-{self.lab}-{node}"

    def nodes(self) -> Iterator[str]:
        yield from ("router", "internet", "access")
        yield from (store.name for store in self.stores)
        yield from self.provider
        yield from (aftr.name for aftr in self.aftrs)
        for b4 in self.b4s:
            yield from (b4.name, b4.host)

    def registered_prefixes(self) -> list[IPv6Network]:
        """Where B4s and other devices on the access network may have addresses."""
        return [prefix for group in self.configuration.groups for prefix in group.spec.prefixes]

    def internet_prefixes(self) -> list[IPv4Network]:
        """What the internet sends to the AFTR: NAT prefixes and addresses of bypassed hosts."""
        slots = range(self.pool.spec.slots)
        bypassed = {address for slot in slots for address in slot_bypass_addresses(self.pool, slot)}
        return [prefix for pool in self.pool.spec.nat.pools for prefix in pool.prefixes] + [
            IPv4Network(address) for address in sorted(bypassed)
        ]


def bgp_sessions(bgp: Bgp, aftrs: Sequence[Aftr]) -> list[Session]:
    """The router's sessions: one with every AFTR for each peer; where AFTRs are elsewhere, with whoever comes."""
    return [Session(aftr, peer) for aftr in aftrs or (None,) for peer in bgp.peers]


def make_plan(lab: str, configuration: Configuration, options: Options) -> Plan:
    """The lab for a configuration. Raises `LabError` when the lab cannot be built from it."""
    _check_routing(configuration.pool)
    if options.outside:
        _check_outside(configuration.pool)
    else:
        _check_inside(configuration.pool)
        _check_store(configuration.pool, options.store)
    if not configuration.groups:
        raise LabError("the file has no B4Group: a lab needs one to know where its B4s live")
    for group in configuration.groups if options.clients else ():
        check_told(group)
    b4s = tuple(_plan_b4(configuration, options.clients, number) for number in range(1, options.b4s + 1))
    replicas = 0 if options.outside else configuration.pool.spec.replicas
    aftrs = tuple(Aftr(number) for number in range(1, replicas + 1))
    return Plan(lab, configuration, options, aftrs, b4s)


def _check_outside(pool: AftrPool) -> None:
    if pool.spec.routing is None:
        raise LabError("no spec.routing: AFTRs outside the lab tell its router where slots are, by BGP or on its links")


def _check_inside(pool: AftrPool) -> None:
    """What the lab's own AFTRs can have: two arms, and a router that is told where slots are if there are several."""
    sides, replicas = sorted(interface.side for interface in pool.spec.interfaces), pool.spec.replicas
    if sides not in ([], ["access", "internet"]):
        raise LabError(f"interfaces with sides {', '.join(sides)}: the lab has one access and one internet interface")
    if replicas > MOST_AFTRS:
        raise LabError(f"spec.replicas is {replicas}: the lab has addresses for {MOST_AFTRS} AFTRs")
    if replicas > 1 and pool.spec.routing is None:
        raise LabError(f"spec.replicas is {replicas} without spec.routing: static routes lead to one AFTR only")


def _check_store(pool: AftrPool, kind: StoreKind | None) -> None:
    """The lab has no Secrets: where the pool names one, the lab's own Redis is what would stand in it."""
    store = pool.spec.store
    if kind and store is None:
        raise LabError(f"--store {kind}, but the pool has no spec.store: give it one, or leave --store out")
    if kind not in (None, "plain") and store and store.embedded is not None:
        raise LabError(f"--store {kind}, but spec.store has embedded, which is a single Redis: give it a secretRef")
    if kind == "plain" and store and effective_durability(store) == "replicated":
        raise LabError("--store plain, but spec.store.durability is replicated: a single Redis has no replicas")


def _check_routing(pool: AftrPool) -> None:
    """The lab's router is every peer."""
    bgp = pool.spec.routing.bgp if pool.spec.routing else None
    for peer in bgp.peers if bgp else ():
        if peer.address not in (ROUTER_IPV6, ROUTER_IPV4):
            here = f"the lab's router has {ROUTER_IPV6} and {ROUTER_IPV4}"
            raise LabError(f"BGP peer {peer.name} has the address {peer.address}: {here}")
        if peer.password_secret:
            raise LabError(f"BGP peer {peer.name} has a passwordSecret: the lab has no Secrets, leave it out")


def check_told(group: B4Group) -> None:
    """The lab's Kea has no relay in front of it, and a subnet for whoever is in a prefix."""
    owner, subnets = f"B4Group {group.metadata.name}", subnets_of(group)
    if group.spec.match:
        raise LabError(f"{owner} has a match: the lab's B4s ask without a relay, leave it out")
    for prefix in group.spec.prefixes:
        if not any(prefix.subnet_of(subnet) for subnet in subnets):
            raise LabError(f"{owner}: its B4s in {prefix} ask from no subnet in dhcp.subnets: name {prefix} there")


def _plan_b4(configuration: Configuration, clients: Sequence[Client], number: int) -> B4:
    """Groups take B4s in turn, and so do the prefixes of a group.

    B4 n has the n-th subscriber prefix there, and slot n−1, modulo the slots it may have.
    """
    groups, pool = configuration.groups, configuration.pool
    turn, group = (number - 1) // len(groups), groups[(number - 1) % len(groups)]
    carriers = group_slots(pool, group)
    slot = carriers.first + (number - 1) % len(carriers)
    client = clients[(number - 1) % len(clients)] if clients else None
    prefix = _subscriber_prefix(pool, group, number, group.spec.prefixes[turn % len(group.spec.prefixes)])
    return B4(number, group.metadata.name, prefix, slot, slot_address(pool, slot), client)


def _subscriber_prefix(pool: AftrPool, group: B4Group, number: int, prefix: IPv6Network) -> IPv6Network:
    length = effective_subscriber_mask(pool, group)
    subscribers = 1 << (length - prefix.prefixlen) if length >= prefix.prefixlen else 0
    if number > subscribers:
        raise LabError(
            f"B4 {number} finds no /{length} in {prefix} of B4Group {group.metadata.name} (it has {subscribers}): "
            "ask for fewer with --b4s or give the group a shorter prefix"
        )
    return IPv6Network((int(prefix.network_address) + ((number - 1) << (128 - length)), length))


def describe(plan: Plan) -> dict[str, Any]:
    """The plan as JSON: what `state.json` holds and `aftr-lab status -o json` shows."""
    return {
        "lab": plan.lab,
        "pool": plan.pool.metadata.name,
        "accessMtu": plan.options.access_mtu,
        "workers": plan.options.workers,
        "mode": plan.options.mode,
        "options": asdict(plan.options),
        "namespaces": {node: plan.namespace(node) for node in plan.nodes()},
        "bridges": _describe_bridges(plan),
        "gateways": {
            "access": str(SUBSCRIBERS_GATEWAY),
            "aftrAccess": str(ROUTER_IPV6),
            "aftrInternet": str(ROUTER_IPV4),
            "internet": str(ROUTER_IPV4),
            "lan": str(B4_LAN_ADDRESS),
        },
        "store": _describe_store(plan),
        "bgp": _describe_bgp(plan),
        "provider": describe_provider(plan.namespace, plan.pool) if plan.options.clients else None,
        "server": {"address": str(SERVER_ADDRESS), "url": f"http://{SERVER_ADDRESS}/"},
        "slots": [_describe_slot(plan.pool, slot) for slot in range(plan.pool.spec.slots)],
        "aftrs": [_describe_aftr(plan, aftr) for aftr in plan.aftrs],
        "b4s": [_describe_b4(plan, b4) for b4 in plan.b4s],
    }


def _describe_store(plan: Plan) -> dict[str, Any] | None:
    if plan.durability is None:
        return None
    first = plan.stores[0]
    return {
        "namespace": plan.namespace(first.name),
        "address": str(first.address),
        "port": first.port,
        "url": store_url(plan.store),
        "kind": plan.store,
        "nodes": [{"name": one.name, "role": one.role, "address": str(one)} for one in plan.stores],
        "durability": plan.durability,
    }


def _describe_bgp(plan: Plan) -> dict[str, Any] | None:
    if plan.bgp is None:
        return None
    sessions = [
        {
            "name": session.name,
            "aftr": session.aftr.name if session.aftr else None,
            "peer": session.peer.name,
            "families": list(session.peer.families),
            "router": str(session.peer.address),
            "address": str(session.address),
        }
        for session in bgp_sessions(plan.bgp, plan.aftrs)
    ]
    return {"localAsn": plan.bgp.local_asn, "sessions": sessions}


def _describe_bridges(plan: Plan) -> dict[str, Any]:
    """Where further devices can be attached, and what they may use there."""
    access = {
        "namespace": plan.namespace("access"),
        "device": "subscribers",
        "gateway": str(SUBSCRIBERS_GATEWAY),
        "prefixes": [str(prefix) for prefix in plan.registered_prefixes()],
        "mtu": plan.options.access_mtu,
    }
    router = plan.namespace("router")
    aftr_access = {"namespace": router, "device": "access", "gateway": str(ROUTER_IPV6), "prefixes": [str(ACCESS_LINK)]}
    internet = {
        "namespace": router,
        "device": "internet",
        "gateway": str(ROUTER_IPV4),
        "prefixes": [str(INTERNET_LINK)],
    }
    management = {
        "namespace": plan.namespace("store"),
        "device": "mgmt",
        "gateway": str(MANAGEMENT_LINK[1]),
        "prefixes": [str(MANAGEMENT_LINK)],
        "mtu": MANAGEMENT_MTU,
    }
    return ({"management": management} if plan.durability else {}) | {
        "access": access,
        "aftrAccess": aftr_access | {"mtu": plan.options.access_mtu},
        "internet": internet | {"mtu": INTERNET_MTU},
    }


def _describe_slot(pool: AftrPool, slot: int) -> dict[str, Any]:
    prefixes = [{"pool": part.pool_name, "prefix": str(part.network)} for part in slot_prefixes(pool, slot)]
    return {
        "slot": slot,
        "tunnelAddress": str(slot_address(pool, slot)),
        "fqdn": slot_fqdn(pool, slot),
        "prefixes": prefixes,
    }


def _describe_aftr(plan: Plan, aftr: Aftr) -> dict[str, Any]:
    return {
        "name": aftr.name,
        "namespace": plan.namespace(aftr.name),
        "access": {"device": "access", "address": str(aftr.access_address)},
        "internet": {"device": "internet", "address": str(aftr.internet_address)},
        **({"mgmt": {"device": "mgmt", "address": str(aftr.management_address)}} if plan.durability else {}),
        "status": f"http://[::1]:{STATUS_PORT}",
    }


def _describe_b4(plan: Plan, b4: B4) -> dict[str, Any]:
    known = b4 not in plan.told_outside
    return {
        "name": b4.name,
        "namespace": plan.namespace(b4.name),
        "group": b4.group,
        "prefix": str(b4.prefix),
        "address": str(b4.address),
        "slot": b4.slot if known else None,
        "tunnelAddress": str(b4.tunnel_address) if known else None,
        "client": b4.client,
        "host": {"name": b4.host, "namespace": plan.namespace(b4.host), "address": str(HOST_ADDRESS)},
    }
