"""Where the store is and what is asked of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal, NamedTuple
from urllib.parse import unquote, urlsplit

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
    """A pool's store. `timeout` in seconds; `cluster` and `pool` are the ids that the state belongs to, "" where nobody gives any.

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
    trim_beyond: int = 0  # entries after a checkpoint that it trims too: none, but in tests that must see the loss


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

    def __str__(self) -> str:
        """As a URL, without the login."""
        scheme = self.kind.value.replace("redis", "rediss", 1) if self.tls else self.kind.value
        return f"{scheme}://{','.join(map(str, self.nodes))}{'/' if self.name else ''}{self.name}"


DEFAULT_PORT = {Kind.SENTINEL: 26379}
_PATHS = {
    Kind.STANDALONE: re.compile("0?"),  # the database
    Kind.SENTINEL: re.compile(r"[\w.-]+"),
    Kind.CLUSTER: re.compile(""),
    Kind.UNIX: re.compile(".+"),
}
EXAMPLES = "redis://host:6379, redis+sentinel://host:26379/name, redis+cluster://host:6379, or unix:///path"


def parse_url(url: str) -> Address:
    """Raises StoreUnsuitableError; the sentence has no password."""
    scheme, _, rest = url.partition("://")
    login, _, place = rest.rpartition("@")
    hosts, slash, path = place.partition("/")
    username, _, password = login.partition(":")
    wrong = StoreUnsuitableError(f"store address '{scheme}://{place}' is not understood: {EXAMPLES}")
    try:
        kind = Kind(scheme.replace("rediss", "redis", 1))
        nodes = (Node(slash + path, 0),) if kind is Kind.UNIX else tuple(_nodes(hosts, DEFAULT_PORT.get(kind, 6379)))
    except ValueError:
        raise wrong from None
    if not _PATHS[kind].fullmatch(path) or (kind is Kind.UNIX and hosts):
        raise wrong
    if kind is Kind.STANDALONE and len(nodes) > 1:
        raise StoreUnsuitableError(
            f"store address '{scheme}://{place}' has {len(nodes)} hosts: only Sentinel and Cluster have several"
        )
    name = path if kind is Kind.SENTINEL else ""
    return Address(kind, nodes, scheme.startswith("rediss"), name, unquote(username), unquote(password))


def _nodes(hosts: str, default_port: int) -> Iterator[Node]:
    for host in hosts.split(","):
        one = urlsplit(f"//{host}")
        if not one.hostname or one.query or one.fragment:
            raise ValueError
        yield Node(one.hostname, one.port or default_port)
