"""Peers that serve in each other's place: Kea's high availability.

After `config-set` a peer waits, synchronises its leases and only then answers again, a heartbeat later or two; the other serves
meanwhile.  So one is changed at a time, while all others serve.  To set it once more would only begin all of that anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from dslite_operator.distribution.providers.errors import UnsuitableError
from dslite_operator.distribution.providers.kea.server import Kea

TOGETHER = {"load-balancing", "hot-standby", "passive-backup"}  # states in which peers serve as they should
ANSWERING = TOGETHER | {"partner-down", "communication-recovery"}
SETTLES_S = 60.0  # until it is said that it does not serve yet: a million leases take longer to synchronise
LOOK_S = 0.2


def states(status: Mapping[str, Any]) -> list[str]:
    """The peer's own state in each of its relationships; [] for a Kea that has no peer."""
    return [str(one["ha-servers"]["local"]["state"]) for one in status.get("high-availability", ())]


async def all_serve(partners: Iterable[Kea]) -> None:
    """Before one is changed the others must be there.  Raises UnsuitableError."""
    for kea in partners:
        found = states(await kea.status())
        if not TOGETHER.issuperset(found):
            raise UnsuitableError(
                f"Kea at {kea.where} is in state {', '.join(found)}, and nothing is changed while its peer serves alone: "
                "see to it, and wait until both serve"
            )


async def settled(kea: Kea) -> None:
    """Until it answers clients again.  Raises UnsuitableError."""
    end = asyncio.get_running_loop().time() + SETTLES_S
    while not ANSWERING.issuperset(found := states(await kea.status())):
        if asyncio.get_running_loop().time() > end:
            raise UnsuitableError(
                f"Kea at {kea.where} is still in state {', '.join(found)} after {SETTLES_S:.0f} s, and waited for: its peer serves alone"
            )
        await asyncio.sleep(LOOK_S)  # it says so to nobody
