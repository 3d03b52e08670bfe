"""How long moving a pool's slots away from a pod takes: the AFTR has that long to leave, the operator gives it to the pod."""

from __future__ import annotations

from dslite_contract.schema import AftrPool

HANDOVER_S = 0.5  # of one slot, with room to spare
END_S = 10  # for everything else that ends with the process


def leave_seconds(pool: AftrPool) -> float:
    """Longest that a member may take to hand over all slots of the pool."""
    return HANDOVER_S * pool.spec.slots + pool.spec.failover.drain_seconds


def grace_seconds(pool: AftrPool) -> int:
    """`terminationGracePeriodSeconds` of its pods."""
    return int(leave_seconds(pool)) + 1 + END_S
