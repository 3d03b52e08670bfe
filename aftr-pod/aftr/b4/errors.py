"""Why a B4 does not start, or does not follow. Each error is one sentence for the person at the terminal."""

from dslite_contract.errors import DsliteError


class B4Error(DsliteError):
    """Root of what `aftr b4` reports; its text says what was wrong, with which value, and what to do."""


class InterfaceError(B4Error):
    """An interface is missing, or without a usable address; or the WAN is provisioned with IPv4 (row B05)."""


class AftrNameError(B4Error):
    """The AFTR's name is none (RFC 6334), has no AAAA record, or cannot be resolved."""


class TunError(B4Error):
    """The TUN device cannot be made or configured."""


class SoftwireError(B4Error):
    """The kernel gives no raw socket, does not let us send from the source address, or has no way to the AFTR."""


class ProgramError(B4Error):
    """A program that runs beside the relay has ended."""
