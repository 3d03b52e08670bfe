"""Every test with `server` runs against BIND and against knot."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dns_servers import Server, dns_server


@pytest.fixture(params=["bind", "knot"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(kind: str) -> Iterator[Server]:
    with dns_server(kind) as made:
        yield made
