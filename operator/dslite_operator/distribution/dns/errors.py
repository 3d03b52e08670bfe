"""What can go wrong with a DNS server.

DsliteError
└── DnsError                    says which server, what it answered, and what to do
    ├── KeyFileError            a TSIG key that cannot be read: nothing was sent to any server
    ├── SilentError             no answer, or none that can be read
    ├── RefusedError            the server said no; its word is in the sentence
    └── MovedOnError            somebody else changed the zone meanwhile: nothing of this message was written
"""

from __future__ import annotations

from dslite_contract.errors import DsliteError


class DnsError(DsliteError):
    """Root of the errors of DNS servers."""


class KeyFileError(DnsError):
    """The Secret of a TSIG key has not what is needed."""


class SilentError(DnsError):
    """The server does not answer."""


class RefusedError(DnsError):
    """The server answered with an error."""


class MovedOnError(DnsError):
    """Read the zone again and decide anew."""
