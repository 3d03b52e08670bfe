"""Real programs of two customers with the same addresses, through the AFTR."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network

import pytest

import packets
from running_lab import SAMPLE, SERVER, URL, Lab, lab_up

pytestmark = pytest.mark.lab

POOL = IPv4Network("192.0.2.0/24")
HOSTS = ("host-1", "host-2")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_up("traffic", SAMPLE) as lab:
        yield lab
        lab.check_books()


@pytest.fixture(scope="module", autouse=True)
def services(lab: Lab) -> Iterator[None]:
    """On the internet: iperf3, and dnsmasq as authority for example.net."""
    dnsmasq = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--pid-file="]
    dnsmasq += [
        "--user=root",
        f"--listen-address={SERVER}",
        "--bind-interfaces",
        f"--address=/www.example.net/{SERVER}",
    ]
    with lab.running("internet", "iperf3", "--server"), lab.running("internet", *dnsmasq):
        yield


def listening(lab: Lab, node: str, port: int) -> None:
    deadline = time.monotonic() + 5
    while f":{port} " not in lab.run(node, "ss", "-Hltnu"):
        assert time.monotonic() < deadline, f"nobody listens on port {port} of {node}"


Endpoint = tuple[str, int]


def external_endpoint(lab: Lab, host: str, port: int, server: Endpoint = (SERVER, 80)) -> Endpoint:
    """What a server sees of a connection from this port of a host. The port may be used again at once."""
    with lab.socket(host, socket.AF_INET, socket.SOCK_STREAM) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind(("192.168.1.10", port))
        client.connect(server)
        client.sendall(b"GET /whoami HTTP/1.0\r\n\r\n")
        with client.makefile("rb") as answer:
            seen = json.loads(answer.read().partition(b"\r\n\r\n")[2])
    return seen["address"], seen["port"]


@pytest.mark.parametrize("host", HOSTS)
def test_d01_curl(lab: Lab, host: str) -> None:
    assert lab.run(host, "curl", "-sS", "--max-time", "10", URL).startswith("Hello 192.0.2.")


def test_d09_hosts_with_one_address_and_port_have_two_external_endpoints(lab: Lab) -> None:
    first, second = (external_endpoint(lab, host, 40000) for host in HOSTS)
    assert first != second
    for address, port in (first, second):
        assert IPv4Address(address) in POOL
        assert port >= 1024


def test_n01_a_port_has_one_external_endpoint_for_all_destinations(lab: Lab) -> None:
    lab.run("internet", "ip", "address", "replace", "198.18.0.81/24", "dev", "internet")
    command = [sys.executable, "-m", "aftr_lab.server", "--address", "198.18.0.81", "--port", "8080"]
    with lab.running("internet", *command):
        listening(lab, "internet", 8080)
        one = external_endpoint(lab, "host-1", 40001)
        other = external_endpoint(lab, "host-1", 40001, ("198.18.0.81", 8080))
    assert one == other


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("size", [56, 1432, 1472])
def test_d01_ping(lab: Lab, host: str, size: int) -> None:
    """1472: the request of 1500 bytes is fragmented by the B4; the reply's DF is what the server's kernel sets."""
    printed = lab.run(host, "ping", "-n", "-c5", "-i0.2", "-W2", "-M", "dont", "-s", str(size), SERVER)
    assert " 0% packet loss" in printed


def test_d08_ping_of_the_aftr_itself(lab: Lab) -> None:
    assert " 0% packet loss" in lab.run("host-1", "ping", "-n", "-c3", "-i0.2", "-W2", "192.0.0.1")


@pytest.mark.parametrize("method", [[], ["--icmp"], ["--tcp", "--port=80"]])
def test_d08_traceroute_shows_the_aftr(lab: Lab, method: list[str]) -> None:
    printed = lab.run("host-2", "traceroute", "-n", "-q1", "-w2", *method, SERVER)
    hops = [line.split()[1] for line in printed.splitlines()[1:]]
    assert hops == ["192.168.1.1", "192.0.0.1", SERVER]


def iperf(lab: Lab, host: str, *options: str) -> dict[str, dict[str, float]]:
    report = json.loads(lab.run(host, "iperf3", "--client", SERVER, "--time", "3", "--json", *options))
    end: dict[str, dict[str, float]] = report["end"]
    return end


@pytest.mark.parametrize("way", [[], ["--reverse"], ["--bidir"]], ids=["up", "down", "both"])
def test_t01_tcp_throughput(lab: Lab, way: list[str]) -> None:
    assert iperf(lab, "host-1", *way)["sum_received"]["bits_per_second"] > 5e6


@pytest.mark.parametrize("way", [[], ["--reverse"]], ids=["up", "down"])
def test_n04_udp(lab: Lab, way: list[str]) -> None:
    result = iperf(lab, "host-2", "--udp", "--bitrate", "10M", "--length", "1000", *way)["sum"]
    assert result["packets"] > 1000
    assert result["lost_percent"] < 1


def test_both_hosts_at_once(lab: Lab) -> None:
    command = ["curl", "-sS", "--max-time", "60", URL + "bytes/16M"]
    inside = [["ip", "netns", "exec", lab.namespace(host), *command] for host in HOSTS]
    running = [subprocess.Popen(words, stdout=subprocess.PIPE) for words in inside]
    received = [process.communicate(timeout=60)[0] for process in running]
    assert len(received[0]) == 16 << 20
    assert received[0] == received[1]


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
def test_dns_with_real_programs(lab: Lab, transport: str) -> None:
    listening(lab, "internet", 53)
    printed = lab.run("host-1", "dig", "+short", "+tries=1", transport, f"@{SERVER}", "www.example.net")
    assert printed == f"{SERVER}\n"


@contextmanager
def served_from(lab: Lab, host: str, port: int) -> Iterator[Endpoint]:
    """A TCP server behind a B4, and the external endpoint under which the world (filtering allowing) reaches it."""
    external = external_endpoint(lab, host, port)
    with lab.running(host, "iperf3", "--server", "--port", str(port)):
        listening(lab, host, port)
        yield external


def test_n06_hairpinned_tcp_between_two_customers(lab: Lab) -> None:
    before = lab.counters()["events"]["hairpinned"]
    with served_from(lab, "host-1", 41000) as (address, port):
        command = ["iperf3", "--client", address, "--port", str(port), "--time", "2", "--json"]
        received = json.loads(lab.run("host-2", *command))["end"]["sum_received"]
    assert received["bytes"] > 1 << 20
    assert lab.counters()["events"]["hairpinned"] > before


def test_n05_endpoint_independent_filtering_lets_the_internet_in(lab: Lab) -> None:
    with served_from(lab, "host-2", 41001) as (address, port):
        command = ["iperf3", "--client", address, "--port", str(port), "--time", "1", "--json"]
        received = json.loads(lab.run("internet", *command))["end"]["sum_received"]
    assert received["bytes"] > 1 << 20


def test_t02_unsolicited_syns_are_dropped_by_name(lab: Lab) -> None:
    before = lab.counters()["drops"]["drop-unsolicited-syn"]
    lab.shell("internet", "! curl -s --max-time 1 http://192.0.2.200:5555/")
    assert lab.counters()["drops"]["drop-unsolicited-syn"] > before


def test_d24_a_b4_with_encapsulation_limit(lab: Lab) -> None:
    """The second softwire of host 2's B4, as Linux ip6tnl would send it, replaces the first for a while."""
    tunnel = lab.state["b4s"][1]["tunnelAddress"]
    command = [
        sys.executable,
        "-m",
        "aftr.b4",
        "--aftr",
        tunnel,
        "--wan",
        "wan",
        "--tun",
        "limited",
        "--encap-limit",
        "4",
    ]
    with lab.running("b4-2", *command) as b4:
        assert b4.stdout is not None
        assert "is up" in b4.stdout.readline()
        assert " 0% packet loss" in lab.run(
            "host-2", "ping", "-n", "-c2", "-i0.2", "-W2", "-s", "1472", "-M", "dont", SERVER
        )
    lab.run("b4-2", "ip", "route", "replace", "default", "dev", "softwire")
    lab.run("host-2", "curl", "-sS", "--max-time", "10", URL)


def test_d20_a_device_outside_the_registered_prefixes_is_not_served(lab: Lab) -> None:
    """The router sends from its own address, which no group has."""
    before = lab.counters()["drops"]["drop-not-registered-b4"]
    inner = packets.ipv4(packets.icmp4(8, rest=1), src="192.168.1.10", dst=SERVER)
    with lab.socket("router", socket.AF_INET6, socket.SOCK_RAW, packets.IPIP) as device:
        device.sendto(inner, (lab.state["slots"][0]["tunnelAddress"], 0))
    deadline = time.monotonic() + 5
    while lab.counters()["drops"]["drop-not-registered-b4"] == before:
        assert time.monotonic() < deadline, lab.counters()["drops"]
