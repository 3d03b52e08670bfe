"""B4s of a lab that learn their AFTR, as they are seen from outside: on the wire, in Kea, by a server on the internet."""

from __future__ import annotations

import http.client
import json
import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from aftr_lab.provider import CLIENTS
from running_lab import SERVER, URL, Lab

ANSWER_S = 3.0
PATIENCE_S = 20.0  # the lab's T1 is 5 s; a busy machine
ZONE = "aftr.example.net"
WITH_CLIENTS = tuple(word for client in CLIENTS for word in ("--client", client))  # B4s take them in turn
ETH_P_ALL = 3  # linux/if_ether.h: what is sent, too
OPTION_AFTR_NAME = 64


def kea(lab: Lab, command: str, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
    """What Kea answers at its control socket; fails the test if it refuses."""
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(lab.state["provider"]["dhcp"]["socket"])
        control.sendall(json.dumps({"command": command, "arguments": arguments or {}}).encode())
        control.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: control.recv(65536), b""))
    told: dict[str, Any] = json.loads(answer)
    assert told["result"] == 0, told
    return told


def log_of(lab: Lab, node: str) -> Path:
    return Path(next(process["log"] for process in lab.state["processes"] if process["node"] == node))


def until(what: str, true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def global_addresses(lab: Lab, b4: str) -> dict[str, list[str]]:
    """The B4's IPv6 addresses by interface: of its IA_NA and of its IA_PD."""
    interfaces = json.loads(lab.run(b4, "ip", "-json", "-6", "address", "show", "scope", "global"))
    return {one["ifname"]: [address["local"] for address in one["addr_info"] if address] for one in interfaces if one}


def host_of(b4: str) -> str:
    return b4.replace("b4", "host")


def external_address(lab: Lab, host: str) -> str:
    """Which address a host's new connection has on the internet."""
    answer = lab.run(host, "curl", "--silent", "--fail", "--max-time", "10", f"{URL}whoami")
    return str(json.loads(answer)["address"])


def is_of_slot(lab: Lab, address: str, slot: int) -> bool:
    return any(ip_address(address) in ip_network(part["prefix"]) for part in lab.state["slots"][slot]["prefixes"])


def followed(lab: Lab, b4: str) -> list[str]:
    """What the B4 says of each softwire that it has made."""
    return [line for line in log_of(lab, b4).read_text().splitlines() if line.startswith("follows ")]


def follows(lab: Lab, b4: str, slot: int) -> bool:
    """Whether the name of this slot is the last one that the B4 has followed."""
    return any(line.startswith(f"follows s{slot}.east.{ZONE}:") for line in followed(lab, b4)[-1:])


@dataclass
class Talk:
    """A host's TCP connection to the server, which is asked on it again and again."""

    connection: http.client.HTTPConnection

    def endpoint(self) -> tuple[str, int]:
        """What the server sees of it.  Raises OSError, HTTPException when it does not answer."""
        self.connection.request("GET", "/whoami")
        answer = json.loads(self.connection.getresponse().read())
        return answer["address"], answer["port"]


@contextmanager
def talks(lab: Lab) -> Iterator[dict[str, Talk]]:
    """A connection of each B4's host, which is never made anew."""
    with ExitStack() as stack:
        yield {one["name"]: stack.enter_context(_talk(lab, one["host"]["name"])) for one in lab.state["b4s"]}


@contextmanager
def _talk(lab: Lab, host: str) -> Iterator[Talk]:
    made = lab.socket(host, socket.AF_INET, socket.SOCK_STREAM)
    made.settimeout(ANSWER_S)
    made.connect((SERVER, 80))
    connection = http.client.HTTPConnection(SERVER)
    connection.sock, connection.auto_open = made, 0
    with made:
        yield Talk(connection)


@contextmanager
def frames_at(lab: Lab, node: str, device: str) -> Iterator[Callable[[], list[bytes]]]:
    """What passes a node's device from now on; call for the frames so far."""
    with lab.socket(node, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as tap:
        tap.bind((device, ETH_P_ALL))
        seen: list[bytes] = []

        def so_far() -> list[bytes]:
            while select.select([tap], [], [], 0)[0]:
                seen.append(tap.recv(65535))
            return seen

        yield so_far


def option_64(name: str) -> bytes:
    """The option as it must be on the wire: one absolute name, uncompressed (RFC 6334 §3)."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
    return OPTION_AFTR_NAME.to_bytes(2, "big") + len(labels).to_bytes(2, "big") + labels
