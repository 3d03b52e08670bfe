"""From YAML to a checked Configuration, or one ConfigurationError with all that is wrong.

Two passes: each object by itself (fields of later issues, then the schema), and, over those that passed, the rules that
no single field can show (`rules.py`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from dslite_contract.errors import ConfigurationError, Problem
from dslite_contract.fields import allowed_at, names_at
from dslite_contract.later import holds, later_fields, without
from dslite_contract.rules import group_problems, owner_name, pool_problems
from dslite_contract.schema import AftrPool, B4Group, Model
from dslite_contract.values import spell
from dslite_contract.yaml_text import parse_documents

Kind = TypeVar("Kind", bound=Model)

EMPTY_WITHOUT = {"store": ("replicas", "autoscaling")}  # keys of the spec that say nothing to whoever ignores another
KUBERNETES_OWN = ("labels", "annotations")  # of metadata: Kubernetes' business, not ours


@dataclass(frozen=True)
class Configuration:
    """One AftrPool and its B4Groups, valid each and together."""

    pool: AftrPool
    groups: tuple[B4Group, ...]


@dataclass
class Reading:
    """What reading the objects gave so far."""

    pools: list[AftrPool] = field(default_factory=list)
    groups: list[B4Group] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    pools_seen: int = 0


def load_config(source: str | Path, *, ignore: Iterable[str] = ()) -> Configuration:
    """Reads a multi-document YAML of one AftrPool and its B4Groups.

    `source` is a Path of a file, or the YAML text itself.  `ignore` names keys of the pool's spec that are dropped
    unread (`aftr replay` ignores interfaces, routing and store).  Raises ConfigurationError with every problem found.
    """
    source_text = read_file(source) if isinstance(source, Path) else source
    return configuration(parse_documents(source_text), ignore=ignore)


def read_file(path: Path) -> str:
    """The text of a UTF-8 file; raises ConfigurationError if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        reason = error.strerror or str(error)
    except UnicodeDecodeError as error:
        reason = f"not UTF-8 at byte {error.start}"
    except ValueError as error:  # a null byte in the name
        reason = str(error)
    raise ConfigurationError([Problem("", "", f"{path}: {reason}")])


def configuration(documents: Sequence[object], *, ignore: Iterable[str] = ()) -> Configuration:
    """Like `load_config`, from objects as an API server gives them (dicts with camelCase keys)."""
    reading = Reading()
    ignored = tuple(name for key in ignore for name in (key, *EMPTY_WITHOUT.get(key, ())))
    for number, document in enumerate(documents, 1):
        read_object(reading, f"document {number}", document, ignored)
    if reading.pools_seen != 1:
        reading.problems.append(Problem("", "", f"{reading.pools_seen} AftrPools given: exactly one is needed"))
    elif reading.pools:
        reading.problems += pool_problems(reading.pools[0])
        reading.problems += group_problems(reading.pools[0], reading.groups)
    if reading.problems:
        raise ConfigurationError(reading.problems)
    return Configuration(reading.pools[0], tuple(reading.groups))


def read_object(reading: Reading, place: str, document: object, ignored: Sequence[str]) -> None:
    """Adds the AftrPool or B4Group in `document`, or what is wrong with it, to `reading`."""
    if not isinstance(document, Mapping):
        reading.problems.append(Problem(place, "", f"{spell(document)} is not allowed: an AftrPool or a B4Group"))
        return
    kind = document.get("kind")
    if kind == "AftrPool":
        reading.pools_seen += 1
        for key in ignored:
            document = without(document, ["spec", key]) if holds(document, ["spec", key]) else document
        reading.pools += validate(AftrPool, place, document, reading.problems)
    elif kind == "B4Group":
        reading.groups += validate(B4Group, place, document, reading.problems)
    else:
        sentence = f"{spell(kind)} is not allowed" if "kind" in document else "missing"
        sentence += ": AftrPool or B4Group"
        reading.problems.append(Problem(place, "kind", sentence))


def validate(model: type[Kind], place: str, document: Mapping[str, Any], problems: list[Problem]) -> list[Kind]:
    """The object of `document` in a list, or an empty list and `problems` longer."""
    kind = model.__name__
    owner = owner_name(kind, name_of(document) or f"({place})")
    for key in KUBERNETES_OWN:
        document = without(document, ["metadata", key]) if holds(document, ["metadata", key]) else document
    known_before = len(problems)
    for keys, sentence in list(later_fields(kind, document)):
        problems.append(Problem(owner, ".".join(keys), sentence))
        document = without(document, keys)
    try:
        found = model.model_validate(document, by_alias=True, by_name=False)
    except ValidationError as error:
        problems += sentences(model, owner, error)
        return []
    return [found] if len(problems) == known_before else []


def name_of(document: Mapping[str, Any]) -> str:
    """metadata.name, if it is text; for messages only."""
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    return spell(name) if isinstance(name, str) else ""


def sentences(model: type[Model], owner: str, error: ValidationError) -> Iterator[Problem]:
    """What pydantic found, in our words and YAML's spelling."""
    details = error.errors(include_url=False)
    inside = {detail["loc"][:depth] for detail in details for depth in range(len(detail["loc"]))}
    for detail in details:
        if detail["type"] == "too_short" and detail["loc"] in inside:
            continue  # pydantic counts the valid entries only: what is wrong has been said of each of them
        yield Problem(owner, spell_path(detail["loc"]), sentence_of(model, dict(detail)))


def spell_path(location: Sequence[str | int]) -> str:
    """("spec", "nat", "pools", 0) as spec.nat.pools[0]."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return "".join(steps).removeprefix(".")


def sentence_of(model: type[Model], detail: Mapping[str, Any]) -> str:
    """One pydantic error as a sentence: the value, and what is allowed."""
    location, value, context = detail["loc"], detail["input"], detail.get("ctx", {})
    match detail["type"]:
        case "value_error":  # of a Leaf
            return str(context["error"])
        case "missing":
            return f"missing: {allowed_at(model, location)}"
        case "extra_forbidden":
            return unknown_field(str(location[-1]), names_at(model, location[:-1]))
        case "too_long":
            return f"{context['actual_length']} entries are not allowed: at most {context['max_length']}"
        case "too_short":
            return f"an empty list is not allowed: at least {context['min_length']} entry"
        case _:
            return f"{spell(value)} is not allowed: {allowed_at(model, location)}"


def unknown_field(name: str, known: Sequence[str]) -> str:
    """The refusal of a field that no model has, with the likely intended one."""
    close = difflib.get_close_matches(name, known, n=1)
    meant = f"did you mean {close[0]}?" if close else "known here: " + (", ".join(known) or "nothing")
    return f"unknown field ({meant})"
