"""A network and a real Kea for each test: of three Debian releases in `make distribution-test`, bookworm's, if `short`, in `make test`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dhcp_network import Network, dhcp_network
from kea_servers import RunningKea, running_kea

VERSIONS = [
    pytest.param("2.2", marks=pytest.mark.lab),
    pytest.param("2.6", marks=pytest.mark.distribution),
    pytest.param("3.0", marks=pytest.mark.distribution),
]


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    with dhcp_network(tmp_path) as made:
        yield made


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(network: Network, version: str) -> Iterator[RunningKea]:
    with running_kea(network, version) as made:
        yield made
