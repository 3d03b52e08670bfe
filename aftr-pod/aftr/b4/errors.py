"""Why a B4 does not start. Each error is one sentence for the person at the terminal."""

from dslite_contract.errors import DsliteError


class B4Error(DsliteError):
    """Root of what `aftr b4` reports; its text says what was wrong, with which value, and what to do."""


class WanError(B4Error):
    """The WAN interface is missing, down, without a usable IPv6 address, or provisioned with IPv4 (row B05)."""


class AftrNameError(B4Error):
    """The AFTR's name has no AAAA record, or cannot be resolved."""


class TunError(B4Error):
    """The TUN device cannot be made or configured."""


class SoftwireError(B4Error):
    """The kernel does not let us send from the source address, or has no way to the AFTR."""
