"""What differs between the configuration that runs and a new one, and how each difference may be applied.

The class of a change is the one at the end of the field's description in `schema.py`: live, rolling, drain or immutable.
Entries of a list are told apart by name, or by value where they have none: their order says nothing, and an entry that is
added to a list of class drain is live, because nothing that runs depends on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydantic.fields import FieldInfo

from dslite_contract.fields import change_class
from dslite_contract.load import Configuration
from dslite_contract.rules import owner_name
from dslite_contract.schema import B4Group, B4GroupSpec, Model


@dataclass(frozen=True)
class Change:
    """One difference.

    `owner` names the object ("B4Group north"), `path` the place in YAML spelling, with the name or value of a list's entry
    in brackets; `old` is None for what was added, `new` for what was removed.
    """

    owner: str
    path: str
    old: object
    new: object
    kind: str

    def __str__(self) -> str:
        return f"{self.owner}: {self.path}: {spell_side(self.old)} -> {spell_side(self.new)} [{self.kind}]"


def spell_side(value: object) -> str:
    """One side of a change, for people."""
    if isinstance(value, Model):
        value = value.model_dump(mode="json", by_alias=True, exclude_none=True)
    return "absent" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def changes(running: Configuration, wanted: Configuration) -> list[Change]:
    """All changes from `running` to `wanted`: of the pool in the schema's order, then of the B4Groups by name."""
    owner = owner_name("AftrPool", running.pool.metadata.name)
    found = list(model_changes(owner, "", running.pool, wanted.pool))
    before = {group.metadata.name: group for group in running.groups}
    after = {group.metadata.name: group for group in wanted.groups}
    for name in sorted(before | after):
        found += group_changes(owner_name("B4Group", name), before.get(name), after.get(name))
    return found


def group_changes(owner: str, old: B4Group | None, new: B4Group | None) -> Iterator[Change]:
    """Changes of one B4Group; one that comes or goes is a change of each of its prefixes."""
    if old and new:
        yield from model_changes(owner, "", old, new)
        return
    before, after = (group.spec.prefixes if group else () for group in (old, new))
    yield from list_changes(owner, "spec.prefixes", class_of(B4GroupSpec.model_fields["prefixes"]), before, after)


def model_changes(owner: str, path: str, old: Model, new: Model) -> Iterator[Change]:
    """Changes between two models of one kind, in the order of their fields."""
    for name, info in type(old).model_fields.items():
        place = f"{path}.{info.alias}" if path else str(info.alias)
        yield from value_changes(owner, place, info, getattr(old, name), getattr(new, name))


def value_changes(owner: str, path: str, info: FieldInfo, old: object, new: object) -> Iterator[Change]:
    """Changes of one field."""
    if isinstance(old, Model) and isinstance(new, Model):
        yield from model_changes(owner, path, old, new)
    elif isinstance(old, tuple) and isinstance(new, tuple):
        yield from list_changes(owner, path, class_of(info), old, new)
    elif old != new:
        yield Change(owner, path, old, new, class_of(info))


def class_of(info: FieldInfo) -> str:
    """The change class of a field that has one (a test holds every leaf and every list to it)."""
    kind = change_class(info)
    assert kind is not None, info
    return kind


def list_changes(owner: str, path: str, kind: str, old: Sequence[object], new: Sequence[object]) -> Iterator[Change]:
    """Changes of a list: entries removed, entries changed, entries added."""
    before = {entry_key(entry): entry for entry in old}
    after = {entry_key(entry): entry for entry in new}
    for key, entry in before.items():
        place = f"{path}[{key}]"
        other = after.get(key)
        if other is None:
            yield Change(owner, place, entry, None, kind)
        elif isinstance(entry, Model) and isinstance(other, Model):
            yield from model_changes(owner, place, entry, other)
    for key, entry in after.items():
        if key not in before:
            yield Change(owner, f"{path}[{key}]", None, entry, "live" if kind == "drain" else kind)


def entry_key(entry: object) -> str:
    """What tells an entry of a list from the others: its name, else all of it."""
    if isinstance(entry, Model):
        name = getattr(entry, "name", None)
        return str(name) if name else " ".join(f"{key}={value}" for key, value in entry if value is not None)
    return str(entry)
