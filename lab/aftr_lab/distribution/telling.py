"""The B4s of one lab told their slots, and that written down."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aftr_lab.distribution.placing import Maps, group_of, slot_told
from aftr_lab.distribution.servers import Told, servers_of, tell
from aftr_lab.network import entered
from aftr_lab.plan import Plan
from aftr_lab.record import Record
from aftr_lab.status import read_status
from dslite_contract.load import Configuration
from dslite_contract.slots import slot_address
from dslite_operator.distribution.counting import Softwire


def tell_b4s(
    record: Record, plan: Plan, configuration: Configuration, softwires: Sequence[Softwire] = ()
) -> Told:  # fmt: skip
    """Tells them what `configuration` asks for, from the router as a relay does.  Raises what `tell` raises."""
    servers = servers_of(read_status(record)["provider"], record.runtime_directory("dns"))
    with entered(plan.namespace("router")):
        told = asyncio.run(tell(servers, configuration, plan.b4s, softwires))
    note(record, plan, configuration, told.after)
    return told


def note(record: Record, plan: Plan, configuration: Configuration, maps: Maps) -> None:
    """For `aftr-lab status`."""
    state = record.load()
    for b4, entry in zip(plan.b4s, state["b4s"], strict=True):
        group, slot = group_of(configuration, b4), slot_told(maps, b4)
        entry["group"] = group.metadata.name if group else None
        if slot is not None:
            entry |= {"slot": slot, "tunnelAddress": str(slot_address(configuration.pool, slot))}
    record.write(state)
