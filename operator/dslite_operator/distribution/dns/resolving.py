"""Whether names resolve: what every server of a zone says of them, and what follows for handing them out.  Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv6Address

from dslite_operator.distribution.dns.records import Wanted
from dslite_operator.status import Verdict

SPELLED = 3  # names that a condition has in full

Said = frozenset[IPv6Address] | str  # the AAAA of a name; or why a server says none


@dataclass(frozen=True)
class Standing:
    """What is known of names.  `wrong` says why a name does not resolve as it should; `resolved` are those that do, at every
    server.  What is in neither is not known.  `trouble` are sentences about servers: silent, or refusing what we write.
    """

    resolved: frozenset[str] = frozenset()
    wrong: Mapping[str, str] = field(default_factory=dict)
    trouble: tuple[str, ...] = ()


def judged(
    wanted: Mapping[str, Wanted], said: Mapping[str, Mapping[str, Said] | None], refusals: Mapping[str, str]
) -> Standing:
    """`said` is what each server says of all names, None for a silent one; `refusals` are names that others have."""
    heard = {where: answers for where, answers in said.items() if answers is not None}
    wrong = {name: why for name, one in wanted.items() if (why := complaint(name, one, heard))}
    complete = len(heard) == len(said)
    right = frozenset(wanted.keys() - wrong.keys()) if complete else frozenset()
    return Standing(right, {name: refusals.get(name, why) for name, why in wrong.items()})


def complaint(name: str, one: Wanted, heard: Mapping[str, Mapping[str, Said]]) -> str:
    """What is wrong with a name at the first server that does not say what it should; nothing: all do."""
    for where, answers in heard.items():
        found = answers[name]
        if isinstance(found, str):
            return f"{name}: DNS server {where} says {found}, and should say AAAA {one.address}"
        if found != {one.address}:
            addresses = ", ".join(map(str, sorted(found))) or "none"
            return f"{name}: DNS server {where} says AAAA {addresses}, and should say {one.address} alone"
    return ""


def joined(standings: Sequence[Standing]) -> Standing:
    """Several zones as one."""
    wrong = {name: why for one in standings for name, why in one.wrong.items()}
    resolved = frozenset[str]().union(*(one.resolved for one in standings))
    return Standing(resolved, wrong, tuple(sentence for one in standings for sentence in one.trouble))


# ---------------------------------------------------------------- what follows
def resolved(names: Sequence[str], standing: Standing) -> Verdict:
    """The condition `Resolved` of a B4Group with these names of slots."""
    wrong = [standing.wrong[name] for name in names if name in standing.wrong]
    if wrong:
        return Verdict("Resolved", "False", "Wrong", "; ".join([*standing.trouble, *shortened(wrong)]))
    if standing.resolved.issuperset(names):
        fine = f"{len(names)} names resolve" if len(names) != 1 else f"{names[0]} resolves"
        return Verdict("Resolved", "True", "Resolved", "; ".join([f"{fine} at every server", *standing.trouble]))
    return Verdict("Resolved", "Unknown", "NoAnswer", "; ".join(standing.trouble) or "names were not looked at yet")


def shortened(sentences: Sequence[str]) -> Iterator[str]:
    """The first of them, and how many more there are."""
    yield from sentences[:SPELLED]
    if len(sentences) > SPELLED:
        yield f"and {len(sentences) - SPELLED:,} names more"
