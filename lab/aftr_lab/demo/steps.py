"""What the demo shows, in order. Each function is one step and checks what it claims."""

import json
import tempfile
import time
from pathlib import Path

import yaml

from aftr_lab.chaos.routes import read_table
from aftr_lab.demo.stage import Stage
from aftr_lab.plan import HOST_ADDRESS, SERVER_ADDRESS
from aftr_lab.record import Record
from aftr_lab.server import digest_of, pieces
from aftr_lab.status import read_status

URL = f"http://{SERVER_ADDRESS}"
TRANSFER_MIB = 64
TRANSFER_BYTES = TRANSFER_MIB << 20


def show_network(stage: Stage, sample: Path) -> None:
    """The lab comes up."""
    stage.heading("A DS-Lite network on this machine")
    stage.say(
        "Two customers behind B4s, an IPv6-only access network, an AFTR, and an IPv4 internet, in network namespaces."
    )
    stage.say(f"export DSLITE_LAB={stage.name}    # the lab that the commands below mean")
    stage.lab("up", str(sample))
    stage.check(True, "host → B4 → IPv6 → AFTR → IPv4 internet: every softwire answers")


def show_ping(stage: Stage) -> None:
    """Echo through NAT44."""
    stage.heading("Ping an IPv4 server through an IPv6-only network")
    printed = stage.at("host-1", "ping", "-n", "-c", "3", "-i", "0.2", str(SERVER_ADDRESS))
    stage.check(" 0% packet loss" in printed, "IPv4 echo passes the softwire and the NAT, both ways")


def show_traceroute(stage: Stage) -> None:
    """The AFTR in the path (D08)."""
    stage.heading("Where do the packets go?")
    printed = stage.at("host-1", "traceroute", "-n", "-I", "-q", "1", "-w", "2", str(SERVER_ADDRESS))
    hops = [line.split()[1] for line in printed.splitlines()[1:]]
    stage.check(hops[1:2] == ["192.0.0.1"], "the first hop after the B4 is the AFTR: 192.0.0.1 (RFC 6333 §6.5)")
    stage.check(
        hops[-1] == str(SERVER_ADDRESS), "and the last one is the server: the IPv6 network between is one softwire"
    )


def show_overlap(stage: Stage) -> None:
    """Same inner address, different external ones (D09)."""
    stage.heading("Two customers, the same private address")
    seen = []
    for host in ("host-1", "host-2"):
        addresses = stage.at(host, "ip", "-4", "-brief", "address", "show", "dev", "lan")
        stage.check(str(HOST_ADDRESS) in addresses, f"{host} has {HOST_ADDRESS}")
        seen.append(json.loads(stage.at(host, "curl", "-sS", f"{URL}/whoami")))
    pairs = [f"{endpoint['address']}:{endpoint['port']}" for endpoint in seen]
    stage.check(
        pairs[0] != pairs[1], f"the server sees {pairs[0]} and {pairs[1]}: the softwire tells the customers apart"
    )


def show_transfer(stage: Stage) -> None:
    """Bulk data both ways, compared by hash."""
    size = f"{TRANSFER_MIB}M"
    began = time.monotonic()
    received = stage.at("host-1", "sh", "-c", f"curl -sS {URL}/bytes/{size} | sha256sum").split()[0]
    _check_hash(stage, "download", received, began)
    with tempfile.NamedTemporaryFile() as file:
        file.writelines(pieces(TRANSFER_BYTES))
        file.flush()
        began = time.monotonic()
        answer = json.loads(stage.at("host-2", "curl", "-sS", "-T", file.name, f"{URL}/upload"))
    _check_hash(stage, "upload", answer["sha256"], began)


def _check_hash(stage: Stage, way: str, received: str, began: float) -> None:
    rate = TRANSFER_BYTES * 8 / (time.monotonic() - began) / 1e6
    same = received == digest_of(TRANSFER_BYTES)
    stage.check(same, f"{way} of {TRANSFER_MIB} MiB arrived unchanged, {rate:.0f} Mbit/s (the B4 here is plain Python)")


def show_whole_packets(stage: Stage) -> None:
    """MSS clamping avoids fragments (D07)."""
    stage.heading("Large transfers: MSS clamping keeps packets whole")
    show_transfer(stage)
    events = stage.aftr_json("show", "counters")["events"]
    stage.check(
        events["mss-clamped"] > 0, f"the MSS option of {events['mss-clamped']} SYNs was lowered to fit 1500 bytes"
    )
    stage.check(events["ipv6-fragments-sent"] == events["reassembled"] == 0, "not one packet was fragmented")


def show_bindings(stage: Stage) -> None:
    """The NAT's table."""
    stage.heading("The binding table")
    stage.aftr("show", "bindings")
    bindings = stage.aftr_json("show", "bindings")
    stage.check(len(bindings) > 0, f"{len(bindings)} bindings, each with the softwire it belongs to")


def show_counters(stage: Stage) -> None:
    """Every packet accounted for."""
    stage.heading("The books")
    stage.aftr("show", "counters")
    counters = stage.aftr_json("show", "counters")
    for side in ("access", "internet"):
        count = counters[side]
        parts = sum(count[part] for part in ("forwarded", "merged", "consumed", "dropped", "held"))
        sentence = f"{side}: {count['rx']} received = forwarded + merged + consumed + dropped + held"
        stage.check(count["rx"] == parts, sentence)
    parts = sum(_total(counters, part) for part in ("forwarded", "split", "originated"))
    sent = _total(counters, "tx")
    stage.check(sent == parts, f"both sides: {sent} sent = forwarded + split + originated")


def _total(counters: dict[str, dict[str, int]], name: str) -> int:
    return counters["access"][name] + counters["internet"][name]


def show_fragments(stage: Stage, sample: Path) -> None:
    """The same transfers where nothing avoids fragments (D03, D04, D05)."""
    stage.heading("The same without MSS clamping: IPv6 fragments both ways")
    stage.say(
        "A second lab: mssClamping off, dontFragment: fragment. 1500-byte packets become 1540-byte ones on a 1500-byte link."
    )
    stage.lab("down")
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump_all(_without_clamping(sample), file)
        file.flush()
        stage.lab("up", file.name, show=False)
    show_transfer(stage)
    events = stage.aftr_json("show", "counters")["events"]
    stage.check(
        events["ipv6-fragments-sent"] > 0, f"the AFTR sent {events['ipv6-fragments-sent']} fragments into softwires"
    )
    stage.check(events["reassembled"] > 0, f"and put {events['reassembled']} packets of the B4s together again")


def _without_clamping(sample: Path) -> list[object]:
    documents = list(yaml.safe_load_all(sample.read_text()))
    documents[0]["spec"]["softwire"] |= {"mssClamping": {"enabled": False}, "dontFragment": "fragment"}
    return documents


def show_failover(stage: Stage, sample: Path) -> None:
    """An AFTR is killed in the midst of a download (promise 2 of docs/design/0003-state.md)."""
    stage.heading("An AFTR dies in the middle of a download")
    stage.say(
        "A third lab: three AFTRs share eight slots, a router learns by BGP who serves which, and a Redis holds every binding."
    )
    stage.lab("down")
    stage.lab("up", str(sample), "--b4s", "1", show=False)
    state = read_status(Record(stage.name))
    owner = read_table(state).owners[state["b4s"][0]["slot"]]
    with tempfile.NamedTemporaryFile(prefix="download-") as file:
        fetch = f"curl -sS --limit-rate 16M -o {file.name} {URL}/bytes/{TRANSFER_MIB}M && sha256sum {file.name}"
        download = stage.begin_at("host-1", "sh", "-c", fetch)
        stage.received(download, Path(file.name), TRANSFER_BYTES // 8)
        stage.lab("kill", owner)
        before = stage.received(download, Path(file.name), 0)
        stage.check(
            before < TRANSFER_BYTES, f"{owner} is killed when {before >> 20} of {TRANSFER_MIB} MiB have arrived"
        )
        received = stage.end(download).split()[0]
    stage.check(
        received == digest_of(TRANSFER_BYTES),
        f"{owner} is dead, and its customer's {TRANSFER_MIB} MiB arrived unchanged",
    )
    taker = read_table(state).owners[state["b4s"][0]["slot"]]
    stage.check(taker != owner, f"{taker} has taken over the slot with all its bindings")


def show_division(stage: Stage, together: Path, divided: Path) -> None:
    """Changed YAML moves B4s from one AFTR to another, by DHCPv6 alone (docs/distribution.md)."""
    stage.heading("A group of customers is divided in two")
    stage.say(
        "A fourth lab: B4s with stock DHCPv6 clients are told their AFTR by a Kea, and ask again every 5 seconds. Both are on one slot."
    )
    stage.lab("down")
    stage.lab("up", str(together), "--client", "dhclient", "--client", "dhcpcd", show=False)
    stage.diff(together, divided)
    before = _external_address(stage, "host-1")
    download = stage.begin_at("host-2", "sh", "-c", f"curl -sS --limit-rate 8M {URL}/bytes/{TRANSFER_MIB}M | sha256sum")
    stage.lab("distribute", str(divided))
    after = _external_address(stage, "host-1")
    stage.check(before != after, f"host-1's group has a slot of its own: {before} before, {after} now")
    stage.check(
        stage.end(download).split()[0] == digest_of(TRANSFER_BYTES),
        f"host-2's group stays where it was, and its {TRANSFER_MIB} MiB arrived unchanged meanwhile",
    )


def _external_address(stage: Stage, host: str) -> str:
    return str(json.loads(stage.at(host, "curl", "-sS", f"{URL}/whoami"))["address"])


def show_what_next(stage: Stage, sample: Path) -> None:
    """Where to go from here."""
    stage.heading("Try next")
    for command, purpose in (
        (f"aftr-lab up {sample}", "the first lab, to play with"),
        ("aftr-lab up samples/failover.yaml", "that of three AFTRs; then: aftr-lab chaos --kills 5"),
        (
            "aftr-lab up samples/homes.yaml --client dhcpcd",
            "B4s that ask; then: aftr-lab distribute samples/homes-divided.yaml",
        ),
        ("aftr-lab exec host-1 -- bash", "a shell on a customer's computer"),
        ("aftr-lab status", "nodes, addresses, logs"),
        ("aftr show bindings --socket /run/dslite-lab/lab/aftr-1.sock", "what the NAT remembers"),
        ("aftr-lab exec aftr-1 -- tcpdump -ni access -c 10 ip6", "the softwire on the wire"),
        ("aftr-lab down", "and nothing is left"),
    ):
        stage.console.print(f"  {command:<62}", style="bold yellow", end="", markup=False)
        stage.console.print(purpose, style="dim", markup=False)
