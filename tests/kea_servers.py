"""Real Kea of several versions in the namespaces of `dhcp_network`: Debian's of this machine, and of newer releases in their own trees."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dhcp_network import HOMES, SERVERS, Network, until
from dslite_cluster.authority import Authority
from dslite_operator.distribution.providers.kea.change import Changer
from dslite_operator.distribution.providers.kea.channel import HttpChannel, UnixChannel
from dslite_operator.distribution.providers.kea.provider import KeaProvider
from dslite_operator.distribution.providers.kea.server import Kea
from dslite_operator.distribution.providers.probe import Prober

Object = dict[str, Any]

ROOT = Path(__file__).parents[1]
SUITES = {"2.2": "bookworm", "2.6": "trixie", "3.0": "sid"}
PACKAGES = ("kea-dhcp6-server", "kea-ctrl-agent", "kea-admin")
HOOKS = "/usr/lib/x86_64-linux-gnu/kea/hooks"
LEASES_HOOK = {"hooks-libraries": [{"library": f"{HOOKS}/libdhcp_lease_cmds.so"}]}
OWNER = "installation-1"
USER, PASSWORD = "dslite", "s3cret-of-kea"
CLIENTS = {"type": "basic", "realm": "kea", "clients": [{"user": USER, "password": PASSWORD}]}
AGENT, DIRECT = f"http://[{SERVERS['kea-1']}]:8000/", f"https://[{SERVERS['kea-1']}]:8443/"


@contextmanager
def unusable(file: Path) -> Iterator[None]:
    """A folder in a file's place, which nobody can open or write; the file is back afterwards."""
    before = file.read_bytes()
    file.unlink()
    file.mkdir()
    try:
        yield
    finally:
        file.rmdir()
        file.write_bytes(before)


def tree(version: str) -> Path:
    """The root of a file system with that Kea.  Fails the test when Debian does not give it."""
    if version == "2.2":
        return Path("/")
    outside = ("nsenter", "--target", str(os.getppid()), "--net")  # no namespace of a test reaches Debian
    command = [*outside, str(ROOT / "scripts" / "chroot.sh"), SUITES[version], *PACKAGES]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, f"no Kea {version}: {made.stderr}"
    return Path(made.stdout.strip())


def subnet(number: int, prefix: str, **more: Any) -> Object:
    """A subnet with addresses and prefixes to give."""
    network = prefix.removesuffix("::/64")
    return {
        "id": number, "subnet": prefix, "pools": [{"pool": f"{network}::1000 - {network}::1fff"}],
        "pd-pools": [{"prefix": f"{network}:8000::", "prefix-len": 66, "delegated-len": 72}], **more,
    }  # fmt: skip


def configuration(version: str, node: str, *subnets: Object, **more: Any) -> Object:
    """A provider's Kea: its address, timers, subnets; leases on disk."""
    socket: Object = {"socket-type": "unix", "socket-name": f"/run/kea/{node}.sock"}
    control: Object = {"control-sockets": [socket]} if version == "3.0" else {"control-socket": socket}
    leases = {"type": "memfile", "persist": True, "name": f"/var/lib/kea/{node}.csv", "lfc-interval": 0}
    return {"Dhcp6": {
        **control, "interfaces-config": {"interfaces": [f"eth0/{SERVERS[node]}"]}, "lease-database": leases,
        "renew-timer": 1800, "rebind-timer": 2880, "preferred-lifetime": 3600, "valid-lifetime": 7200,
        "subnet6": list(subnets) or [subnet(7, str(HOMES)), subnet(3, "2001:db8:41::/64")],
        "loggers": [{"name": "kea-dhcp6", "severity": "INFO", "output_options": [{"output": "stdout"}]}], **more,
    }}  # fmt: skip


def with_peers(document: Object, node: str, mode: str) -> Object:
    """The same with the other node as its peer; heartbeats come each second."""
    roles = ("primary", "standby" if mode == "hot-standby" else "secondary")
    peers = [
        {"name": name, "url": f"http://[{address}]:8005/", "role": role}
        for (name, address), role in zip(SERVERS.items(), roles, strict=True)
    ]
    threads = {
        "enable-multi-threading": True,
        "http-dedicated-listener": True,
        "http-listener-threads": 2,
        "http-client-threads": 2,
    }
    relation = {
        "this-server-name": node,
        "mode": mode,
        "heartbeat-delay": 1000,
        "multi-threading": threads,
        "peers": peers,
    }
    parameters = {"high-availability": [relation]}
    hooks = [
        {"library": f"{HOOKS}/libdhcp_lease_cmds.so"},
        {"library": f"{HOOKS}/libdhcp_ha.so", "parameters": parameters},
    ]
    workers = {"enable-multi-threading": True, "thread-pool-size": 2, "packet-queue-size": 64}
    return {"Dhcp6": {**document["Dhcp6"], "multi-threading": workers, "hooks-libraries": hooks}}


def with_https(document: Object) -> Object:
    """The same of Kea 3.0, which takes commands by HTTPS too: from who has a certificate of `authority_of`, and the password."""
    files = {"trust-anchor": "/run/kea/ca.crt", "cert-file": "/run/kea/server.crt", "key-file": "/run/kea/server.key"}
    place = {"socket-type": "https", "socket-address": str(SERVERS["kea-1"]), "socket-port": 8443}
    https = {**place, **files, "cert-required": True, "authentication": CLIENTS}
    whole = document["Dhcp6"]
    return {"Dhcp6": {**whole, "control-sockets": [*whole["control-sockets"], https]}}


def authority_of(network: Network) -> Authority:
    """Signs certificates into the folder of the first Kea, first of all Kea's own."""
    authority = Authority.make(network.folder / "kea-1-run" / "kea")
    authority.issue("server", "kea-1", hosts=[SERVERS["kea-1"]])
    return authority


@dataclass
class RunningKea:
    """One Kea; `folder` is its /run/kea and /var/lib/kea at once."""

    version: str
    node: str
    folder: Path
    log: Path

    @property
    def file(self) -> Path:
        return self.folder / f"{self.node}.json"

    @property
    def channel(self) -> UnixChannel:
        return UnixChannel(self.folder / f"{self.node}.sock")

    @property
    def kea(self) -> Kea:
        return Kea(self.channel)

    @property
    def prober(self) -> Prober:
        return Prober(SERVERS[self.node], first_wait_s=0.5)

    def provider(
        self, owner: str = OWNER, interval_s: float = 0.0, through: UnixChannel | HttpChannel | None = None
    ) -> KeaProvider:
        """The provider with this Kea alone; `through` another channel than its socket."""
        return KeaProvider(owner, [Changer(Kea(through or self.channel), self.prober)], interval_s)

    async def document(self) -> Object:
        """What is in force."""
        return (await self.kea.configuration()).document

    def commands(self) -> Counter[str]:
        """What it has been told since it was started, by its log: newer ones give their file to themselves by a command."""
        since = self.log.read_text().rpartition("DHCP6_STARTED")[2]
        return Counter(re.findall(r"COMMAND_RECEIVED Received command '([a-z0-9-]+)'", since))

    async def add_lease(
        self, number: int, duid: str, subnet_id: int = 7, subnet: str = "2001:db8:40:", bucket: int | None = None
    ) -> None:
        """An address and a prefix for a client whose DUID ends in the number (up to 255), or in that and a byte of its bucket."""
        whole = f"{duid}{number:02x}" + ("" if bucket is None else f":{bucket:02x}")
        common = {"subnet-id": subnet_id, "duid": whole, "iaid": 1, "valid-lft": 7200}
        address = {"ip-address": f"{subnet}:{0x1000 + number:x}"}
        prefix = {"ip-address": f"{subnet}0:{0x8000 + (number << 8):x}::", "type": "IA_PD", "prefix-len": 72}
        for one in (address, prefix):
            answer = await self.channel.call({"command": "lease6-add", "arguments": {**common, **one}})
            assert answer["result"] == 0, answer

    async def person(self, change: Any) -> None:
        """Somebody else changes it: `change` is given a copy of the part Dhcp6."""
        document = copy.deepcopy(await self.document())
        change(document["Dhcp6"])
        await self.kea.set(document)


def in_tree(server: RunningKea, command: str) -> list[str]:
    """A command of that Kea's release, which sees the server's folder as /run/kea and /var/lib/kea, in mounts of its own."""
    root, folder = tree(server.version), server.folder.parent
    mounts = f"mount --bind {folder} {root}/run && mount --bind {folder} {root}/var/lib"
    return ["unshare", "--mount", "sh", "-c", f"{mounts} && exec chroot {root} {command}"]


@contextmanager
def running_kea(
    network: Network, version: str, document: Object | None = None, node: str = "kea-1"
) -> Iterator[RunningKea]:
    """A Kea that serves, in mounts of its own, for the time of the block."""
    folder = network.folder / f"{node}-run" / "kea"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o750)
    server = RunningKea(version, node, folder, network.folder / f"{node}.log")
    server.file.write_text(json.dumps(document or configuration(version, node)))
    command = in_tree(server, f"kea-dhcp6 -c /run/kea/{server.file.name}")
    before = server.log.stat().st_size if server.log.exists() else 0
    with network.running(node, *command, log=server.log) as process:

        def started() -> bool:
            return process.poll() is not None or "DHCP6_STARTED" in server.log.read_text()[before:]

        until(f"Kea {version} runs", started)
        assert process.poll() is None, server.log.read_text()
        yield server


@contextmanager
def control_agent(network: Network, server: RunningKea) -> Iterator[None]:
    """Kea's control agent beside it, which asks for a password."""
    sockets = {"dhcp6": {"socket-type": "unix", "socket-name": f"/run/kea/{server.node}.sock"}}
    place = {"http-host": str(SERVERS[server.node]), "http-port": 8000}
    loggers = [{"name": "kea-ctrl-agent", "severity": "INFO", "output_options": [{"output": "stdout"}]}]
    document = {"Control-agent": {**place, "authentication": CLIENTS, "control-sockets": sockets, "loggers": loggers}}
    (server.folder / "agent.json").write_text(json.dumps(document))
    log = network.folder / "agent.log"
    command = in_tree(server, "kea-ctrl-agent -c /run/kea/agent.json")
    with network.running(server.node, *command, log=log) as process:
        until("the agent runs", lambda: process.poll() is not None or "HTTP_SERVICE_STARTED" in log.read_text())
        assert process.poll() is None, log.read_text()
        yield
