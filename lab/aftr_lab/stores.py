"""The lab's Redis: one, one with a replica, a Sentinel set, or a Cluster.  Which nodes there are, and what runs on each; pure.

plain      store
replica    store ◄── store-2
sentinel   store ◄── store-2, store-3; the Sentinels store-4 to store-6 watch
cluster    store, store-2, store-3, and store-4 to store-6, a replica of each
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Literal

from dslite_contract.schema import Durability

MANAGEMENT_LINK = IPv4Network("10.64.0.0/24")
STORE_KINDS = ("plain", "replica", "sentinel", "cluster")
PORT, SENTINEL_PORT = 6379, 26379
PRIMARY_NAME = "pool"  # as the Sentinels call it
# With 300 to notice, a Sentinel took the node that had just been promoted for down, and promoted the other.
DOWN_AFTER_MS, FAILOVER_MS = 1000, 3000

StoreKind = Literal["plain", "replica", "sentinel", "cluster"]
Role = Literal["redis", "replica", "sentinel", "cluster"]
ROLES: dict[StoreKind, tuple[Role, ...]] = {
    "plain": ("redis",),
    "replica": ("redis", "replica"),
    "sentinel": ("redis", "replica", "replica", "sentinel", "sentinel", "sentinel"),
    "cluster": ("cluster", "cluster", "cluster", "cluster", "cluster", "cluster"),
}


@dataclass(frozen=True)
class StoreNode:
    """One node of the store, from 1, with one Redis or Sentinel."""

    number: int
    role: Role

    @property
    def name(self) -> str:
        return "store" if self.number == 1 else f"store-{self.number}"

    @property
    def address(self) -> IPv4Address:
        return MANAGEMENT_LINK[self.number]

    @property
    def port(self) -> int:
        return SENTINEL_PORT if self.role == "sentinel" else PORT

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"


def store_nodes(kind: StoreKind) -> tuple[StoreNode, ...]:
    """The nodes of a store, those first that others need."""
    return tuple(StoreNode(number, role) for number, role in enumerate(ROLES[kind], 1))


def store_url(kind: StoreKind) -> str:
    """What the pool's AFTRs are told."""
    nodes = store_nodes(kind)
    if kind == "sentinel":
        return f"redis+sentinel://{','.join(str(node) for node in nodes if node.role == 'sentinel')}/{PRIMARY_NAME}"
    if kind == "cluster":
        return f"redis+cluster://{','.join(map(str, nodes))}"
    return f"redis://{nodes[0]}/0"


def store_command(node: StoreNode, directory: Path, durability: Durability) -> list[str]:
    """A Redis that refuses writes rather than forget one; on disk only where the pool asks for that."""
    place = {
        "--bind": str(node.address),
        "--port": str(node.port),
        "--protected-mode": "no",
        "--dir": str(directory),
        "--daemonize": "no",
    }
    if node.role == "sentinel":
        return ["redis-sentinel", str(directory / "sentinel.conf"), *_words(place)]
    data = {
        "--save": "",
        "--appendonly": "yes" if durability == "disk" else "no",
        "--appendfsync": "always",
        "--maxmemory-policy": "noeviction",
        "--repl-diskless-sync-delay": "0",
    }
    return ["redis-server", *_words(place | data | ROLE_OPTIONS[node.role])]


ROLE_OPTIONS: dict[Role, dict[str, str]] = {
    "redis": {},
    "replica": {"--replicaof": f"{MANAGEMENT_LINK[1]} {PORT}"},
    "cluster": {
        "--cluster-enabled": "yes",
        "--cluster-node-timeout": "500",
        "--cluster-replica-validity-factor": "0",
    },
}


def _words(options: dict[str, str]) -> list[str]:
    return [word for option in options.items() for word in option]


def sentinel_conf() -> str:
    """What a Sentinel starts with; it writes down there what it learns."""
    return (
        f"sentinel monitor {PRIMARY_NAME} {MANAGEMENT_LINK[1]} {PORT} 2\n"
        f"sentinel down-after-milliseconds {PRIMARY_NAME} {DOWN_AFTER_MS}\n"
        f"sentinel failover-timeout {PRIMARY_NAME} {FAILOVER_MS}\n"
    )


def store_client(store: StoreNode, *words: str) -> list[str]:
    """The command that asks a node something."""
    return ["redis-cli", "-h", str(store.address), "-p", str(store.port), *words]


def cluster_create() -> list[str]:
    """The command that makes one cluster of all nodes."""
    nodes = [str(node) for node in store_nodes("cluster")]
    return ["redis-cli", "--cluster", "create", *nodes, "--cluster-replicas", "1", "--cluster-yes"]
