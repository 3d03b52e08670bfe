"""What the lab's AFTRs are asked: to run with a changed configuration, and who has how many sessions on which slot."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

from aftr_lab.errors import LabError
from aftr_lab.network import run
from aftr_lab.processes import is_running, recorded
from aftr_lab.ready import PROBE_EVERY_S
from aftr_lab.record import Record, write_whole
from dslite_operator.distribution.counting import Softwire

Object = dict[str, Any]

APPLIED_S = 20.0
HASH_DIGITS = 16  # of a configuration's SHA-256, in an AFTR's `/status`


# ---------------------------------------------------------------- a changed configuration
def put_in_force(record: Record, state: Object, file: Path) -> None:
    """The AFTRs run with the configuration in `file` from now on.

    Raises `LabError` with an AFTR's reasons when it refuses; then they run as before.
    """
    before, wanted = record.config_file.read_text(encoding="utf-8"), file.read_text(encoding="utf-8")
    write_whole(record.config_file, wanted)
    try:
        for aftr in running(record, state):
            await_applied(aftr, hashlib.sha256(wanted.encode()).hexdigest()[:HASH_DIGITS], file)
    except LabError:
        write_whole(record.config_file, before)
        raise


def running(record: Record, state: Object) -> Iterator[Object]:
    """The AFTRs that run."""
    for aftr in state["aftrs"]:
        identity = recorded(record.process_file(aftr["name"]))
        if identity and is_running(identity):
            yield aftr


def await_applied(aftr: Object, wanted: str, file: Path) -> None:
    """Until an AFTR runs with the configuration of that hash."""
    deadline = time.monotonic() + APPLIED_S
    while (found := asked(aftr, "/status")["config"])["hash"] != wanted:
        if found["lastError"]:
            raise LabError(f"{aftr['name']} refuses {file}, and nothing was changed: {found['lastError']}")
        if time.monotonic() > deadline:
            raise LabError(f"{aftr['name']} has not read {file} after {APPLIED_S:g} s: see its log")
        time.sleep(PROBE_EVERY_S)


def asked(aftr: Object, path: str) -> Any:
    """What an AFTR's status port says. Raises `LabError`."""
    return json.loads(run(aftr["namespace"], ["curl", "-sSgf", "-m", "5", f"{aftr['status']}{path}"]))


# ---------------------------------------------------------------- sessions
def softwires_of(state: Object) -> list[Softwire]:
    """Who is on which slot with how many sessions, as the AFTR that serves the slot counts them."""
    found: dict[tuple[str, int], int] = {}
    for aftr in state["aftrs"]:
        with suppress(LabError):  # one that is dead serves nobody
            found |= {(one["softwire"], one["slot"]): one["sessions"] for one in asked(aftr, "/v1/softwires")}
    return [Softwire(IPv6Address(address), slot, sessions) for (address, slot), sessions in found.items()]
