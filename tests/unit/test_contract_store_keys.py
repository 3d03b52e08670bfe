"""Names of keys, and that a cluster keeps those of a slot together."""

from __future__ import annotations

import pytest
from redis.crc import key_slot

from dslite_contract import store_keys as keys


def test_names() -> None:
    assert keys.head_key("ns/east", 3) == "{ns/east/3}:head"
    assert keys.journal_key("ns/east", 3) == "{ns/east/3}:journal"
    assert keys.checkpoint_key("ns/east", 3, 7, 0) == "{ns/east/3}:checkpoint:7:0"
    assert list(keys.checkpoint_keys("ns/east", 3, 7, 2)) == [
        "{ns/east/3}:checkpoint:7:0",
        "{ns/east/3}:checkpoint:7:1",
    ]
    assert (keys.ids_key("ns/east"), keys.members_key("ns/east")) == ("ns/east:ids", "ns/east:members")


def test_keys_of_a_slot_are_on_one_node_and_slots_spread() -> None:
    def of(slot: int) -> set[int]:
        names = [keys.head_key("p", slot), keys.journal_key("p", slot)]
        return {key_slot(name.encode()) for name in [*names, *keys.checkpoint_keys("p", slot, 2, 3)]}

    assert all(len(of(slot)) == 1 for slot in range(64))
    assert len(set.union(*(of(slot) for slot in range(64)))) > 50


@pytest.mark.parametrize("prefix", ["", "a{b}", "a*", "a b", "a[b]", "a\\b"])
def test_prefixes_that_change_a_key_are_refused(prefix: str) -> None:
    with pytest.raises(keys.PrefixError, match="store prefix"):
        keys.checked_prefix(prefix)
    assert keys.checked_prefix("ns/east-1.b") == "ns/east-1.b"
