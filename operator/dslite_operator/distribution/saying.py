"""What a B4Group's status says of its distribution: whether its B4s are told, and whether the names resolve.  Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from dslite_contract.schema import AftrPool
from dslite_contract.slots import slot_fqdn
from dslite_operator.distribution.counting import Stray
from dslite_operator.distribution.decision import Decision
from dslite_operator.distribution.in_force import Result
from dslite_operator.distribution.maps import BucketMap, hash_of, slots_in, text_of
from dslite_operator.distribution.moves import Batch, forecast
from dslite_operator.distribution.observed import Observed
from dslite_operator.distribution.wishes import Count, Counts
from dslite_operator.status import Verdict

Object = dict[str, Any]

LISTED = 32  # strays that a status names
UNCOUNTED = "no B4 moves before every slot is served by an AFTR that says which B4s it serves"


@dataclass(frozen=True)
class Server:
    """A DHCPv6 server, as far as one group is concerned: `reached` once it has answered, `settled` when it tells what it should."""

    name: str
    reached: bool
    settled: bool
    trouble: str


def provisioned(server: Server | None, name: str, result: Result) -> Verdict:
    """The condition `Provisioned`: whether the DHCPv6 server `name` tells these B4s what it should; None: there is no such server."""
    decided = result.decided
    if server is None:
        message = f"spec.dhcp.server: {name} is not in the chart value dhcp.servers: add it there, or correct the name"
        return Verdict("Provisioned", "False", "UnknownServer", message)
    if result.trouble:
        return Verdict("Provisioned", "False", "Refused", f"{result.trouble}; what was told stays so")
    if not server.reached or decided is None:
        return not_reached(server)
    if decided.map is None:
        names = ", ".join(decided.missing)
        return Verdict(
            "Provisioned", "False", "Waiting", f"nobody is told yet: {names} must resolve at every DNS server first"
        )
    if server.settled:
        return settled(server, decided, decided.map)
    if server.trouble:
        return Verdict("Provisioned", "False", "Refused", server.trouble)
    return Verdict("Provisioned", "Unknown", "Telling", f"DHCPv6 server {name} is being told")


def not_reached(server: Server) -> Verdict:
    """It was not heard of yet."""
    if server.trouble:
        return Verdict("Provisioned", "False", "Unreachable", f"{server.trouble}; nothing is changed there")
    return Verdict("Provisioned", "Unknown", "Asking", f"DHCPv6 server {server.name} was not heard of yet")


def settled(server: Server, decided: Decision, bucket_map: BucketMap) -> Verdict:
    """It tells what it should; B4s may have to move all the same."""
    slots = ", ".join(map(str, sorted(slots_in(bucket_map.areas.values()))))
    sentences = [f"DHCPv6 server {server.name} tells slots {slots}, by bucket map {hash_of(text_of(bucket_map))}"]
    if decided.missing:
        sentences.append(
            f"B4s stay where they are until these names resolve at every server: {', '.join(decided.missing)}"
        )
    if not decided.counted:
        sentences.append(UNCOUNTED)
    if decided.batches:
        sentences.append(forecast(decided.batches))
    return Verdict("Provisioned", "True", "Moving" if decided.batches else "Told", "; ".join(sentences))


def names_of(pool: AftrPool, decided: Decision | None) -> Sequence[str]:
    """The names that a group's B4s are told, or wait for."""
    if decided is None:
        return ()
    told = [slot_fqdn(pool, slot) for slot in sorted(slots_in(decided.map.areas.values()))] if decided.map else []
    return (*told, *decided.missing)


# ---------------------------------------------------------------- numbers
def group_fields(pool: AftrPool, result: Result, renewal: timedelta | None) -> Object:
    """The other fields of a B4Group's status; `renewal` is the T1 of its leases, None while it is not known.

    Numbers that are not known are left out: nobody must take them for none.
    """
    made: Object = {} if renewal is None else {"renewSeconds": int(renewal.total_seconds())}
    decided, seen = result.decided, result.seen
    if decided is None or decided.map is None or seen is None or not decided.counted:
        return made
    strays = list(seen.strays(decided.map))
    return made | {
        "slots": slots_of(pool, decided.map, decided.counts, seen),
        "moves": moves_left(decided.batches),
        "strays": len(strays),
        "straySoftwires": [
            stray_of(one) for one in list({one.softwire.address: one for one in strays}.values())[:LISTED]
        ],
    }


def slots_of(pool: AftrPool, bucket_map: BucketMap, counts: Counts, seen: Observed) -> list[Object]:
    """The slots that a group's B4s are told, or are on: B4s that have a lease and are told it, and softwires there."""
    told = told_on(bucket_map, counts)
    numbers = sorted({*slots_in(bucket_map.areas.values()), *seen.on_slots} & set(range(pool.spec.slots)))
    return [
        {
            "slot": slot, "fqdn": slot_fqdn(pool, slot), "told": told[slot].b4s, "sessions": told[slot].sessions,
            "softwires": seen.on_slots[slot],
        }
        for slot in numbers
    ]  # fmt: skip


def told_on(bucket_map: BucketMap, counts: Counts) -> Mapping[int, Count]:
    """B4s that are told each slot, with their sessions."""
    found: dict[int, Count] = defaultdict(lambda: Count(0))
    for area, slots in bucket_map.areas.items():
        for slot, count in zip(slots, counts.get(area, ()), strict=False):
            found[slot] = Count(found[slot].b4s + count.b4s, found[slot].sessions + count.sessions)
    return found


def moves_left(batches: Sequence[Batch]) -> Object:
    """What is still to be moved, and when the last of these B4s has."""
    if not batches:
        return {"left": 0, "sessions": 0, "steps": 0}
    numbers = {"left": sum(one.b4s for one in batches), "sessions": sum(one.sessions for one in batches)}
    return {**numbers, "steps": len(batches), "next": stamp(batches[0].at), "done": stamp(batches[-1].done)}


def stray_of(stray: Stray) -> Object:
    """One softwire that is not where it was told."""
    made: Object = {"address": str(stray.softwire.address), "servedBy": stray.softwire.slot}
    return made if stray.told is None else {**made, "told": stray.told}


def stamp(moment: datetime) -> str:
    """As the API spells it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
