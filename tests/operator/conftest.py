"""One API server for all tests that ask one, with our definitions in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kube_api import Api
from reconciling import api_with_definitions


@pytest.fixture(scope="session")
def api() -> Iterator[Api]:
    with api_with_definitions("edge", "core") as server:
        yield server
