"""Redis Cluster and Sentinel: every slot at its node, and found again when a primary dies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TypeVar

import pytest

from aftr.ops.agent import Options, settings_of
from aftr.store.errors import StoreError, StoreRefusedError
from aftr.store.settings import Durability
from aftr.store.slots import STORED, Append, Owner, Reply
from aftr.store.store import Store
from dslite_contract.journal import NOTHING, EntryId
from dslite_contract.load import load_config
from dslite_contract.store_keys import head_key
from redis_servers import PATIENCE_S, Server, cluster, watched
from rig import config_text
from store_records import SLOT, Open, append, chunk, entry, numbers, numbers_of

SLOTS = range(16)
T = TypeVar("T")


@pytest.fixture(scope="module")
def six_nodes() -> Iterator[list[Server]]:
    with cluster(3) as nodes:
        yield nodes


def cluster_url(nodes: list[Server]) -> str:
    return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes)


async def again(ask: Callable[[], Awaitable[T]], wanted: Callable[[T], bool]) -> T:
    """The first answer that is as wanted; errors on the way are asked over, as the control thread does."""
    end = monotonic() + PATIENCE_S
    while True:
        try:
            answer = await ask()
            if wanted(answer):
                return answer
        except StoreError:
            pass
        assert monotonic() < end
        await asyncio.sleep(0.02)


async def all_claimed(store: Store) -> dict[int, Owner]:
    claims = await asyncio.gather(*(store.claim(slot, "a", None) for slot in SLOTS))
    return {slot: owner for slot, owner in zip(SLOTS, claims, strict=True) if owner}


async def numbers_of_slot(store: Store, slot: int) -> list[int]:
    return await numbers_of(store.read(slot))


# ---------------------------------------------------------------- cluster
async def test_a_cluster_has_every_slot_somewhere(open_store: Open, six_nodes: list[Server]) -> None:
    store = await open_store(
        cluster_url(six_nodes[3:4]), durability=Durability.REPLICATED
    )  # a replica knows the map too
    owners = await all_claimed(store)
    assert len(owners) == 16
    batch = [Append(slot, owner, EntryId(1, 0), entry(slot)) for slot, owner in owners.items()]
    assert await store.append_all(batch) == [Reply.OK] * 16
    assert {slot: head.owner for slot, head in (await store.owners()).items()} == owners
    for slot, owner in owners.items():
        assert await store.write_checkpoint(slot, owner, EntryId(1, 1), [chunk(slot), chunk(100)]) is Reply.OK
        assert await numbers_of(store.read(slot)) == [slot, 100]
    keys = [node.cli("DBSIZE") for node in six_nodes[:3]]
    assert all(int(number) > 3 for number in keys)


async def test_tail_over_all_nodes_of_a_cluster(open_store: Open, six_nodes: list[Server]) -> None:
    store, follower = await open_store(cluster_url(six_nodes)), await open_store(cluster_url(six_nodes), uid="b")
    owners = await all_claimed(store)
    positions = dict.fromkeys(SLOTS, EntryId(1, 0))
    found: dict[int, list[int]] = {slot: [] for slot in SLOTS}

    async def follow() -> None:
        while any(len(of_slot) < 3 for of_slot in found.values()):
            for slot, entries in (await follower.tail(positions, 100)).items():
                found[slot] += numbers(*(part for _, part in entries))
                positions[slot] = entries[-1][0]

    following = asyncio.create_task(follow())
    for seq in range(3):
        for slot, owner in owners.items():
            assert await append(store, slot, owner, EntryId(1, seq), entry(100 * slot + seq)) is Reply.OK
    await following
    assert found == {slot: [100 * slot + seq for seq in range(3)] for slot in SLOTS}
    assert await follower.tail(positions, 1) == {}


async def test_a_slot_of_the_cluster_moves_to_another_node(open_store: Open, six_nodes: list[Server]) -> None:
    """A hash slot without keys is given to another primary: the next attempt finds it there."""
    store = await open_store(cluster_url(six_nodes))
    ids = [node.cli("CLUSTER", "MYID") for node in six_nodes[:3]]

    async def move(slot: int) -> None:
        await store.owners()  # the map has been read
        number = six_nodes[0].cli("CLUSTER", "KEYSLOT", head_key(store.settings.prefix, slot))
        old = int(number) // 5462
        new = (old + 1) % 3
        six_nodes[new].cli("CLUSTER", "SETSLOT", number, "IMPORTING", ids[old])
        for place in (new, old, (old + 2) % 3):  # the new one first: that gives it the newest epoch
            six_nodes[place].cli("CLUSTER", "SETSLOT", number, "NODE", ids[new])

    await move(SLOT)
    with pytest.raises(StoreError, match=r"MOVED .* the map is read again"):
        await store.claim(SLOT, "a", None)
    owner = await store.claim(SLOT, "a", None)
    assert owner
    assert await append(store, SLOT, owner, EntryId(1, 0), entry(1)) is Reply.OK
    await move(SLOT + 1)
    assert await append(store, SLOT + 1, owner, EntryId(1, 0), entry(1)) is Reply.UNCONFIRMED
    assert await append(store, SLOT + 1, owner, EntryId(1, 0), entry(1)) is Reply.REWOUND  # found, and empty


async def test_a_primary_of_the_cluster_dies(open_store: Open) -> None:
    with cluster(3) as nodes:
        store = await open_store(cluster_url(nodes), durability=Durability.REPLICATED, wait_replicas=1, timeout=0.5)
        owners = await all_claimed(store)
        batch = [Append(slot, owner, EntryId(1, 0), entry(slot)) for slot, owner in owners.items()]
        assert await store.append_all(batch) == [Reply.OK] * 16
        nodes[0].kill()
        for slot in SLOTS:  # nothing that was acknowledged is lost
            assert await again(partial(numbers_of_slot, store, slot), bool) == [slot]
        assert {slot: head.last for slot, head in (await store.owners()).items()} == dict.fromkeys(SLOTS, EntryId(1, 1))
        batch = [Append(slot, owner, EntryId(1, 1), entry(100)) for slot, owner in owners.items()]
        replies = await store.append_all(batch)
        assert {Reply.OK, Reply.UNCONFIRMED} == set(replies)  # the promoted one has no replica
        assert "0 of 1 replicas" in store.trouble


# ---------------------------------------------------------------- Sentinel
async def test_a_primary_under_sentinel_dies(open_store: Open) -> None:
    with watched(2) as (primary, replicas, sentinels):
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in sentinels)
        url = f"redis+sentinel://{hosts}/pool"
        store = await open_store(url, durability=Durability.REPLICATED, timeout=0.5)
        follower = await open_store(url, uid="b", timeout=0.5)
        owner = await store.claim(SLOT, "a", None)
        assert owner
        assert await append(store, SLOT, owner, EntryId(1, 0), entry(1)) is Reply.OK
        assert list(await follower.tail({SLOT: NOTHING}, 1)) == [SLOT]
        primary.kill()
        sentinels[0].kill()  # two are still the majority, and the client asks the next
        command = Append(SLOT, owner, EntryId(1, 1), entry(2))
        await again(lambda: store.append_all([command]), lambda replies: replies[0] in STORED)
        assert store.trouble == ""
        assert await numbers_of(store.read(SLOT)) == [1, 2]
        entries = await again(lambda: follower.tail({SLOT: EntryId(1, 1)}, 100), bool)
        assert numbers(*(part for _, part in entries[SLOT])) == [2]
        assert sorted(replica.cli("ROLE").split()[0] for replica in replicas) == ["master", "slave"]


async def test_sentinels_that_want_a_password(tmp_path: Path) -> None:
    """Without it the Secret's key is named; as soon as it is there their primary is found, and the promoted one after it."""
    spec = {"replicas": 2, "slots": 16, "store": {"secretRef": "redis", "durability": "memory"}}
    pool = load_config(config_text(spec)).pool
    with watched(1, "secret") as (primary, _, sentinels):
        (tmp_path / "store").mkdir()
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in sentinels)
        (tmp_path / "store/url").write_text(f"redis+sentinel://{hosts}/pool")
        options = Options(Path("pool.yaml"), (), member="a", secrets=tmp_path)
        store = Store(settings_of(options, pool))
        with pytest.raises(StoreRefusedError, match=r"NOAUTH .* sentinel-password, if it is a Sentinel"):
            await store.prepare()
        (tmp_path / "store/sentinel-password").write_text("secret\n")
        store.log_in(settings_of(options, pool))
        await store.prepare()
        owner = await store.claim(SLOT, "a", None)
        assert owner
        assert await append(store, SLOT, owner, EntryId(1, 0), entry(1)) is Reply.OK
        primary.kill()
        command = Append(SLOT, owner, EntryId(1, 1), entry(2))
        await again(lambda: store.append_all([command]), lambda replies: replies[0] in STORED)
        assert await numbers_of(store.read(SLOT)) == [1, 2]
        await store.close()


async def test_what_sentinel_does_not_tell(open_store: Open) -> None:
    with watched(0) as (primary, _, sentinels):
        url = f"redis+sentinel://127.0.0.1:{sentinels[0].port}/pool"
        with pytest.raises(StoreError, match=r"no Sentinel of .* knows a primary 'other'"):
            await open_store(url.replace("pool", "other"))
        sentinels[0].cli("ACL", "SETUSER", "default", "resetpass", ">secret")
        with pytest.raises(StoreRefusedError, match="NOAUTH"):
            await open_store(url)
        store = await open_store(url, sentinel_password="secret")
        assert await store.claim(SLOT, "a", None)
        assert primary.cli("DBSIZE") == "3"  # head, journal, the pool's mark
        sentinels[0].kill()
        primary.kill()
        for _ in range(2):  # at first its address is still known
            assert await append(store, SLOT, Owner(1, "a"), EntryId(1, 0), entry(1)) is Reply.UNCONFIRMED
        assert f"{sentinels[0].port} cannot be reached" in store.trouble
        assert await store.write_checkpoint(SLOT, Owner(1, "a"), EntryId(1, 0), [chunk(1)]) is Reply.UNCONFIRMED
