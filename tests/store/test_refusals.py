"""A store that refuses, hangs or is set up wrongly: what is answered, and what a person is told."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from aftr.ops.agent import Options, settings_of
from aftr.store.errors import StoreError, StoreRefusedError, StoreUnreachableError, StoreUnsuitableError
from aftr.store.settings import Durability, StoreSettings
from aftr.store.slots import Owner, Reply
from aftr.store.store import Store
from dslite_contract.journal import EntryId
from dslite_contract.load import load_config
from dslite_contract.store_keys import ids_key
from redis_servers import Server, server
from rig import config_text
from store_records import SLOT, Open, append, claimed, entry, numbers_of


async def test_out_of_memory(open_store: Open) -> None:
    with server() as redis:
        store = await open_store(redis.url)
        owner = await claimed(store)
        redis.cli("CONFIG", "SET", "maxmemory", "1")
        assert await append(store, SLOT, owner, EntryId(1, 0), entry(1)) is Reply.REFUSED
        assert "OOM" in store.trouble
        assert store.trouble.endswith("raise maxmemory, or remove what else is stored there")
        with pytest.raises(StoreRefusedError, match="OOM"):
            await store.claim(SLOT, "b", owner)
        redis.cli("CONFIG", "SET", "maxmemory", "0")
        assert await append(store, SLOT, owner, EntryId(1, 0), entry(1)) is Reply.OK


async def test_a_disk_that_cannot_be_written(open_store: Open) -> None:
    with server("--rdb-key-save-delay", "0") as redis:
        store = await open_store(redis.url)
        owner = await claimed(store)
        redis.cli("CONFIG", "SET", "save", "1 1")
        (redis.directory / "dump.rdb").mkdir()  # the snapshot cannot be renamed to it
        redis.cli("BGSAVE")
        redis.wait_for("Background saving error")
        assert await append(store, SLOT, owner, EntryId(1, 0), entry(1)) is Reply.REFUSED
        assert "MISCONF" in store.trouble
        assert "look at its log and its disk" in store.trouble


async def test_too_few_replicas_for_the_server(open_store: Open) -> None:
    with server() as redis:
        store = await open_store(redis.url)
        owner = await claimed(store)
        redis.cli("CONFIG", "SET", "min-replicas-to-write", "1")
        assert await append(store, SLOT, owner, EntryId(1, 0), entry(1)) is Reply.REFUSED
        assert "NOREPLICAS" in store.trouble
        assert "min-replicas-to-write" in store.trouble


async def test_passwords(open_store: Open) -> None:
    with server("--requirepass", "right") as redis:
        with pytest.raises(StoreRefusedError, match=r"answered 'NOAUTH .*it wants a password"):
            await open_store(redis.url)
        for url, more in ((redis.url.replace("//", "//:wrong@"), {}), (redis.url, {"password": "wrong"})):
            with pytest.raises(StoreRefusedError, match=r"WRONGPASS .*compare the store's secret") as caught:
                await open_store(url, **more)
            assert "wrong@" not in str(caught.value)
        store = await open_store(redis.url.replace("//", "//default:right@"))
        owner = await claimed(store)
        redis.cli("-a", "right", "--no-auth-warning", "CONFIG", "SET", "requirepass", "changed")
        redis.cli("-a", "changed", "--no-auth-warning", "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await append(store, SLOT, owner, EntryId(1, 0), entry(1))  # may still go to the old connection
        assert await append(store, SLOT, owner, EntryId(1, 0), entry(1)) is Reply.REFUSED
        assert "WRONGPASS" in store.trouble


async def test_a_second_password_takes_the_place_of_the_first_without_a_gap(open_store: Open) -> None:
    """Redis lets in both for a while; connections that are open stay, those that are made anew have the login of then."""
    with server(tcp=True) as redis:
        redis.cli("ACL", "SETUSER", "pool", "on", ">first", "allkeys", "allchannels", "+@all")
        store = await open_store(redis.url, username="pool", password="first")
        owner = await claimed(store)
        redis.cli("ACL", "SETUSER", "pool", ">second")
        store.log_in(replace(store.settings, password="second"))
        assert await append(store, SLOT, owner, EntryId(1, 0), entry(1)) is Reply.OK
        redis.cli("ACL", "SETUSER", "pool", "<first")
        assert await append(store, SLOT, owner, EntryId(1, 1), entry(2)) is Reply.OK
        redis.cli("CLIENT", "KILL", "USER", "pool")
        await store.heartbeat({})
        await append(store, SLOT, owner, EntryId(1, 2), entry(3))  # may still go to the old connection
        assert await append(store, SLOT, owner, EntryId(1, 2), entry(3)) in (Reply.OK, Reply.DUPLICATE)
        assert await numbers_of(store.read(SLOT)) == [1, 2, 3]
        with pytest.raises(StoreRefusedError, match="WRONGPASS"):
            await open_store(redis.url, uid="b", username="pool", password="first")


async def test_a_login_of_another_place_is_refused(open_store: Open, shared_redis: Server) -> None:
    store = await open_store(shared_redis.url)
    words = "names redis://elsewhere:6379 now, and this process keeps to unix:"
    with pytest.raises(StoreUnsuitableError, match=words) as caught:
        store.log_in(replace(store.settings, url="redis://pool:secret@elsewhere"))
    assert "secret@" not in str(caught.value)
    await store.heartbeat({})


async def test_a_user_of_one_pool(open_store: Open, prefix: str) -> None:
    """The pool's keys, reading and writing, and a handful of commands more are enough."""
    with server() as redis:
        rights = [
            "resetchannels",
            "-@all",
            "+@read",
            "+@write",
            "+@connection",
            "+eval",
            "+evalsha",
            "+script|load",
            "+wait",
        ]
        rights += ["+info", "+role", "+xread"]
        redis.cli("ACL", "SETUSER", "pool", "on", ">secret", f"~{{{prefix}/*", f"~{prefix}:*", *rights)
        store = await open_store(redis.url, username="pool", password="secret")
        owner = await claimed(store)
        assert await append(store, SLOT, owner, EntryId(1, 0), entry(1)) is Reply.OK
        assert await store.write_checkpoint(SLOT, owner, EntryId(1, 1), []) is Reply.OK
        await store.heartbeat({})
        redis.cli("ACL", "SETUSER", "pool", "-evalsha")
        assert await append(store, SLOT, owner, EntryId(1, 1), entry(2)) is Reply.REFUSED
        assert "NOPERM" in store.trouble
        with pytest.raises(StoreRefusedError, match="NOPERM"):
            await open_store(redis.url, username="pool", password="secret", prefix="ns/other")


async def test_a_replica_is_not_written(open_store: Open) -> None:
    with server(tcp=True) as redis, server(tcp=True) as other:
        store = await open_store(redis.url)
        owner = await claimed(store)
        redis.cli("REPLICAOF", "127.0.0.1", str(other.port))
        assert await append(store, SLOT, owner, EntryId(1, 0), entry(1)) is Reply.REFUSED
        assert "READONLY" in store.trouble
        assert "give the address of the primary" in store.trouble
        with pytest.raises(StoreUnsuitableError, match="is a replica"):
            await open_store(redis.url, uid="b")


async def test_a_store_that_is_not_there(open_store: Open, tmp_path: object) -> None:
    for url in (f"unix://{tmp_path}/none", "redis://127.0.0.1:1"):
        with pytest.raises(StoreUnreachableError, match=r"store (/|127.0.0.1:1).* cannot be reached"):
            await open_store(url)


async def test_a_store_that_hangs(open_store: Open) -> None:
    with server() as redis:
        store = await open_store(redis.url, timeout=0.3)
        owner = await claimed(store)
        redis.pause()
        assert await append(store, SLOT, owner, EntryId(1, 0), entry(1)) is Reply.UNCONFIRMED
        assert store.trouble.endswith("did not answer in 0.3 s")
        with pytest.raises(StoreUnreachableError, match="did not answer"):
            await store.heartbeat({})
        with pytest.raises(StoreUnreachableError):
            await store.claim(SLOT, "b", owner)
        redis.go_on()
        second = await store.claim(SLOT, "b", owner)
        assert second == Owner(2, "b")


async def test_an_answer_that_came_too_late_is_not_taken_for_the_next(open_store: Open) -> None:
    """What was asked in vain is asked again: the entry that was stored all the same is not stored twice."""
    with server() as redis:
        store = await open_store(redis.url, timeout=0.3)
        owner = await claimed(store)
        redis.pause()
        tries = [await append(store, SLOT, owner, EntryId(1, 0), entry(1)) for _ in range(3)]
        redis.go_on()
        redis.cli("PING")
        assert tries == [Reply.UNCONFIRMED] * 3
        assert await append(store, SLOT, owner, EntryId(1, 0), entry(1)) is Reply.DUPLICATE
        assert await numbers_of(store.read(SLOT)) == [1]


async def test_cancelling_leaves_nothing_behind(open_store: Open) -> None:
    with server() as redis:
        store = await open_store(redis.url)
        redis.pause()
        waiting = asyncio.create_task(store.members())
        await asyncio.sleep(0)
        waiting.cancel()
        assert isinstance((await asyncio.gather(waiting, return_exceptions=True))[0], asyncio.CancelledError)
        redis.go_on()
        assert await store.members() == {}


# ---------------------------------------------------------------- set up
async def test_eviction_is_refused(open_store: Open) -> None:
    with server("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru") as redis:
        with pytest.raises(
            StoreUnsuitableError, match="maxmemory-policy allkeys-lru and would throw bindings away: set noevi"
        ):
            await open_store(redis.url)
        redis.cli("CONFIG", "SET", "maxmemory-policy", "noeviction")
        await open_store(redis.url)


async def test_disk_wants_a_disk(open_store: Open) -> None:
    with server() as redis, pytest.raises(StoreUnsuitableError, match=r"without appendonly yes and appendfsync always"):
        await open_store(redis.url, durability=Durability.DISK)
    with server("--appendonly", "yes", "--appendfsync", "always") as redis:
        store = await open_store(redis.url, durability=Durability.DISK)
        owner = await claimed(store)
        assert await append(store, SLOT, owner, EntryId(1, 0), entry(1)) is Reply.OK
        redis.kill()
        redis.start()
        assert await numbers_of(store.read(SLOT)) == [1]
        assert await append(store, SLOT, owner, EntryId(1, 1), entry(2)) is Reply.OK


async def test_another_pools_store_is_adopted_only_when_told(
    open_store: Open, shared_redis: Server, prefix: str
) -> None:
    await open_store(shared_redis.url, cluster="c1", pool="p1")
    await open_store(shared_redis.url, cluster="c1", pool="p1")
    with pytest.raises(
        StoreUnsuitableError, match=r"belongs to pool 'p1' of cluster 'c1', not to 'p2' of 'c1': .* store.adopt"
    ):
        await open_store(shared_redis.url, cluster="c1", pool="p2")
    await open_store(shared_redis.url, cluster="c1", pool="p2", adopt=True)
    assert shared_redis.cli("GET", ids_key(prefix)) == "c1 p2"
    assert issubclass(StoreUnsuitableError, StoreError)


def as_run(redis: Server, member: str, cluster: str = "", pool: str = "", adopt: bool = False) -> StoreSettings:
    """The store of the pool default/test, as `aftr run` with these ids has it."""
    spec = {"replicas": 2, "slots": 16, "store": {"secretRef": "redis", "durability": "memory", "adopt": adopt}}
    options = Options(Path("pool.yaml"), (), member=member, store=redis.url, cluster=cluster, pool=pool)
    return settings_of(options, load_config(config_text(spec)).pool)


async def joined(settings: StoreSettings) -> Owner | None:
    """A member's first steps: it claims a slot that nobody has, if the store lets it in."""
    store = Store(settings)
    try:
        await store.prepare()
        return await store.claim(SLOT, settings.uid, None)
    finally:
        await store.close()


@pytest.mark.parametrize("other", [("c2", "p2"), ("c1", "p2"), ("", "")])
async def test_pools_of_one_name_do_not_share_a_store(other: tuple[str, str]) -> None:
    """Those of two clusters, one that was deleted and made again, and an `aftr run` without ids."""
    with server() as redis:
        assert await joined(as_run(redis, "a", "c1", "p1")) == Owner(1, "a")
        before = sorted(redis.cli("KEYS", "*").split())
        with pytest.raises(
            StoreUnsuitableError, match=r"'default/test:ids' belongs to pool 'p1' of cluster 'c1', not to"
        ):
            await joined(as_run(redis, "b", *other))
        assert sorted(redis.cli("KEYS", "*").split()) == before
        assert await joined(as_run(redis, "b", *other, adopt=True)) is None, "it has found the owner that there was"
        with pytest.raises(
            StoreUnsuitableError, match=r"not to 'p1' of 'c1': give it a Redis of its own, or store.adopt"
        ):
            await joined(as_run(redis, "a", "c1", "p1"))


async def test_a_store_of_a_version_without_ids_is_taken_over_once() -> None:
    """That version goes on beside the new one, and may come back: its own mark stays."""
    with server() as redis:
        redis.cli("SET", "default/test:pool", " ")
        assert await joined(as_run(redis, "a", "c1", "p1")) == Owner(1, "a")
        assert redis.cli("STRLEN", "default/test:pool") == "1"
        with pytest.raises(StoreUnsuitableError, match="belongs to pool 'p1'"):
            await joined(as_run(redis, "b", "c2", "p2"))
