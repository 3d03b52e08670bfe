"""Heartbeats."""

from __future__ import annotations

from aftr.store.members import MemberRecord
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
