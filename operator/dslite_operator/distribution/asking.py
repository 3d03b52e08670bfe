"""What a DHCPv6 server is asked at each look, to see that it tells what it should: every name in turn, and its buckets.  Pure.

A name that is told nowhere any more, for a class is lost or a file is older, shows as soon as it is asked for, however few its buckets.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from dslite_operator.distribution.buckets import Cut, duid_in
from dslite_operator.distribution.providers.provider import B4, Assignment, Part

QUESTIONS = 32  # of one look


class Rule(NamedTuple):
    """B4s of a part that are told one name; None: nothing."""

    cut: Cut
    part: Part
    name: str | None

    def b4(self, turn: int) -> B4:
        """One of them: of another bucket, and from another area, each time."""
        buckets = [bucket for bucket, name in enumerate(self.part.names) if name == self.name]
        area = self.part.areas[turn % len(self.part.areas)]
        duid = duid_in(buckets[turn % len(buckets)], self.cut)
        return B4(duid, area.subnet, area.interface_id.removesuffix("*"))


def questions(told: Collection[Assignment], before: int) -> list[tuple[B4, str | None]]:
    """Who is to ask in one look, with the name that is the right answer; so many were asked `before`."""
    parts = [(one.cut, part) for one in told for part in one.parts]
    rules = [Rule(cut, part, name) for cut, part in parts for name in dict.fromkeys(part.names)]
    different = sum(max(len(part.names), len(part.areas)) for _, part in parts)
    turns = (divmod(before + number, len(rules)) for number in range(min(QUESTIONS, different)))
    return [(rules[which].b4(turn), rules[which].name) for turn, which in turns]
