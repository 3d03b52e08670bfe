"""The least weight that must move, exactly: what `dslite_operator.distribution` is compared with.  It shares no code with it.

What moves is what leaves slots that are not used, and what is above the limit of those that are.  The limit is the mean and
one bucket at least, so the rest always finds room: placed one by one on the slot with least load, that slot is below the
mean before.  So the minimum is known once the most is that can stay at each slot, a subset sum, exact for any weights by
dynamic programming; `by_milp` assumes nothing of this and is slow.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import lil_array

NOWHERE = -1


def bound(weights: Sequence[int], number: int) -> int:
    """Most weight of one of `number` slots: a tenth above the mean, or one bucket if that is more."""
    mean = Fraction(sum(weights), number)
    return int(mean + max(mean / 10, Fraction(max(weights))))


def most_that_stays(weights: Sequence[int], most: int) -> int:
    """The largest sum of some of `weights` that is not above `most`: all but the least sum that makes up the excess.

    Bit n of `sums` is set when n is a sum.  Without any of its weights the least sum would be too little, so it is below the
    excess and the largest weight together, and larger ones need no bits.
    """
    excess = sum(weights) - most
    if excess <= 0:
        return sum(weights)
    sums, bits = 1, (1 << (excess + max(weights))) - 1
    for weight, times in Counter(weights).items():
        for several in powers(times):
            sums |= (sums << weight * several) & bits
        if sums >> excess & 1:
            break  # nothing is less than what is needed
    enough = sums >> excess
    return sum(weights) - excess - ((enough & -enough).bit_length() - 1)


def powers(times: int) -> Iterator[int]:
    """1, 2, 4 … and a rest, whose sums are the numbers up to `times`: so many equal weights are few steps."""
    several = 1
    while several <= times:
        yield several
        times, several = times - several, 2 * several
    if times:
        yield times


def least(weights: Sequence[int], slots: Sequence[int], usable: Sequence[int], number: int) -> int:
    """Weight that must move so that all is on `number` of the `usable` slots and none is above the bound."""
    held: dict[int, list[int]] = defaultdict(list)
    for weight, slot in zip(weights, slots, strict=True):
        held[slot].append(weight)
    most = bound(weights, number)
    stays = sorted((most_that_stays(held[slot], most) for slot in usable), reverse=True)[:number]
    return sum(weights) - sum(held[NOWHERE]) - sum(stays)


def by_milp(weights: Sequence[int], slots: Sequence[int], usable: Sequence[int], number: int, seconds: float) -> int:
    """The same by HiGHS: a binary for each bucket on each slot, and one for each slot that is used.  Raises TimeoutError."""
    buckets, places = len(weights), len(usable)
    size = buckets * places
    rows = lil_array((buckets + places + 1, size + places))
    for bucket, weight in enumerate(weights):
        for place in range(places):
            rows[bucket, bucket * places + place] = 1
            rows[buckets + place, bucket * places + place] = weight
    for place in range(places):
        rows[buckets + place, size + place] = -bound(weights, number)
        rows[buckets + places, size + place] = 1
    low = np.concatenate([np.ones(buckets), np.full(places, -np.inf), [number]])
    high = np.concatenate([np.ones(buckets), np.zeros(places), [number]])
    moved = [
        0 if slot in (usable[place], NOWHERE) else weight
        for weight, slot in zip(weights, slots, strict=True)
        for place in range(places)
    ]
    found = milp(
        np.concatenate([moved, np.zeros(places)]), integrality=np.ones(size + places), bounds=Bounds(0, 1),
        constraints=LinearConstraint(rows.tocsr(), low, high), options={"time_limit": seconds, "mip_rel_gap": 0},
    )  # fmt: skip
    if found.status != 0:
        raise TimeoutError(f"HiGHS: {found.message}")
    return round(float(found.fun))
