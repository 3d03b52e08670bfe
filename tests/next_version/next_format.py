"""A format version that there is not: one field wider, one more."""

from __future__ import annotations

import numpy as np

from dslite_contract.journal import RECORD, by_name

NEXT_VERSION = 2
WIDER = {"flags": "<u2"}
NEXT = by_name(np.dtype([*((name, WIDER.get(name, RECORD[name])) for name in RECORD.names or ()), ("lifetime", "<u4")]))
