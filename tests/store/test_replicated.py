"""Durability `replicated`: WAIT on the connection of the write, and what a short count means."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from aftr.store.errors import StoreUnconfirmedError
from aftr.store.settings import Durability
from aftr.store.slots import Reply
from dslite_contract.journal import EntryId
from redis_servers import Server, replicated, server
from store_records import SLOT, Open, append, claimed, entry, numbers_of


@pytest.fixture
def pair() -> Iterator[tuple[Server, list[Server]]]:
    with replicated(2) as found:
        yield found


async def test_stored_when_the_replicas_have_it(open_store: Open, pair: tuple[Server, list[Server]]) -> None:
    primary, replicas = pair
    store = await open_store(primary.url, durability=Durability.REPLICATED)
    owner = await claimed(store)
    assert await append(store, SLOT, owner, EntryId(1, 0), entry(1)) is Reply.OK
    for replica in replicas:
        assert replica.cli("XLEN", f"{{{store.settings.prefix}/{SLOT}}}:journal") == "2"


async def test_a_replica_that_hangs_is_waited_for_and_one_that_went_is_not(
    open_store: Open, pair: tuple[Server, list[Server]]
) -> None:
    primary, (one, _) = pair
    store = await open_store(primary.url, durability=Durability.REPLICATED, timeout=0.3)
    owner = await claimed(store)
    assert await append(store, SLOT, owner, EntryId(1, 0), entry(1)) is Reply.OK
    one.pause()
    assert await append(store, SLOT, owner, EntryId(1, 1), entry(2)) is Reply.UNCONFIRMED
    assert "1 of 2 replicas" in store.trouble
    assert "2 connected" in store.trouble
    # The retry finds the entry there, on a connection that may not have written it: it must not count as stored for that.
    assert await append(store, SLOT, owner, EntryId(1, 1), entry(2)) is Reply.UNCONFIRMED
    with pytest.raises(StoreUnconfirmedError, match="1 of 2 replicas"):
        await store.claim(SLOT, "b", owner)
    one.kill()
    primary.wait_for("Connection with replica .* lost")
    assert await store.claim(SLOT, "b", owner) is not None
    assert await numbers_of(store.read(SLOT)) == [1, 2]


async def test_a_fresh_connection_does_not_confirm_what_another_wrote(
    open_store: Open, pair: tuple[Server, list[Server]]
) -> None:
    primary, (one, _) = pair
    writer = await open_store(primary.url, durability=Durability.REPLICATED, timeout=0.3)
    owner = await claimed(writer)
    one.pause()
    assert await append(writer, SLOT, owner, EntryId(1, 0), entry(1)) is Reply.UNCONFIRMED
    again = await open_store(primary.url, durability=Durability.REPLICATED, timeout=0.3)
    assert await append(again, SLOT, owner, EntryId(1, 0), entry(1)) is Reply.UNCONFIRMED
    one.go_on()
    assert await append(again, SLOT, owner, EntryId(1, 0), entry(1)) is Reply.DUPLICATE


async def test_none_at_all(open_store: Open) -> None:
    with server() as redis:
        store = await open_store(redis.url, durability=Durability.REPLICATED, timeout=0.3)
        assert [warning.split(": ")[-1] for warning in store.warnings] == [
            "new bindings wait until it has 1",
            "a primary cut off from its replicas takes writes",
        ]
        with pytest.raises(StoreUnconfirmedError, match=r"0 of 1 replicas .* acknowledged within 300 ms"):
            await store.claim(SLOT, "a", None)


async def test_as_many_as_were_asked_for(open_store: Open, pair: tuple[Server, list[Server]]) -> None:
    primary, (one, _) = pair
    store = await open_store(primary.url, durability=Durability.REPLICATED, wait_replicas=1, timeout=0.3)
    owner = await claimed(store)
    one.pause()
    assert await append(store, SLOT, owner, EntryId(1, 0), entry(1)) is Reply.OK


async def test_rights_for_wait_are_missed_in_words(open_store: Open, pair: tuple[Server, list[Server]]) -> None:
    primary, _ = pair
    primary.cli("ACL", "SETUSER", "pool", "on", ">secret", "~*", "+@all", "-wait")
    store = await open_store(primary.url, durability=Durability.REPLICATED, username="pool", password="secret")
    with pytest.raises(StoreUnconfirmedError, match="NOPERM"):
        await store.claim(SLOT, "a", None)
