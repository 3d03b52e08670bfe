"""Who may write: the four answers of the script, races for a slot, and handovers."""

from __future__ import annotations

import asyncio
import re

import pytest
from redis.asyncio import Redis

from aftr.store.errors import UnreadableHeadError
from aftr.store.slots import Owner, Reply
from aftr.store.store import Store
from dslite_contract.journal import NOTHING, EntryId
from dslite_contract.store_keys import head_key
from redis_servers import Server
from store_records import SLOT, Open, append, claimed, entry, numbers_of


async def test_the_same_entry_twice_is_stored_once(store: Store) -> None:
    owner = await claimed(store)
    replies = [await append(store, SLOT, owner, EntryId(1, 0), entry(10)) for _ in range(3)]
    assert replies == [Reply.OK, Reply.DUPLICATE, Reply.DUPLICATE]
    assert await numbers_of(store.read(SLOT)) == [10]


async def test_another_entry_of_the_same_id_is_no_duplicate(store: Store) -> None:
    owner = await claimed(store)
    await append(store, SLOT, owner, EntryId(1, 0), entry(10))
    assert await append(store, SLOT, owner, EntryId(1, 0), entry(11)) is Reply.REWOUND


@pytest.mark.parametrize("last", [EntryId(1, 0), EntryId(1, 5)])
async def test_a_store_that_holds_other_than_was_written_is_rewound(store: Store, last: EntryId) -> None:
    owner = await claimed(store)
    for seq in range(3):
        await append(store, SLOT, owner, EntryId(1, seq), entry(seq))
    assert await append(store, SLOT, owner, last, entry(9)) is Reply.REWOUND
    assert await numbers_of(store.read(SLOT)) == [0, 1, 2]


@pytest.mark.parametrize("field", ["epoch", "last", "covers", "writing", "newest"])
async def test_a_head_that_is_none_is_named(store: Store, shared_redis: Server, field: str) -> None:
    await claimed(store)
    key = head_key(store.settings.prefix, SLOT)
    async with Redis.from_url(shared_redis.url) as redis:
        await redis.hset(key, field, "seven")
        named = re.escape(f"{key} is damaged (") + f".*: while an AFTR serves the slot, {re.escape(f'DEL {key}')}"
        for reading in (store.owners(), numbers_of(store.read(SLOT)), store.before(SLOT, 1)):
            with pytest.raises(UnreadableHeadError, match=named):
                await reading
        await redis.delete(key)
    assert await store.owners() == {}


async def test_an_empty_store_is_rewound(store: Store) -> None:
    assert await append(store, SLOT, Owner(4, "a"), EntryId(4, 9), entry(1)) is Reply.REWOUND
    await claimed(store)
    assert await append(store, SLOT, Owner(4, "a"), EntryId(4, 9), entry(1)) is Reply.REWOUND
    assert await numbers_of(store.read(SLOT)) == []


async def test_others_are_fenced(store: Store) -> None:
    first = await claimed(store)
    second = await store.claim(SLOT, "b", first)
    assert second == Owner(2, "b")
    for zombie in (first, Owner(2, "a"), Owner(1, "b")):
        assert await append(store, SLOT, zombie, EntryId(zombie.epoch, 0), entry(1)) is Reply.FENCED
    assert await append(store, SLOT, second, EntryId(2, 0), entry(2)) is Reply.OK
    assert await numbers_of(store.read(SLOT)) == [2]


async def test_one_of_many_claims_a_slot(open_store: Open, shared_redis: Server) -> None:
    stores = [await open_store(shared_redis.url, uid=uid) for uid in "abcd"]
    for epoch in range(1, 6):
        head = (await stores[0].owners()).get(SLOT)
        expected = head.owner if head else None
        claims = await asyncio.gather(*(one.claim(SLOT, one.settings.uid, expected) for one in stores))
        (winner,) = [claim for claim in claims if claim]
        assert winner.epoch == epoch
        assert (await stores[0].owners())[SLOT].owner == winner


async def test_two_writers_race(open_store: Open, shared_redis: Server) -> None:
    """The old owner writes on while the new one takes the slot: nothing of it lands behind the new epoch."""
    old, new = await open_store(shared_redis.url, uid="a"), await open_store(shared_redis.url, uid="b")
    first, taken = await claimed(old), asyncio.Event()

    async def write() -> int:
        for seq in range(10_000):
            if await append(old, SLOT, first, EntryId(1, seq), entry(seq)) is Reply.FENCED:
                return seq
            if seq == 20:
                taken.set()
        raise AssertionError("never fenced")

    async def take() -> None:
        await taken.wait()
        second = await new.claim(SLOT, "b", first)
        assert second
        for seq in range(20):
            assert await append(new, SLOT, second, EntryId(2, seq), entry(100_000 + seq)) is Reply.OK

    written, _ = await asyncio.gather(write(), take())
    assert await numbers_of(new.read(SLOT)) == [*range(written), *range(100_000, 100_020)]


async def test_claims_that_stored_nothing_are_no_end_of_what_is_stored(store: Store) -> None:
    first = await claimed(store)
    second = await store.claim(SLOT, "b", first)
    assert await store.before(SLOT, 2) == NOTHING, "the slot is new"
    assert second is not None
    assert await append(store, SLOT, second, EntryId(2, 0), entry(1)) is Reply.OK
    owner = second
    for uid in "cde":
        taken = await store.claim(SLOT, uid, owner)
        assert taken is not None
        owner = taken
    assert await store.before(SLOT, 5) == EntryId(2, 1)
    reading = store.read(SLOT)
    assert await numbers_of(reading) == [1]
    assert (reading.last, reading.content) == (EntryId(5, 0), EntryId(2, 1))
    assert await store.write_checkpoint(SLOT, owner, EntryId(5, 0), []) is Reply.OK
    await store.claim(SLOT, "f", owner)
    assert await store.before(SLOT, 6) == EntryId(5, 0), "a checkpoint that covers a claim has all that was before it"


async def test_a_claim_that_was_stored_but_not_confirmed_is_repeated(store: Store) -> None:
    first = await claimed(store)
    assert await store.claim(SLOT, "a", None) == first
    await append(store, SLOT, first, EntryId(1, 0), entry(1))
    assert await store.claim(SLOT, "a", None) is None  # by now it is an old story


async def test_a_planned_handover(store: Store) -> None:
    first = await claimed(store)
    await append(store, SLOT, first, EntryId(1, 0), entry(10))
    assert await store.seal(SLOT, first, EntryId(1, 0), "b") is Reply.REWOUND  # there is more than that
    assert await store.seal(SLOT, first, EntryId(1, 1), "b") is Reply.OK
    assert await store.seal(SLOT, first, EntryId(1, 1), "b") is Reply.OK
    assert await store.seal(SLOT, first, EntryId(1, 1), "c") is Reply.FENCED
    second = Owner(2, "b")
    assert await append(store, SLOT, first, EntryId(1, 1), entry(11)) is Reply.FENCED
    assert await append(store, SLOT, second, EntryId(2, 0), entry(20)) is Reply.OK
    assert await numbers_of(store.read(SLOT)) == [10, 20]


async def test_a_store_that_fell_back_takes_no_seal(store: Store, shared_redis: Server, prefix: str) -> None:
    """Its owner writes all of it anew; were it told that another one has the slot, it would stop serving."""
    second = await store.claim(SLOT, "b", await claimed(store))
    assert second is not None
    shared_redis.cli("HSET", head_key(prefix, SLOT), "epoch", "1", "uid", "a", "last", "1-0")
    assert await store.seal(SLOT, second, EntryId(2, 0), "c") is Reply.REWOUND
    shared_redis.cli("DEL", head_key(prefix, SLOT))
    assert await store.seal(SLOT, second, EntryId(2, 0), "c") is Reply.REWOUND


async def test_epochs_go_on_above_what_a_new_store_has_forgotten(
    store: Store, shared_redis: Server, prefix: str
) -> None:
    await store.claim(SLOT, "a", None, above=41)
    shared_redis.cli("DEL", head_key(prefix, SLOT))
    assert await store.claim(SLOT, "b", None, above=42) == Owner(43, "b")


async def test_flushed_scripts_are_loaded_again(store: Store, shared_redis: Server) -> None:
    owner = await claimed(store)
    shared_redis.cli("SCRIPT", "FLUSH")
    assert await append(store, SLOT, owner, EntryId(1, 0), entry(1)) is Reply.UNCONFIRMED
    assert "scripts were flushed" in store.trouble
    assert await append(store, SLOT, owner, EntryId(1, 0), entry(1)) is Reply.OK
    assert store.trouble == ""


async def test_an_owner_that_has_written_since_is_not_beaten(open_store: Open, shared_redis: Server) -> None:
    """Who judged it dead has read an older head: the claim comes to nothing, and is made anew from what the store says now."""
    a, b = await open_store(shared_redis.url, uid="a"), await open_store(shared_redis.url, uid="b")
    owner = await claimed(a)
    seen = (await b.owners())[SLOT].last
    assert await append(a, SLOT, owner, seen, entry(1)) is Reply.OK
    assert await b.claim(SLOT, "b", owner, last=seen) is None
    assert await b.claim(SLOT, "b", owner, last=EntryId(1, 1)) == Owner(2, "b")
    assert await b.claim(SLOT, "b", owner, last=EntryId(1, 1)) == Owner(2, "b"), "asked once more"
