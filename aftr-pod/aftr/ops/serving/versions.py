"""Which format version a pool writes, and who of its members can read what is stored: from heartbeats and heads.  Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from aftr.store.members import MemberRecord
from aftr.store.slots import SlotHead
from dslite_contract.journal import UNANNOUNCED, newest, oldest

READS = "reads"  # in a heartbeat: the newest version that the member reads; it reads the one before as well


def read_by(record: MemberRecord | None) -> int:
    """The newest version that a member reads; one that announces nothing is from before there were announcements."""
    said = record.info.get(READS, "") if record else ""
    return int(said) if said.isdecimal() else UNANNOUNCED


def to_write(records: Iterable[MemberRecord]) -> int:
    """The version that every listed member reads, as far as this program can write it."""
    return max(oldest(), min([newest(), *map(read_by, records)]))


def readers(alive: Collection[str], records: Mapping[str, MemberRecord], heads: Collection[SlotHead]) -> frozenset[str]:
    """The living members that can read every slot."""
    stored = max((max(head.versions) for head in heads), default=UNANNOUNCED)
    return frozenset(uid for uid in alive if read_by(records.get(uid)) >= stored)
