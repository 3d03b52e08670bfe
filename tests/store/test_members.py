"""Heartbeats."""

from __future__ import annotations

from redis.asyncio import Redis

from aftr.store.members import MemberRecord
from dslite_contract.store_keys import members_key, secret_key
from redis_servers import Server
from store_records import Open


async def test_counters_move_and_members_leave(open_store: Open, shared_redis: Server) -> None:
    one, other = await open_store(shared_redis.url, uid="a"), await open_store(shared_redis.url, uid="b")
    assert await one.members() == {}
    await one.heartbeat({"address": "192.0.2.1"})
    await one.heartbeat({"address": "192.0.2.1"})
    await other.heartbeat({})
    assert await other.members() == {"a": MemberRecord(2, {"address": "192.0.2.1"}), "b": MemberRecord(1, {})}
    await one.leave()
    assert list(await other.members()) == ["b"]


async def test_a_store_that_lost_the_members_key_gets_it_back(open_store: Open, shared_redis: Server) -> None:
    one, other = await open_store(shared_redis.url, uid="a"), await open_store(shared_redis.url, uid="b")
    key = await one.peer_key()
    assert len(key) == 64
    assert await other.peer_key() == key
    shared_redis.cli("DEL", secret_key(one.settings.prefix))
    assert await one.peer_key(key) == key
    assert await other.peer_key() == key
    shared_redis.cli("DEL", secret_key(one.settings.prefix))
    new = await other.peer_key()
    assert new != key
    assert await one.peer_key(key) == new, "a newcomer was first"


async def test_what_is_no_heartbeat_is_named_and_the_others_are_read(open_store: Open, shared_redis: Server) -> None:
    one = await open_store(shared_redis.url, uid="a")
    key = members_key(one.settings.prefix)
    await one.heartbeat({})
    redis = Redis.from_url(shared_redis.url)
    later = '{"counter": 3, "info": {"address": "192.0.2.2"}, "of a later program": [1]}'
    await redis.hset(key, mapping={"b": "{", "c": '{"counter": "x"}', b"\xff": "{}", "d": later})
    assert await one.members() == {"a": MemberRecord(1, {}), "d": MemberRecord(3, {"address": "192.0.2.2"})}
    assert set(one.unread_members.values()) == {
        f"{key}: the field {uid!r} is no heartbeat: {text!r}"
        for uid, text in ((b"b", b"{"), (b"c", b'{"counter": "x"}'), (b"\xff", b"{}"))
    }
    await redis.delete(key)
    await redis.aclose()
    assert (await one.members(), one.unread_members) == ({}, {})


async def test_a_member_is_struck_off_by_another_until_it_is_heard_again(
    open_store: Open, shared_redis: Server
) -> None:
    one, other = await open_store(shared_redis.url, uid="a"), await open_store(shared_redis.url, uid="b")
    await one.heartbeat({"address": "192.0.2.1"})
    leaving = MemberRecord(1, {"address": "192.0.2.1", "leaving": "1"})
    await other.say_of("a", leaving)
    assert await one.members() == {"a": leaving}
    await other.strike_off("a")
    assert await one.members() == {}
    await one.heartbeat({})
    assert await other.members() == {"a": MemberRecord(2, {})}
