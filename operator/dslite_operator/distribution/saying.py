"""What a B4Group's status says of its distribution: whether its B4s are told, and whether the names resolve.  Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dslite_contract.schema import AftrPool
from dslite_contract.slots import slot_fqdn
from dslite_operator.distribution.decision import Decision
from dslite_operator.distribution.maps import BucketMap, hash_of, slots_in, text_of
from dslite_operator.distribution.moves import forecast
from dslite_operator.status import Verdict


@dataclass(frozen=True)
class Server:
    """A DHCPv6 server, as far as one group is concerned: `reached` once it has answered, `settled` when it tells what it should."""

    name: str
    reached: bool
    settled: bool
    trouble: str


def provisioned(server: Server | None, name: str, decided: Decision | None, trouble: str) -> Verdict:
    """The condition `Provisioned`: whether the DHCPv6 server tells these B4s what it should.

    `trouble` is what keeps the group from being placed, `decided` what holds for it, None while that is not known.
    """
    if server is None:
        message = f"spec.dhcp.server: {name} is not in the chart value dhcp.servers: add it there, or correct the name"
        return Verdict("Provisioned", "False", "UnknownServer", message)
    if trouble:
        return Verdict("Provisioned", "False", "Refused", f"{trouble}; what was told stays so")
    if not server.reached or decided is None:
        return not_reached(server)
    if decided.map is None:
        names = ", ".join(decided.missing)
        return Verdict("Provisioned", "False", "Waiting", f"nobody is told yet: not at every server resolves {names}")
    if server.settled:
        return settled(server, decided, decided.map)
    if server.trouble:
        return Verdict("Provisioned", "False", "Refused", f"{server.trouble}; what was told stays so")
    return Verdict("Provisioned", "Unknown", "Telling", f"DHCPv6 server {name} is being told")


def not_reached(server: Server) -> Verdict:
    """It was not heard of yet."""
    if server.trouble:
        return Verdict("Provisioned", "False", "Unreachable", f"{server.trouble}; nothing is changed there")
    return Verdict("Provisioned", "Unknown", "Asking", f"DHCPv6 server {server.name} was not heard of yet")


def settled(server: Server, decided: Decision, bucket_map: BucketMap) -> Verdict:
    """It tells what it should; B4s may have to move all the same."""
    slots = ", ".join(map(str, sorted(slots_in(bucket_map.areas.values()))))
    sentences = [f"DHCPv6 server {server.name} tells slots {slots}, by bucket map {hash_of(text_of(bucket_map))}"]
    if decided.missing:
        sentences.append(
            f"B4s stay where they are until these names resolve at every server: {', '.join(decided.missing)}"
        )
    if decided.batches:
        sentences.append(forecast(decided.batches))
    return Verdict("Provisioned", "True", "Moving" if decided.batches else "Told", "; ".join(sentences))


def names_of(pool: AftrPool, decided: Decision | None) -> Sequence[str]:
    """The names that a group's B4s are told, or wait for."""
    if decided is None:
        return ()
    told = [slot_fqdn(pool, slot) for slot in sorted(slots_in(decided.map.areas.values()))] if decided.map else []
    return (*told, *decided.missing)
