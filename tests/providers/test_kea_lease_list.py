"""Leases of a real Kea, read page by page."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Network
from typing import Any

import pytest

from assignments import OTHER
from dhcp_network import HOMES, Network
from dslite_operator.distribution.providers.kea import server as kea_server
from dslite_operator.distribution.providers.kea.leases import held, live
from dslite_operator.distribution.providers.provider import Given, Timers
from kea_servers import LEASES_HOOK, RunningKea, configuration, running_kea

DUID = "00:03:00:01:02:00:00:00:00:"


@pytest.fixture
def showing(network: Network, version: str) -> Iterator[RunningKea]:
    """A Kea that shows its leases."""
    with running_kea(network, version, configuration(version, "kea-1", **LEASES_HOOK)) as made:
        yield made


async def test_every_lease_is_read_once_however_many_pages(
    showing: RunningKea, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kea_server, "PAGE", 3)
    for number in range(7):
        await showing.add_lease(number, DUID)
    await showing.add_lease(9, DUID, subnet_id=3, subnet="2001:db8:41:")
    found = await showing.provider().leases()
    assert found is not None
    assert len(found) == len(set(found)) == 16
    assert ({one.subnet for one in found}, {one.valid_s for one in found}) == ({HOMES, OTHER}, {7200})
    duid = bytes.fromhex(DUID.replace(":", "")) + b"\x06"
    assert {one.prefix for one in found if one.duid == duid} == {
        IPv6Network("2001:db8:40::1006"), IPv6Network("2001:db8:40:0:8600::/72"),
    }  # fmt: skip


async def test_leases_are_read_without_the_configuration_unless_that_has_changed(showing: RunningKea) -> None:
    """It is 2.2 alone that has to write it out for each look."""
    provider = showing.provider()
    await provider.leases()
    before = showing.commands()
    assert await provider.leases() == []
    assert (await provider.timers())[HOMES] == Timers(1800, 7200)
    made = showing.commands() - before
    assert (made["config-get"], made["config-hash-get"]) == ((1, 0) if showing.version == "2.2" else (0, 1))

    def longer(whole: dict[str, Any]) -> None:
        homes = next(one for one in whole["subnet6"] if one["subnet"] == str(HOMES))
        homes |= {"valid-lifetime": 14400, "max-valid-lifetime": 14400}

    await showing.person(longer)
    assert await provider.leases() == []
    assert (await provider.timers())[HOMES] == Timers(1800, 14400)


async def test_a_kea_without_the_hook_shows_none(server: RunningKea) -> None:
    assert await server.provider().leases() is None


@pytest.mark.parametrize("kea_s", [0, 1_800_000_000])
def test_what_no_client_has_any_more_is_left_out_by_keas_own_clock(kea_s: int) -> None:
    """Ours may be hours ahead: nobody would be counted, and all would move at once."""
    one: dict[str, Any] = {
        "duid": "00:03:01", "ip-address": "2001:db8:40::1", "type": "IA_NA", "subnet-id": 7, "state": 0,
        "cltt": kea_s, "valid-lft": 60,
    }  # fmt: skip
    subnets, lease = {7: HOMES}, Given(HOMES, b"\0\3\1", IPv6Network("2001:db8:40::1"), 60)
    assert list(held([one | {"state": 1}, one | {"subnet-id": 9}], subnets)) == []
    for later, left in ((59, 2), (60, 1)):
        newer = one | {"cltt": kea_s + later}
        assert live(list(held([one, newer], subnets))) == [lease] * left
    assert live([]) == []
