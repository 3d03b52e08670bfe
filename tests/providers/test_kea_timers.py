"""How long leases last, from a configuration as Kea gives it."""

from __future__ import annotations

from ipaddress import IPv6Network

from assignments import OTHER, whole
from dhcp_network import HOMES
from dslite_operator.distribution.providers.kea.timers import timers
from dslite_operator.distribution.providers.provider import Timers
from kea_servers import RunningKea, configuration, subnet


def test_a_subnet_has_its_own_times_before_its_networks_and_the_wholes() -> None:
    document = configuration("2.6", "kea-1", subnet(1, "2001:db8:1::/64", **{"renew-timer": 60}))
    network = {"name": "metro", "valid-lifetime": 900, "subnet6": [subnet(2, "2001:db8:2::/64")]}
    document["Dhcp6"]["shared-networks"] = [network]
    assert timers(document) == {
        IPv6Network("2001:db8:1::/64"): Timers(60, 7200),
        IPv6Network("2001:db8:2::/64"): Timers(1800, 900),
    }


def test_without_a_timer_t1_is_half_of_the_preferred_lifetime() -> None:
    document = {"Dhcp6": {"subnet6": [subnet(1, "2001:db8:1::/64", **{"renew-timer": 0})]}}
    assert timers(document) == {IPv6Network("2001:db8:1::/64"): Timers(1800, 7200)}


async def test_a_drain_shows_the_time_that_was_before(server: RunningKea) -> None:
    provider = server.provider()
    before = await provider.timers()
    assert before == {HOMES: Timers(1800, 7200), OTHER: Timers(1800, 7200)}
    await provider.apply(provider.render([whole(renew_s=300)]))
    told = {one["subnet"]: one["renew-timer"] for one in (await server.document())["Dhcp6"]["subnet6"]}
    assert told == {str(HOMES): 300, str(OTHER): 1800}
    assert await provider.timers() == before
