"""As which B4s a DHCPv6 server is asked, to see that it tells what it should: every name in turn, and its buckets.  Pure.

A name that is told nowhere any more, for a class is lost or a file is older, shows as soon as it is asked for, however few its buckets.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from dslite_operator.distribution.buckets import Cut, duid_in
from dslite_operator.distribution.maps import Area
from dslite_operator.distribution.providers.provider import B4, Assignment, Part

QUESTIONS = 32  # of one look, or after one change


class Rule(NamedTuple):
    """B4s of a part that are told one name; None: nothing."""

    cut: Cut
    part: Part
    name: str | None

    def b4(self, area: Area, turn: int = 0) -> B4:
        """One of them: of another bucket each turn."""
        buckets = [bucket for bucket, name in enumerate(self.part.names) if name == self.name]
        duid = duid_in(buckets[turn % len(buckets)], self.cut)
        return B4(duid, area.subnet, area.interface_id.removesuffix("*"))


def rules(one: Assignment) -> Iterator[Rule]:
    """Those of a group: one for each name of each part."""
    return (Rule(one.cut, part, name) for part in one.parts for name in dict.fromkeys(part.names))


def questions(told: Collection[Assignment], before: int) -> list[tuple[B4, str | None]]:
    """Who is to ask in one look, with the name that is the right answer; so many were asked `before`."""
    every = [rule for one in told for rule in rules(one)]
    different = sum(max(len(part.names), len(part.areas)) for one in told for part in one.parts)
    turns = (divmod(before + number, len(every)) for number in range(min(QUESTIONS, different)))
    asked = ((every[which], turn) for turn, which in turns)
    return [(rule.b4(rule.part.areas[turn % len(rule.part.areas)], turn), rule.name) for rule, turn in asked]
