"""What ROLE, WAIT and WAITAOF say, judged without a server: WAITAOF needs Redis 7.2, which Debian does not have."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from aftr.store.durable import Confirmation
from aftr.store.settings import Durability, Node, StoreSettings

NODE = Node("redis", 6379)


def confirmation(durability: Durability, replicas: int | Literal["all"] = "all", *, disk: bool = False) -> Confirmation:
    found = Confirmation(StoreSettings("redis://redis", "p", "a", 1, durability, replicas))
    found.wait_for_disk = disk
    return found


def role(replicas: int) -> list[Any]:
    return [b"master", 100, [[b"10.0.0.1", b"6379", b"100"]] * replicas]


@pytest.mark.parametrize("durability", [Durability.NONE, Durability.MEMORY])
def test_nothing_is_asked(durability: Durability) -> None:
    one = confirmation(durability)
    assert (one.commands(NODE), one.doubt(NODE, [])) == ([], "")


@pytest.mark.parametrize(
    ("replicas", "connected", "answer", "doubt"),
    [
        ("all", 0, [1, 0], ""),
        ("all", 2, [1, 2], ""),
        ("all", 2, [0, 2], "store redis:6379 did not write it to its disk within 1000 ms"),
        ("all", 2, [1, 1], "1 of 2 replicas of store redis:6379 acknowledged within 1000 ms (2 connected)"),
        (1, 0, [1, 0], "0 of 1 replicas of store redis:6379 acknowledged within 1000 ms (0 connected)"),
    ],
)
def test_disk(replicas: int | Literal["all"], connected: int, answer: list[int], doubt: str) -> None:
    one = confirmation(Durability.DISK, replicas, disk=True)
    assert one.commands(NODE) == [("ROLE",), ("WAITAOF", 1, 1 if replicas == 1 else 0, 1000)]
    assert one.doubt(NODE, [role(connected), answer]) == doubt


def test_all_follows_the_number_of_replicas_of_each_node() -> None:
    one, other = confirmation(Durability.REPLICATED), Node("other", 6379)
    for connected, asked in ((0, 1), (3, 3), (1, 1)):
        one.doubt(NODE, [role(connected), connected])
        assert one.commands(NODE)[1] == ("WAIT", asked, 1000)
        assert one.commands(other)[1] == ("WAIT", 1, 1000)


def test_a_former_primary_confirms_nothing() -> None:
    one = confirmation(Durability.REPLICATED)
    replica = [b"slave", b"10.0.0.2", 6379, b"connected", 100]
    assert one.doubt(NODE, [replica, 5]) == "store redis:6379 is no primary any more: it says slave"
