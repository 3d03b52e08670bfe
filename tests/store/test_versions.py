"""The head says which format versions a reader meets; who cannot read them waits."""

from __future__ import annotations

import pytest

from aftr.store.errors import UnreadableVersionError
from aftr.store.slots import Reply
from aftr.store.store import Store
from dslite_contract.journal import FORMATS, EntryId, pack_chunk, pack_entry
from dslite_contract.store_keys import head_key
from next_version.next_format import NEXT, NEXT_VERSION
from redis_servers import Server
from store_records import SLOT, Open, append, claimed, numbers_of, records


async def versions(store: Store) -> tuple[int, int]:
    return (await store.owners())[SLOT].versions


async def test_entries_and_checkpoints_are_noted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, NEXT_VERSION, NEXT)
    owner = await claimed(store)
    assert await versions(store) == (1, 1)
    await append(store, SLOT, owner, EntryId(1, 0), pack_entry(records(1), NEXT_VERSION))
    assert await versions(store) == (1, 2)
    store.version = NEXT_VERSION
    chunk = pack_chunk(records(1), NEXT_VERSION)
    assert await store.write_checkpoint(SLOT, owner, EntryId(1, 1), [chunk]) is Reply.OK
    assert await versions(store) == (2, 2)
    await append(store, SLOT, owner, EntryId(1, 1), pack_entry(records(2), 1))
    assert await versions(store) == (1, 2)
    assert await numbers_of(store.read(SLOT)) == [1, 2]


async def test_a_slot_of_the_next_version_is_not_read_in_part(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as upgraded:
        upgraded.setitem(FORMATS, NEXT_VERSION, NEXT)
        store.version = NEXT_VERSION
        owner = await claimed(store)
        assert await versions(store) == (2, 2)
        await append(store, SLOT, owner, EntryId(1, 0), pack_entry(records(1), NEXT_VERSION))
    with pytest.raises(
        UnreadableVersionError, match=r"slot 3 is stored in format version 2 to 2, this program reads 1: wait"
    ):
        await numbers_of(store.read(SLOT))
    store.version = 1
    await store.write_checkpoint(
        SLOT, owner, EntryId(1, 1), [pack_chunk(records(1), 1)]
    )  # as a newer owner does for us
    assert await numbers_of(store.read(SLOT)) == [1]


async def test_a_slot_of_an_older_version_is_not_read_either(store: Store, shared_redis: Server, prefix: str) -> None:
    await claimed(store)
    shared_redis.cli("HSET", head_key(prefix, SLOT), "oldest", "0")
    with pytest.raises(UnreadableVersionError, match="upgrade one version at a time"):
        await numbers_of(store.read(SLOT))


async def test_a_head_that_says_nothing_is_of_the_first_version(
    store: Store, shared_redis: Server, prefix: str
) -> None:
    await claimed(store)
    shared_redis.cli("HDEL", head_key(prefix, SLOT), "oldest", "newest")
    assert await versions(store) == (1, 1)


async def test_an_owner_of_a_slot_that_was_handed_over_notes_it_too(open_store: Open, store: Store) -> None:
    owner = await claimed(store)
    assert await store.seal(SLOT, owner, EntryId(1, 0), "b") is Reply.OK
    assert await versions(store) == (1, 1)
