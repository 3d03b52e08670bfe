"""Engine and reference agree on every frame and counter of random histories, with one worker and with two.

The same histories in every run of `make test`; HISTORIES=1000 plays so many others of each kind, SHRINK=1 looks for the
shortest history that shows a difference (minutes).
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from properties.duel import Duel
from properties.histories import FIXED, Player, histories

HISTORIES = os.environ.get("HISTORIES", "")
POOLS = [{"name": "default", "prefixes": ["192.0.2.0/30"]}]
CAPACITY = {"mappingsPerSlot": 512, "extraSessionsPerSlot": 512, "subscribersPerSlot": 64}
POLICIES: dict[str, dict[str, Any]] = {
    "defaults": {"slots": 2, "nat": {"pools": POOLS}, "capacity": CAPACITY},
    "address-dependent, tight": {
        "slots": 2,
        "nat": {
            "pools": POOLS,
            "filtering": "address-dependent",
            "portBlock": {"size": 64, "maxPerSubscriber": 1, "holdDownSeconds": 10},
            "limits": {"sessionsPerSubscriber": 6, "newSessionsPerSecond": 2, "newSessionBurst": 5},
            "icmpRefusalCode": 13,
        },
        "capacity": CAPACITY,
    },
    "address-and-port-dependent, strict": {
        "slots": 1,
        "softwire": {"dontFragment": "fragment", "tunnelMtu": 1280, "dscpPreservation": False},
        "nat": {
            "pools": POOLS,
            "filtering": "address-and-port-dependent",
            "tcpLoose": False,
            "b4AddressChangeLimitSeconds": 100,
        },
        "capacity": CAPACITY,
    },
    "untranslated": {
        "slots": 1,
        "nat": {
            "pools": POOLS,
            "bypass": [
                {"b4": "2001:db8:1000::/47", "address": FIXED, "port": 5060, "protocol": "udp", "slot": 0},
                {
                    "b4": "2001:db8:1000::/47",
                    "address": FIXED,
                    "port": 5060,
                    "protocol": "tcp",
                    "slot": 0,
                    "destination": "198.51.100.0/24",
                },
            ],
            "preAuthorizedSources": ["203.0.113.128/25"],
            "noTranslationDestinations": ["198.51.100.0/31"],
        },
        "capacity": CAPACITY,
    },
    "refreshed by inbound": {
        "slots": 1,
        "softwire": {"mssClamping": {"enabled": False}},
        "nat": {"pools": POOLS, "udpRefreshByInbound": True, "stateMigrate": False},
        "capacity": CAPACITY,
    },
}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", POLICIES)
@settings(
    max_examples=int(HISTORIES or 20),
    derandomize=not HISTORIES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate, *([Phase.shrink] if os.environ.get("SHRINK") else [])],
)
@given(actions=histories)
def test_engine_and_reference_agree(name: str, workers: int, actions: list[Any]) -> None:
    duel = Duel(POLICIES[name], workers=workers)
    try:
        Player(duel, parity=workers > 1).play(actions)
    finally:
        duel.close()
