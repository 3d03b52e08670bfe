"""bird.conf from a pool's `routing.bgp` and the addresses of this AFTR's interfaces. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface

from aftr.announce.errors import AnnounceError
from aftr.announce.routes import SLOT_TABLE
from dslite_contract.schema import AftrPool, Bgp, Peer

InterfaceAddress = IPv4Interface | IPv6Interface
Addresses = Mapping[str, Sequence[InterfaceAddress]]  # by name of the pool's interface

SCAN_S = 10  # the kernel tells of each route at once; this is for a message that was lost
HOLD_S, KEEPALIVE_S = 9, 3
CONNECT_DELAY_S, CONNECT_RETRY_S = 1, 2
ERROR_WAIT_S = (1, 4)  # after a first error, and at most
ERROR_FORGET_S = 10
BFD_INTERVAL_MS, BFD_MULTIPLIER = 300, 3
TIME_FORMAT = "%F-%T"  # one word: `control` splits at blanks


def bird_conf(pool: AftrPool, addresses: Addresses, passwords: Mapping[str, str], *, bfd: bool = True) -> str:
    """BIRD's configuration. `passwords`: by the name of their Secret. Raises AnnounceError for what the interfaces lack.

    Only addresses of this pool can leave, each with its route's metric as MED; nothing is learned from the routers.
    """
    bgp = pool.spec.routing.bgp if pool.spec.routing else None
    if bgp is None:
        raise AnnounceError(f"AftrPool {pool.metadata.name} has no spec.routing.bgp")
    parts = [
        "log stderr { info, remote, warning, error, auth, fatal, bug };",
        f"router id {router_id(addresses)};",
        f'timeformat protocol "{TIME_FORMAT}";',
        f"protocol device {{ scan time {SCAN_S}; }}",
        *(_kernel(version) for version in (4, 6)),
    ]
    if bfd:
        timers = f"interval {BFD_INTERVAL_MS} ms; multiplier {BFD_MULTIPLIER};"
        parts.append(f'protocol bfd {{ interface "*" {{ {timers} }}; multihop {{ {timers} }}; }}')
    parts += [session(pool, bgp, peer, addresses, passwords, bfd=bfd) for peer in bgp.peers]
    return "\n".join(parts) + "\n"


def router_id(addresses: Addresses) -> str:
    """The first IPv4 address, else a number made from the first IPv6 address (RFC 6286: unique within the AS is enough)."""
    every = [address for name in sorted(addresses) for address in addresses[name]]
    if not every:
        raise AnnounceError("no interface has an address: BGP needs one")
    first = next((address for address in every if isinstance(address, IPv4Interface)), None)
    return str(first.ip) if first else str(IPv4Interface(zlib.crc32(every[0].ip.packed) or 1).ip)


def _kernel(version: int) -> str:
    return (
        f"protocol kernel slots{version} {{ kernel table {SLOT_TABLE}; learn; scan time {SCAN_S}; "
        f"ipv{version} {{ import all; export none; }}; }}"
    )


def session(
    pool: AftrPool, bgp: Bgp, peer: Peer, addresses: Addresses, passwords: Mapping[str, str], *, bfd: bool
) -> str:
    """One `protocol bgp`; hops are counted (RFC 5082) where the peer is on the link."""
    own = own_address(peer, addresses)
    direct = peer.address in own.network
    lines = [
        f"local {own.ip} as {bgp.local_asn};",
        f"neighbor {peer.address} as {peer.asn};",
        *(["direct;", "ttl security on;"] if direct else ["multihop;"]),
        *([f'password "{password_of(peer, passwords)}";'] if peer.password_secret else []),
        *(["bfd on;"] if bfd else []),
        "graceful restart off;",
        "long lived graceful restart off;",
        f"hold time {HOLD_S};",
        f"keepalive time {KEEPALIVE_S};",
        f"connect delay time {CONNECT_DELAY_S};",
        f"connect retry time {CONNECT_RETRY_S};",
        f"error wait time {ERROR_WAIT_S[0]}, {ERROR_WAIT_S[1]};",
        f"error forget time {ERROR_FORGET_S};",
        *(_channel(pool, peer, family, own) for family in peer.families),
    ]
    body = "\n".join(f"    {line}" for line in lines)
    return f"protocol bgp '{peer.name}' {{\n{body}\n}}"


def own_address(peer: Peer, addresses: Addresses) -> InterfaceAddress:
    """The address of the peer's interface that shares a link with it, else the first of its family."""
    version = peer.address.version
    own = [one for one in addresses.get(peer.interface, ()) if one.version == version and not one.ip.is_link_local]
    if not own:
        raise AnnounceError(f"peer {peer.name}: interface {peer.interface} has no IPv{version} address")
    return next((one for one in own if peer.address in one.network), own[0])


def password_of(peer: Peer, passwords: Mapping[str, str]) -> str:
    """The password of a session, one that BIRD can read."""
    password = passwords.get(peer.password_secret or "")
    if password is None:
        raise AnnounceError(f"peer {peer.name}: no password was given for secret {peer.password_secret}")
    if not password.isprintable() or '"' in password or not 1 <= len(password) <= 80:
        raise AnnounceError(f"peer {peer.name}: its password is not 1 to 80 printable characters without quotes")
    return password


def _channel(pool: AftrPool, peer: Peer, family: str, own: InterfaceAddress) -> str:
    ours = ", ".join(announced(pool, peer.interface) if family == "ipv4" else tunnels(pool))
    policy = f"if net ~ [ {ours} ] then {{ bgp_med = krt_metric; accept; }} reject;"
    return f"{family} {{ import none; next hop address {own.ip}; export filter {{ {policy} }}; }};"


def tunnels(pool: AftrPool) -> Iterator[str]:
    """Tunnel addresses, as BIRD writes sets of prefixes."""
    yield f"{pool.spec.softwire.prefix}{{128,128}}"


def announced(pool: AftrPool, interface: str) -> Iterator[str]:
    """External addresses that the internet reaches by this interface: its NAT pools and those of none, and bypassed hosts."""
    for nat_pool in pool.spec.nat.pools:
        if nat_pool.interface in (None, interface):
            yield from (f"{prefix}+" for prefix in nat_pool.prefixes)
    yield from (str(IPv4Network(address)) for address in sorted({entry.address for entry in pool.spec.nat.bypass}))
