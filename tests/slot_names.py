"""An installation with one pool, and the zone its names are in: for tests of names in DNS."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

from cluster_objects import configured, pool
from cut_line import Line
from dns_servers import SECRET, ZONE, Server
from dslite_operator.distribution.dns.keeper import Names
from dslite_operator.distribution.dns.plan import Use
from dslite_operator.distribution.dns.records import Wanted, wanted_of
from dslite_operator.settings import DnsSettings

NOW = datetime(2026, 11, 26, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
UNUSED = Use(frozenset(), HOUR)
S0, S1 = f"s0.east.{ZONE}", f"s1.east.{ZONE}"
MARK = "dslite owner=metro pool=edge/east"


def wishes(slots: int = 2, name: str = "east", **spec: Any) -> dict[str, Wanted]:
    """What the slots of a pool should have: s0.east… 2001:db8:6400::1, s1.east… 2001:db8:6400::2, …"""
    nat = {"pools": [{"name": "default", "prefixes": ["20.0.0.0/16"]}]}
    return wanted_of(configured(pool(name, slots=slots, replicas=1, nat=nat, **spec)).pool)


def lines(wanted: Mapping[str, Wanted], owner: str = "metro", until: str = "") -> list[str]:
    """What dig shows of a zone that has all of it."""
    found = []
    for name, one in wanted.items():
        short = name.removesuffix(f".{ZONE}")
        found += [f"{short} AAAA {one.address}", f'{short} TXT "dslite owner={owner} pool={one.pool}{until}"']
    return sorted(found)


def address(last: int) -> IPv6Address:
    return IPv6Address(f"2001:db8:6400::{last:x}")


def secret_in(folder: Path, secret: str = SECRET, name: str = "dslite") -> Path:
    """The folder of all Secrets, with one of a TSIG key."""
    (folder / "tsig").mkdir(exist_ok=True)
    (folder / "tsig/name").write_text(name)
    (folder / "tsig/secret").write_text(f"{secret}\n")
    return folder


def names(
    server: Server | Line, folder: Path, *secondaries: Server, owner: str = "metro", zone: str = ZONE, key: str = "tsig"
) -> Names:
    """An operator's DNS room, as the chart's values set it up."""
    entry = {"zone": zone, "server": str(server.place), "secondaries": [str(one.place) for one in secondaries]}
    settings = DnsSettings.model_validate({"owner": owner, "zones": [{**entry, "tsigSecretRef": key}]})
    return Names(settings, secret_in(folder) if not (folder / "tsig").exists() else folder)
