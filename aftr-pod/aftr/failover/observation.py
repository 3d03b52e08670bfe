"""What a slot's state machine is told, and what it may ask for: plain values.

All times are milliseconds of this pod's CLOCK_BOOTTIME.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from dslite_contract.journal import NOTHING, EntryId


@dataclass(frozen=True, slots=True)
class Head:
    """What the store says of a slot; `owner` is empty if it has no head.

    `sealed`: an old owner named this one, which has not raised the epoch itself yet.  `read_ms` is when the reading was sent.
    """

    epoch: int = 0
    owner: str = ""
    last: EntryId = NOTHING
    sealed: bool = False
    read_ms: int = 0

    @property
    def missing(self) -> bool:
        """Whether the store knows nothing of the slot: a new pool, or a store that lost its data."""
        return not self.owner


@dataclass(frozen=True, slots=True)
class Answer:
    """What another member said of a slot; `asked_ms` is when the question that it answers was sent."""

    asked_ms: int
    held: EntryId = NOTHING  # the last entry that is no claim: one says nothing of what was lost before it
    epoch: int = 0  # the newest that it claimed or read of
    serves: bool = False  # or is about to, as the owner of the newest epoch
    promises: bool = False  # cannot reach the store either, and will not raise the epoch before asking again

    @property
    def newest(self) -> int:
        """The newest epoch that it knows of; an older program does not put what it read into `epoch`."""
        return max(self.epoch, self.held.epoch)


class Result(Enum):
    """How something ended that was asked for."""

    COPIED = "the copy is complete"
    BROKEN = "the copy has a gap"  # or another past; or its reading was cut off, told once there is a new connection
    BEATEN = "another member claimed first"
    UNRESOLVED = "the connection broke; on the new one, nothing of the old can be carried out any more"
    TAIL_TAKEN = "the tail was taken from another member"
    TAIL_FAILED = "the other member did not give its tail"
    OPENED = "the slot is open"
    FLUSHED = "all that was created before the freeze is stored"
    SEALED = "the old epoch is sealed"
    CHECKPOINTED = "the checkpoint is stored and head names it"
    FENCED = "the store has another owner"
    REWOUND = "the store holds less than was written"
    REFUSED = "the store refuses to write"
    ACCEPTED = "the store writes again"


@dataclass(frozen=True, slots=True)
class Won:
    """A claim succeeded: `epoch` is ours.  Before it, the journal had `stored`, and after that only claims."""

    epoch: int
    stored: EntryId


@dataclass(frozen=True, slots=True)
class Observation:
    """All that one step may look at.

    `known` are all other members that were ever listed or asked this one, dead or alive, until their pod is known to be gone: a store
    that lost its list must not make one forget who holds what it lost.  `answers` are the latest of each.
    `head` is None until it was read on the present connection, which stands since `connected_ms`.
    """

    now: int
    connected: bool = False
    connected_ms: int = 0
    known: frozenset[str] = frozenset()
    head: Head | None = None
    owner_dead: bool = False
    # the store names us for an epoch of the process before ours, and others are about to take the slot
    gives_up: bool = False
    assigned: str | None = None
    warm: str | None = None
    turn: bool = False  # this slot is the one that this pod may hand over now (assignment.next_handover)
    target_ready: bool = False  # `assigned` is alive and its copy follows
    lease_until: int = 0
    held: EntryId = NOTHING  # how far the journal was read or written
    content: EntryId = NOTHING  # the last entry before that which is no claim
    filling: bool = False  # the tables have half of what they are to hold: a copy or a tail is being put in
    forgone: bool = False  # what was made without the store will not be in the journal: there was no room for it
    answers: Mapping[str, Answer] = field(default_factory=dict)
    event: Result | Won | None = None


# ── actions ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Do(Enum):
    """Actions that need no value."""

    START_COPY = "read the checkpoint, then tail the journal"
    ASK_MEMBERS = "ask every known member for the last id it holds"
    WRITE_CHECKPOINT = "store all that this pod holds, fenced by its epoch"
    ANNOUNCE = "announce the slot's routes"
    WITHDRAW = "withdraw them"
    FREEZE = "create and free nothing; first packets stay parked"
    THAW = "create and free again"
    FLUSH = "store what was created"
    STOP_SERVING = "translate nothing; keep what is held"
    REFUSE_BLOCKS = "give out no new port blocks"
    ALLOW_BLOCKS = "give out port blocks again"
    CLOSE = "forget the slot, and cancel what is under way for it"


@dataclass(frozen=True, slots=True)
class Claim:
    """Raise the epoch to `epoch`, if the store still has the owner `owner` of epoch `expected` (0 and "": no head), and `last`.

    An owner that has written since it was judged dead is alive.
    """

    expected: int
    owner: str
    epoch: int
    last: EntryId = NOTHING


@dataclass(frozen=True, slots=True)
class TakeTail:
    """Get from `member` what it holds beyond `beyond`, and apply it."""

    member: str
    beyond: EntryId


@dataclass(frozen=True, slots=True)
class Open:
    """Serve with restarted timers and hold-downs, as the owner of `epoch`."""

    epoch: int
    until: int


@dataclass(frozen=True, slots=True)
class ServeUntil:
    """Move the deadline past which no packet leaves."""

    until: int


@dataclass(frozen=True, slots=True)
class Seal:
    """Write the last entry and name (epoch, target) the owner, in one call."""

    target: str
    epoch: int


@dataclass(frozen=True, slots=True)
class ServeReadOnly:
    """Translate stored mappings only, until then."""

    until: int


Action = Do | Claim | TakeTail | Open | ServeUntil | Seal | ServeReadOnly
