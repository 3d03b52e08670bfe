"""Many B4s at once: ISC's perfdhcp as a relay in the home of `dhcp_network`, and what passes its wire, by the wire alone.

Each client solicits and requests an address and a prefix, and as many renew theirs.  perfdhcp repeats nothing: what is
not answered is lost, where a B4 would ask again a second (Solicit, Request) or ten (Renew) later (RFC 8415 section 7.6).
"""

from __future__ import annotations

import re
import signal
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv6Address
from itertools import takewhile
from pathlib import Path

import dns.name

from aftr.io.pcap import NS, Capture
from dhcp_network import HOMES, SERVERS, Network, until

RELAY, TRIED_AT = HOMES[2], HOMES[3]  # what is measured; where rates are tried, whose late answers go nowhere else
CLIENTS = 10_000
DUID = "00030001000c01020304"  # of the first client (RFC 8415 section 11.4); others have other last bytes
SOLICIT, REQUEST, RENEW = 1, 3, 5  # RFC 8415 section 7.3
RELAY_FORWARD, CLIENT_ID, RELAY_MESSAGE, AFTR_NAME = 12, 1, 9, 64  # sections 7.3 and 21, RFC 6334
HEADERS, RELAY_HEADER, CLIENT_HEADER = 14 + 40 + 8, 34, 4  # Ethernet, IPv6 and UDP; sections 9 and 8
RUNGS = (25, 50, 75, 100, 150, 200, 300, 400, 600, 800, 1200)  # new clients a second, and as many renewals
RUNG_S = 5
UNANSWERED = 3  # perfdhcp's exit code when it waited for some answers in vain


@dataclass(frozen=True)
class Exchange:
    """A client's message and the answer to it, in seconds since 1970; `name` is None where the answer has no option 64."""

    kind: int
    duid: bytes
    sent: float
    answered: float | None = None
    name: str | None = None


def relay_in_the_home(network: Network) -> None:
    """The home is a place for relays from now on: with addresses of its link, and a way to the servers."""
    for address in (RELAY, TRIED_AT):
        network.ip("home", "address", "add", f"{address}/64", "dev", "wan", "nodad")
    network.ip("home", "route", "add", "default", "via", str(HOMES[1]))


def perfdhcp(rate: int, *more: str, at: IPv6Address = RELAY) -> list[str]:
    """The command: `rate` new clients a second, and as many renewals.  It asks for no option 64, which Kea always sends."""
    relayed = ["-6", "-A", "1", "-l", str(at), "-e", "address-and-prefix"]
    clients = ["-R", str(CLIENTS), "-b", f"duid={DUID}"]
    return ["perfdhcp", *relayed, *clients, "-r", str(rate), "-f", str(rate), *more, str(SERVERS["kea-1"])]


# ---------------------------------------------------------------- how much one server bears
def bearable(network: Network) -> int:
    """The highest rate of those tried, each for some seconds, of which one message in 200 is lost at most; other work lowers it."""
    borne = list(takewhile(partial(bears, network), RUNGS))
    assert borne, f"not even {RUNGS[0]} clients a second: {report_of(network, RUNGS[0]).read_text()}"
    return borne[-1]


def bears(network: Network, rate: int) -> bool:
    """By perfdhcp's own report; it must have sent what it was told to, three messages for each new client."""
    log = report_of(network, rate)
    for_a_while = ("-p", str(RUNG_S), "-W", "1000000")  # and a second, in microseconds, for what is under way
    with network.running("home", *perfdhcp(rate, *for_a_while, at=TRIED_AT), log=log) as process:
        code = process.wait(4 * RUNG_S)
    report = log.read_text()
    assert code in (0, UNANSWERED), report
    sent, received = (
        sum(map(int, re.findall(rf"^{what} packets: (\d+)$", report, re.MULTILINE))) for what in ("sent", "received")
    )
    return sent >= 0.9 * 3 * rate * RUNG_S and received >= 0.995 * sent


def report_of(network: Network, rate: int) -> Path:
    """What perfdhcp has said of a rate."""
    return network.folder / f"perfdhcp-{rate}.log"


# ---------------------------------------------------------------- what passes
@contextmanager
def asking(network: Network, rate: int) -> Iterator[Path]:
    """B4s that ask for the time of the block, and the capture of it, which is whole when the block has ended."""
    file, log, report = (network.folder / name for name in ("wire.pcap", "tcpdump.log", "perfdhcp.log"))
    at_once = (
        "--immediate-mode",
        "-s",
        "2048",
    )  # else the kernel holds a second of packets back, and they are lost at the end
    kept = ("-Z", "root", "-B", "16384", "-w", file)
    tcpdump = ("tcpdump", "-i", "wan", *at_once, *kept, f"udp port 547 and host {RELAY}")
    with network.running("home", *tcpdump, log=log):
        until("the wire is watched", lambda: "listening on" in log.read_text())
        with network.running("home", *perfdhcp(rate), log=report) as process:
            yield file
            assert process.poll() is None, report.read_text()
            process.send_signal(signal.SIGINT)  # it ends of this with its report, of SIGTERM without
            assert process.wait(20) in (0, UNANSWERED), report.read_text()
    assert re.search(r"\b0 packets dropped by kernel", log.read_text()), log.read_text()


def exchanges(file: Path) -> list[Exchange]:
    """What clients asked for in a capture, in the order of time, each with the first answer to it."""
    found: dict[bytes, Exchange] = {}
    for time_ns, frame in Capture(file):
        relayed = frame[HEADERS:]
        message = options(relayed[RELAY_HEADER:])[RELAY_MESSAGE]
        transaction, its = message[1:CLIENT_HEADER], options(message[CLIENT_HEADER:])
        if relayed[0] == RELAY_FORWARD:
            found[transaction] = Exchange(message[0], its[CLIENT_ID], time_ns / NS)
        elif found[transaction].answered is None:
            asked, name = found[transaction], its.get(AFTR_NAME)
            found[transaction] = Exchange(
                asked.kind, asked.duid, asked.sent, time_ns / NS, None if name is None else name_in(name)
            )
    return list(found.values())


def options(data: bytes) -> dict[int, bytes]:
    """Options by their codes (RFC 8415 section 21.1); of several with one code the last."""
    found, place = dict[int, bytes](), 0
    while place < len(data):
        code, size = struct.unpack_from("!HH", data, place)
        found[code] = data[place + 4 : place + 4 + size]
        place += 4 + size
    return found


def name_in(data: bytes) -> str:
    """The one absolute name that an option 64 has, without its last dot."""
    name, size = dns.name.from_wire(data, 0)
    assert size == len(data), f"{data.hex()} is more than one name"
    return name.to_text(omit_final_dot=True)
