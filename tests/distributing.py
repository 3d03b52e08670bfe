"""An installation of a test's own: an API server, a Kea and a DNS server in namespaces, and what B4s are told there."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv6Network
from pathlib import Path
from typing import Any

from assignments import b4
from cluster_objects import group, pool
from dhcp_network import HOMES, SERVERS, Network, dhcp_network
from dns_servers import ZONE, Server, dns_server
from dslite_cluster.authority import Authority
from dslite_operator.distribution.buckets import Cut
from dslite_operator.distribution.maps import map_of
from dslite_operator.distribution.providers.provider import Given
from kea_servers import (
    AGENT,
    DIRECT,
    LEASES_HOOK,
    PASSWORD,
    USER,
    RunningKea,
    authority_of,
    configuration,
    control_agent,
    running_kea,
    with_https,
)
from kube_api import Api
from operating import SETTINGS
from reconciling import api_with_definitions, condition, get, tidy
from slot_names import secret_in
from stand_in import StandIn, stand_ins

Object = dict[str, Any]

OWNER = "metro"
MAP = "homes-buckets"
SERVED = {0: 0, 1: 0}, {2: 0, 3: 0}  # the pool's four slots, by its two AFTRs


def document(version: str) -> Object:
    """Its Kea, which shows leases."""
    made = configuration(version, "kea-1", **LEASES_HOOK)
    return with_https(made) if version == "3.0" else made


@dataclass(frozen=True)
class Installation:
    """What surrounds the operator."""

    api: Api
    network: Network
    kea: RunningKea
    dns: Server
    secrets: Path
    way: Object  # to Kea
    aftrs: list[StandIn]

    def settings(self, **dhcp: Any) -> Object:
        """The operator's, as the chart's values make them."""
        zone = {"zone": ZONE, "server": str(self.dns.place), "tsigSecretRef": "tsig"}
        server = {
            "name": "metro", "probe": str(SERVERS[self.kea.node]), "minInterval": 0, **self.way, **dhcp,
        }  # fmt: skip
        return {
            **SETTINGS, "secrets": str(self.secrets), "dns": {"owner": OWNER, "zones": [zone]},
            "dhcp": {"owner": OWNER, "servers": [server]},
        }  # fmt: skip

    def told(self, bucket: int, cut: Cut = "last", subnet: IPv6Network = HOMES) -> str | None:
        """What a B4 of that bucket is told on the wire: the number of its slot, None for no name."""
        name = asyncio.run(self.kea.provider().observe(b4(bucket, cut, subnet)))
        return name and name.removesuffix(f".east.{ZONE}")

    def all_told(self, subnet: IPv6Network = HOMES) -> list[str | None]:
        """What B4s of some buckets all over are told."""
        return [self.told(bucket, subnet=subnet) for bucket in range(0, 256, 15)]

    def leases(self) -> set[Given]:
        """What clients have of Kea now."""
        return set(asyncio.run(self.kea.provider().leases()) or ())

    def renew_every(self, seconds: int) -> None:
        """Another T1 for all subnets."""

        def change(whole: Object) -> None:
            whole["renew-timer"] = seconds
            for one in whole["subnet6"]:
                one["renew-timer"] = seconds

        asyncio.run(self.kea.person(change))

    def restore(self) -> None:
        """Kea as it was when it was started: nothing of ours is in it, and no lease."""
        asyncio.run(self.kea.kea.set(document(self.kea.version)))
        for subnet in (7, 3):
            asyncio.run(self.kea.channel.call({"command": "lease6-wipe", "arguments": {"subnet-id": subnet}}))

    def renew_timer(self) -> int:
        """T1 of the homes' subnet, in seconds."""
        subnets = asyncio.run(self.kea.document())["Dhcp6"]["subnet6"]
        return int(next(one["renew-timer"] for one in subnets if one["subnet"] == str(HOMES)))

    def map(self) -> Object:
        """The bucket map in the cluster; {} for none."""
        found = get(self.api, "configmap", MAP)
        return dict(json.loads(found["data"]["map.json"])) if found else {}

    def all_slots(self) -> tuple[int, ...]:
        """The slot of each bucket of the homes' subnet, by the map in the cluster."""
        (slots,) = map_of(json.dumps(self.map()), "edge/homes").areas.values()
        return slots

    def says(self, what: str = "Provisioned", group: str = "homes") -> tuple[str, str]:
        """A condition of a group: its status, and its sentence."""
        found = condition(self.api, "b4group", group, what)
        return found.get("status", ""), found.get("message", "")


@contextmanager
def installation(folder: Path, version: str) -> Iterator[Installation]:
    """This thread is in the operator's namespace for the time of the block, and so are the servers that it starts there."""
    with dhcp_network(folder) as network:
        network.ip("operator", "address", "add", "192.0.2.15/24", "dev", "eth0")  # kube-apiserver wants an IPv4 way out
        network.ip("operator", "route", "add", "default", "via", "192.0.2.1")
        authority = authority_of(network)
        with (
            api_with_definitions("edge") as api,
            running_kea(network, version, document(version)) as kea,
            dns_server("knot") as dns,
            way_to(kea, network, authority, secret_in(folder)) as way,
            stand_ins(api, *SERVED) as aftrs,
        ):
            yield Installation(api, network, kea, dns, folder, way, aftrs)


@contextmanager
def way_to(kea: RunningKea, network: Network, authority: Authority, secrets: Path) -> Iterator[Object]:
    """How the operator reaches it, as the chart says it: the unix socket of 2.2, the control agent of 2.6, the HTTPS of 3.0."""
    secret = secrets / "kea"
    secret.mkdir()
    (secret / "username").write_text(USER)
    (secret / "password").write_text(PASSWORD)
    if kea.version == "2.2":
        yield {"url": f"unix://{kea.channel.path}"}
    elif kea.version == "2.6":
        with control_agent(network, kea):
            yield {"url": AGENT, "agent": True, "secretRef": secret.name}
    else:
        files = (authority.ca_file, *authority.issue("client", "dslite"))
        for file, name in zip(files, ("ca.crt", "tls.crt", "tls.key"), strict=True):
            shutil.copy(file, secret / name)
        yield {"url": DIRECT, "secretRef": secret.name}


def homes(name: str = "homes", prefix: str = "2001:db8:40::/60", *subnets: str, **spec: Any) -> Object:
    """A group that the Kea tells, of the subnet of homes unless others are given."""
    dhcp = {"server": "metro", "subnets": list(subnets) or [str(HOMES)]}
    return group(name, prefix, **{"slots": 2, "dhcp": dhcp, **spec})


def east(**spec: Any) -> Object:
    """Its pool."""
    return pool(**spec)


def tidied(there: Installation) -> None:
    """No object is left, nothing of ours in Kea, and no B4; there is no garbage collector here."""
    tidy(there.api)
    there.restore()
    for one in there.aftrs:
        one.softwires = []
