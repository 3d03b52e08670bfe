"""One API server for all tests that ask one, with our definitions in it; a session for the status ports of AFTRs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from kube_api import Api
from reconciling import api_with_definitions


@pytest.fixture(scope="session")
def api() -> Iterator[Api]:
    with api_with_definitions("edge", "core") as server:
        yield server


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as made:
        yield made
