"""Errors that a user can meet.  One tree, one root:

DsliteError
├── SlotError               a slot number that the pool does not have (slots.py)
├── DamagedEntryError       bytes in the store that are no journal entry or checkpoint chunk (journal.py)
├── PrefixError             a prefix that the store's keys cannot begin with (store_keys.py)
├── StoreError              the store refuses, is unreachable, or holds what cannot be used (aftr/store/errors.py)
└── ConfigurationError      an AftrPool, a B4Group or the YAML around them is wrong; carries every problem found
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class DsliteError(Exception):
    """Root of all errors that a user can meet: says what was wrong, with which value, and what to do."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with one object.

    `owner` names the object ("AftrPool east", "" for the text as a whole), `path` is the place in YAML spelling
    ("spec.nat.pools[0].name", "" for the whole object), `sentence` gives the value and what is allowed.
    """

    owner: str
    path: str
    sentence: str

    @property
    def line(self) -> str:
        """The problem as one line, without its object: what a condition of that object says."""
        return f"{self.path}: {self.sentence}" if self.path else self.sentence

    def __str__(self) -> str:
        return f"{self.owner}: {self.line}" if self.owner else self.line


class ConfigurationError(DsliteError):
    """A configuration is refused; `problems` has all that is wrong with it, one line each in the message."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))
