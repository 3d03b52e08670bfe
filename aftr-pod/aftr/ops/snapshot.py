"""Large tables, read piece by piece while workers go on changing them.

A piece is a copy; a record that changes during the copy may be missing, or be there with a value of a moment later.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Network
from typing import Any

import numpy as np

from aftr.ops.tables import NUMBERS, PROTOCOLS, Rows, binding, copied, ipv6, now_of, rows
from aftr.state.layout import (
    LIVE,
    MAPPING,
    SLOT_MAPPINGS,
    SLOT_SOFTWIRES,
    SLOT_SUBSCRIBERS,
    SOFTWIRE,
    SUBSCRIBER,
    UNTRANSLATED_KEY,
)
from aftr.state.pod import Pod
from dslite_contract.slots import owner_of_address

PIECE = 4080  # records copied at a time; of a checkpoint they fill 128 KiB, which Redis' allocator has (a little more takes 160)
_HALF = np.uint64(0xFFFFFFFFFFFFFFFF)


def softwire_numbers(mappings: Rows) -> Rows:
    """The softwires' record numbers of mappings."""
    return mappings["softwire"] & np.uint32(~UNTRANSLATED_KEY & 0xFFFFFFFF)


def live_mappings(pod: Pod, slot: int) -> Iterator[tuple[Rows, Rows]]:
    """(mappings, their softwires) of an open slot, in pieces."""
    table = rows(pod, slot, SLOT_MAPPINGS, MAPPING)
    for begin in range(0, len(table), PIECE):
        piece = copied(table, slice(begin, begin + PIECE))
        piece = copied(piece, (piece["state"] == LIVE) & np.isin(piece["protocol"], list(PROTOCOLS)))
        softwires = rows(pod, slot, SLOT_SOFTWIRES, SOFTWIRE)  # as many as there are by now
        numbers = softwire_numbers(piece)
        piece = copied(piece, numbers < len(softwires))
        yield piece, copied(softwires, softwire_numbers(piece))


def inside(records: Rows, prefix: IPv6Network) -> Any:
    """Which records (with `hi` and `lo`) have their address in an IPv6 prefix."""
    network, mask = int(prefix.network_address), int(prefix.netmask)
    matches = np.ones(len(records), bool)
    for name, shift in (("hi", 64), ("lo", 0)):
        half = records[name].astype(np.int64).view(np.uint64)
        matches &= half & (np.uint64(mask >> shift & int(_HALF))) == np.uint64(network >> shift & int(_HALF))
    return matches


def binding_pieces(pod: Pod, slots: Sequence[int], softwire: IPv6Network | None) -> Iterator[list[dict[str, Any]]]:
    """The mappings of some slots, of the B4s in `softwire` if given, as `aftr show bindings -o json` prints them."""
    for number in slots:
        now = now_of(pod, number)
        for mappings, softwires in live_mappings(pod, pod.slot(number)):
            wanted = np.ones(len(mappings), bool) if softwire is None else inside(softwires, softwire)
            pairs = zip(mappings[wanted], softwires[wanted], strict=True)
            yield [binding(mapping, owner, number, now) for mapping, owner in pairs]


def holders(pod: Pod, address: IPv4Address, port: int, protocol: str) -> list[dict[str, Any]]:
    """The binding that has an external endpoint, if any: a list of one, as `binding_pieces` gives it."""
    slot = owner_of_address(pod.configuration.pool, address)
    numbers = pod.open_slots if slot is None else [slot] if pod.slot(slot) else []  # a bypassed address is no pool's
    found: list[dict[str, Any]] = []
    for number in numbers:
        for mappings, softwires in live_mappings(pod, pod.slot(number)):
            wanted = (mappings["external_address"] == int(address)) & (mappings["external_port"] == port)
            wanted &= mappings["protocol"] == NUMBERS[protocol]
            pairs = zip(mappings[wanted], softwires[wanted], strict=True)
            found += [binding(mapping, owner, number, now_of(pod, number)) for mapping, owner in pairs]
    return found


def subscriber_pieces(pod: Pod, slots: Sequence[int]) -> Iterator[list[dict[str, Any]]]:
    """The subscribers of some slots with what they use."""
    groups = [group.metadata.name for group in pod.configuration.groups]
    for number in slots:
        table = rows(pod, pod.slot(number), SLOT_SUBSCRIBERS, SUBSCRIBER)
        for begin in range(0, len(table), PIECE):
            piece = copied(table, slice(begin, begin + PIECE))
            yield [subscriber(row, number, groups) for row in piece[piece["state"] == LIVE]]


def subscriber(row: Any, slot: int, groups: list[str]) -> dict[str, Any]:
    """One subscriber for JSON; `group` is null while its group is gone from the configuration."""
    prefix = IPv6Network((int(ipv6(row["hi"], row["lo"])), int(row["bits"])), strict=False)
    group = groups[int(row["group"])] if int(row["group"]) < len(groups) else None
    counts = {name: int(row[name]) for name in ("softwires", "mappings", "sessions", "blocks")}
    return {"slot": slot, "subscriber": str(prefix), "group": group, **counts}


def softwire_pieces(pod: Pod, slots: Sequence[int]) -> Iterator[list[dict[str, Any]]]:
    """The softwires of some slots that have mappings; a subscriber's sessions in equal shares, where it has several."""
    for number in slots:
        table = rows(pod, pod.slot(number), SLOT_SOFTWIRES, SOFTWIRE)
        for begin in range(0, len(table), PIECE):
            piece = copied(table, slice(begin, begin + PIECE))
            piece = copied(piece, (piece["state"] == LIVE) & (piece["mappings"] > 0))
            subscribers = rows(pod, pod.slot(number), SLOT_SUBSCRIBERS, SUBSCRIBER)  # as many as there are by now
            piece = copied(piece, piece["subscriber"] < len(subscribers))
            pairs = zip(piece, copied(subscribers, piece["subscriber"]), strict=True)
            yield [softwire(row, its, number) for row, its in pairs]


def softwire(row: Any, subscriber: Any, slot: int) -> dict[str, Any]:
    """One softwire for JSON."""
    sessions = int(subscriber["sessions"]) // max(1, int(subscriber["softwires"]))
    return {"slot": slot, "softwire": str(ipv6(row["hi"], row["lo"])), "sessions": sessions}


def at_most(pieces: Iterator[list[dict[str, Any]]], limit: int) -> Iterator[list[dict[str, Any]]]:
    """The first `limit` entries, 0 for all."""
    left = limit
    for piece in pieces:
        if limit and len(piece) >= left:
            yield piece[:left]
            return
        left -= len(piece)
        yield piece
