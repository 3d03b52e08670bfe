"""What servers answer, as sentences that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from dns import exception, message, rcode, tsig, xfr

from dslite_operator.distribution.dns.errors import MovedOnError, RefusedError, SilentError

# RFC 2136 section 3.2: a prerequisite does not hold.
MOVED_ON = {rcode.YXDOMAIN, rcode.YXRRSET, rcode.NXRRSET, rcode.NXDOMAIN}

ADVICE = {
    rcode.NOTZONE: "a name is not in the zone that the server has: correct dns.zones[].zone",
    rcode.NOTAUTH: "it is not the primary of this zone: correct dns.zones[].server or .zone",
    rcode.SERVFAIL: "it cannot do it: see its log",
    rcode.NOTIMP: "it takes no updates of zones: correct dns.zones[].server",
}
TSIG_ERRORS = (tsig.PeerBadKey, tsig.PeerBadSignature, tsig.PeerBadTime)


class Request(NamedTuple):
    """What a server is asked: `what` as in "the transfer of example.net", and what has to be granted for it."""

    where: str
    what: str
    grant: str

    def refused(self, why: str) -> RefusedError:
        """The server says no."""
        return RefusedError(f"DNS server {self.where} refuses {self.what}: {why}")

    def refused_by(self, code: int) -> RefusedError:
        """The same, with an RCODE."""
        word = rcode.Rcode.make(code)
        advice = f"{self.grant} (docs/dns.md)" if word == rcode.REFUSED else ADVICE.get(word, "see its log")
        return self.refused(f"{rcode.to_text(word)}: {advice}")

    def refused_key(self, error: exception.DNSException) -> RefusedError:
        """The same, with an error of TSIG (RFC 8945 section 5.2)."""
        match error:
            case tsig.PeerBadKey():  # knot says it too where BIND says REFUSED
                return self.refused(
                    f"BADKEY: it does not know the key, or grants it too little: {self.grant} (docs/dns.md)"
                )
            case tsig.PeerBadSignature():
                return self.refused("BADSIG: the key has another secret or algorithm there: correct the Secret")
            case _:
                return self.refused("BADTIME: its clock and ours are more than 300 s apart: look at NTP on both")

    def silent(self, why: str) -> SilentError:
        """No answer that could be used."""
        return SilentError(f"DNS server {self.where} does not answer for {self.what}: {why}")


@contextmanager
def in_words(request: Request) -> Iterator[None]:
    """Errors of dnspython and of the network as ours."""
    try:
        yield
    except xfr.TransferError as error:
        raise request.refused_by(error.rcode) from error
    except TSIG_ERRORS as error:
        raise request.refused_key(error) from error
    except (exception.Timeout, TimeoutError) as error:
        raise request.silent("not in time: see that it runs, and the way to it") from error
    except (OSError, EOFError) as error:
        raise request.silent(f"{error or type(error).__name__}: see that it runs") from error
    except (exception.DNSException, ValueError) as error:
        raise request.silent(f"what it says cannot be read: {type(error).__name__}: {error}") from error


def checked(request: Request, answer: message.Message) -> None:
    """Raises MovedOnError or RefusedError unless an update was made, and SilentError if nobody signed for it."""
    code = answer.rcode()
    if code in MOVED_ON:
        raise MovedOnError(f"DNS server {request.where}: somebody else changed the zone during {request.what}")
    if code != rcode.NOERROR:
        raise request.refused_by(code)
    if not answer.had_tsig:
        raise request.silent("its answer is not signed, so it may be somebody else's: see what is between")
