"""What of a slot could not be read, and what follows: no block that looks free is given out until it cannot be anybody's.

Who reads a slot and finds damage notes it in the store before it can open the slot, so every later owner knows of it as well.
An owner that holds all of it stores it anew instead, and the copy that was damaged is made again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from aftr.failover.state import Phase
from aftr.store.errors import Damage, StoreError, UnreadableRecordError

if TYPE_CHECKING:
    from aftr.ops.serving.slot import Slot

log = structlog.get_logger()

QUARANTINE_MS = 7_440_000  # RFC 5382 REQ-5: the longest that a mapping lives without a packet


class Quarantine:
    """Of one slot."""

    def __init__(self, slot: Slot) -> None:
        self._slot, self._store = slot, slot.member.store.quarantine
        self.damages: tuple[Damage, ...] = ()  # what our copy lacks
        self.damaged_in = 0  # the checkpoint's generation when that was found
        self.noted: list[str] = []  # why we give out no blocks
        self._since = 0  # 0: we do
        self._ending = False

    @property
    def is_on(self) -> bool:
        """Whether a block that looks free may be somebody's: until every mapping that could have been in it has ended."""
        return self._since > 0 and self.left > 0

    @property
    def is_over(self) -> bool:
        """Whether it is to be ended, because that time has passed."""
        return self._since > 0 and self.left == 0

    @property
    def left(self) -> int:
        """Milliseconds until then."""
        return max(0, self._since + QUARANTINE_MS - self._slot.member.now) if self._since else 0

    async def found(self, error: UnreadableRecordError, generation: int) -> None:
        """Our copy lacks what could not be read; a slot that is ours already is read once more when its tail had a gap."""
        self.damages, self.damaged_in = error.damages, generation
        log.error("records unreadable", slot=self._slot.number, reason=str(error))
        await self._store.note(self._slot.number, error.damages)
        if self._slot.phase is Phase.CATCHING_UP:
            await self.begin()

    async def begin(self) -> None:
        """The slot has become ours: what our copy lacks, or that of an owner before us, counts from now on."""
        await self._store.note(self._slot.number, self.damages)
        self.noted = await self._store.noted(self._slot.number)
        self._since = self._slot.member.now if self.noted else 0
        if self.noted:
            log.error(
                "no new port blocks: see `aftr verify --accept`", slot=self._slot.number, reason="; ".join(self.noted)
            )

    async def end(self) -> list[str]:
        """Give out blocks again; what was noted.  Copies are made anew from what we hold.  Raises StoreError."""
        ended = await self._store.end(self._slot.number)
        self.damages, self.noted, self._since = (), [], 0
        if self._slot.phase is Phase.SERVING and not self._slot.state.refused:
            self._slot.allow_blocks()
        await self._slot.repair()
        log.info("quarantine ended", slot=self._slot.number, records=ended)
        return ended

    async def try_end(self) -> None:
        """End it without a person: time has passed, or we hold all that a copy could not read.  Again later, if the store fails."""
        if self._ending:
            return
        self._ending = True
        try:
            await self.end()
        except StoreError as error:
            log.warning("quarantine not ended", slot=self._slot.number, reason=str(error))
        finally:
            self._ending = False
