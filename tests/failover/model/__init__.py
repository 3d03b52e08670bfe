"""A pool in simulation: members that run the real machine, a store, and everything that can go wrong between them.

One seed is one history.  Members have clocks of their own; messages are lost, late and doubled; processes stop, resume and start
again; the store goes away, forgets, or falls back.  `History.run` raises ViolationError as soon as a promise is broken.

Scaled times: the hold-down is one second, and the caps of the handover follow it.
"""

from failover.model.history import History
from failover.model.store import ViolationError

__all__ = ["History", "ViolationError"]
