"""One DHCPv6 server of the installation: what it is to tell, and what came of it.

It is told by itself, so that a server that is slow or gone holds up no other.  What it tells already it is not told again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Network
from typing import Any

import structlog

from dslite_operator.distribution.buckets import duid_in
from dslite_operator.distribution.providers.errors import (
    ForeignError,
    MovedOnError,
    ProviderError,
    RefusedError,
    SilentError,
)
from dslite_operator.distribution.providers.provider import B4, Assignment, Given, Provider, Timers

log = structlog.get_logger()

AGAIN_S, SOON_S = 30.0, 2.0  # after a refusal; after somebody else was faster
CHECK_S = 60.0  # from one look at whether it tells what it should to the next
QUESTIONS = 32  # of one look
LEASES_S = 600.0  # from one reading of all leases to the next
UNKNOWN = Timers(12 * 3600, 24 * 3600)  # of a subnet of which the server does not say: longer than most
Told = Mapping[str, Assignment]  # by group


@dataclass(frozen=True)
class Kept:
    """What the server had when it was first read: copies of bucket maps by group, and the times of its subnets."""

    copies: Mapping[str, str]
    timers: Mapping[IPv6Network, Timers]


class Teller:
    """`changed` is called whenever something of what is public here has changed."""

    def __init__(self, name: str, provider: Provider[Any], changed: Callable[[], None]) -> None:
        self.name, self._provider, self._changed = name, provider, changed
        self.kept: Kept | None = None  # None: it has not answered yet
        self.told: Told | None = None  # None: not known
        self.told_at: dict[
            str, datetime
        ] = {}  # when it was first told the map of each group that it tells, if that was by us
        self.trouble = ""  # why it is not told, in its own words
        self.blocked: Mapping[str, str] = {}  # groups that alone are not told, and what stands in their way
        self.leases: Sequence[Given] | None = None  # None: it does not show them
        self._read_at = -LEASES_S
        self._wanted: Told | None = None
        self._carried_out: Told | None = None  # what was wanted when it was last told
        self._turn = 0  # of the groups and buckets that are asked for
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
        return self.kept.copies if self.told is None else {name: one.copy for name, one in self.told.items()}

    def renewal(self, subnets: Iterable[IPv6Network]) -> timedelta:
        """The longest T1 of leases on these subnets."""
        known = self.kept.timers if self.kept else {}
        return timedelta(seconds=max(known.get(subnet, UNKNOWN).renew_s for subnet in subnets))

    @property
    def lifetime(self) -> timedelta:
        """The longest valid lifetime of its leases."""
        times = [one.valid_s for one in self.kept.timers.values()] if self.kept else []
        return timedelta(seconds=max(times, default=UNKNOWN.valid_s))

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
            await self._read_leases()
            if self.kept is None:
                self.kept = Kept(await self._provider.copies(), await self._provider.timers())
            elif self._wanted is not None:
                if self._wanted != self._carried_out or self.blocked:
                    await self._provider.ready()
                    await self._carry_out(self._wanted)
                await self._look_up_timers(self.told or {})
                await self._check(self.told or {})
        except Exception as error:  # one server's trouble must not stop the others
            say = log.warning if isinstance(error, ProviderError) else log.exception
            say("a DHCPv6 server is not told", server=self.name, reason=str(error))
            if not isinstance(error, SilentError) or self._wanted != self._carried_out:
                self._carried_out = None  # who is silent is asked again, not read: that would stop a peer that serves
            return self._say(str(error), SOON_S if isinstance(error, MovedOnError) else AGAIN_S)
        return self._say("", CHECK_S)

    async def _carry_out(self, wanted: Told) -> None:
        """Raises ProviderError."""
        before = self.copies or {}
        self.told, self.blocked = await self._apply(wanted)
        self._carried_out, now = wanted, datetime.now(UTC)
        self.told_at |= {name: now for name, one in self.told.items() if before.get(name) != one.copy}

    async def _apply(self, wanted: Told) -> tuple[Told, Mapping[str, str]]:
        """What it tells from now on, and what stands in the way of some groups, which are told what they were.  Raises ProviderError."""
        try:
            return await self._applied(wanted), {}
        except ForeignError:
            blocked = await self._provider.obstacles(list(wanted.values()))
            kept = {name: one for name, one in (self.told or {}).items() if name in blocked}
            unknown = (blocked.keys() - kept.keys()) & (self.copies or {}).keys()  # told by an operator before us
            if unknown or not wanted.keys() - blocked.keys():
                raise
        still = kept.keys() - await self._provider.obstacles(list(kept.values()))
        others = {name: one for name, one in wanted.items() if name not in blocked}
        return await self._applied({**others, **{name: kept[name] for name in still}}), blocked

    async def _applied(self, wanted: Told) -> Told:
        """All of this; raises ProviderError."""
        outcome = await self._provider.apply(self._provider.render(list(wanted.values())))
        if outcome.changed or self.told is None:
            log.info("a DHCPv6 server is told", server=self.name, said=outcome.said)
        return wanted

    async def _check(self, told: Told) -> None:
        """Asks as B4s of some groups, others each time: a server may have been given an older file.  Raises ProviderError."""
        parts = [(one.cut, part) for one in told.values() for part in one.parts]
        for number in range(min(QUESTIONS, len(parts))):
            cut, part = parts[(self._turn + number) % len(parts)]
            bucket, area = self._turn % len(part.names), part.areas[self._turn % len(part.areas)]
            asked = B4(duid_in(bucket, cut), area.subnet, area.interface_id.removesuffix("*"))
            name, wanted = await self._provider.observe(asked), part.names[bucket]
            if name != wanted:
                raise RefusedError(
                    f"a B4 on subnet {area.subnet} is told {name or 'no name'} by DHCPv6 server {self.name} and not {wanted}: "
                    "it is told again; see who else changes it"
                )
        self._turn += QUESTIONS + 1

    async def _look_up_timers(self, told: Told) -> None:
        """Those of subnets that were not there before.  Raises ProviderError."""
        subnets = {area.subnet for one in told.values() for area in one.areas}
        if self.kept is not None and not subnets <= self.kept.timers.keys():
            self.kept = replace(self.kept, timers=await self._provider.timers())

    async def _read_leases(self) -> None:
        """Now and then."""
        now = asyncio.get_running_loop().time()
        if now >= self._read_at + LEASES_S:
            self.leases, self._read_at = await self._provider.leases(), now

    def _say(self, trouble: str, again: float) -> float:
        self.trouble = trouble
        self._changed()
        return again
