"""O03: a B4 moves between AFTRs without its leases changing: a real client behind a real relay, its address, its prefix, its lease."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from assignments import OTHER, S0, S1, S2, spread, whole
from dhcp_network import Network, until
from dslite_operator.distribution.maps import Area
from dslite_operator.distribution.providers.kea.patching import subnets_of
from kea_servers import RunningKea, configuration, running_kea

T1 = 5  # seconds: a renewal comes while one waits

HOOK = """#!/bin/sh
printf '{"reason":"%s","name":"%s","address":"%s","prefix":"%s"}\\n' \\
    "$reason" "$new_dhcp6_aftr_name" "$new_ip6_address" "$new_ip6_prefix" >> "$DSLITE_SAID"
"""


@contextmanager
def dhclient(network: Network) -> Iterator[Path]:
    """ISC's client in the home, asking for an address, a prefix and option 64; a file with a line for each of its events."""
    folder = network.folder
    said, hook, conf = folder / "said", folder / "hook", folder / "dhclient.conf"
    said.touch()
    hook.write_text(HOOK)
    hook.chmod(0o755)
    conf.write_text("also request dhcp6.aftr-name;\n")
    files = ("-cf", conf, "-lf", folder / "dhclient.leases", "-pf", folder / "dhclient.pid", "-sf", hook)
    command = ("dhclient", "-6", "-N", "-P", "-d", *files, "-e", f"DSLITE_SAID={said}", "wan")
    with network.running("home", *command, log=folder / "dhclient.log"):
        yield said


def events(said: Path) -> list[dict[str, str]]:
    """Those with a name, as far as they are written."""
    found = [json.loads(line) for line in said.read_text().splitlines() if line.endswith("}")]
    return [one for one in found if one["name"]]


def is_told(said: Path, name: str) -> bool:
    return events(said)[-1]["name"].rstrip(".") == name


def leases(server: RunningKea) -> set[tuple[str, str, str, str]]:
    """Address, DUID, subnet id and type of all leases in Kea's file."""
    with (server.folder / f"{server.node}.csv").open() as file:
        return {(row["address"], row["duid"], row["subnet_id"], row["lease_type"]) for row in csv.DictReader(file)}


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
