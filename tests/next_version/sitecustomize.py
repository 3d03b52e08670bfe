"""Every Python that finds this on its path is one of the next format version: how tests start an AFTR that is newer."""

from __future__ import annotations

from dslite_contract.journal import FORMATS
from next_version.next_format import NEXT, NEXT_VERSION

FORMATS[NEXT_VERSION] = NEXT
