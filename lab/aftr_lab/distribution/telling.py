"""The B4s of one lab told their slots, and that written down."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aftr_lab.distribution.placing import Maps, slot_told, with_server
from aftr_lab.distribution.servers import Announce, Told, servers_of, tell
from aftr_lab.network import entered
from aftr_lab.plan import Plan
from aftr_lab.record import Record
from aftr_lab.status import read_status
from dslite_contract.load import Configuration
from dslite_contract.slots import slot_address
from dslite_operator.distribution.counting import Softwire
from dslite_operator.distribution.observed import group_finder


def tell_b4s(
    record: Record,
    plan: Plan,
    configuration: Configuration,
    softwires: Sequence[Softwire] = (),
    announce: Announce = lambda told: None,
) -> Told:
    """Tells them what `configuration` asks for, from the router as a relay does.  Raises what `tell` raises."""
    servers = servers_of(read_status(record)["provider"], record.runtime_directory("dns"))
    with entered(plan.namespace("router")):
        told = asyncio.run(tell(servers, with_server(configuration), softwires, announce))
    note(record, plan, configuration, told.after)
    return told


def note(record: Record, plan: Plan, configuration: Configuration, maps: Maps) -> None:
    """For `aftr-lab status`."""
    state, group_at = record.load(), group_finder(configuration.groups)
    for b4, entry in zip(plan.b4s, state["b4s"], strict=True):
        slot = slot_told(maps, b4)
        entry["group"] = group_at(b4.address).rpartition("/")[2]
        if slot is not None:
            entry |= {"slot": slot, "tunnelAddress": str(slot_address(configuration.pool, slot))}
    record.write(state)
