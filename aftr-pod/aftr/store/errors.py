"""What can go wrong with the store.

DsliteError
└── StoreError                  says which node, what it answered, and what to do
    ├── StoreUnreachableError   no answer, or not in time: whether something was stored is unknown
    ├── StoreUnconfirmedError   the store did it, but its replicas or its disk did not say that they have it
    ├── StoreRefusedError       the store said no (memory, disk, rights, role): nothing was stored
    ├── StoreUnsuitableError    this store, as it is set up, cannot keep what was asked of it
    ├── JournalGapError         entries between two ids are missing: load the slot again
    ├── UnreadableVersionError  the slot is stored in a format version of another program: wait until it is written anew
    ├── UnreadableHeadError     the head of a slot is damaged
    └── UnreadableRecordError   some of a slot is damaged; the rest was delivered before this was raised
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from redis.exceptions import RedisError

from dslite_contract.errors import DsliteError
from dslite_contract.journal import EntryId, versions_read

NAMED = 5  # places that one sentence names


class StoreError(DsliteError):
    """Root of the store's errors."""


class StoreUnreachableError(StoreError):
    """No answer, or not in time; ask again."""


class StoreUnconfirmedError(StoreError):
    """Done, but not as safely as the pool wants it; ask again."""


class StoreRefusedError(StoreError):
    """The store answered, and did not do it."""


class StoreUnsuitableError(StoreError):
    """The store's settings do not fit ours."""


class UnreadableHeadError(StoreError):
    """A head has a field that is none."""

    def __init__(self, key: str, why: str) -> None:
        super().__init__(
            f"{key} is damaged ({why}): while an AFTR serves the slot, DEL {key}, and it is stored anew; else correct the field"
        )


class JournalGapError(StoreError):
    """`found` came after `after`, and is not the next entry; None: there was more, and nothing of it is left."""

    def __init__(self, slot: int, after: EntryId, found: EntryId | None = None) -> None:
        self.slot, self.after, self.found = slot, after, found
        missing = f"between {after} and {found}" if found else f"after {after}"
        super().__init__(f"slot {slot}: entries {missing} are missing; the slot is loaded again")


class UnreadableVersionError(StoreError):
    """Nothing is damaged, and nothing is read: a member that can read it writes it anew once it sees us."""

    def __init__(self, slot: int, versions: tuple[int, int]) -> None:
        self.slot, self.versions = slot, versions
        super().__init__(
            f"slot {slot} is stored in format version {versions[0]} to {versions[1]}, this program reads {versions_read()}: "
            "wait for a member that reads it, or start one; upgrade one version at a time"
        )


class Damage(NamedTuple):
    """An entry or a chunk of which something could not be read; `offset` is the byte of its `data` at which that shows."""

    key: str
    offset: int
    sentence: str
    entry: EntryId | None = None
    data: bytes = b""

    def __str__(self) -> str:
        return f"{self.key}{f' entry {self.entry}' if self.entry else ''} at byte {self.offset}: {self.sentence}"


class UnreadableRecordError(StoreError):
    """`damages` has every place that could not be read; `key` and `offset` are those of the first."""

    def __init__(self, slot: int, damages: Sequence[Damage]) -> None:
        self.slot, self.damages = slot, tuple(damages)
        self.key, self.offset = damages[0].key, damages[0].offset
        more = f"; and {len(damages) - NAMED} more" if len(damages) > NAMED else ""
        super().__init__("; ".join(str(damage) for damage in damages[:NAMED]) + more)


# ---------------------------------------------------------------- Redis' codes in words
WHAT_TO_DO = {
    "OOM": "its maxmemory is used up: raise maxmemory, or remove what else is stored there",
    "MISCONF": "it cannot write its snapshot to disk: look at its log and its disk, or set stop-writes-on-bgsave-error no",
    "READONLY": "it is a replica: give the address of the primary, or let Sentinel or Cluster name it",
    "NOREPLICAS": "fewer replicas are connected than its min-replicas-to-write: start them, or lower it",
    "NOAUTH": "it wants a password: put username and password into the store's secret; sentinel-password, if it is a Sentinel",
    "WRONGPASS": "user or password are wrong: compare the store's secret with the ACL of Redis",
    "NOPERM": "the user may not do this: allow it the pool's keys, EVALSHA and SCRIPT LOAD",
    "LOADING": "it is still loading its data: wait",
    "BUSY": "a script of someone else blocks it: wait, or SCRIPT KILL",
    "MASTERDOWN": "it is a replica without its primary: wait for the failover",
    "CLUSTERDOWN": "the cluster is not complete: look at CLUSTER INFO",
    "NOSCRIPT": "its scripts were flushed: they are loaded again",
    "MOVED": "the key is at another node now: the map is read again",
    "ASK": "the key is moving to another node: the next attempt finds it",
    "TRYAGAIN": "the key is moving to another node: the next attempt finds it",
}
ELSEWHERE = {"READONLY", "MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN"}  # look again for the right node
PASSING = {"NOSCRIPT", "MOVED", "ASK", "TRYAGAIN"}  # not stored, and the next attempt mends it


def code_of(error: RedisError) -> str:
    """Redis' word for the error, such as OOM; "" if there is none that we know."""
    code = error.status_code or str(error).split(" ", 1)[0]
    return code if code in WHAT_TO_DO else ""


def refusal(where: str, error: RedisError) -> StoreRefusedError:
    """An error that Redis answered, with what to do about it."""
    code = code_of(error)
    said = f"{code} {error}" if code and code not in str(error) else str(error)
    advice = f"; {WHAT_TO_DO[code]}" if code else ""
    return StoreRefusedError(f"store {where} answered {said.rstrip('.')!r}{advice}")
