"""Which AFTR serves which slots, as each of them says: for tests that wait for it, not for a judge."""

from __future__ import annotations

import json
from typing import Any

from aftr_lab.errors import LabError
from aftr_lab.network import run


def slots_of(state: dict[str, Any]) -> dict[str, list[int]]:
    """By AFTR."""
    served: dict[str, list[int]] = {}
    for aftr in state["aftrs"]:
        try:
            text = run(aftr["namespace"], ["curl", "-sgf", "-m", "1", f"{aftr['status']}/status"])
            entries = json.loads(text)["slots"]
        except LabError:
            entries = []
        served[aftr["name"]] = [entry["slot"] for entry in entries if entry.get("phase") == "serving"]
    return served


def is_settled(state: dict[str, Any]) -> bool:
    """Whether every slot is served once, and the AFTRs have as many as they should."""
    served = slots_of(state)
    numbers = sorted(slot for slots in served.values() for slot in slots)
    loads = [len(slots) for slots in served.values()]
    return numbers == list(range(len(state["slots"]))) and max(loads) - min(loads) <= 1
