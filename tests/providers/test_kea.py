"""A real Kea told the names of slots, and asked as B4s ask it."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Network
from pathlib import Path

import pytest

from dhcp_network import HOMES, Network, dhcp_network
from dslite_operator.distribution.providers.kea.expressions import duid_in
from dslite_operator.distribution.providers.provider import B4, Assignment
from kea_servers import RunningKea, running_kea

S0, S1 = "s0.east.aftr.example.net", "s1.east.aftr.example.net"
OTHER = IPv6Network("2001:db8:41::/64")


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    with dhcp_network(tmp_path) as made:
        yield made


@pytest.fixture(
    params=[
        pytest.param("2.2", marks=pytest.mark.lab),
        *(pytest.param(one, marks=pytest.mark.distribution) for one in ("2.6", "3.0")),
    ]
)
def server(request: pytest.FixtureRequest, network: Network) -> Iterator[RunningKea]:
    with running_kea(network, request.param) as made:
        yield made


def b4(bucket: int, subnet: IPv6Network = HOMES) -> B4:
    return B4(duid_in(bucket, "last"), subnet)


async def test_o01_a_group_on_its_subnet_is_told_one_name(server: RunningKea) -> None:
    provider = server.provider()
    plan = provider.render([Assignment("isp/homes", (HOMES,), (S0,))])
    assert await provider.observe(b4(0)) is None
    done = await provider.apply(plan)
    assert done.changed
    assert await provider.observe(b4(0)) == S0
    assert await provider.observe(b4(0, OTHER)) is None
    assert not (await provider.apply(plan)).changed
    assert S0 in server.file.read_text()
