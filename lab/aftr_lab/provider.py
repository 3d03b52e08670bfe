"""The provider's part of provisioning: Kea on the access network, Knot with a signed zone, and a resolver that validates. Pure.

dhcp       Kea, in the B4s' own layer 2: gives each its address and its prefix
dns        Knot with the zone of `softwire.domain`, which takes updates
resolver   dnsmasq, which B4s are told to ask
agent      Kea's control agent: the way to Kea for an operator that is elsewhere

Names of slots are not here: `distribution` writes them to the zone and tells them to Kea, as the operator does.  With `--outside` the
operator does it itself, and only then there is an agent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from aftr_lab.processes import unconfined
from dslite_contract.schema import AftrPool, B4Group
from dslite_operator.distribution.wishes import areas_of

if TYPE_CHECKING:
    from aftr_lab.plan import B4, Plan

Client = Literal["dhclient", "dhcpcd"]
CLIENTS: tuple[Client, ...] = ("dhclient", "dhcpcd")

DNS, RESOLVER = IPv6Address("2001:db8:ffff::53"), IPv6Address("2001:db8:ffff::54")  # on the access link
DHCP = IPv6Address("2001:db8:ffff::547")  # there too: where a relay finds Kea
AGENT, AGENT_PORT = IPv6Address("2001:db8:ffff::8000"), 8000  # there too
PLACES = {  # node: its device on the access link, and its address
    "dhcp": ("relay", DHCP),
    "dns": ("access", DNS),
    "resolver": ("access", RESOLVER),
    "agent": ("access", AGENT),
}
SERVER_NAME = "server"  # of the lab's HTTP server, in the zone
RENEW_S, REBIND_S, PREFERRED_S, VALID_S = 5, 8, 60, 120  # T1 so short that a changed name shows soon
TTL_S = 60
TSIG = "lab"  # name of the key that may write names of slots, and of the folder that has it
LOGIN = "lab"  # user of Kea's control agent, and name of the folder that has the password
ROOT_ANCHORS = Path("/usr/share/dnsmasq-base/trust-anchors.conf")
LEASE_HOOK = Path(__file__).with_name("lease_hook.sh")
KEA_HOOKS = Path("/usr/lib/x86_64-linux-gnu/kea/hooks")

Object = dict[str, Any]


def describe_provider(namespace: Callable[[str], str], pool: AftrPool) -> Object:
    """What `aftr-lab status -o json` shows of it."""
    return {
        "dhcp": {
            "namespace": namespace("dhcp"),
            "address": str(DHCP),
            "renewSeconds": RENEW_S,
            "validSeconds": VALID_S,
        },
        "dns": {"namespace": namespace("dns"), "address": str(DNS), "zone": pool.spec.softwire.domain},
        "resolver": {"namespace": namespace("resolver"), "address": str(RESOLVER)},
    }


# ---------------------------------------------------------------- DHCPv6
def kea_socket(directory: Path) -> Path:
    """Kea's control socket, of the node's directory."""
    return directory / "kea.sock"


def kea_conf(plan: Plan, directory: Path) -> Object:
    """The groups' subnets; who is whose customer follows from the DUID, as the plan says."""
    subnets = [_subnet(plan, group, prefix) for group in plan.configuration.groups for prefix in subnets_of(group)]
    script = {"library": f"{KEA_HOOKS}/libdhcp_run_script.so", "parameters": {"name": str(LEASE_HOOK)}}
    shown = {"library": f"{KEA_HOOKS}/libdhcp_lease_cmds.so"}
    leases = {"type": "memfile", "name": str(directory / "leases.csv"), "lfc-interval": 0}
    return {
        "Dhcp6": {
            "interfaces-config": {"interfaces": ["access", f"relay/{DHCP}"]},
            "data-directory": str(directory),
            "control-socket": {"socket-type": "unix", "socket-name": str(kea_socket(directory))},
            "lease-database": leases,
            "renew-timer": RENEW_S,
            "rebind-timer": REBIND_S,
            "preferred-lifetime": PREFERRED_S,
            "valid-lifetime": VALID_S,
            "hooks-libraries": [script, shown],
            "host-reservation-identifiers": ["duid"],
            "option-data": [{"name": "dns-servers", "data": str(RESOLVER)}],
            "shared-networks": [
                {
                    "name": "access",
                    "interface": "access",
                    "subnet6": [{"id": number, **subnet} for number, subnet in enumerate(subnets, 1)],
                }
            ],
            "loggers": [_logger("kea-dhcp6")],
        }
    }


def agent_conf(directory: Path, password: str) -> Object:
    """The control agent of the Kea whose files are in `directory`; it asks for the login."""
    return {
        "Control-agent": {
            "http-host": str(AGENT),
            "http-port": AGENT_PORT,
            "authentication": {
                "type": "basic",
                "realm": "kea",
                "clients": [{"user": LOGIN, "password": password}],
            },
            "control-sockets": {"dhcp6": {"socket-type": "unix", "socket-name": str(kea_socket(directory))}},
            "loggers": [_logger("kea-ctrl-agent")],
        }
    }


def _logger(program: str) -> Object:
    return {"name": program, "severity": "INFO", "output_options": [{"output": "stdout"}]}


def subnets_of(group: B4Group) -> list[IPv6Network]:
    """Of the lab's Kea: those that the group names, or its prefixes."""
    return [area.subnet for area in areas_of(group)]


def _subnet(plan: Plan, group: B4Group, prefix: IPv6Network) -> Object:
    customers = [b4 for b4 in plan.b4s if b4.prefix.subnet_of(prefix)]
    return {
        "subnet": str(prefix),
        "reservations": [_reservation(b4, prefix) for b4 in customers],
        "user-context": {"group": group.metadata.name},
    }


def _reservation(b4: B4, prefix: IPv6Network) -> Object:
    """Its WAN's address is of the last /64 of the group's prefix, whose subscriber is nobody."""
    address = prefix[-(1 << 64) + b4.number]
    return {"duid": b4.duid.hex(":"), "ip-addresses": [str(address)], "prefixes": [str(b4.prefix)]}


def kea_command(program: str, conf: Path) -> list[str]:
    """A program of Kea's in the foreground, with all files where its configuration is; newer ones use other places only when told so."""
    places = [f"KEA_{kind}_DIR={conf.parent}" for kind in ("LOCKFILE", "PIDFILE", "DHCP_DATA", "CONTROL_SOCKET")]
    scripts = f"KEA_HOOK_SCRIPTS_PATH={LEASE_HOOK.parent}"
    return ["env", *places, scripts, *unconfined(), program, "-c", str(conf)]


# ---------------------------------------------------------------- DNS
def knot_conf(zone: str, directory: Path, secret: str) -> str:
    """Knot, which signs the zone with a key of its own, and lets who has `secret` write names of slots (docs/dns.md)."""
    return f"""\
server:
    listen: {DNS}@53
    rundir: {directory}
key:
  - id: {TSIG}
    algorithm: hmac-sha256
    secret: {secret}
acl:
  - id: names
    key: {TSIG}
    action: update
    update-type: [AAAA, TXT]
    update-owner: zone
    update-owner-match: sub
  - id: transfer
    key: {TSIG}
    action: transfer
database:
    storage: {directory}
log:
  - target: stderr
    any: info
policy:
  - id: signed
    algorithm: ecdsap256sha256
    single-type-signing: on
zone:
  - domain: {zone}
    storage: {directory}
    file: zone
    zonefile-sync: -1
    dnssec-signing: on
    dnssec-policy: signed
    acl: [names, transfer]
"""


def zone_file(zone: str, server: str) -> str:
    """The zone before any slot has a name: a name of the lab's server."""
    return f"""\
$ORIGIN {zone}.
$TTL {TTL_S}
@ SOA dns hostmaster 1 3600 600 86400 60
@ NS dns
dns AAAA {DNS}
{SERVER_NAME} A {server}
"""


def keymgr_command(conf: Path, zone: str, *words: str) -> list[str]:
    """Make a key of a zone, or show its DS records."""
    return ["keymgr", "-c", str(conf), zone, *words]


def trust_anchors(ds_records: str) -> list[str]:
    """DS records as `keymgr ZONE ds` prints them, in the form of dnsmasq: zone,tag,algorithm,digest type,digest."""
    rows = [line.split() for line in ds_records.splitlines() if line]
    return [",".join([zone.removesuffix("."), *rest]) for zone, _, *rest in rows]


def resolver_command(zone: str, anchors: Iterable[str]) -> list[str]:
    """dnsmasq as a resolver that validates what is below these anchors; it does not start without those of the root."""
    place = [f"--listen-address={RESOLVER}", "--bind-interfaces", "--no-resolv", "--no-hosts"]
    validation = ["--dnssec", f"--conf-file={ROOT_ANCHORS}", *(f"--trust-anchor={anchor}" for anchor in anchors)]
    asked = [f"--server=/{zone}/{DNS}"]
    return [
        "dnsmasq",
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--pid-file=",
        "--log-facility=-",
        *place,
        *asked,
        *validation,
    ]
