"""Writes docs/configuration.md from the schema, so that the two cannot differ.

.venv/bin/python scripts/configuration_doc.py          write it
.venv/bin/python scripts/configuration_doc.py --check  end with 1 if it is not what would be written
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic.fields import FieldInfo

from dslite_contract import rules
from dslite_contract.fields import CHANGE_CLASS, allowed_at, change_class, entry_of, model_of
from dslite_contract.later import LATER
from dslite_contract.schema import AftrPool, B4Group, Model

DOCUMENT = Path(__file__).parents[1] / "docs/configuration.md"
BINARY_UNITS = (("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10))

HEAD = """\
# Configuration

<!-- Written by scripts/configuration_doc.py from contract/dslite_contract/schema.py: change it there. -->

One YAML file holds one AftrPool and its B4Groups, separated by `---`; `samples/` has examples. `aftr run`, `aftr replay`
and `aftr-lab up` read the same file. A field or value that is not below is refused with its path and what is allowed.
Fields without a default must be given. Sizes take `Ki`, `Mi`, `Gi`; timers are seconds.

`aftr run` notices a changed file. The column *change* says what becomes of a new value while the pool serves:

| change | means |
|---|---|
| live | applied without a restart; refused if it would end a live mapping |
| drain | applied as soon as no live mapping depends on the old value, refused before; an entry *added* to a list is live |
| rolling | refused: it takes a new process (later, the operator replaces pods in turn) |
| immutable | refused: make a new object |

External addresses and port blocks lie in a slot's memory: a change that moves them takes a new process whatever its class.
A refusal changes nothing, names every reason, and says how many live mappings would be lost.
"""


def cell(text: str) -> str:
    """Text that may stand between two bars."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def spell_default(info: FieldInfo, allowed: str) -> str:
    """A default as YAML has it; a dash for a field that must be given."""
    value = info.default
    if info.is_required():
        return "–"
    if value is None or value == ():
        return "absent"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if "suffix" in allowed:
        unit = next(((name, bits) for name, bits in BINARY_UNITS if value % (1 << bits) == 0), ("", 0))
        return f"`{value >> unit[1]}{unit[0]}`"
    return f"`{value}`"


def spell_allowed(model: type[Model], info: FieldInfo) -> str:
    """What a field of `model` may hold."""
    entry = entry_of(info.annotation)
    if entry is None:
        return allowed_at(model, [str(info.alias)])
    least = max(getattr(item, "min_length", None) or 0 for item in info.metadata)
    most = max(getattr(item, "max_length", None) or 0 for item in info.metadata)
    what = "mappings, see below" if model_of(entry) else allowed_at(model, [str(info.alias), 0])
    return f"a list of {least} to {most}: {what}"


def sentence(text: str | None) -> str:
    """The first paragraph of a docstring, or a description without its change class, in one line."""
    first = re.sub(r"\s+", " ", (text or "").split("\n\n")[0]).strip()
    return CHANGE_CLASS.sub("", first).strip()


def section(path: str, model: type[Model], depth: int) -> Iterator[str]:
    """The table of one model's own fields, then the sections of the models in it."""
    rows, inner = [], []
    for info in model.model_fields.values():
        entry = entry_of(info.annotation)
        below = model_of(entry) if entry is not None else model_of(info.annotation)
        place = f"{path}.{info.alias}" if path else str(info.alias)
        if below is not None and below.model_fields:
            inner.append((place + ("[]" if entry is not None else ""), below))
        if below is None or change_class(info):
            allowed = spell_allowed(model, info)
            columns = (f"`{info.alias}`", spell_default(info, allowed), allowed, change_class(info) or "")
            rows.append("| " + " | ".join([*map(cell, columns), cell(sentence(info.description))]) + " |")
    title = f"`{path}`" if path else model.__name__
    yield f"\n{'#' * depth} {title}\n{sentence(model.__doc__)}\n"
    if rows:
        yield "| field | default | allowed | change | meaning |\n|---|---|---|---|---|"
        yield from rows
    for place, below in inner:
        yield from section(place, below, 3)


def rule_lines() -> Iterator[str]:
    """What single fields cannot show, from the docstrings of the rules."""
    for name, function in vars(rules).items():
        if name.endswith("_rules"):
            yield f"- {sentence(function.__doc__)}"


def later_lines() -> Iterator[str]:
    """Fields of later issues."""
    for kind, fields in LATER.items():
        for path, issue in fields.items():
            yield f"| {kind} | `{path}` | {issue} |"


def document() -> str:
    """The whole text."""
    lines = [HEAD.rstrip()]
    for model in (AftrPool, B4Group):
        lines += section("", model, 2)
    lines += ["\n## Rules between fields", *rule_lines()]
    lines.append("\n## Not yet\nRefused by name, with the issue that brings them:\n")
    lines += ["| object | field | comes with |\n|---|---|---|", *later_lines()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        sys.exit(DOCUMENT.read_text(encoding="utf-8") != document())
    DOCUMENT.write_text(document(), encoding="utf-8")
