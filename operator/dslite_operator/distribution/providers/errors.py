"""What can go wrong with a DHCPv6 server.

DsliteError
└── ProviderError               says which server, what it answered, and what to do
    ├── OptionError             a name that cannot be in option 64: nothing was sent to any server
    ├── ForeignError            what we should change belongs to someone else, or is not there: nothing was changed
    ├── UnreachableError        no answer on the control channel, or no login
    ├── UnsuitableError         a server of a version, with settings or in a state that we cannot use
    ├── RefusedError            the server said no; its words are in the sentence
    │   └── UnwrittenError      it tells what it should, and its file does not have it: a restart would forget it
    ├── MovedOnError            someone else changed the configuration meanwhile: ours was not set, or is no longer in force
    ├── SilentError             no answer to a probe
    └── RolledBackError         a change did not bring what it should, and what was before is in force again, or is not
"""

from __future__ import annotations

from dslite_contract.errors import DsliteError


class ProviderError(DsliteError):
    """Root of the errors of DHCPv6 servers."""


class OptionError(ProviderError):
    """A name that option 64 cannot carry (RFC 6334 section 3)."""


class ForeignError(ProviderError):
    """What is asked for would overwrite something that is not ours, or needs something that is not there."""


class UnreachableError(ProviderError):
    """The control channel does not answer, or does not let us in."""


class UnsuitableError(ProviderError):
    """This server cannot do what is needed."""


class RefusedError(ProviderError):
    """The server answered a command with an error."""


class UnwrittenError(RefusedError):
    """The server tells what it should, and could not write that down."""


class MovedOnError(ProviderError):
    """Somebody else was faster; read again and decide anew."""


class SilentError(ProviderError):
    """No answer to an Information-request."""


class RolledBackError(ProviderError):
    """`serves`: whether the server answers again as before, or its peer does until it has synchronised its leases."""

    def __init__(self, sentence: str, serves: bool) -> None:
        self.serves = serves
        super().__init__(sentence)
