"""Which member serves which slot, and where its warm copy is: a pure function of (members, owners).

Every member has a share, floor(slots/N) or one more; the larger shares go first to those that already use them.  An owner
keeps what fits its share, so only what must move moves.  The rest is given out by rendezvous weight, heaviest pair first, to
members whose share has room.  Carrying out any part of the moves, in any order, leaves the other moves as they were.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from hashlib import blake2b

SHARES = -1  # the "slot" whose weights decide who gets a larger share


@lru_cache(1 << 17)  # 1,024 slots of 64 members, twice
def weight(member: str, slot: int) -> int:
    """Rendezvous weight of a member for a slot: 64 bits that are the same on every pod."""
    return int.from_bytes(blake2b(f"{member}/{slot}".encode(), digest_size=8).digest(), "big")


def eligible(
    members: Collection[str],
    linked: Collection[str],
    leaving: Collection[str] = frozenset(),
    readers: Collection[str] | None = None,
) -> frozenset[str]:
    """The living members that may own slots: link and session on each arm, not about to leave; never nobody.

    `readers` can read what is stored (None: all can).  If no member has links, links tell nothing about who serves best; the
    same for leaving, and for reading.
    """
    able = frozenset(members) & frozenset(members if readers is None else readers) or frozenset(members)
    staying = able - frozenset(leaving) or able
    return staying & frozenset(linked) or staying


def shares(members: Collection[str], loads: dict[str, int], slots: int) -> dict[str, int]:
    """How many slots each member is to have."""
    floor, larger = divmod(slots, len(members))
    order = sorted(members, key=lambda member: (loads[member] <= floor, -weight(member, SHARES), member))
    return {member: floor + (place < larger) for place, member in enumerate(order)}


def assign(members: Collection[str], owners: Sequence[str | None]) -> tuple[str | None, ...]:
    """The member that is to serve each slot; `owners[slot]` has it now, dead or alive.  All None without members."""
    if not members:
        return (None,) * len(owners)
    held = {member: [slot for slot, owner in enumerate(owners) if owner == member] for member in members}
    room = shares(members, {member: len(slots) for member, slots in held.items()}, len(owners))
    assigned: list[str | None] = [None] * len(owners)
    for member, slots in held.items():
        for slot in sorted(slots, key=lambda slot: -weight(member, slot))[: room[member]]:
            assigned[slot] = member
            room[member] -= 1
    rest = [slot for slot, member in enumerate(assigned) if member is None]
    open_to = [member for member in members if room[member]]
    for _, member, slot in sorted(((weight(m, s), m, s) for m in open_to for s in rest), reverse=True):
        if assigned[slot] is None and room[member]:
            assigned[slot] = member
            room[member] -= 1
    return tuple(assigned)


def warm_copies(members: Collection[str], owners: Sequence[str | None]) -> tuple[str | None, ...]:
    """Where each slot's warm copy is: where `assign` puts it with its present owner removed; None in a pool of one."""
    without = {owner: assign(frozenset(members) - {owner}, owners) for owner in set(owners) if owner}
    now = assign(members, owners)
    return tuple(without[owner][slot] if owner else now[slot] for slot, owner in enumerate(owners))


def next_handover(
    me: str, owners: Sequence[str | None], assigned: Sequence[str | None], busy: Collection[int], warm: Collection[int]
) -> int | None:
    """The one slot that `me` may begin to hand over: none while another is under way.

    `busy` are the slots that `me` has frozen or sealed but whose new owner has not opened yet; `warm` those whose target is ready.
    """
    if busy:
        return None
    moving = (slot for slot, owner in enumerate(owners) if owner == me and assigned[slot] not in (None, me))
    return next((slot for slot in moving if slot in warm), None)
