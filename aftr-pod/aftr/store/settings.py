"""Where the store is and what is asked of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from aftr.store.errors import StoreUnsuitableError


class Durability(Enum):
    """What an entry survives once it counts as stored."""

    NONE = "none"
    MEMORY = "memory"
    REPLICATED = "replicated"
    DISK = "disk"


class Node(NamedTuple):
    """One Redis: host and port, or with port 0 the path of a unix socket."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" if self.port else self.host


@dataclass(frozen=True)
class Tls:
    """Files (PEM) of TLS; empty: the system's authorities, and no certificate of our own."""

    ca: str = ""
    certificate: str = ""
    key: str = ""


@dataclass(frozen=True)
class StoreSettings:
    """A pool's store. `timeout` in seconds; `cluster` and `pool` are the UIDs that the state belongs to.

    `url`: `redis://host:port`, `redis+sentinel://host:port,host:port/NAME`, `redis+cluster://host:port,host:port` (`rediss…` with TLS), or
    `unix:///path`; user and password may stand before an @, and those given by themselves count more.
    """

    url: str
    prefix: str
    uid: str
    slots: int
    durability: Durability = Durability.MEMORY
    wait_replicas: int | Literal["all"] = "all"
    timeout: float = 1.0
    username: str = ""
    password: str = field(default="", repr=False)
    sentinel_password: str = field(default="", repr=False)
    tls: Tls = Tls()
    cluster: str = ""
    pool: str = ""
    adopt: bool = False


class Kind(Enum):
    """How the node of a key is found."""

    STANDALONE = "redis"
    SENTINEL = "redis+sentinel"
    CLUSTER = "redis+cluster"
    UNIX = "unix"


@dataclass(frozen=True)
class Address:
    """A URL taken apart."""

    kind: Kind
    nodes: tuple[Node, ...]
    tls: bool = False
    name: str = ""  # what Sentinel calls the primary
    username: str = ""
    password: str = field(default="", repr=False)


DEFAULT_PORT = {Kind.SENTINEL: 26379}
EXAMPLES = "redis://host:6379, redis+sentinel://host:26379/name, redis+cluster://host:6379, or unix:///path"


def parse_url(url: str) -> Address:
    """Raises StoreUnsuitableError; the sentence has no password."""
    parts = urlsplit(url)
    shown = url.rsplit("@", 1)[-1]
    secure = parts.scheme in ("rediss", "rediss+sentinel", "rediss+cluster")
    try:
        kind = Kind(parts.scheme.replace("rediss", "redis", 1))
        login, _, hosts = parts.netloc.rpartition("@")
        username, _, password = login.partition(":")
        name = parts.path.strip("/") if kind is Kind.SENTINEL else ""
        nodes = (
            (Node(parts.path, 0),) if kind is Kind.UNIX else tuple(_nodes(parts, hosts, DEFAULT_PORT.get(kind, 6379)))
        )
    except ValueError:
        raise StoreUnsuitableError(f"store address {shown!r} is not understood: {EXAMPLES}") from None
    superfluous = parts.query or parts.fragment or (kind in (Kind.STANDALONE, Kind.CLUSTER) and parts.path.strip("/0"))
    if not nodes[0].host or superfluous or (kind is Kind.SENTINEL) != bool(name):
        raise StoreUnsuitableError(f"store address {shown!r} is not understood: {EXAMPLES}")
    if kind is Kind.STANDALONE and len(nodes) > 1:
        raise StoreUnsuitableError(
            f"store address {shown!r} has {len(nodes)} hosts: only Sentinel and Cluster have several"
        )
    return Address(kind, nodes, secure, name, unquote(username), unquote(password))


def _nodes(parts: SplitResult, hosts: str, default_port: int) -> Iterator[Node]:
    for host in hosts.split(","):
        one = urlsplit(f"{parts.scheme}://{host}")
        yield Node(one.hostname or "", one.port or default_port)
