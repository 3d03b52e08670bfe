"""Names of keys in the store. Every key of a slot carries the hash tag `{<prefix>/<slot>}`: Redis Cluster keeps them on one node."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dslite_contract.errors import DsliteError

_PREFIX = re.compile(r"[A-Za-z0-9._/-]+")  # no braces (hash tags), no *?[]\ (ACL patterns)


class PrefixError(DsliteError):
    """A prefix that keys cannot begin with."""


def checked_prefix(prefix: str) -> str:
    """`prefix` itself, `<namespace>/<pool>` by default; PrefixError if it would change the meaning of a key."""
    if not _PREFIX.fullmatch(prefix):
        raise PrefixError(f"store prefix {prefix!r} is not allowed: letters, digits, '.', '_', '-' and '/'")
    return prefix


def slot_tag(prefix: str, slot: int) -> str:
    """What all keys of a slot begin with."""
    return f"{{{prefix}/{slot}}}"


def head_key(prefix: str, slot: int) -> str:
    """Hash: owner, last entry, checkpoint."""
    return f"{slot_tag(prefix, slot)}:head"


def journal_key(prefix: str, slot: int) -> str:
    """Stream of entries."""
    return f"{slot_tag(prefix, slot)}:journal"


def checkpoint_key(prefix: str, slot: int, generation: int, number: int) -> str:
    """String: one chunk."""
    return f"{slot_tag(prefix, slot)}:checkpoint:{generation}:{number}"


def checkpoint_keys(prefix: str, slot: int, generation: int, count: int) -> Iterator[str]:
    """The chunks of one checkpoint, in order."""
    return (checkpoint_key(prefix, slot, generation, number) for number in range(count))


def quarantine_key(prefix: str, slot: int) -> str:
    """Hash: what is wrong with an entry or a chunk → its bytes. While it is there, no block that looks free is given out."""
    return f"{slot_tag(prefix, slot)}:quarantine"


def accepted_key(prefix: str, slot: int) -> str:
    """The last quarantine that has ended."""
    return f"{slot_tag(prefix, slot)}:accepted"


def ids_key(prefix: str) -> str:
    """String: ids of the cluster and the pool that the state belongs to. (`:pool`, of versions before this, says the same for all.)"""
    return f"{prefix}:ids"


def secret_key(prefix: str) -> str:
    """The secret that members sign their questions to each other with."""
    return f"{prefix}:secret"


def members_key(prefix: str) -> str:
    """Hash: pod UID → heartbeat counter and what the member says of itself."""
    return f"{prefix}:members"
