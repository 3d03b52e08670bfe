"""One writer, its journal and who reads it, on one Redis."""

from __future__ import annotations

import asyncio

import pytest

from aftr.store.errors import JournalGapError, UnreadableRecordError
from aftr.store.slots import Append, Owner, Reply, SlotHead
from aftr.store.store import Store
from dslite_contract.journal import NOTHING, EntryId
from dslite_contract.store_keys import journal_key
from redis_servers import Server
from store_records import SLOT, Open, append, claimed, entry, numbers, numbers_of


async def test_nothing_at_first(store: Store) -> None:
    assert await store.owners() == {}
    reading = store.read(SLOT)
    assert (await numbers_of(reading), reading.head, reading.last) == ([], None, NOTHING)


async def test_what_was_appended_is_read(store: Store) -> None:
    owner = await claimed(store)
    assert await store.owners() == {SLOT: SlotHead(owner, EntryId(1, 0))}
    assert await append(store, SLOT, owner, EntryId(1, 0), entry(10, 11)) is Reply.OK
    assert await append(store, SLOT, owner, EntryId(1, 1), entry(12)) is Reply.OK
    reading = store.read(SLOT)
    assert await numbers_of(reading) == [10, 11, 12]
    assert reading.last == EntryId(1, 2)
    assert reading.head == SlotHead(owner, EntryId(1, 2))


async def test_several_slots_in_one_write(store: Store) -> None:
    owners = {slot: await claimed(store, slot) for slot in range(4)}
    batch = [Append(slot, owner, EntryId(1, 0), entry(slot)) for slot, owner in owners.items()]
    assert await store.append_all(batch) == [Reply.OK] * 4
    assert {slot: head.last for slot, head in (await store.owners()).items()} == dict.fromkeys(range(4), EntryId(1, 1))
    assert await store.append_all([]) == []


async def test_more_entries_than_one_answer_holds(store: Store) -> None:
    owner = await claimed(store)
    for seq in range(600):
        await append(store, SLOT, owner, EntryId(1, seq), entry(seq))
    assert await numbers_of(store.read(SLOT)) == list(range(600))


async def test_a_damaged_entry_does_not_hide_the_others(store: Store, shared_redis: Server, prefix: str) -> None:
    owner = await claimed(store)
    await append(store, SLOT, owner, EntryId(1, 0), entry(10))
    await append(store, SLOT, owner, EntryId(1, 1), b"da\x01aged" * 10)
    await append(store, SLOT, owner, EntryId(1, 2), entry(12))
    found: list[int] = []
    with pytest.raises(UnreadableRecordError, match=r"entry 1-2 at byte 0: magic 0x6164") as caught:
        await read(store, found)
    assert found == [10, 12]
    assert (caught.value.slot, caught.value.key, caught.value.offset) == (SLOT, journal_key(prefix, SLOT), 0)
    assert [damage.entry for damage in caught.value.damages] == [EntryId(1, 2)]


async def test_a_missing_entry_is_no_shorter_journal(store: Store, shared_redis: Server, prefix: str) -> None:
    """Nor does it hide what comes after it."""
    owner, found = await claimed(store), list[int]()
    for seq in range(3):
        await append(store, SLOT, owner, EntryId(1, seq), entry(seq))
    shared_redis.cli("XDEL", journal_key(prefix, SLOT), "1-2")
    with pytest.raises(UnreadableRecordError, match=r"entry 1-3 at byte 0: entries after 1-1 are missing"):
        await read(store, found)
    assert found == [0, 2]


async def read(store: Store, found: list[int]) -> None:
    """What is readable of the slot."""
    async for records in store.read(SLOT):
        found.extend(numbers(records))


# ---------------------------------------------------------------- following
async def test_tail_waits_for_the_next_entry(store: Store, open_store: Open, shared_redis: Server) -> None:
    owner = await claimed(store)
    follower = await open_store(shared_redis.url, uid="b")
    waiting = asyncio.create_task(follower.tail({SLOT: EntryId(1, 0), 7: NOTHING}, 5000))
    await append(store, SLOT, owner, EntryId(1, 0), entry(10))
    ((position, part),) = (await waiting)[SLOT]
    assert (position, numbers(part)) == (EntryId(1, 1), [10])


async def test_tail_ends_with_nothing(store: Store) -> None:
    assert await store.tail({SLOT: NOTHING}, 1) == {}
    assert await store.tail({}, 1) == {}


async def test_whatever_is_followed_one_connection_is_enough(store: Store, shared_redis: Server) -> None:
    """Slots come and go with every move; each set of them had a connection of its own, for good."""
    await store.tail({0: NOTHING}, 1)
    before = len(shared_redis.cli("CLIENT", "LIST").splitlines())
    for slots in range(2, 17):
        assert await store.tail(dict.fromkeys(range(slots), NOTHING), 1) == {}
    shared_redis.until("CLIENT LIST", lambda text: len(text.splitlines()) == before)


async def test_tail_over_epochs(store: Store) -> None:
    owner = await claimed(store)
    await append(store, SLOT, owner, EntryId(1, 0), entry(10))
    next_owner = await store.claim(SLOT, "b", owner, above=6)
    assert next_owner == Owner(7, "b")
    await append(store, SLOT, next_owner, EntryId(7, 0), entry(20))
    found = (await store.tail({SLOT: NOTHING}, 1))[SLOT]
    assert [str(position) for position, _ in found] == ["1-0", "1-1", "7-0", "7-1"]
    assert numbers(*(part for _, part in found)) == [10, 20]


@pytest.mark.parametrize(("removed", "after", "found"), [("1-2", "1-1", "1-3"), ("1-3", "1-2", "2-0")])
async def test_tail_reports_a_gap(
    store: Store, shared_redis: Server, prefix: str, removed: str, after: str, found: str
) -> None:
    owner = await claimed(store)
    for seq in range(3):
        await append(store, SLOT, owner, EntryId(1, seq), entry(seq))
    await store.claim(SLOT, "b", owner)
    shared_redis.cli("XDEL", journal_key(prefix, SLOT), removed)
    readable = (await store.tail({SLOT: EntryId(1, 0)}, 1))[SLOT]
    assert str(readable[-1][0]) == after
    with pytest.raises(JournalGapError) as caught:
        await store.tail({SLOT: readable[-1][0]}, 1)
    assert (str(caught.value.after), str(caught.value.found)) == (after, found)


async def test_an_entry_that_is_gone_when_it_is_read_is_a_gap(store: Store, shared_redis: Server, prefix: str) -> None:
    """Redis wakes who waits for an entry, and then has nothing for him."""
    owner, key = await claimed(store), journal_key(prefix, SLOT)
    waiting = asyncio.create_task(store.tail({SLOT: EntryId(owner.epoch, 0)}, 60_000))
    while "flags=b" not in shared_redis.cli("CLIENT", "LIST"):  # noqa: ASYNC110  Redis does not tell us
        await asyncio.sleep(0)
    script = "redis.call('XADD', KEYS[1], '1-1', 'entry', ''); redis.call('XTRIM', KEYS[1], 'MAXLEN', 0)"
    shared_redis.cli("EVAL", script, "1", key)
    with pytest.raises(JournalGapError, match="entries after 1-0 are missing"):
        await waiting


async def test_tail_reports_damage(store: Store) -> None:
    owner = await claimed(store)
    await append(store, SLOT, owner, EntryId(1, 0), entry(10))
    await append(store, SLOT, owner, EntryId(1, 1), entry(11)[:-1])
    assert len((await store.tail({SLOT: EntryId(1, 0)}, 1))[SLOT]) == 1
    with pytest.raises(UnreadableRecordError, match="entry 1-2 at byte 47: truncated"):
        await store.tail({SLOT: EntryId(1, 1)}, 1)


async def test_tail_of_other_slots_gives_up_the_old_question(store: Store) -> None:
    owner = await claimed(store)
    waiting = asyncio.create_task(store.tail({5: NOTHING}, 60_000))
    await asyncio.sleep(0)  # it has begun to ask
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await append(store, SLOT, owner, EntryId(1, 0), entry(10))
    assert list(await store.tail({SLOT: EntryId(1, 0)}, 1)) == [SLOT]
