"""Quantities of resources.  One has several spellings: an API server gives back 1Gi for 1024Mi, and 500m for 0.5."""

from __future__ import annotations

import math
from decimal import Decimal

from kubernetes.utils.quantity import parse_quantity


def thousandths(quantity: str) -> int:
    """What a quantity is worth, rounded up as API servers do; raises ValueError."""
    worth: Decimal = parse_quantity(quantity)  # type: ignore[no-untyped-call]
    return math.ceil(worth * 1000)
