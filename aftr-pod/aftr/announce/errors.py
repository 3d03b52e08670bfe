"""What can go wrong while announcing.

DsliteError
└── AnnounceError     names the peer, interface, slot or command, and what to do
    └── BirdError     BIRD refused a configuration, did not start, or does not answer
"""

from __future__ import annotations

from dslite_contract.errors import DsliteError


class AnnounceError(DsliteError):
    """Root of the package's errors."""


class BirdError(AnnounceError):
    """BIRD refused, ended, or is silent; the message carries its words."""
