"""An API server that knows nothing of ours before the chart is installed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kube_api import Api, api_server


@pytest.fixture
def api() -> Iterator[Api]:
    with api_server() as server:
        assert server.kubectl("create", "namespace", "edge").returncode == 0
        yield server
