"""Addresses of a store, and what is thought of one by its version and settings."""

from __future__ import annotations

import pytest

from aftr.store.errors import StoreUnsuitableError
from aftr.store.readiness import Facts, objections, warnings
from aftr.store.settings import Address, Durability, Kind, Node, StoreSettings, parse_url

NODE = Node("redis", 6379)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://host", Address(Kind.STANDALONE, (Node("host", 6379),))),
        ("redis://host:1/0", Address(Kind.STANDALONE, (Node("host", 1),))),
        ("rediss://u:p%40@[2001:db8::1]:2", Address(Kind.STANDALONE, (Node("2001:db8::1", 2),), True, "", "u", "p@")),
        ("unix:///run/redis.sock", Address(Kind.UNIX, (Node("/run/redis.sock", 0),))),
        ("redis+sentinel://a,b:3/east", Address(Kind.SENTINEL, (Node("a", 26379), Node("b", 3)), False, "east")),
        ("rediss+cluster://a:1,[::1]:2", Address(Kind.CLUSTER, (Node("a", 1), Node("::1", 2)), True)),
    ],
)
def test_addresses(url: str, address: Address) -> None:
    assert parse_url(url) == address


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://u:p@host", "redis://host:6379"), ("rediss+sentinel://a,b:3/east", "rediss+sentinel://a:26379,b:3/east"),
        ("redis+cluster://[::1]:2", "redis+cluster://[::1]:2"), ("unix:///run/redis.sock", "unix:///run/redis.sock"),
    ],
)  # fmt: skip
def test_addresses_are_shown_without_the_login(url: str, shown: str) -> None:
    assert str(parse_url(url)) == shown


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host:6379",
        "http://host",
        "redis://",
        "redis://host/3",
        "redis://host:x",
        "redis://host?a=b",
        "redis://a,b",
        "redis://host/0?x",
        "unix://",
        "unix://a/b",
        "redis+sentinel://host",
        "redis+sentinel://host/a/b",
        "redis+cluster://host/name",
        "redisss://host",
    ],
)
def test_addresses_that_are_not_understood(url: str) -> None:
    with pytest.raises(StoreUnsuitableError, match="store address"):
        parse_url(url)


def test_passwords_are_not_shown() -> None:
    with pytest.raises(StoreUnsuitableError) as caught:
        parse_url("redis://user:secret@host/3")
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(parse_url("redis://user:secret@host"))
    assert "secret" not in repr(StoreSettings("redis://host", "p", "a", 1, password="secret"))


def test_nodes_are_shown_as_people_write_them() -> None:
    assert [str(node) for node in (NODE, Node("::1", 1), Node("/a.sock", 0))] == ["redis:6379", "[::1]:1", "/a.sock"]


@pytest.mark.parametrize(
    ("version", "config", "durability", "sentence"),
    [
        ((6, 2, 16), {}, Durability.MEMORY, "is Redis 6.2.16: 7.0 or newer is needed"),
        (
            (7, 0, 15),
            {"appendonly": "yes", "appendfsync": "everysec"},
            Durability.DISK,
            "is Redis 7.0.15 without appendonly yes",
        ),
        ((7, 0, 15), {}, Durability.DISK, "is Redis 7.0.15 without appendonly yes"),  # not readable: no proof
        ((7, 2, 0), {"appendonly": "no"}, Durability.DISK, "has appendonly no"),
        (
            (7, 2, 0),
            {"maxmemory": "9", "maxmemory-policy": "volatile-ttl"},
            Durability.NONE,
            "has maxmemory-policy volatile-ttl",
        ),
    ],
)
def test_objections(version: tuple[int, ...], config: dict[str, str], durability: Durability, sentence: str) -> None:
    (found,) = objections(Facts(NODE, version, config, 0), durability)
    assert found.startswith(sentence)


@pytest.mark.parametrize(
    ("version", "config"),
    [((7, 2, 0), {"appendonly": "yes"}), ((7, 2, 0), {}), ((7, 0), {"appendonly": "yes", "appendfsync": "always"})],
)
def test_no_objections_to_a_disk(version: tuple[int, ...], config: dict[str, str]) -> None:
    assert objections(Facts(NODE, version, config, 0), Durability.DISK) == []


def test_warnings() -> None:
    replicated = StoreSettings("redis://host", "p", "a", 1, Durability.REPLICATED, 2)
    assert warnings(Facts(NODE, (7, 0), {"min-replicas-to-write": "1"}, 1), replicated) == [
        "store redis:6379 has 1 replicas: new bindings wait until it has 2",
        "store redis:6379 has min-replicas-to-write below 2: a primary cut off from its replicas takes writes",
    ]
    assert warnings(Facts(NODE, (7, 0), {}, 2), replicated) == []


def test_a_primary_that_would_write_alone_is_warned_of() -> None:
    """Also with `memory`: cut off together with an AFTR, it would take what that AFTR writes while a replica is promoted."""
    memory, alone = StoreSettings("redis://host", "p", "a", 1), {"min-replicas-to-write": "0"}
    assert warnings(Facts(NODE, (7, 0), alone, 2), memory) == [
        "store redis:6379 has min-replicas-to-write below 1: a primary cut off from its replicas takes writes"
    ]
    assert warnings(Facts(NODE, (7, 0), {"min-replicas-to-write": "1"}, 2), memory) == []
    assert warnings(Facts(NODE, (7, 0), alone, 0), memory) == []
    assert warnings(Facts(NODE, (7, 0), {}, 2), memory) == []
