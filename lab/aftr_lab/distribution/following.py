"""B4s followed while they move: each at its next renewal, by its own word."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from aftr_lab.distribution.engines import softwires_of
from aftr_lab.distribution.placing import Move, sessions_on
from aftr_lab.errors import NotReadyError
from aftr_lab.provider import RENEW_S, VALID_S
from aftr_lab.ready import PROBE_EVERY_S
from aftr_lab.record import Record

Object = dict[str, Any]

FOLLOWS = re.compile(r"^follows (\S+): softwire", re.MULTILINE)  # what a B4 says of its softwire
PATIENCE_S = VALID_S  # longer than this no lease holds that has the old name


class Moved(NamedTuple):
    """A B4 that has moved, so long after its server was told, and the sessions that it had left on the old slot."""

    move: Move
    seconds: float
    lost: int


def followed(record: Record, b4: str) -> str | None:
    """The name that a B4 follows now, None: none yet."""
    names = FOLLOWS.findall(record.log_file(b4).read_text(errors="replace"))
    return str(names[-1]) if names else None


def await_moves(record: Record, state: Object, moves: Sequence[Move], say: Callable[[Moved], None]) -> list[Moved]:
    """Each B4 as it moves.  Raises `NotReadyError` for those that have not when their leases would have ended."""
    began, left, moved = time.monotonic(), list(moves), list[Moved]()
    while left:
        seconds = time.monotonic() - began
        for move in [one for one in left if followed(record, one.b4.name) == state["slots"][one.new]["fqdn"]]:
            left.remove(move)
            moved.append(Moved(move, seconds, sessions_on(softwires_of(state), move.b4, move.old)))
            say(moved[-1])
        if left and seconds > PATIENCE_S:
            raise NotReadyError("; ".join(late(record, left)))
        time.sleep(PROBE_EVERY_S)
    return moved


def late(record: Record, moves: Sequence[Move]) -> Iterator[str]:
    """Who has not moved, and where to look."""
    for move in moves:
        yield (
            f"{move.b4.name} follows {followed(record, move.b4.name) or 'no name'} {PATIENCE_S} s after it was to be told slot {move.new}, "
            f"and renews every {RENEW_S} s: see {record.log_file(move.b4.name)}"
        )
