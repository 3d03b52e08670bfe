"""Checkpoints: written while entries come in and readers read, switched in one call, repaired after a rewind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from aftr.store.errors import JournalGapError, UnreadableRecordError
from aftr.store.line import Command
from aftr.store.slots import Owner, Reply, SlotHead
from aftr.store.store import Store
from dslite_contract.journal import EntryId
from dslite_contract.store_keys import checkpoint_key, head_key, journal_key, slot_tag
from redis_servers import Server, server
from store_records import SLOT, Open, append, chunk, claimed, entry, numbers, numbers_of


def keys_of(redis: Server, prefix: str) -> set[str]:
    """Checkpoint chunks of the slot, as `<generation>:<number>`."""
    found = redis.cli("KEYS", f"{slot_tag(prefix, SLOT)}:checkpoint:*").split()
    return {key.split(":checkpoint:")[1] for key in found}


async def written(store: Store, owner: Owner, *seqs: int) -> None:
    for seq in seqs:
        assert await append(store, SLOT, owner, EntryId(owner.epoch, seq - 1), entry(seq)) is Reply.OK


async def test_chunks_then_journal(store: Store) -> None:
    owner = await claimed(store)
    await written(store, owner, 1, 2, 3)
    assert await store.write_checkpoint(SLOT, owner, EntryId(1, 2), [chunk(1), chunk(2)]) is Reply.OK
    reading = store.read(SLOT)
    assert await numbers_of(reading) == [1, 2, 3]
    assert reading.head == SlotHead(owner, EntryId(1, 3), 1, 2, EntryId(1, 2))
    assert reading.last == EntryId(1, 3)


async def test_an_empty_checkpoint(store: Store) -> None:
    owner = await claimed(store)
    assert await store.write_checkpoint(SLOT, owner, EntryId(1, 0), []) is Reply.OK
    reading = store.read(SLOT)
    assert (await numbers_of(reading), reading.last) == ([], EntryId(1, 0))


async def test_the_journal_is_trimmed_one_checkpoint_behind(store: Store, shared_redis: Server, prefix: str) -> None:
    owner = await claimed(store)
    await written(store, owner, *range(1, 11))
    for covers, left in ((4, 11), (7, 6), (10, 3)):
        await store.write_checkpoint(SLOT, owner, EntryId(1, covers), [chunk(*range(1, covers + 1))])
        assert shared_redis.cli("XLEN", journal_key(prefix, SLOT)) == str(left)
    assert keys_of(shared_redis, prefix) == {"3:0"}
    assert await numbers_of(store.read(SLOT)) == list(range(1, 11))
    with pytest.raises(JournalGapError):
        await store.tail({SLOT: EntryId(1, 6)}, 1)


@pytest.mark.parametrize("too_far", [0, 1])
async def test_a_journal_trimmed_one_entry_too_far_loses_it(
    open_store: Open, shared_redis: Server, too_far: int
) -> None:
    """What the chaos tests' hook `trim-too-far` does, to the entry."""
    store = await open_store(shared_redis.url, trim_beyond=too_far)
    owner = await claimed(store)
    await written(store, owner, 1, 2, 3)
    assert await store.write_checkpoint(SLOT, owner, EntryId(1, 1), [chunk(1)]) is Reply.OK
    if not too_far:
        assert await numbers_of(store.read(SLOT)) == [1, 2, 3]
        return
    with pytest.raises(UnreadableRecordError, match="entries after 1-1 are missing"):
        await numbers_of(store.read(SLOT))


async def test_orphans_of_a_dead_owner_are_removed(store: Store, shared_redis: Server, prefix: str) -> None:
    def dies() -> Iterator[bytes]:
        yield from (chunk(number) for number in range(5))
        raise KeyboardInterrupt

    owner = await claimed(store)
    with pytest.raises(KeyboardInterrupt):
        await store.write_checkpoint(SLOT, owner, EntryId(1, 0), dies())
    assert keys_of(shared_redis, prefix) == {f"1:{number}" for number in range(5)}
    assert (await store.owners())[SLOT] == SlotHead(owner, EntryId(1, 0), writing=(1, 5))
    second = await store.claim(SLOT, "b", owner)
    assert second
    assert await store.write_checkpoint(SLOT, second, EntryId(2, 0), [chunk(7)]) is Reply.OK
    assert keys_of(shared_redis, prefix) == {"2:0"}
    assert await numbers_of(store.read(SLOT)) == [7]


async def test_an_old_owner_cannot_finish_its_checkpoint(open_store: Open, shared_redis: Server, prefix: str) -> None:
    old, new = await open_store(shared_redis.url, uid="a"), await open_store(shared_redis.url, uid="b")
    first = await claimed(old)
    paused, resume = asyncio.Event(), asyncio.Event()

    async def write_slowly() -> Reply:
        before = await old.write_checkpoint(SLOT, first, EntryId(1, 0), [chunk(1)])
        assert before is Reply.OK
        paused.set()
        await resume.wait()
        return await old.write_checkpoint(SLOT, first, EntryId(1, 0), [chunk(2)])

    writing = asyncio.create_task(write_slowly())
    await paused.wait()
    second = await new.claim(SLOT, "b", first)
    assert second
    await new.write_checkpoint(SLOT, second, EntryId(2, 0), [chunk(3)])
    resume.set()
    assert await writing is Reply.FENCED
    assert await numbers_of(new.read(SLOT)) == [3]
    assert keys_of(shared_redis, prefix) == {"2:0"}


async def test_a_chunk_lost_in_a_failover_is_noticed(store: Store, shared_redis: Server, prefix: str) -> None:
    def loses_one() -> Iterator[bytes]:
        yield chunk(1)
        yield chunk(2)
        shared_redis.cli(
            "HSET", head_key(prefix, SLOT), "writing", "1:1"
        )  # as a replica that lacks the second would say
        yield chunk(3)

    owner = await claimed(store)
    assert await store.write_checkpoint(SLOT, owner, EntryId(1, 0), loses_one()) is Reply.REWOUND
    assert (await store.owners())[SLOT].generation == 0


async def test_a_damaged_chunk_does_not_hide_the_rest(store: Store, shared_redis: Server, prefix: str) -> None:
    owner = await claimed(store)
    await store.write_checkpoint(SLOT, owner, EntryId(1, 0), [chunk(1), chunk(2), chunk(3)])
    await written(store, owner, 1)
    key = checkpoint_key(prefix, SLOT, 1, 1)
    shared_redis.cli("SETRANGE", key, "20", "?")
    shared_redis.cli("DEL", checkpoint_key(prefix, SLOT, 1, 2))
    found: list[int] = []

    async def read() -> None:
        async for part in store.read(SLOT):
            found.extend(numbers(part))

    with pytest.raises(
        UnreadableRecordError, match=r"at byte 8: CRC32C .*; .*:checkpoint:1:2 at byte 0: 0 bytes"
    ) as caught:
        await read()
    assert found == [1, 1]
    assert (caught.value.key, caught.value.offset) == (key, 8)


async def test_readers_see_one_checkpoint_while_others_are_written(open_store: Open, shared_redis: Server) -> None:
    """Number n is live from entry n on, until n + 50: a reader sees all that live, and none that ended before it began."""
    writer, reader = await open_store(shared_redis.url, uid="a"), await open_store(shared_redis.url, uid="b")
    owner, last = await claimed(writer), 0

    async def write() -> None:
        nonlocal last
        for seq in range(1, 201):
            await written(writer, owner, seq)
            last = seq
            if seq % 10 == 0:
                live = range(max(1, seq - 49), seq + 1)
                chunks = [chunk(number) for number in live]
                assert await writer.write_checkpoint(SLOT, owner, EntryId(1, seq), chunks) is Reply.OK

    writing = asyncio.create_task(write())
    readings = 0
    while not writing.done():
        before = last
        reading = reader.read(SLOT)
        found = await numbers_of(reading)
        assert sorted(set(found)) == list(range(min(found, default=1), reading.last.seq + 1))
        assert reading.last.seq >= before
        assert not found or min(found) >= before - 60
        readings += 1
    await writing
    assert readings > 5


# ---------------------------------------------------------------- rewound
async def test_a_checkpoint_repairs_a_store_that_came_back_empty(open_store: Open) -> None:
    with server() as redis:
        store = await open_store(redis.url)
        owner = await store.claim(SLOT, "a", None, above=6)
        assert owner
        await written(store, owner, 1, 2, 3)
        redis.kill()
        assert await append(store, SLOT, owner, EntryId(7, 3), entry(4)) is Reply.UNCONFIRMED
        assert str(redis.path) in store.trouble
        redis.start()
        assert await append(store, SLOT, owner, EntryId(7, 3), entry(4)) is Reply.REWOUND
        assert await store.write_anew(SLOT, owner, EntryId(7, 3), [chunk(1, 2, 3)]) is Reply.OK
        assert await append(store, SLOT, owner, (await store.owners())[SLOT].last, entry(4)) is Reply.OK
        assert await numbers_of(store.read(SLOT)) == [1, 2, 3, 4]
        assert (await store.owners())[SLOT].owner == owner


async def test_the_owner_of_a_rewound_slot_is_put_back_before_its_checkpoint(open_store: Open) -> None:
    """Someone who claims the slot of the emptied store first stays its owner only until the real one speaks up."""
    with server() as redis:
        store = await open_store(redis.url)
        owner = await store.claim(SLOT, "a", None, above=6)
        assert owner
        await written(store, owner, 1)
        redis.cli("FLUSHALL")
        impostor = await store.claim(SLOT, "b", None)
        assert impostor
        assert await store.write_anew(SLOT, owner, EntryId(7, 1), [chunk(1)]) is Reply.OK
        assert await append(store, SLOT, impostor, EntryId(1, 0), entry(9)) is Reply.FENCED
        assert await numbers_of(store.read(SLOT)) == [1]
        head = (await store.owners())[SLOT]
        assert (head.owner, head.last, head.covers) == (owner, EntryId(7, 4), EntryId(7, 4))


async def test_an_owner_that_lost_count_goes_on_from_what_the_store_has(store: Store) -> None:
    owner = await claimed(store)
    await written(store, owner, 1, 2)
    assert await append(store, SLOT, owner, EntryId(1, 1), entry(9)) is Reply.REWOUND  # 1-2 is another entry
    assert await store.write_anew(SLOT, owner, EntryId(1, 1), [chunk(1, 2)]) is Reply.OK
    last = (await store.owners())[SLOT].last
    assert last == EntryId(1, 4)
    assert await append(store, SLOT, owner, last, entry(9)) is Reply.OK
    assert await numbers_of(store.read(SLOT)) == [1, 2, 9]


async def test_followers_of_a_rewound_slot_load_it_again(store: Store, shared_redis: Server, prefix: str) -> None:
    owner = await claimed(store)
    await written(store, owner, 1, 2, 3)
    shared_redis.cli("HSET", head_key(prefix, SLOT), "last", "1-2")
    shared_redis.cli("XTRIM", journal_key(prefix, SLOT), "MAXLEN", "0")
    assert await append(store, SLOT, owner, EntryId(1, 3), entry(4)) is Reply.REWOUND
    await store.write_anew(SLOT, owner, EntryId(1, 3), [chunk(1, 2, 3)])
    await written(store, owner, 7)
    for held in (2, 3, 4):  # the last of a follower that got an entry of which the owner heard nothing
        with pytest.raises(JournalGapError, match=f"between 1-{held} and 1-6"):
            await store.tail({SLOT: EntryId(1, held)}, 1)
    assert await numbers_of(store.read(SLOT)) == [1, 2, 3, 7]


async def test_followers_learn_what_only_a_checkpoint_written_anew_says(store: Store) -> None:
    """What was made while the store was out of reach is in no entry: who had all entries has a gap all the same."""
    owner = await claimed(store)
    await written(store, owner, 1, 2)
    assert await store.write_anew(SLOT, owner, EntryId(1, 2), [chunk(1, 2, 77)]) is Reply.OK
    with pytest.raises(JournalGapError, match="between 1-2 and 1-5"):
        await store.tail({SLOT: EntryId(1, 2)}, 1)
    await written(store, owner, 6)
    assert await numbers_of(store.read(SLOT)) == [1, 2, 77, 6]


async def test_who_takes_a_slot_after_a_checkpoint_written_anew_reads_it(store: Store) -> None:
    owner = await claimed(store)
    await written(store, owner, 1)
    await store.write_anew(SLOT, owner, EntryId(1, 1), [chunk(1, 77)])
    taker = await store.claim(SLOT, "b", owner)
    assert taker is not None
    assert await store.before(SLOT, taker.epoch) == EntryId(1, 4)
    with pytest.raises(JournalGapError, match="between 1-1 and 1-4"):
        await store.tail({SLOT: EntryId(1, 1)}, 1)
    assert await numbers_of(store.read(SLOT)) == [1, 77]


async def test_an_entry_that_was_on_its_way_cannot_close_the_gap(open_store: Open, shared_redis: Server) -> None:
    writer, late = await open_store(shared_redis.url), await open_store(shared_redis.url)
    owner = await claimed(writer)
    await written(writer, owner, 1)

    def chunks() -> Iterator[bytes]:
        yield chunk(1, 2, 77)

    arrives = asyncio.create_task(append(late, SLOT, owner, EntryId(1, 1), entry(2)))
    assert await arrives is Reply.OK  # of this, the writer never hears
    assert await writer.write_anew(SLOT, owner, EntryId(1, 1), chunks()) is Reply.OK
    assert await append(late, SLOT, owner, EntryId(1, 2), entry(3)) is Reply.REWOUND
    with pytest.raises(JournalGapError, match="between 1-2 and 1-4"):
        await writer.tail({SLOT: EntryId(1, 2)}, 1)


async def test_an_attempt_that_is_late_adds_nothing_to_the_next(open_store: Open, shared_redis: Server) -> None:
    """Two connections of one owner, as after a timeout: what the first one still sends must not mix with the second one's chunks."""
    first, second = await open_store(shared_redis.url), await open_store(shared_redis.url)
    owner = await claimed(first)
    begun, resume = asyncio.Event(), asyncio.Event()

    class Slowly:
        def __iter__(self) -> Iterator[bytes]:
            yield chunk(1)
            begun.set()
            yield chunk(2)

    original = first._slots.run

    async def run(slot: int, command: Command) -> Reply:
        if begun.is_set():
            await resume.wait()
        return await original(slot, command)

    first._slots.run = run  # type: ignore[method-assign]
    writing = asyncio.create_task(first.write_checkpoint(SLOT, owner, EntryId(1, 0), Slowly()))
    await begun.wait()
    assert await second.write_checkpoint(SLOT, owner, EntryId(1, 0), [chunk(8), chunk(9)]) is Reply.OK
    resume.set()
    assert await writing is Reply.REWOUND
    assert await numbers_of(second.read(SLOT)) == [8, 9]
