"""What the watches tell is news of a pool, unless it is what we said of it ourselves."""

from __future__ import annotations

import copy
from typing import Any, cast

import kopf
import pytest

from cluster_objects import KEY, group, pool
from dslite_operator.names import Key
from dslite_operator.observe import Cache
from dslite_operator.watch import News

Object = dict[str, Any]


class Told:
    """What a watch tells, and the pools that it is news of."""

    def __init__(self) -> None:
        self.cache, self.heard = Cache(), list[Key]()
        self._news = News(self.cache, self.heard.append)

    async def of(self, body: Object, how: str | None = "MODIFIED") -> list[Key]:
        """As kopf does: the index first."""
        self.heard.clear()
        found = kopf.Body(cast(Any, body))
        if how != "DELETED":
            await self._news.see(found)
        await self._news.tell(found, how)
        return list(self.heard)


def after(body: Object, **metadata: Any) -> Object:
    """A later version of it."""
    made = copy.deepcopy(body)
    made["metadata"] |= {"resourceVersion": str(int(made["metadata"]["resourceVersion"]) + 1000), **metadata}
    return made


@pytest.mark.parametrize("body", [pool(), group("homes", "2001:db8:1000::/36")], ids=["pool", "group"])
async def test_a_status_is_known_and_no_news(body: Object) -> None:
    """It is written where a look fails: its news would be the next look, whatever the back-off."""
    told = Told()
    assert await told.of(body, None) == [KEY]
    said = after({**body, "status": {"conditions": []}})
    assert await told.of(said) == []
    assert said in told.cache.every(body["kind"])


@pytest.mark.parametrize(
    "changed",
    [
        {"generation": 2},
        {"annotations": {"dslite.dev/drain-slots": ""}},
        {"finalizers": []},
        {"deletionTimestamp": "2026-01-02T00:00:00Z"},
        {"uid": "another"},
    ],
    ids=lambda changed: str(*changed),
)
async def test_all_else_is(changed: Object) -> None:
    told, body = Told(), pool()
    await told.of(body)
    assert await told.of(after(body, **changed)) == [KEY]


async def test_so_is_an_end_and_what_comes_after_it() -> None:
    told, body = Told(), pool()
    await told.of(body)
    assert await told.of(after(body), "DELETED") == [KEY]
    assert await told.of(after(after(body)), "ADDED") == [KEY]


async def test_so_is_the_status_of_what_kubernetes_runs() -> None:
    told = Told()
    body = {**pool(), "kind": "Deployment"}
    body["metadata"]["labels"] = {"dslite.dev/pool": "east"}
    await told.of(body)
    assert await told.of(after({**body, "status": {"readyReplicas": 1}})) == [KEY]
