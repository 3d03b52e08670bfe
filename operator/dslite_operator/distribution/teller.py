"""One DHCPv6 server of the installation: what it is to tell, and what came of it.

It is told by itself, so that a server that is slow or gone holds up no other.  What it tells already it is not told again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Network
from typing import Any

import structlog

from dslite_operator.distribution.lasting import Lasting
from dslite_operator.distribution.maps import moved_in
from dslite_operator.distribution.patience import Patience
from dslite_operator.distribution.providers.asking import questions
from dslite_operator.distribution.providers.errors import (
    ForeignError,
    MovedOnError,
    ProviderError,
    RefusedError,
    RolledBackError,
    SilentError,
    UnreachableError,
    UnsuitableError,
    UnwrittenError,
)
from dslite_operator.distribution.providers.provider import Assignment, Given, Provider
from dslite_operator.distribution.transit import is_passing

log = structlog.get_logger()

AGAIN_S, SOON_S = 30.0, 2.0  # after a failure; after somebody else was faster
LONGEST_S = 3600.0  # after many: each try stops a server that serves
CHECK_S = 60.0  # from one look at whether it tells what it should to the next
LEASES_S = 600.0  # from one reading of all leases to the next
UNWRITTEN = "what a DHCPv6 server tells is not written down"
Told = Mapping[str, Assignment]  # by group


@dataclass(frozen=True)
class Kept:
    """What the server had when it was first read: copies of bucket maps, by group."""

    copies: Mapping[str, str]


class Teller:
    """`changed` is called whenever something of what is public here has changed."""

    def __init__(self, name: str, provider: Provider[Any], changed: Callable[[], None]) -> None:
        self.name, self._provider, self._changed = name, provider, changed
        self.kept: Kept | None = None  # None: it has not answered yet
        self.told: Told | None = None  # None: not known
        self.told_at: dict[str, datetime] = {}  # when it was told the last moves of each group, if that was by us
        self.trouble = ""  # why it is not told, or what is wrong with what it tells, in its own words
        self.blocked: Mapping[str, str] = {}  # groups that alone are not told, and what stands in their way
        self.as_is: Mapping[str, str] = {}  # of these, copies of maps by which it tells what we could not tell again
        self.leases: Sequence[Given] | None = None  # None: it does not show them, or they are not `counted` yet
        self.counted = False  # whether they were read
        self._read_at = -LEASES_S
        self._lasting = Lasting()
        self._wanted: Told | None = None
        self._carried_out: Told | None = None  # what was wanted when it was last told; None: it is to be told again
        self._tried: Told | None = None  # what was wanted when it was last tried
        self._failure = ""  # what came of that, while it waits
        self._unwritten = ""  # why its file does not have what it tells
        self._patience = Patience(AGAIN_S, LONGEST_S)
        self._revision: str | None = None  # of the server, when it failed or later; None: not known
        self._turn = 0  # how many questions were asked
        self._news = asyncio.Event()

    def tell(self, wanted: Told) -> None:
        """From now on it is to tell this, and nothing else of ours: never before what it has is known."""
        if wanted != self._wanted:
            self._wanted = wanted
            self._news.set()

    @property
    def settled(self) -> bool:
        """Whether it tells what it should, or, of groups that are blocked, what it did."""
        told = self.told is not None and self._wanted is not None and self._wanted == self._carried_out
        return told and not self.trouble

    def tells(self, group: str) -> bool:
        """Whether it tells a group's B4s what it should."""
        return self.settled and group not in self.blocked

    @property
    def copies(self) -> Mapping[str, str] | None:
        """The copies of bucket maps that it has now, None while that is not known."""
        if self.kept is None:
            return None
        if self.told is None:
            return self.kept.copies
        return {**self.as_is, **{name: one.copy for name, one in self.told.items()}}

    def renewal(self, subnets: Iterable[IPv6Network]) -> timedelta:
        """The longest T1 of leases on these subnets."""
        return timedelta(seconds=self._lasting.renewal_s(subnets, time.monotonic()))

    @property
    def lifetime(self) -> timedelta:
        """The longest valid lifetime of its leases."""
        return timedelta(seconds=self._lasting.lifetime_s(time.monotonic()))

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            again = await self._attempt()
            try:
                await asyncio.wait_for(self._news.wait(), again)
            except TimeoutError:
                continue

    async def _attempt(self) -> float:
        """Seconds until the next one, if there is nothing new before."""
        self._news.clear()
        try:
            if self.kept is None:
                copies = await self._provider.copies()
                await self._read_times()
                self.kept = Kept(copies)
            elif self._wanted is not None and await self._is_due(self._wanted):
                await self._provider.ready()
                await self._carry_out(self._wanted)
            elif self._unwritten:
                self._unwritten = await self._trouble(UNWRITTEN, self._provider.keep())
        except Exception as error:  # one server's trouble must not stop the others
            return self._say(str(error), await self._failed(error))
        wrong = await self._wrong()
        troubles = (self._failure, wrong, self._unwritten, await self._uncounted())
        return self._say("; ".join(filter(None, troubles)), self._until_next(AGAIN_S if wrong else CHECK_S))

    async def _wrong(self) -> str:
        """What is wrong with what it tells: it is told again.  Who is silent is asked again, not read: that would stop its peer."""
        try:
            await self._check(self.told or {})
        except Exception as error:
            self._warn("a DHCPv6 server does not tell what it should", error)
            if self._carried_out is not None and not isinstance(error, SilentError):
                self._carried_out = None
                await self._put_off()
            return str(error)
        if not self._failure and not self.blocked:
            self._patience.end()
        return ""

    async def _uncounted(self) -> str:
        """Why its leases cannot be read, if it is time to and they cannot: it is told what it should all the same."""
        trouble = await self._trouble("leases of a DHCPv6 server are not read", self._read_leases())
        return trouble and f"{trouble}: no B4 is moved before they can be counted"

    async def _failed(self, error: Exception) -> float:
        """Seconds until it is tried again, or looked at."""
        self._warn("a DHCPv6 server is not told", error)
        self._carried_out, self._failure = None, ""
        if self._tried is None or self._provider.live_update or not stops(error):
            return SOON_S if isinstance(error, MovedOnError) else AGAIN_S
        self._failure = str(error)
        await self._put_off()
        return self._until_next(CHECK_S)

    # ------------------------------------------------------------ when
    async def _is_due(self, wanted: Told) -> bool:
        """Whether it is to be told: something new at once, what failed or is blocked once it has waited, or others have changed it."""
        if wanted == self._carried_out and not self.blocked:
            return False
        left = self._patience.left(time.monotonic())
        if wanted != self._tried or (left and await self._is_changed()):
            self._patience.end()
            return True
        return not left

    async def _is_changed(self) -> bool:
        """Whether others have changed it since, as far as it says: who does not answer says nothing."""
        before, self._revision = self._revision, await self._read_revision() or self._revision
        return before is not None and before != self._revision

    async def _put_off(self) -> None:
        """What is in the way now is in the way in a moment: each try waits longer, for it stops a server that serves."""
        self._patience.lengthen(time.monotonic())
        self._revision = await self._read_revision()

    async def _read_revision(self) -> str | None:
        try:
            return await self._provider.revision()
        except ProviderError:
            return None

    def _until_next(self, longest_s: float) -> float:
        """Seconds until the next look."""
        return min(longest_s, self._patience.left(time.monotonic()) or longest_s)

    # ------------------------------------------------------------ what
    async def _carry_out(self, wanted: Told) -> None:
        """Raises ProviderError."""
        before, self._tried = self.copies or {}, wanted
        self.told, self.blocked = await self._apply(wanted)
        self.as_is = {name: before[name] for name in self.blocked if name in before and name not in self.told}
        await self._read_times()  # those of the leases with the names that it told until now
        self._carried_out, self._failure, now = wanted, "", datetime.now(UTC)
        changed = {name: one.copy for name, one in self.told.items() if before.get(name) != one.copy}
        moved = (name for name, copy in changed.items() if moved_in(copy) != moved_in(before.get(name, "")))
        self.told_at |= dict.fromkeys(moved, now)
        if self.blocked:
            await self._put_off()

    async def _apply(self, wanted: Told) -> tuple[Told, Mapping[str, str]]:
        """What it tells from now on, and what stands in the way of some groups, which are told what they were: again where that can be
        told, else it stays at the server as it is, also when an operator before us told it.  Raises ProviderError.
        """
        copies = self.copies or {}
        try:
            return await self._applied(wanted), {}
        except ForeignError:
            blocked = await self._provider.obstacles(list(wanted.values()))
            if not wanted.keys() - blocked.keys() or is_passing(blocked.keys(), copies, wanted):
                raise
        kept = {name: one for name, one in (self.told or {}).items() if name in blocked}
        still = kept.keys() - await self._provider.obstacles(list(kept.values()))
        others = {name: one for name, one in wanted.items() if name not in blocked}
        as_is = frozenset(blocked.keys() & copies.keys() - still)
        return await self._applied({**others, **{name: kept[name] for name in still}}, as_is), blocked

    async def _applied(self, wanted: Told, as_is: Set[str] = frozenset()) -> Told:
        """All of this, written down or not; raises ProviderError."""
        try:
            outcome = await self._provider.apply(self._provider.render(list(wanted.values()), as_is))
        except UnwrittenError as error:
            self._warn(UNWRITTEN, error)
            self._unwritten = str(error)
            return wanted
        self._unwritten = ""
        if outcome.changed or self.told is None:
            log.info("a DHCPv6 server is told", server=self.name, said=outcome.said)
        return wanted

    async def _check(self, told: Told) -> None:
        """Asks as B4s of some groups, others each time: a server may have been given an older file.  Raises ProviderError."""
        asked = questions(told.values(), self._turn)
        for b4, wanted in asked:
            name = await self._provider.observe(b4)
            if name != wanted:
                raise RefusedError(
                    f"a B4 on subnet {b4.subnet} is told {name or 'no name'} by DHCPv6 server {self.name} and not {wanted}: "
                    "it is told again; see who else changes it"
                )
        self._turn += len(asked)

    async def _read_leases(self) -> None:
        """Now and then, with their times."""
        now = time.monotonic()
        if now >= self._read_at + LEASES_S:
            self.leases = await self._provider.leases()
            self._lasting.longest_s = max((one.valid_s for one in self.leases or ()), default=0)
            await self._read_times()
            self._read_at, self.counted = now, True
            await self._compare()

    async def _compare(self) -> None:
        """Given an older file it may tell groups that are gone, as which nobody asks; those that it lacks are asked for."""
        if self._carried_out is not None and not (await self._provider.copies()).items() <= (self.copies or {}).items():
            log.warning("a DHCPv6 server has other bucket maps than it was given: it is told again", server=self.name)
            self._carried_out = None

    async def _read_times(self) -> None:
        self._lasting.read(await self._provider.timers(), time.monotonic())

    async def _trouble(self, what: str, step: Awaitable[None]) -> str:
        """What the step has to say if it fails, else nothing."""
        try:
            await step
        except Exception as error:
            self._warn(what, error)
            return str(error)
        return ""

    def _say(self, trouble: str, again: float) -> float:
        self.trouble = trouble
        self._changed()
        return again

    def _warn(self, what: str, error: Exception) -> None:
        say = log.warning if isinstance(error, ProviderError) else log.exception
        say(what, server=self.name, reason=str(error))


def stops(error: Exception) -> bool:
    """Whether trying again takes the service of a server away: not of one that is gone, silent or deaf, nor that others change."""
    if isinstance(error, RolledBackError):
        return error.serves
    return not isinstance(error, (MovedOnError, SilentError, UnreachableError, UnsuitableError))
