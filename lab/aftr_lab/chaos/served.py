"""Which AFTR serves which slots, as each of them says: for tests that wait for it, not for a judge."""

from __future__ import annotations

import json
from typing import Any

from aftr_lab.errors import LabError
from aftr_lab.network import run


def told_by(aftr: dict[str, Any]) -> list[dict[str, Any]]:
    """What one of them says of each slot; [] when it does not answer."""
    try:
        said = json.loads(run(aftr["namespace"], ["curl", "-sgf", "-m", "2", f"{aftr['status']}/status"]))
    except LabError:
        return []
    return list(said["slots"])


def slots_of(state: dict[str, Any]) -> dict[str, list[int]]:
    """By AFTR."""
    return {
        aftr["name"]: [entry["slot"] for entry in told_by(aftr) if entry.get("phase") == "serving"]
        for aftr in state["aftrs"]
    }


def owners_of(state: dict[str, Any]) -> dict[int, str]:
    """By slot; {} unless every slot is served once, and the AFTRs have as many as they should."""
    served = slots_of(state)
    owners = {slot: name for name, slots in served.items() for slot in slots}
    loads = [len(slots) for slots in served.values()]
    return owners if len(owners) == sum(loads) == len(state["slots"]) and max(loads) - min(loads) <= 1 else {}
