"""One Redis for all tests of a file that do not break it; every test has a prefix of its own."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from itertools import count
from typing import Any

import pytest

from aftr.store.settings import StoreSettings
from aftr.store.store import Store
from redis_servers import Server, server
from store_records import Open

PREFIXES = (f"ns/pool{number}" for number in count())


@pytest.fixture(scope="package", autouse=True)
def _in_time() -> Iterator[None]:
    """A Redis and who asks it keep deadlines: not at the idle priority that `make test` gives what only computes."""
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    yield
    os.sched_setscheduler(0, policy, priority)


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[Server]:
    with server() as one:
        yield one


@pytest.fixture
def prefix() -> str:
    return next(PREFIXES)


@pytest.fixture
async def open_store(prefix: str) -> AsyncIterator[Open]:
    """`await open_store(url, uid="b", ...)`: a store that is closed after the test."""
    stores: list[Store] = []

    async def opened(url: str, **changes: Any) -> Store:
        plain: dict[str, Any] = {"url": url, "prefix": prefix, "uid": "a", "slots": 16, "timeout": 2.0}
        settings = StoreSettings(**plain | changes)
        stores.append(Store(settings))
        await stores[-1].prepare()
        return stores[-1]

    yield opened
    for store in stores:
        await store.close()


@pytest.fixture
async def store(open_store: Open, shared_redis: Server) -> Store:
    return await open_store(shared_redis.url)
