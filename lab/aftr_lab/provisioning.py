"""Programs by which B4s and hosts learn their addresses and their AFTR: their files, how they are started, when they are ready."""

import base64
import json
import secrets
from collections.abc import Mapping
from pathlib import Path

from aftr_lab.network import run
from aftr_lab.plan import HOST_ADDRESS, SERVER_ADDRESS, Plan
from aftr_lab.processes import unconfined
from aftr_lab.provider import (
    DNS,
    LOGIN,
    RESOLVER,
    TSIG,
    agent_conf,
    kea_command,
    kea_conf,
    keymgr_command,
    knot_conf,
    resolver_command,
    trust_anchors,
    zone_file,
)
from aftr_lab.ready import Program, has_written, succeeds, wait_until
from aftr_lab.record import Record

KEY = ("generate", "algorithm=ecdsap256sha256", "ksk=yes", "zsk=yes")
STARTED = {"dhcp": "DHCP6_STARTED", "agent": "HTTP_SERVICE_STARTED"}  # words of Kea's log
HOST_CONF = "initial-interval 1; backoff-cutoff 1;\n"  # seconds: its router may start later than it
HOST_HOOK = Path(__file__).with_name("host_hook.sh")


def provider_command(plan: Plan, record: Record, node: str) -> list[str]:
    """The program of one of the provider's nodes; its files are written first."""
    directory = record.runtime_directory(node)
    directory.mkdir(mode=0o750, exist_ok=True)  # Kea 2.6 wants it so for its socket
    if node == "dhcp":
        return _dhcp(plan, directory)
    if node == "agent":
        return _agent(record.runtime_directory("dhcp"))
    if node == "dns":
        return _dns(plan, directory)
    return _resolver(plan, record.runtime_directory("dns"))


def _dhcp(plan: Plan, directory: Path) -> list[str]:
    conf = directory / "kea.json"
    if not conf.exists():  # later it is as Kea has written it, with the names that B4s are told
        conf.write_text(json.dumps(kea_conf(plan, directory), indent=2))
    return kea_command("kea-dhcp6", conf)


def _agent(dhcp_directory: Path) -> list[str]:
    conf = dhcp_directory / "agent.json"
    if not conf.exists():
        password = _secret(dhcp_directory / LOGIN, {"username": LOGIN}, "password")
        conf.write_text(json.dumps(agent_conf(dhcp_directory, password), indent=2))
    return kea_command("kea-ctrl-agent", conf)


def _dns(plan: Plan, directory: Path) -> list[str]:
    zone, conf = plan.pool.spec.softwire.domain, directory / "knot.conf"
    if not conf.exists():
        conf.write_text(knot_conf(zone, directory, _secret(directory / TSIG, {"name": TSIG}, "secret")))
        (directory / "zone").write_text(zone_file(zone, str(SERVER_ADDRESS)))
        run(plan.namespace("dns"), keymgr_command(conf, zone, *KEY))
    return ["knotd", "-c", str(conf)]


def _secret(folder: Path, known: Mapping[str, str], key: str) -> str:
    """A folder as a Secret is mounted: what is `known`, and under `key` a new value, in base64, which is returned."""
    value = base64.b64encode(secrets.token_bytes(32)).decode()
    folder.mkdir(mode=0o700)
    for name, text in {**known, key: value}.items():
        (folder / name).write_text(text)
    return value


def _resolver(plan: Plan, dns_directory: Path) -> list[str]:
    zone = plan.pool.spec.softwire.domain
    records = run(plan.namespace("dns"), keymgr_command(dns_directory / "knot.conf", zone, "ds"))
    return resolver_command(zone, trust_anchors(records))


def host_command(record: Record, node: str) -> list[str]:
    """A LAN host's DHCPv4 client, in the foreground."""
    directory = record.runtime_directory(node)
    directory.mkdir(exist_ok=True)
    conf = directory / "dhclient.conf"
    conf.write_text(HOST_CONF)
    files = ["-cf", str(conf), "-lf", str(directory / "leases"), "-sf", str(HOST_HOOK), "--no-pid"]
    return [*unconfined(), "dhclient", "-4", "-d", *files, "lan"]


def await_provider(plan: Plan, program: Program, seconds: float) -> None:
    """Kea and its agent listen; both name servers answer with a name that B4s will ask for."""
    node = program.node
    if node in STARTED:
        wait_until(has_written(program, STARTED[node]), f"{node} has started", seconds, program)
        return
    address = DNS if node == "dns" else RESOLVER
    question = f"dig +short +time=1 +tries=1 @{address} {plan.pool.spec.softwire.domain} SOA | grep -q ."
    wait_until(succeeds(plan.namespace("router"), "sh", "-c", question), f"{address} answers", seconds, program)


def await_host(program: Program, seconds: float) -> None:
    """It has the address that a host of the lab has."""
    wait_until(has_written(program, f"bound to {HOST_ADDRESS}"), f"{program.node} has {HOST_ADDRESS}", seconds, program)
