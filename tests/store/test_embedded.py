"""The operator's ACL for an embedded Redis: enough for the store, and nothing of another pool's."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from aftr.store.errors import StoreError
from aftr.store.settings import StoreSettings
from aftr.store.slots import Reply, SlotHead
from aftr.store.store import Store
from cluster_objects import KEY
from dslite_contract.journal import EntryId
from dslite_operator.names import Key
from dslite_operator.redis import acl, key_prefix
from redis_servers import server
from store_records import SLOT, append, claimed, entry, numbers_of


def settings(url: str, prefix: str) -> StoreSettings:
    return StoreSettings(url=url, prefix=prefix, uid="a", slots=4, username="aftr", password="secret")


@pytest.fixture
def users(tmp_path: Path) -> Path:
    file = tmp_path / "users.acl"
    file.write_text(acl(KEY, "secret"))
    return file


async def test_all_that_a_member_does_is_allowed(users: Path) -> None:
    with server("--aclfile", str(users), tcp=True) as redis:
        store = Store(settings(redis.url, key_prefix(KEY)))
        await store.prepare()
        await store.peer_key()
        await store.heartbeat({"address": "x"})
        assert list(await store.members()) == ["a"]
        owner = await claimed(store)
        assert await append(store, SLOT, owner, EntryId(1, 0), entry(10, 11)) is Reply.OK
        assert await numbers_of(store.read(SLOT)) == [10, 11]
        assert await store.owners() == {SLOT: SlotHead(owner, EntryId(1, 1))}
        await store.leave()
        await store.close()


async def test_a_server_that_is_started_again_has_everything(users: Path) -> None:
    """Redis executes its append-only file as the default user, whom nobody can log in as."""
    with server("--aclfile", str(users), "--appendonly", "yes", tcp=True) as redis:
        store = Store(settings(redis.url, key_prefix(KEY)))
        await store.prepare()
        owner = await claimed(store)
        assert await append(store, SLOT, owner, EntryId(1, 0), entry(10, 11)) is Reply.OK
        await store.close()
        redis.kill()
        redis.start()
        again = Store(settings(redis.url, key_prefix(KEY)))
        assert await again.owners() == {SLOT: SlotHead(owner, EntryId(1, 1))}
        assert await numbers_of(again.read(SLOT)) == [10, 11]
        await again.close()


async def test_the_password_changes_while_all_serve(users: Path) -> None:
    """The pool's own user has Redis read its users anew: first with both passwords, in the end with the second."""
    with server("--aclfile", str(users), tcp=True) as redis:

        def cli(password: str, *words: str) -> str:
            return redis.cli("--user", "aftr", "--pass", password, "--no-auth-warning", *words)

        store = Store(settings(redis.url, key_prefix(KEY)))
        await store.prepare()
        users.write_text(acl(KEY, "secret", "second"))
        assert cli("secret", "ACL", "LOAD") == "OK"
        await store.heartbeat({})
        store.log_in(replace(store.settings, password="second"))
        users.write_text(acl(KEY, "second"))
        assert cli("second", "ACL", "LOAD") == "OK"
        with suppress(StoreError):  # a connection that Redis has just ended with the first password
            await store.heartbeat({})
        await store.heartbeat({})
        assert list(await store.members()) == ["a"]
        assert "NOAUTH" in cli("secret", "PING")
        assert "NOPERM" in cli("second", "ACL", "LIST")
        await store.close()


async def test_another_pools_keys_and_another_password_are_refused(users: Path) -> None:
    with server("--aclfile", str(users), tcp=True) as redis:
        other = Store(settings(redis.url, key_prefix(Key("edge", "west"))))
        with pytest.raises(StoreError, match=r"NOPERM|permission"):
            await other.prepare()
        await other.close()
        nobody = Store(StoreSettings(url=redis.url, prefix=key_prefix(KEY), uid="a", slots=2))
        with pytest.raises(StoreError):
            await nobody.prepare()
        await nobody.close()
