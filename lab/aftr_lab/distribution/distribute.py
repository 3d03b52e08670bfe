"""`aftr-lab distribute FILE`: AFTRs run with a changed configuration, and B4s go where it says.

AFTRs take it ─► names published, verified ─► maps in force changed ─► Kea told ─► each B4 moves at its next renewal
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from aftr_lab.build import plan_of
from aftr_lab.distribution.engines import put_in_force, softwires_of
from aftr_lab.distribution.following import await_moves
from aftr_lab.distribution.placing import Move, moves_of
from aftr_lab.distribution.report import announced, arrived, summary
from aftr_lab.distribution.servers import Told
from aftr_lab.distribution.telling import tell_b4s
from aftr_lab.errors import LabError
from aftr_lab.plan import Plan, check_told
from aftr_lab.record import Record
from aftr_lab.status import read_status
from dslite_contract.load import Configuration, load_config

Object = dict[str, Any]
Say = Callable[[str], None]


def distribute(record: Record, file: Path, say: Say) -> Object:
    """Brings the lab to `file` and B4s to their slots; `say` is told each step.  What came of it, as JSON.

    Raises `LabError`, `ConfigurationError`, and the operator's errors of servers and maps.
    """
    plan, state, configuration = plan_of(record), read_status(record), load_config(file)
    check(plan, state, configuration)
    put_in_force(record, state, file)
    softwires, names = softwires_of(state), [slot["fqdn"] for slot in state["slots"]]

    def moves_in(told: Told) -> list[Move]:
        return moves_of(plan.b4s, told.before, told.after, softwires)

    def announce(told: Told) -> None:
        for line in announced(moves_in(told), len(plan.b4s), told.decisions):
            say(line)

    told = tell_b4s(record, plan, configuration, softwires, announce)
    moved = await_moves(record, state, moves_in(told), lambda one: say(arrived(one, names)))
    return summary(plan.b4s, told, moved, softwires_of(state))


def check(plan: Plan, state: Object, configuration: Configuration) -> None:
    """What a lab that is up can be brought to: other groups, in the subnets that its Kea has."""
    if state["provider"] is None:
        raise LabError("B4s of this lab are told their AFTR: bring it up with --client, so that they ask for it")
    if configuration.pool.metadata.name != plan.pool.metadata.name:
        raise LabError(f"the lab's pool is {plan.pool.metadata.name}, not {configuration.pool.metadata.name}")
    known = state["bridges"]["access"]["prefixes"]
    for group in configuration.groups:
        check_told(group)
        if new := [str(prefix) for prefix in group.spec.prefixes if str(prefix) not in known]:
            raise LabError(
                f"B4Group {group.metadata.name} has {new[0]}: this lab was built with {', '.join(known)}, and has no B4s elsewhere"
            )
