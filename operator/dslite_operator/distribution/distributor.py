"""Where pools, bucket maps, DNS and DHCPv6 servers meet: the operator's second way, for all pools at once.

    observe: objects, maps, servers, names ─► decide ─► write the maps ─► tell the servers ─► what groups' statuses say

Servers and zones are shared by all pools, so this runs once for all of them, whenever something has changed.  A map is written down
before any server is told it; a server is told in a task of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from dslite_contract.errors import DsliteError
from dslite_contract.schema import B4Group
from dslite_operator.apply import Writer
from dslite_operator.distribution.config_maps import map_object
from dslite_operator.distribution.decision import Circumstances, Decision, assignment_of, decide
from dslite_operator.distribution.dns.keeper import Names
from dslite_operator.distribution.dns.plan import Use
from dslite_operator.distribution.dns.records import wanted_of
from dslite_operator.distribution.dns.resolving import Standing, resolved
from dslite_operator.distribution.ground import Ground, Survey, gone, server_of, survey
from dslite_operator.distribution.maps import BucketMap, MapError, map_of, text_of
from dslite_operator.distribution.providers.provider import Assignment
from dslite_operator.distribution.recovery import recovered
from dslite_operator.distribution.saying import Server, names_of, provisioned
from dslite_operator.distribution.servers import provider_of
from dslite_operator.distribution.teller import Teller
from dslite_operator.distribution.wishes import areas_of, name_of, wish_of
from dslite_operator.names import Key
from dslite_operator.observe import Cache
from dslite_operator.plan import contains
from dslite_operator.settings import Settings
from dslite_operator.status import Said, Told

Object = dict[str, Any]
log = structlog.get_logger()

LOOK_S, SETTLE_S = 30.0, 0.5  # at everything; news come in groups
NOBODY = timedelta(days=1)  # how long a name stays that no server of ours hands out


class Distributor:
    """`changed` is called with a pool whose groups' statuses say something new."""

    def __init__(self, cache: Cache, writer: Writer, settings: Settings, changed: Callable[[Key], None]) -> None:
        self._cache, self._writer, self._settings, self._changed = cache, writer, settings, changed
        self._news, self._complete = asyncio.Event(), asyncio.Event()
        self._tellers = {
            one.name: Teller(one.name, provider_of(one, settings.dhcp.owner, settings.secrets), self._news.set)
            for one in settings.dhcp.servers
        }
        self._names = Names(settings.dns, settings.secrets)
        self._told: dict[str, Told] = {}

    def hear(self) -> None:
        """An object has changed; all of them are in the cache: before that nothing is decided."""
        self._complete.set()
        self._news.set()

    def said_of(self, group: Object) -> Told:
        """What the status of a B4Group says of its distribution."""
        metadata = group["metadata"]
        return self._told.get(f"{metadata['namespace']}/{metadata['name']}", Told())

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._steps())
            for teller in self._tellers.values():
                group.create_task(teller.run())

    async def _steps(self) -> None:
        await self._complete.wait()
        while True:
            self._news.clear()
            try:
                await self.step(datetime.now(UTC))
            except Exception as error:  # the next step sees it all anew
                say = log.warning if isinstance(error, DsliteError) else log.exception
                say("B4s are not distributed", reason=str(error))
            try:
                await asyncio.wait_for(self._news.wait(), LOOK_S)
            except TimeoutError:
                continue
            await asyncio.sleep(SETTLE_S)

    async def step(self, now: datetime) -> None:
        """One look at everything, and what follows from it."""
        found = survey(self._cache)
        standing = await self._names.keep(
            {name: one for ground in found.grounds for name, one in wanted_of(ground.pool).items()}, self._use(), now
        )
        decisions, troubles = dict[str, Decision](), dict[str, str]()
        for ground in found.grounds:
            maps, lost = await self._maps(found, ground)
            decided, trouble = self._decide(found, ground, maps, standing, now)
            decisions |= decided
            troubles |= {**lost, **trouble}
        await self._write(found, decisions)
        self._tell(found, decisions, troubles)
        self._say(found, decisions, troubles, standing)

    def _use(self) -> Use:
        """Which names are handed out; not known while a server may tell something else than it should."""
        tellers = self._tellers.values()
        lifetime = max((one.lifetime for one in tellers), default=NOBODY)
        if not all(one.settled for one in tellers):
            return Use(None, lifetime)
        told = [assignment for one in tellers for assignment in (one.told or {}).values()]
        return Use({name for one in told for part in one.parts for name in part.names if name}, lifetime)

    # ------------------------------------------------------------ the maps in force
    async def _maps(self, found: Survey, ground: Ground) -> tuple[dict[str, BucketMap | None], dict[str, str]]:
        """The map of each group of a pool, None for one that has none yet; groups of which that is not known are left out."""
        maps: dict[str, BucketMap | None] = {}
        lost: dict[str, str] = {}
        for group in ground.told:
            name, teller = name_of(group), self._tellers.get(server_of(group))
            text = found.text(name)
            if teller is None or (text is None and teller.copies is None):
                continue
            wish = wish_of(ground.pool, group, {})
            try:
                back = recovered(wish, text, (teller.copies or {}).get(name), {})
            except MapError as error:
                lost[name] = str(error)
                continue
            maps[name] = back.map if back.map and back.map.pool == ground.pool.metadata.name else None
            if back.map is not None and (text is None or text_of(back.map) != text):
                await self._writer.say(found.objects[name], [Said("Warning", "BucketMapLost", back.sentence)])
        return maps, lost

    def _decide(
        self, found: Survey, ground: Ground, maps: Mapping[str, BucketMap | None], standing: Standing, now: datetime
    ) -> tuple[dict[str, Decision], dict[str, str]]:
        """What holds for each group of a pool; and what stands in the way, then all stays as it is."""
        groups = [group for group in ground.told if name_of(group) in maps]
        tellers = {name_of(group): self._tellers[server_of(group)] for group in groups}
        renewals = {name_of(group): self._renewal(group) for group in groups}
        settled = {name for name, teller in tellers.items() if teller.settled}
        given = Circumstances(now, standing.resolved, settled, renewals, drains=ground.drains)
        in_force = {name: one for name, one in maps.items() if one is not None}
        try:
            return decide(ground.pool, groups, former(found, ground, self._copies()) | in_force, given), {}
        except DsliteError as error:
            return {name: Decision(one, {}) for name, one in maps.items()}, dict.fromkeys(maps, str(error))

    def _copies(self) -> dict[str, str]:
        """The copies of bucket maps at all servers."""
        return {name: text for one in self._tellers.values() for name, text in (one.copies or {}).items()}

    def _renewal(self, group: B4Group) -> timedelta:
        return self._tellers[server_of(group)].renewal(area.subnet for area in areas_of(group))

    # ------------------------------------------------------------ carried out
    async def _write(self, found: Survey, decisions: Mapping[str, Decision]) -> None:
        """The maps, before anybody is told them."""
        for name, decided in decisions.items():
            if decided.map is None:
                continue
            before = found.config_maps.get(name)
            wanted = map_object(found.objects[name], decided.map.pool, text_of(decided.map), before)
            if before is None or not contains(before, wanted):
                self._cache.learn(await self._writer.apply(wanted))

    def _tell(self, found: Survey, decisions: Mapping[str, Decision], troubles: Mapping[str, str]) -> None:
        """Each server what its groups' maps say; none as long as it is not known what one of its groups should be told."""
        wanted: dict[str, dict[str, Assignment]] = {name: {} for name in self._tellers}
        for ground in found.grounds:
            for group in ground.told:
                decided = decisions.get(name_of(group))
                assignment = assignment_of(ground.pool, decided) if decided else None
                if assignment is not None:
                    wanted[server_of(group)][assignment.group] = assignment
        unknown = found.unknown | (troubles.keys() - decisions.keys())
        for name, teller in self._tellers.items():
            if teller.copies is not None and unknown.isdisjoint(teller.copies):
                teller.tell(wanted[name])

    def _say(
        self, found: Survey, decisions: Mapping[str, Decision], troubles: Mapping[str, str], standing: Standing
    ) -> None:
        """What the statuses of all groups say from now on."""
        for ground in found.grounds:
            said = {name_of(group): self._said(ground, group, decisions, troubles, standing) for group in ground.told}
            if any(self._told.get(name) != one for name, one in said.items()):
                self._told |= said
                self._changed(ground.key)

    def _said(
        self, ground: Ground, group: B4Group, decisions: Mapping[str, Decision], troubles: Mapping[str, str], standing: Standing
    ) -> Told:  # fmt: skip
        name, server = name_of(group), server_of(group)
        decided, teller = decisions.get(name), self._tellers.get(server)
        seen = Server(server, teller.kept is not None, teller.settled, teller.trouble) if teller else None
        names = names_of(ground.pool, decided)
        verdict = provisioned(seen, server, decided, troubles.get(name, ""))
        return Told((verdict, resolved(names, standing)) if names else (verdict,))


def former(found: Survey, ground: Ground, copies: Mapping[str, str]) -> dict[str, BucketMap]:
    """Maps of groups of this pool that are gone; what cannot be read is no use."""
    maps = dict[str, BucketMap]()
    for name, text in gone(found, copies, ground.key):
        try:
            maps[name] = map_of(text, name)
        except MapError as error:
            log.warning("the map of a group that is gone is lost", group=name, reason=str(error))
    return {name: one for name, one in maps.items() if one.pool == ground.pool.metadata.name}
