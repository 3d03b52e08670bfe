"""What it means to take all B4s off a slot, from the statuses that the operator wrote: said beforehand, and how far it is.  Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from dslite_contract.errors import DsliteError
from dslite_contract.schema import AftrPool, B4Group
from dslite_contract.slots import check_slot, group_slots
from dslite_operator.distribution.decision import short_renewal
from dslite_operator.distribution.maps import BucketMap
from dslite_operator.distribution.moves import Batch, Move, Pace, forecast, schedule
from dslite_operator.observe import read_asked
from dslite_operator.status import condition_of

Object = dict[str, Any]

RENEWED = timedelta(minutes=5)  # an operator at work renews its Lease each 15 s; clocks may differ
PLACE = re.compile(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?)/(\d+)")


class MovingError(DsliteError):
    """B4s cannot be moved so."""


@dataclass(frozen=True)
class Share:
    """What one group has on a slot: B4s that are told it, their sessions, B4s that it serves; `renewal` is their T1."""

    group: B4Group
    told: int
    sessions: int
    softwires: int
    renewal: timedelta | None

    @property
    def name(self) -> str:
        """Of the group."""
        return str(self.group.metadata.name)


def place_of(text: str) -> tuple[str, int]:
    """Pool and slot of POOL/SLOT.  Raises MovingError."""
    found = PLACE.fullmatch(text)
    if found is None:
        raise MovingError(f"{text} is not a slot: give POOL/SLOT, such as east/3")
    return found[1], int(found[3])


def shares_of(slot: int, groups: Sequence[tuple[B4Group, Object]]) -> list[Share]:
    """What groups have on a slot, by their statuses; only those that a DHCPv6 server tells."""
    found = []
    for group, status in groups:
        numbers = next((one for one in status.get("slots", ()) if one["slot"] == slot), None)
        if numbers is not None:
            seconds = status.get("renewSeconds")
            renewal = None if seconds is None else timedelta(seconds=seconds)
            found.append(Share(group, numbers["told"], numbers["sessions"], numbers["softwires"], renewal))
    return found


def not_counted(groups: Iterable[Object]) -> Iterator[str]:
    """Of which groups that a DHCPv6 server tells it is not known what they have on a slot: missing numbers are not none."""
    for one in groups:
        name = one["metadata"]["name"]
        if not one["spec"].get("dhcp"):
            continue
        status = one.get("status", {})
        if not status.get("slots") or status.get("observedGeneration") != one["metadata"]["generation"]:
            why = condition_of(one, "Provisioned").get("message", "the operator has not seen it")
            yield f"B4Group {name}: on which slots its B4s are is not known ({why})"
        elif read_asked(one).model is None:
            yield f"B4Group {name}: what it asks for is wrong, so what its B4s will lose is not known: correct it first"


def unattended(leases: Iterable[Object], now: datetime) -> Iterator[str]:
    """That no operator is at work, by the Leases that operators renew: what statuses say may be hours old."""
    renewals = [one["spec"]["renewTime"] for one in leases if one["spec"].get("holderIdentity")]
    last = max(map(datetime.fromisoformat, renewals), default=None)
    if last is None:
        yield "no operator is at work: nobody has counted who uses the slot"
    elif now - last > RENEWED:
        yield f"no operator is at work since {last:%Y-%m-%d %H:%M} UTC: who uses the slot was counted before that"


def staying(slot: int, pool: Object, groups: Iterable[Object]) -> Iterator[str]:
    """Groups that no DHCPv6 server tells, if B4s of theirs may be on the slot: a drain leaves them there."""
    numbers: Object = next((one for one in pool.get("status", {}).get("slots", ()) if one["slot"] == slot), {})
    subscribers = numbers.get("subscribers")
    names = [str(one["metadata"]["name"]) for one in groups if not one["spec"].get("dhcp")]
    if names and subscribers != 0:
        yield (
            f"no DHCPv6 server tells the B4s of {', '.join(names)} a slot: they stay where they are; slot {slot} has "
            f"{'an unknown number of' if subscribers is None else f'{subscribers:,}'} subscribers in all"
        )


def check(pool: AftrPool, slot: int, drained: Mapping[int, datetime], groups: Sequence[B4Group]) -> None:
    """Raises SlotError, and MovingError where a group would have no slot left."""
    check_slot(pool, slot)
    for group in groups:
        carriers = group_slots(pool, group)
        left = set(range(carriers.first, carriers.last + 1)) - drained.keys() - {slot}
        if not left:
            raise MovingError(
                f"slot {slot} is the last that carries NAT pool {group.spec.nat_pool} of B4Group {group.metadata.name}: "
                "end another drain first"
            )


# ---------------------------------------------------------------- said beforehand
def beforehand(slot: int, shares: Sequence[Share], now: datetime) -> Iterator[str]:
    """What a drain will cost, a line for each group."""
    for one in shares:
        if one.renewal is None or not one.told:
            continue
        short = short_renewal(one.renewal)
        yield (
            f"B4Group {one.name}: T1 is {minutes(short)} from now on, and {minutes(one.renewal)} later, when all leases have that, "
            + forecast(steps(one, now + one.renewal, short))
        )
    others = sum(max(0, one.softwires - one.told) for one in shares)
    if others:
        yield f"{others} B4s are on slot {slot} without being told it, by a name or an address of their own: they stay there"


def steps(share: Share, begin: datetime, short: timedelta) -> tuple[Batch, ...]:
    """The steps in which they go, as far as one can say without knowing their buckets: each as large as it may be."""
    spec, moves, left = share.group.spec, list[Move](), share.told
    while left:
        b4s = min(left, spec.max_moves_per_hour)
        moves.append(Move((), len(moves), 0, 1, b4s, share.sessions * b4s // share.told))
        left -= b4s
    nothing = BucketMap("", "", "whole", {})
    return schedule(moves, Pace(spec.max_moves_per_hour, spec.move_window, short), nothing, begin)


def used(shares: Sequence[Share]) -> int:
    """B4s that a slot is for, or that it serves."""
    return sum(max(one.told, one.softwires) for one in shares)


def refusal(place: str, shares: Sequence[Share], unknown: Sequence[str]) -> str:
    """Why a drain of POOL/SLOT does not begin unless it is told to; nothing where nobody uses the slot."""
    if unknown:
        return (
            f"who uses slot {place} is not known: see to that first; with --yes T1 is shortened now all the same, and B4s move "
            "once they are counted"
        )
    b4s = used(shares)
    return f"slot {place} is used by {b4s:,} B4s: give --yes to move them" if b4s else ""


# ---------------------------------------------------------------- how far it is
def progress(
    slot: int,
    since: datetime,
    shares: Sequence[Share],
    now: datetime,
    unknown: Sequence[str] = (),
    others: Sequence[str] = (),
) -> Iterator[str]:
    """How far a drain is, a line for each group."""
    yield f"slot {slot} is being drained since {since:%Y-%m-%d %H:%M} UTC"
    for one in shares:
        begin = since + (one.renewal or timedelta())
        if one.told and now < begin:
            yield f"B4Group {one.name}: {one.told:,} B4s are told another slot from {begin:%Y-%m-%d %H:%M} UTC on"
        elif one.told or one.softwires:
            yield f"B4Group {one.name}: {one.told:,} B4s are still told slot {slot}, {one.softwires:,} are still on it"
    yield from (*unknown, *others)
    if not used(shares) and not unknown:
        yield f"no B4 of any {'other ' if others else ''}group is told slot {slot} or on it"


def minutes(time: timedelta) -> str:
    """30 min; 90 s."""
    seconds = int(time.total_seconds())
    return f"{seconds // 60} min" if seconds % 60 == 0 else f"{seconds} s"
