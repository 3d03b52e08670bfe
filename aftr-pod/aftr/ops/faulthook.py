"""Guards that a test leaves out, to see that it would find what follows.  Never for production.

DSLITE_FAULT_HOOK holds their names, separated by commas.  It is read here and nowhere else; what it leaves out is logged as an error at the
start, and a word that is no guard's name ends the program: nothing is switched on by accident.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import structlog

from dslite_contract.errors import DsliteError

log = structlog.get_logger()

VARIABLE = "DSLITE_FAULT_HOOK"


class FaultHook(Enum):
    """What is left out."""

    FENCE_OFF = "fence-off"  # packets leave after the lease has ended
    NO_HOLD_DOWN = "no-hold-down"  # a released port block is given out at once
    TRIM_TOO_FAR = "trim-too-far"  # a checkpoint takes entries after it away too
    CHECKPOINT_OFTEN = "checkpoint-often"  # harmless: one each hundred entries, so that a short test sees some


class FaultHookError(DsliteError):
    """The variable holds something else."""


def read_hooks(environment: Mapping[str, str]) -> frozenset[FaultHook]:
    """The guards to leave out; raises FaultHookError for a name that is none."""
    words = [word for word in environment.get(VARIABLE, "").split(",") if word]
    known = {hook.value: hook for hook in FaultHook}
    for word in words:
        if word not in known:
            raise FaultHookError(
                f"{VARIABLE} names {word!r}, which is none of {', '.join(known)}: unset it, it is for tests alone"
            )
        log.error(
            "A GUARD IS LEFT OUT: bindings may be lost, or given to two subscribers", variable=VARIABLE, guard=word
        )
    return frozenset(known[word] for word in words)
