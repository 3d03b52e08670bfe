"""A million mutated frames: no crash, balanced books, nothing leaked, and the next good packet passes."""

from __future__ import annotations

import os

import pytest

import packets
from packets import SYN, echo, ipv4, sent_to_internet, tcp, udp
from properties.mutants import Numbers, mutants, seeds
from rig import HOST, SERVER, Endpoint, Rig, b4, config_text, translated

NUMBER = int(os.environ.get("MUTANTS", "1000000"))
BURST = 256
APART, NEAR = (
    b4(0x5A28),
    b4(0x5A29),
)  # two bytes away from those that mutants are made of: none of them becomes one of these
SPEC = {
    "slots": 2,
    "softwire": {"reassembly": {"maxContexts": 256, "maxBytes": "1Mi"}},
    "nat": {
        "pools": [{"name": "default", "prefixes": ["192.0.2.0/24"]}],
        "unsolicitedSyn": "icmp",
        "preAuthorizedSources": ["100.64.0.0/10"],
    },
    "routing": {"layer2": {}},
    "capacity": {"mappingsPerSlot": 65536, "extraSessionsPerSlot": 1024, "subscribersPerSlot": 16384},
}


def good_packet_passes(rig: Rig) -> None:
    """Both ways, through a B4 that mutants do not name (theirs may have moved or reached a limit), with a new port each time."""
    rig.passed = getattr(rig, "passed", 0) + 1  # type: ignore[attr-defined]
    port = 1024 + rig.passed % 60000  # type: ignore[attr-defined]
    home = APART
    packet = ipv4(udp(port, 53, b"good"), src=HOST, dst=SERVER)
    outputs = rig.up(packet, b4=home)
    endpoint = rig.endpoint(outputs)
    assert outputs == [sent_to_internet(translated(packet, endpoint, udp(endpoint.port, 53, b"good")))]
    outputs = rig.down(ipv4(udp(53, endpoint.port), src=SERVER, dst=endpoint.address))
    assert outputs == [rig.to_softwire(ipv4(udp(53, port), src=SERVER, dst=HOST, ttl=63), outputs, b4=home)]


def open_mappings(rig: Rig) -> dict[str, Endpoint]:
    return {name: rig.open(body, b4=NEAR) for name, body in
            {"udp": udp(5000, 53), "tcp": tcp(5000, 80, SYN), "icmp": echo(700)}.items()}  # fmt: skip


def run(rig: Rig, number: int, seed: int) -> None:
    numbers = Numbers(seed)
    good = seeds(open_mappings(rig))
    done = 0
    while done < number:
        burst = list(mutants(good, numbers, BURST))
        done += len(burst)
        rig.step(burst)
        rig.now += (1 + numbers.below(39)) * 1_000_000
        if done % (BURST * 64) == 0:
            rig.now += (1 + numbers.below(199)) * 1_000_000_000
            good_packet_passes(rig)
            assert rig.engine.check() == []
            good = seeds(open_mappings(rig))
    rig.wait(8000)
    good_packet_passes(rig)
    counters = rig.engine.counters()
    assert counters["access"]["held"] == counters["internet"]["held"] == 0, "all contexts have ended"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_million_mutants(workers: int) -> None:
    rig = Rig(config_text(SPEC), workers=workers)
    run(rig, NUMBER // 2, seed=workers)
    rig.close()


@pytest.mark.nojit
def test_a_few_mutants() -> None:
    rig = Rig(config_text(SPEC), workers=2)
    run(rig, 1024, seed=7)
    rig.close()


def test_good_packets_pass_in_the_midst() -> None:
    """Mutants and good packets in one burst: each good one comes out as if it were alone."""
    rig = Rig(config_text(SPEC))
    endpoints = open_mappings(rig)
    good = seeds(endpoints)
    numbers = Numbers(3)
    probe = ipv4(echo(701, 1, bytes(40)), src=HOST, dst=SERVER)
    home = APART
    frame = packets.eth(packets.ipv6(probe, src=home, dst="2001:db8:64::1"))
    ((_, expected),) = rig.send("access", frame)
    for _ in range(200):
        burst = list(mutants(good, numbers, 63))
        place = numbers.below(64)
        burst.insert(place, ("access", frame))
        assert rig.step(burst)[place] == [("internet", expected)]
        rig.now += 20_000_000
    rig.close()
