"""A real client of DHCPv6 in the home of `dhcp_network`, what it says, and the leases that Kea has written down for it."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dhcp_network import Network
from kea_servers import RunningKea

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
