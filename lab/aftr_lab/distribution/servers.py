"""The lab's Kea and Knot, by the operator's providers: names are published and verified, then handed out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aftr_lab.distribution.placing import Maps, carried_on, circumstances, maps_in
from aftr_lab.errors import LabError
from aftr_lab.provider import TSIG
from dslite_contract.load import Configuration
from dslite_contract.schema import AftrPool
from dslite_contract.slots import slot_fqdn
from dslite_operator.distribution.counting import Softwire
from dslite_operator.distribution.decision import Decision, assignment_of
from dslite_operator.distribution.dns.keeper import Names
from dslite_operator.distribution.dns.plan import Use
from dslite_operator.distribution.dns.records import wanted_of
from dslite_operator.distribution.dns.resolving import Standing
from dslite_operator.distribution.maps import map_of, slots_in
from dslite_operator.distribution.providers.kea.provider import KeaProvider
from dslite_operator.distribution.servers import provider_of
from dslite_operator.distribution.transit import told_maps
from dslite_operator.settings import DhcpServer, DnsSettings

Object = dict[str, Any]

OWNER = "lab"  # in everything that is written to both


@dataclass(frozen=True)
class Servers:
    """Of one lab: Kea, which also keeps the bucket maps in force, and the zone, which is left `lifetime` after a name was handed out."""

    kea: KeaProvider
    names: Names
    lifetime: timedelta


@dataclass(frozen=True)
class Told:
    """What B4s were told before, and what holds now."""

    before: Maps
    decisions: dict[str, Decision]

    @property
    def after(self) -> Maps:
        """The maps in force."""
        return maps_in(self.decisions)


Announce = Callable[[Told], None]


def servers_of(provider: Object, dns_folder: Path) -> Servers:
    """The servers that `aftr-lab status` shows under `provider`; the key of the zone is in `dns_folder`."""
    dhcp, dns = provider["dhcp"], provider["dns"]
    kea = {"name": OWNER, "url": f"unix://{dhcp['socket']}", "probe": dhcp["address"], "minInterval": 0}
    zone = {"zone": dns["zone"], "server": dns["address"], "tsigSecretRef": TSIG}
    return Servers(
        provider_of(DhcpServer.model_validate(kea), OWNER, dns_folder),
        Names(DnsSettings.model_validate({"owner": OWNER, "zones": [zone]}), dns_folder),
        timedelta(seconds=dhcp["validSeconds"]),
    )


async def tell(
    servers: Servers, configuration: Configuration, softwires: Sequence[Softwire], announce: Announce
) -> Told:
    """B4s are told from now on what a configuration makes of the maps in force; `announce` hears of it before Kea does.

    Raises `LabError` for names that do not resolve, ProviderError, MapError, PlacementError: then nothing is changed at Kea.
    """
    pool, now = configuration.pool, datetime.now(UTC)
    before = {group: map_of(text, group) for group, text in (await servers.kea.copies()).items()}
    standing = await servers.names.keep(wanted_of(pool), Use(names_in(pool, before), servers.lifetime), now)
    given = circumstances(configuration, await servers.kea.leases() or (), softwires, standing.resolved, now)
    decisions = carried_on(configuration, before, given)
    check_names(decisions, standing)
    told = Told(before, decisions)
    maps = told_maps(configuration.groups, told.after)
    assignments = [assignment_of(pool, one, decisions[name].renewal) for name, one in maps.items()]
    announce(told)
    await servers.kea.apply(servers.kea.render(assignments))
    return told


def names_in(pool: AftrPool, maps: Maps) -> set[str]:
    """The names that are handed out."""
    return {slot_fqdn(pool, slot) for one in maps.values() for slot in slots_in(one.areas.values())}


def check_names(decisions: dict[str, Decision], standing: Standing) -> None:
    """A name is handed out when it resolves, and not before (O02)."""
    missing = {name for one in decisions.values() for name in one.missing}
    if missing:
        reasons = [standing.wrong.get(name, f"{name} is not known to resolve") for name in sorted(missing)]
        raise LabError(f"no B4 is told anything new: {'; '.join([*standing.trouble, *reasons])}")
