"""Tables for people, from what the operator wrote into statuses."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from dslite_operator.status import condition_of

Object = dict[str, Any]


def pool_table(pools: list[Object]) -> Table:
    """One line a pool."""
    table = Table("pool", "ready", "pods", "slots", "subscribers", "mappings", "ports", "release")
    for one in pools:
        said, spec = one.get("status", {}), one["spec"]
        ready = condition_of(one, "Ready").get("status", "Unknown")
        pods = f"{said.get('readyReplicas', 0)}/{said.get('wantedReplicas', 0)}"
        numbers = (said.get("subscribers", 0), said.get("mappings", 0))
        ports = f"{said.get('portUtilizationPercent', 0)} %"
        table.add_row(
            one["metadata"]["name"], ready, pods, str(spec["slots"]), *map(str, numbers), ports, said.get("release", "")
        )
    return table


def slot_table(pool: Object) -> Table:
    """One line a slot."""
    table = Table("slot", "pod", "epoch", "address", "prefixes", "subscribers", "mappings", "ports")
    for slot in pool.get("status", {}).get("slots", ()):
        table.add_row(
            str(slot["slot"]), slot.get("pod", "–"), str(slot.get("epoch", "")), slot["address"], ", ".join(slot["prefixes"]),
            str(slot.get("subscribers", "")), str(slot.get("mappings", "")), f"{slot.get('portUtilizationPercent', 0)} %",
        )  # fmt: skip
    return table


def group_table(groups: list[Object]) -> Table:
    """One line a group."""
    table = Table("group", "told", "slots", "B4s", "sessions", "to move", "strays")
    for one in groups:
        said = one.get("status", {})
        slots = said.get("slots", ())
        numbers = [sum(slot[name] for slot in slots) for name in ("told", "sessions")]
        table.add_row(
            one["metadata"]["name"], condition_of(one, "Provisioned").get("status", "–"),
            ", ".join(str(slot["slot"]) for slot in slots), *map(str, numbers), str(said.get("moves", {}).get("left", "")),
            str(said.get("strays", "")),
        )  # fmt: skip
    return table
