"""What belongs to the installation, not to a pool: chart values, as a YAML file that the operator reads at its start."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.alias_generators import to_camel

from dslite_contract.errors import DsliteError


class SettingsError(DsliteError):
    """The settings file is wrong."""


class Part(BaseModel):
    """Base: frozen, no unknown fields, camelCase in YAML."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=True)


QUANTITY = r"([0-9]+(\.[0-9]+)?(m|[kMGTPE]|[KMGTPE]i)?)"  # of a resource, as Kubernetes spells it


class AftrSettings(Part):
    """Pods of all pools."""

    image: str = Field(description="Image of AFTR and embedded Redis.")
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    workers: int = Field(default=1, ge=1, le=64, description="Packet threads, one core each.")
    cpu: str = Field(
        default="", pattern=f"^{QUANTITY}?$", description="Cores that a pod requests; nothing: one for each worker."
    )
    mode: str = Field(default="auto", description="How devices are opened: auto, zerocopy, native, generic or packet.")
    huge_pages: bool = True
    node_selector: dict[str, str] = {}
    tolerations: tuple[dict[str, Any], ...] = ()
    priority_class_name: str = ""


class StoreSettings(Part):
    """Redis of pools with an embedded store."""

    memory: str = Field(default="512Mi", pattern=f"^{QUANTITY}$", description="What it requests.")
    storage: str = Field(
        default="1Gi",
        pattern=f"^{QUANTITY}?$",
        description="Size of its volume; nothing: an emptyDir, lost with the pod.",
    )
    storage_class_name: str = ""


class Place(NamedTuple):
    """Where a server listens."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


PLACE = re.compile(r"\[([0-9a-fA-F:.]+)\]:([0-9]{1,5})|([0-9.]+):([0-9]{1,5})|([0-9a-fA-F:.]+)")


def place_with(port: int) -> Callable[[object], Place]:
    """Reads 192.0.2.53, 2001:db8::53, 192.0.2.53:5353 or [2001:db8::53]:5353; without a port it is `port`.  Raises ValueError."""

    def parse(text: object) -> Place:
        found = PLACE.fullmatch(str(text))
        try:
            six, six_port, four, four_port, alone = found.groups() if found else ("", "", "", "", "")
            place = Place(str(ip_address(six or four or alone)), int(six_port or four_port or port))
        except ValueError:
            place = Place("", 0)
        if not 1 <= place.port <= 65535:
            raise ValueError(
                f"{text} is not allowed: an address, with a port if it is not {port}, such as 2001:db8::53 or [2001:db8::53]:5353"
            )
        return place

    return parse


DnsPlace = Annotated[Place, BeforeValidator(place_with(53))]
Dhcpv6Place = Annotated[Place, BeforeValidator(place_with(547))]
OWNER = r"^([a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?)?$"
LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
LABELS = r"([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"


class DnsZone(Part):
    """A zone in which names of slots are."""

    zone: str = Field(pattern=f"^{LABELS}$", max_length=253, description="Its name, without the last dot.")
    server: DnsPlace = Field(description="Its primary, where updates go.")
    secondaries: tuple[DnsPlace, ...] = Field(default=(), description="Its other servers, which must answer as well.")
    tsig_secret_ref: str = Field(default="", description="Secret with the key; nothing: others write the names.")


class DnsSettings(Part):
    """Who writes names of slots, and where."""

    owner: str = Field(
        default="",
        pattern=OWNER,
        description="This installation in ownership records: no two write a zone by one name.",
    )
    zones: tuple[DnsZone, ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if any(one.tsig_secret_ref for one in self.zones) and not self.owner:
            raise ValueError("dns.owner: a name for this installation is needed to write names")
        names = [one.zone for one in self.zones]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"dns.zones: {twice} stands there twice")
        return self


class KeaPeer(Part):
    """One Kea: its control channel, and where it answers B4s."""

    url: str = Field(pattern=r"^(https?://[^/\s]+(/\S*)?|unix:///\S+)$", description="http://, https:// or unix:///.")
    probe: Dhcpv6Place = Field(description="The unicast address that it listens on, where it is asked as a relay asks.")

    @field_validator("probe")
    @classmethod
    def _six(cls, probe: Place) -> Place:
        if ":" not in probe.address:
            raise ValueError(f"{probe.address} is not allowed: DHCPv6 goes by IPv6")
        return probe


class DhcpServer(KeaPeer):
    """A DHCPv6 server of the provider's: one Kea, or peers that serve in each other's place."""

    name: str = Field(pattern=f"^{LABEL}$", description="What B4Groups call it in dhcp.server.")
    type: Literal["kea"] = "kea"
    agent: bool = Field(default=False, description="The URLs are those of Kea 2.x's control agent.")
    secret_ref: str = Field(default="", description="Secret: username and password; ca.crt, tls.crt and tls.key.")
    ha_peers: tuple[KeaPeer, ...] = Field(default=(), description="Its other peers, with the same subnets.")
    min_interval: float = Field(
        default=30.0, ge=0, le=86400, description="Seconds from one change to the next, at least."
    )

    @property
    def peers(self) -> tuple[KeaPeer, ...]:
        """All of them."""
        return (self, *self.ha_peers)


class DhcpSettings(Part):
    """Who tells B4s the names of their slots, and where."""

    owner: str = Field(default="", pattern=OWNER, description="This installation in the servers' configurations.")
    servers: tuple[DhcpServer, ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.servers and not self.owner:
            raise ValueError("dhcp.owner: a name for this installation is needed to change DHCPv6 servers")
        names = [one.name for one in self.servers]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"dhcp.servers: {twice} stands there twice")
        return self


class Settings(Part):
    """All of it."""

    release: str = Field(description="Release of this operator's pod template.")
    aftr: AftrSettings
    store: StoreSettings = StoreSettings()
    dns: DnsSettings = DnsSettings()
    dhcp: DhcpSettings = DhcpSettings()
    secrets: Path = Field(default=Path("/etc/dslite-secrets"), description="A folder for each Secret named here.")
    key: Path = Field(default=Path("/etc/dslite-key/key"), description="File with the key that AFTRs know us by.")
    monitoring: bool = Field(default=True, description="ServiceMonitors, where the cluster knows them.")


def load_settings(path: Path) -> Settings:
    """Reads the file; raises SettingsError."""
    try:
        return Settings.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise SettingsError(f"{path}: {error}") from error
