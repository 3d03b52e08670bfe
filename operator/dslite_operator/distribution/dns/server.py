"""One DNS server, asked and told by dnspython: questions, transfers (RFC 5936), updates (RFC 2136).

Everything goes by TCP: no rate limit of answers, nothing truncated, and an error at once when nobody listens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from socket import SOCK_STREAM

from dns import asyncbackend, asyncquery, flags, inet, message, node, rcode, rdatatype, tsig, update, xfr, zone
from dns.rdtypes.ANY.SOA import SOA
from dns.rdtypes.ANY.TXT import TXT
from dns.rdtypes.IN.AAAA import AAAA

from dslite_operator.distribution.dns.plan import Change
from dslite_operator.distribution.dns.records import Held
from dslite_operator.distribution.dns.resolving import Said
from dslite_operator.distribution.dns.words import Request, checked, in_words
from dslite_operator.settings import Place

TTL_S = 300  # of what we write
TIMEOUT_S = 5.0  # of one question
UPDATE_S = 20.0  # of one update: a server may sign and store all of its names first
TRANSFER_S = 60.0  # of a whole zone
CONNECTIONS = 8  # at a time, when many names are asked for
BATCH = 128  # changes in one message: some 200 bytes each, and a message holds 65,535
SIGNATURES = {rdatatype.RRSIG, rdatatype.NSEC, rdatatype.NSEC3}


@dataclass(frozen=True)
class Server:
    """A server that should answer for the zone `origin`."""

    origin: str
    place: Place

    @property
    def where(self) -> str:
        """Its name in sentences."""
        return str(self.place)

    async def serial(self) -> int:
        """Of the zone, another one after each change of it.  Raises RefusedError, SilentError."""
        request = Request(self.where, f"the SOA of {self.origin}", "let anybody ask for the zone")
        question = message.make_query(f"{self.origin}.", rdatatype.SOA)
        with in_words(request):
            answer = await asyncquery.tcp(question, self.place.address, TIMEOUT_S, self.place.port)
        found = [one for rrset in answer.answer for one in rrset if isinstance(one, SOA)]
        if not answer.flags & flags.AA or not found:
            word = rcode.to_text(answer.rcode())
            raise request.refused(
                f"{word}: it does not have this zone: correct dns.zones, or see why it has not loaded it"
            )
        return int(found[0].serial)

    async def addresses(self, names: Sequence[str]) -> dict[str, Said]:
        """What it says of each name.  Raises SilentError."""
        left, found = iter(names), dict[str, Said]()
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(CONNECTIONS, len(names))):
                    group.create_task(self._ask(left, found))
        except ExceptionGroup as several:
            raise several.exceptions[0] from None
        return found

    async def _ask(self, left: Iterator[str], found: dict[str, Said]) -> None:
        """One connection, for one name after another while there are some."""
        family = inet.af_for_address(self.place.address)
        with in_words(Request(self.where, f"names in {self.origin}", "let anybody ask for the zone")):
            backend = asyncbackend.get_default_backend()
            opening = backend.make_socket(family, SOCK_STREAM, 0, None, self.place, TIMEOUT_S)  # type: ignore[no-untyped-call]
            async with await opening as connection:
                for name in left:
                    question = message.make_query(f"{name}.", rdatatype.AAAA)
                    answer = await asyncquery.tcp(question, "", TIMEOUT_S, sock=connection)
                    found[name] = addresses_in(answer)


@dataclass(frozen=True)
class Primary(Server):
    """The server that takes updates of its zone, with our key."""

    key: tsig.Key = field(repr=False)

    async def transfer(self) -> tuple[int, dict[str, Held]]:
        """The zone's serial, and what it holds at each name.  Raises RefusedError, SilentError."""
        copy = zone.Zone(f"{self.origin}.", relativize=False)
        question, _ = xfr.make_query(copy, keyring=self.key)
        with in_words(Request(self.where, f"the transfer of {self.origin}", "let the key transfer the zone")):
            await asyncquery.inbound_xfr(self.place.address, copy, question, self.place.port, TIMEOUT_S, TRANSFER_S)
        serial = copy.get_soa().serial
        return serial, {name.to_text(omit_final_dot=True).lower(): held_in(one) for name, one in copy.nodes.items()}

    async def change(self, changes: Sequence[Change]) -> None:
        """Makes all of these, or none.  Raises MovedOnError if a name is not as we saw it; RefusedError, SilentError."""
        made = update.UpdateMessage(f"{self.origin}.", keyring=self.key)
        for one in changes:
            put(made, one)
        grant = "let the key update AAAA and TXT of names in the zone"
        request = Request(self.where, f"the update of {self.origin}", grant)
        with in_words(request):
            answer = await asyncquery.tcp(made, self.place.address, UPDATE_S, self.place.port)
        checked(request, answer)


# ---------------------------------------------------------------- messages
def put(made: update.UpdateMessage, change: Change) -> None:
    """One change in an update: what must be there, then what is done, by type since not every key may remove whole names."""
    name = f"{change.name}."
    if change.before is None:
        made.absent(name)
    else:
        made.present(name, rdatatype.TXT, quoted(change.before))
    if change.mark is None or change.address is not None:
        made.delete(name, rdatatype.AAAA)
    if change.address is not None:
        made.add(name, TTL_S, rdatatype.AAAA, str(change.address))
    if change.before is not None:
        made.delete(name, rdatatype.TXT)
    if change.mark is not None:
        made.add(name, TTL_S, rdatatype.TXT, quoted(str(change.mark)))


def quoted(text: str) -> str:
    """A TXT's text as a zone file has it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def addresses_in(answer: message.Message) -> Said:
    """What an answer says of a name."""
    code = answer.rcode()
    if code not in (rcode.NOERROR, rcode.NXDOMAIN):
        return rcode.to_text(code)
    if not answer.flags & flags.AA:
        return "it is not authoritative for it"
    return frozenset(IPv6Address(one.address) for rrset in answer.answer for one in rrset if isinstance(one, AAAA))


def held_in(found: node.Node) -> Held:
    """What a name of a transferred zone has."""
    records = [one for rdataset in found for one in rdataset]
    addresses = frozenset(IPv6Address(one.address) for one in records if isinstance(one, AAAA))
    texts = sorted(b"".join(one.strings).decode("ascii", "backslashreplace") for one in records if isinstance(one, TXT))
    known = {rdatatype.AAAA, rdatatype.TXT, *SIGNATURES}
    others = sorted({rdatatype.to_text(one.rdtype) for one in found if one.rdtype not in known})
    return Held(addresses, tuple(texts), tuple(others))
