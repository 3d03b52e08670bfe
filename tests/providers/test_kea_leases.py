"""O03: a B4 moves between AFTRs without its leases changing: a real client behind a real relay, its address, its prefix, its lease."""

from __future__ import annotations

import re
from functools import partial

from assignments import OTHER, S0, S1, S2, spread, whole
from dhcp_client import dhclient, events, is_told, leases
from dhcp_network import Network, until
from dslite_operator.distribution.maps import Area
from dslite_operator.distribution.providers.kea.subnets import subnets_of
from kea_servers import configuration, running_kea

T1 = 5  # seconds: a renewal comes while one waits


def ids(document: dict[str, object]) -> list[tuple[str, int]]:
    return [(subnet["subnet"], subnet["id"]) for subnet, _ in subnets_of(document)]


async def test_o03_a_b4_moves_and_its_leases_stay(network: Network, version: str) -> None:
    document = configuration(
        version, "kea-1", **{"renew-timer": T1, "rebind-timer": 60, "preferred-lifetime": 600, "valid-lifetime": 900}
    )
    with running_kea(network, version, document) as server, network.relay():
        provider = server.provider()
        await provider.apply(provider.render([whole()]))
        before = ids(await server.document())
        with dhclient(network) as said:
            until("the client has a name", lambda: {one["name"].rstrip(".") for one in events(said)} == {S0}, 30)
            until("two leases are written", lambda: len(leases(server)) == 2)
            held = leases(server)
            duid = bytes.fromhex(next(iter(held))[1].replace(":", ""))
            divided = [spread((S0, S2)), whole("isp/others", S0, Area(OTHER))]
            for groups, name in (([whole(name=S1)], S1), (divided, (S0, S2)[duid[-1] % 2])):
                await provider.apply(provider.render(groups))
                until(f"the client is told {name}", partial(is_told, said, name), 4 * T1)
            assert leases(server) == held
            addresses = {one["address"] for one in events(said)} - {""}
            prefixes = {one["prefix"] for one in events(said)} - {""}
            assert len(addresses) == 1, addresses
            assert len(prefixes) == 1, prefixes
        assert ids(await server.document()) == before
        assert not re.search(r"expired|EXPIRE", (network.folder / "dhclient.log").read_text())
