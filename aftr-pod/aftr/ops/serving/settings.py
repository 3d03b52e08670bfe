"""What a member takes from its pool's configuration: the rules of its slots, and the store as it uses it."""

from __future__ import annotations

import socket
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address

from aftr.failover.state import Failsafe, Rules
from aftr.ops.faulthook import FaultHook
from aftr.ops.secrets import StoreLogin
from aftr.store.errors import StoreUnreachableError
from aftr.store.settings import Durability, Kind, StoreSettings, parse_url
from dslite_contract.schema import AftrPool, effective_durability

TOO_FAR = 64  # entries: of fewer, the checkpoint itself has most, as it is written while writing goes on


def rules_of(pool: AftrPool) -> Rules:
    """The pool's times and policy."""
    failover = pool.spec.failover
    drain = failover.drain_seconds * 1000
    return Rules(
        dead_after=failover.dead_after_milliseconds,
        drain=drain,
        read_only=min(drain + 3000, pool.spec.nat.port_block.hold_down_seconds * 500),
        failsafe=Failsafe(failover.failsafe),
    )


def own_address(url: str) -> str:
    """The address by which we reach the store, and others reach us, as a URL has it.  Raises StoreUnreachableError."""
    address = parse_url(url)
    hosts = ["127.0.0.1"] if address.kind is Kind.UNIX else [node.host for node in address.nodes]
    for host in hosts:  # one that is down may have no name either
        with suppress(OSError):
            mine = _address_towards(host)
            return f"[{mine}]" if mine.version == 6 else str(mine)
    raise StoreUnreachableError(
        f"no way to any host of the store: {', '.join(hosts)}: look at their names, and our routes"
    )


def _address_towards(host: str) -> IPv4Address | IPv6Address:
    family, _, _, _, target = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(target)
        return ip_address(probe.getsockname()[0])


def store_settings(
    pool: AftrPool, login: StoreLogin, member: str, hooks: frozenset[FaultHook] = frozenset(), *,
    cluster: str = "", pool_id: str = "",
) -> StoreSettings:  # fmt: skip
    """The store of a pool, as this member uses it."""
    spec = pool.spec.store
    assert spec is not None
    timeout = pool.spec.failover.dead_after_milliseconds * 0.5 / 1000
    return StoreSettings(
        url=login.url, username=login.username, password=login.password, tls=login.tls,
        sentinel_password=login.sentinel_password, cluster=cluster, pool=pool_id,
        prefix=f"{pool.metadata.namespace or 'default'}/{pool.metadata.name}", uid=member, slots=pool.spec.slots,
        durability=Durability(effective_durability(spec)), wait_replicas=spec.wait_replicas, timeout=timeout, adopt=spec.adopt,
        trim_beyond=TOO_FAR if FaultHook.TRIM_TOO_FAR in hooks else 0,
    )  # fmt: skip
