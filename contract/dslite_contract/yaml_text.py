"""YAML as Kubernetes and people mean it: plain data, or a refusal with line and column.

PyYAML only supplies the events.  Building the data from them ourselves lets us refuse duplicate keys, and read scalars
by the core schema of YAML 1.2: `yes` is text, and 2001:10:20:30:40:50:10:1 is not a number in base 60.  A key without a
value counts as absent, as with an API server.  Anchors, aliases and tags are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from dslite_contract.errors import ConfigurationError, Problem
from dslite_contract.values import spell

DEEPEST = 32  # levels of nesting; the schema has nine
NULL = re.compile(r"|~|null|Null|NULL")
TRUE = re.compile(r"true|True|TRUE")
FALSE = re.compile(r"false|False|FALSE")
WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]{0,99})", re.ASCII)
FRACTION = re.compile(r"[-+]?[0-9]{0,99}(\.[0-9]{1,99}([eE][-+]?[0-9]{1,3})?|[0-9][eE][-+]?[0-9]{1,3})", re.ASCII)


def refusal(mark: Any, sentence: str) -> ConfigurationError:
    """The error for something wrong at `mark`, with line and column counted from 1."""
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return ConfigurationError([Problem("", "", place + sentence)])


@dataclass
class Node:
    """A mapping or sequence being filled; `lines` has the line where each key of a mapping stood first."""

    value: dict[str, object] | list[object]
    key: str | None = None
    lines: dict[str, int] = field(default_factory=dict)

    def add(self, event: Any, value: object) -> None:
        """Takes `value`, which begins at `event`, as the next key, value or entry."""
        if isinstance(self.value, list):
            self.value.append(value)
        elif self.key is None:
            self.key = self.checked_key(event, value)
        else:
            if value is not None:
                self.value[self.key] = value
            self.key = None

    def checked_key(self, event: Any, key: object) -> str:
        """`key`, if it is text and new to this mapping."""
        if not isinstance(key, str):
            raise refusal(event.start_mark, f"{spell(key)} is not allowed as a key: text")
        if key in self.lines:
            raise refusal(event.start_mark, f"{spell(key)} appears twice, first on line {self.lines[key]}")
        self.lines[key] = event.start_mark.line + 1
        return key


def scalar(event: Any) -> object:
    """The value of a scalar: text if quoted, else by YAML 1.2's core schema (integers of 100 digits at most)."""
    written: str = event.value
    if not event.implicit[0]:
        return written
    if NULL.fullmatch(written):
        return None
    if TRUE.fullmatch(written) or FALSE.fullmatch(written):
        return written.lower() == "true"
    if WHOLE.fullmatch(written):
        return int(written)
    return float(written) if FRACTION.fullmatch(written) else written


def build(events: Iterator[Any]) -> Iterator[object]:
    """The documents of an event stream, in order, empty ones left out."""
    root = Node([])
    stack = [root]
    for event in events:
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise refusal(event.start_mark, "anchors and aliases are not supported: write the value out")
        if getattr(event, "tag", None):
            raise refusal(event.start_mark, f"the tag {spell(event.tag)} is not supported: leave it out")
        if isinstance(event, yaml.ScalarEvent):
            stack[-1].add(event, scalar(event))
        elif isinstance(event, yaml.CollectionStartEvent):
            if len(stack) > DEEPEST:
                raise refusal(event.start_mark, f"more than {DEEPEST} levels of nesting")
            node = Node({} if isinstance(event, yaml.MappingStartEvent) else [])
            stack[-1].add(event, node.value)
            stack.append(node)
        elif isinstance(event, yaml.CollectionEndEvent):
            stack.pop()
    return (document for document in root.value if document is not None)


def parse_documents(source: str) -> list[object]:
    """All documents of a YAML text as plain data; raises ConfigurationError with line and column."""
    try:
        return list(build(yaml.parse(source, Loader=yaml.CSafeLoader)))
    except yaml.MarkedYAMLError as error:
        raise refusal(error.problem_mark or error.context_mark, f"not YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise ConfigurationError([Problem("", "", f"not YAML: {error}")]) from None
    except UnicodeEncodeError as error:
        raise ConfigurationError([Problem("", "", f"not YAML: {error.reason} at character {error.start}")]) from None
