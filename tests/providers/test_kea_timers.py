"""How long leases last, from a configuration as Kea gives it."""

from __future__ import annotations

from ipaddress import IPv6Network
from typing import Any

import pytest

from assignments import OTHER, whole
from dhcp_client import dhclient
from dhcp_network import HOMES, Network, until
from dslite_operator.distribution.providers.kea.timers import timers
from dslite_operator.distribution.providers.provider import Timers
from kea_servers import RunningKea, configuration, running_kea, subnet

Object = dict[str, Any]


def test_a_subnet_has_its_own_times_before_its_networks_and_the_wholes() -> None:
    document = configuration("2.6", "kea-1", subnet(1, "2001:db8:1::/64", **{"renew-timer": 60}))
    network = {"name": "metro", "valid-lifetime": 900, "subnet6": [subnet(2, "2001:db8:2::/64")]}
    document["Dhcp6"]["shared-networks"] = [network]
    assert timers(document) == {
        IPv6Network("2001:db8:1::/64"): Timers(60, 7200),
        IPv6Network("2001:db8:2::/64"): Timers(1800, 900),
    }


LIVES = {"preferred-lifetime": 1000, "valid-lifetime": 2000}
LONGER = {"max-preferred-lifetime": 3000, "max-valid-lifetime": 9000}
SHORT_T1 = {"renew-timer": 60, "user-context": {"dslite": {"owner": "metro", "renew-timer": None}}}  # during a drain


@pytest.mark.parametrize(
    ("whole", "network", "own", "given"),
    [
        ({}, {}, {}, Timers(2250, 7200)),
        ({"preferred-lifetime": 3600}, {}, {"renew-timer": 0}, Timers(1800, 7200)),
        ({"t1-percent": 0.7, **LIVES}, {}, {}, Timers(700, 2000)),
        ({"t1-percent": 0.7, **LIVES}, {"t1-percent": 0.6}, {}, Timers(600, 2000)),
        ({"t1-percent": 0.3, **LIVES}, {"t1-percent": 0.6}, {"t1-percent": 0.7}, Timers(700, 2000)),
        ({"t1-percent": 0.7, "renew-timer": 200, **LIVES}, {}, {}, Timers(200, 2000)),
        ({"t1-percent": 0.7, "renew-timer": 200, **LIVES}, {}, {"renew-timer": 0}, Timers(500, 2000)),
        ({"t1-percent": 0.7, "calculate-tee-times": False, **LIVES}, {}, {}, Timers(500, 2000)),
        (LIVES, {}, LONGER, Timers(1500, 9000)),
        ({"t1-percent": 0.7, **LIVES}, {}, SHORT_T1, Timers(700, 2000)),
        ({"renew-timer": 200, **LIVES}, {}, SHORT_T1, Timers(200, 2000)),
    ],
)
def test_t1_is_what_kea_gives(whole: Object, network: Object, own: Object, given: Timers) -> None:
    """As a client was given it by Kea 2.2 (0 where the server leaves it to the client, which takes half)."""
    there = {**network, "name": "metro", "subnet6": [subnet(1, "2001:db8:1::/64", **own)]}
    assert timers({"Dhcp6": {**whole, "shared-networks": [there]}}) == {IPv6Network("2001:db8:1::/64"): given}


@pytest.mark.short
@pytest.mark.parametrize("own", [{"t1-percent": 0.7, "t2-percent": 0.9, **LIVES}, {}], ids=["told", "untold"])
async def test_t1_is_what_a_client_is_given(network: Network, version: str, own: Object) -> None:
    """The subnet's own, or what that release of Kea has where nobody says."""
    document = configuration(version, "kea-1", subnet(7, str(HOMES), **own))
    for untold in ("renew-timer", "rebind-timer", "preferred-lifetime", "valid-lifetime"):
        document["Dhcp6"].pop(untold, None)
    written = network.folder / "dhclient.leases"
    with running_kea(network, version, document) as server, network.relay(), dhclient(network):
        until("it has a lease", lambda: written.exists() and "renew " in written.read_text())
        given = int(written.read_text().split("renew ")[1].split(";")[0])
        assert given == (await server.provider().timers())[HOMES].renew_s
        assert not own or given == 700


async def test_a_drain_shows_the_time_that_was_before(server: RunningKea) -> None:
    provider = server.provider()
    before = await provider.timers()
    assert before == {HOMES: Timers(1800, 7200), OTHER: Timers(1800, 7200)}
    await provider.apply(provider.render([whole(renew_s=300)]))
    told = {one["subnet"]: one["renew-timer"] for one in (await server.document())["Dhcp6"]["subnet6"]}
    assert told == {str(HOMES): 300, str(OTHER): 1800}
    assert await provider.timers() == before
