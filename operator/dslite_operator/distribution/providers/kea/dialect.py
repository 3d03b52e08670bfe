"""What differs between versions of Kea: all of it is here.

|                                    | 2.2                     | 2.6               | 3.0                         |
|------------------------------------|-------------------------|-------------------|-----------------------------|
| a hash of the configuration        | ours, from all of it    | config-hash-get   | config-hash-get             |
| a class that only some subnets ask | only-if-required        | only-if-required  | only-in-additional-list     |
| how they ask                       | require-client-classes  | the same          | evaluate-additional-classes |
| one class changed by itself        | no                      | no                | class-update, with its hook |
| HTTP                               | the control agent's     | the same          | Kea's own                   |
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from dslite_operator.distribution.providers.errors import UnsuitableError

OLDEST = (2, 2)
ADDITIONAL = (2, 7)  # from here on classes are "additional"; 2.7 led to 3.0


@dataclass(frozen=True)
class Dialect:
    """How one Kea wants to be spoken to."""

    version: tuple[int, int]
    only_if_asked: str  # of a class: evaluated only where a subnet names it
    asks_for: str  # of a subnet: the list of such classes
    hashes: bool  # config-hash-get
    updates_classes: bool  # class-update
    shows_leases: bool = False  # lease6-get-page, with its hook


def dialect(version: str, commands: Collection[str]) -> Dialect:
    """From what `version-get` and `list-commands` say, such as 2.6.3.  Raises UnsuitableError."""
    found = re.match(r"(\d+)\.(\d+)", version)
    number = (int(found[1]), int(found[2])) if found else (0, 0)
    if number < OLDEST:
        raise UnsuitableError(f"Kea {version} is too old: 2.2 is the oldest that takes our classes; upgrade it")
    additional = number >= ADDITIONAL
    return Dialect(
        number,
        "only-in-additional-list" if additional else "only-if-required",
        "evaluate-additional-classes" if additional else "require-client-classes",
        "config-hash-get" in commands,
        "class-update" in commands,
        "lease6-get-page" in commands,
    )
