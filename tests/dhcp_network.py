"""Network namespaces of a test's own in which a DHCPv6 server, a relay and a client are: gone at the end, with all that runs in them.

home ──── access: relay ──── north: a bridge ──── kea-1, kea-2 (the servers), operator (the test itself)
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

from veths import inside

NORTH = IPv6Network("2001:db8:53::/64")
SERVERS = {"kea-1": NORTH[0x11], "kea-2": NORTH[0x12]}
ROUTER, OPERATOR = NORTH[1], NORTH[0xF]
HOMES = IPv6Network("2001:db8:40::/64")  # where the client's link is
PATIENCE_S = 20.0


def run(*command: str) -> str:
    """What a program prints; fails the test if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout


def until(what: str, true: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Ask again and again what nothing tells by itself."""
    end = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < end, f"not within {patience_s} s: {what}"
        time.sleep(0.02)


@dataclass(frozen=True)
class Network:
    """Names of the namespaces by role, and a folder for what programs write."""

    prefix: str
    folder: Path

    def namespace(self, node: str) -> str:
        return f"{self.prefix}-{node}"

    def ip(self, node: str, *words: str) -> str:
        return run("ip", "-n", self.namespace(node), *words)

    @contextmanager
    def running(self, node: str, *command: str | Path, log: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
        """A program in a node for the time of the block; its output goes to `log`."""
        words = ["ip", "netns", "exec", self.namespace(node), *map(str, command)]
        with (log or Path(os.devnull)).open("ab") as output:
            process = subprocess.Popen(words, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    @contextmanager
    def relay(self) -> Iterator[None]:
        """ISC's relay: what the home's link asks goes to both servers' addresses."""
        words = ["dhcrelay", "-6", "-d", "-l", "access"]
        for address in SERVERS.values():
            words += ["-u", f"{address}%north"]
        log = self.folder / "relay.log"
        pid_file = ("-pf", str(self.folder / "relay.pid"))
        with self.running("router", *words, *pid_file, log=log):
            until("the relay listens", lambda: "Sending on" in log.read_text())
            yield


@contextmanager
def dhcp_network(folder: Path) -> Iterator[Network]:
    """The namespaces and links; this thread is in the operator's for the time of the block."""
    network = Network(f"dhcp-{os.getpid()}", folder)
    nodes = ("router", "home", "operator", *SERVERS)
    try:
        for node in nodes:
            run("ip", "netns", "add", network.namespace(node))
            run("ip", "netns", "exec", network.namespace(node), "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
            network.ip(node, "link", "set", "lo", "up")
        _connect(network)
        with inside(network.namespace("operator")):
            yield network
    finally:
        for node in nodes:
            subprocess.run(["ip", "netns", "del", network.namespace(node)], capture_output=True, check=False)


def _connect(network: Network) -> None:
    network.ip("router", "link", "add", "north", "type", "bridge")
    run("ip", "netns", "exec", network.namespace("router"), "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
    _address(network, "router", "north", ROUTER)
    for node, address in {**SERVERS, "operator": OPERATOR}.items():
        _cable(network, node, "eth0", f"to-{node}")
        network.ip("router", "link", "set", f"to-{node}", "master", "north")
        _address(network, node, "eth0", address)
        network.ip(node, "route", "add", "default", "via", str(ROUTER))
    _cable(network, "home", "wan", "access")
    _address(network, "router", "access", HOMES[1])


def _cable(network: Network, node: str, device: str, peer: str) -> None:
    there = network.namespace(node)
    network.ip("router", "link", "add", peer, "type", "veth", "peer", device, "netns", there)
    network.ip("router", "link", "set", peer, "up")
    network.ip(node, "link", "set", device, "up")


def _address(network: Network, node: str, device: str, address: IPv6Address) -> None:
    network.ip(node, "link", "set", device, "up")
    network.ip(node, "address", "add", f"{address}/64", "dev", device, "nodad")
