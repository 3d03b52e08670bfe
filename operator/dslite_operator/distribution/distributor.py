"""Where pools, bucket maps, DNS and DHCPv6 servers meet: the operator's second way, for all pools at once.

    observe: objects, maps, servers, names ─► decide ─► write the maps ─► tell the servers ─► what groups' statuses say

Servers and zones are shared by all pools, so this runs once for all of them, whenever something has changed.  A map is written down
before any server is told it; a server is told in a task of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Set
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import structlog

from dslite_contract.errors import DsliteError
from dslite_contract.schema import B4Group
from dslite_operator.apply import CONFLICT, ApiError, Writer
from dslite_operator.distribution.config_maps import COMPONENT, map_object
from dslite_operator.distribution.decision import Circumstances, assignment_of, decide, shortened
from dslite_operator.distribution.dns.keeper import Names
from dslite_operator.distribution.dns.plan import Use
from dslite_operator.distribution.dns.records import wanted_of
from dslite_operator.distribution.dns.resolving import Standing, resolved
from dslite_operator.distribution.ground import Ground, Survey, drain_texts, server_of, survey
from dslite_operator.distribution.in_force import Result, former, in_force
from dslite_operator.distribution.maps import MapError, text_of
from dslite_operator.distribution.moves import forecast
from dslite_operator.distribution.observed import Observed
from dslite_operator.distribution.providers.provider import Assignment
from dslite_operator.distribution.saying import Server, group_fields, names_of, provisioned
from dslite_operator.distribution.servers import provider_of
from dslite_operator.distribution.sightings import Sightings
from dslite_operator.distribution.teller import Teller
from dslite_operator.distribution.transit import told_maps
from dslite_operator.distribution.wishes import areas_of, name_of
from dslite_operator.names import COMPONENT_LABEL, Key
from dslite_operator.observe import Cache, place_of
from dslite_operator.plan import contains
from dslite_operator.settings import Settings
from dslite_operator.signer import Signer
from dslite_operator.status import Said, Told

Object = dict[str, Any]
log = structlog.get_logger()

LOOK_S, SOON_S = 30.0, 5.0  # from one look at everything to the next; while a DNS server is in trouble
SETTLE_S = 0.5  # news come in groups
NOBODY = timedelta(days=1)  # how long a name stays that no server of ours hands out


class Distributor:
    """`changed` is called with a pool whose groups' statuses say something new."""

    def __init__(
        self,
        cache: Cache,
        writer: Writer,
        settings: Settings,
        session: aiohttp.ClientSession,
        signer: Signer,
        changed: Callable[[Key], None],
    ) -> None:
        self._cache, self._writer, self._changed = cache, writer, changed
        self._news, self._complete = asyncio.Event(), asyncio.Event()
        self._tellers = {
            one.name: Teller(one.name, provider_of(one, settings.dhcp.owner, settings.secrets), self._news.set)
            for one in settings.dhcp.servers
        }
        self._sightings = Sightings(cache, session, signer, self._news.set)
        self._names = Names(settings.dns, settings.secrets)
        self._told: dict[str, Told] | None = None  # before the first step has ended
        self._fielded: dict[str, tuple[Observed | None, tuple[object, ...], Object]] = {}  # after what they came from
        self._heard: tuple[object, ...] = ()

    def hear(self) -> None:
        """An object has changed; all of them are in the cache: before that nothing is decided.  Mere numbers are no news."""
        self._complete.set()
        heard = (self._cache.revision, *drain_texts(self._cache))
        if heard != self._heard:
            self._heard = heard
            self._news.set()

    def said_of(self, group: Object) -> Told | None:
        """What the status of a B4Group says of its distribution; None while nobody knows yet."""
        return None if self._told is None else self._told.get("/".join(place_of(group)), Told())

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._steps())
            group.create_task(self._sightings.run())
            for teller in self._tellers.values():
                group.create_task(teller.run())

    async def _steps(self) -> None:
        await self._complete.wait()
        while True:
            self._news.clear()
            again = SOON_S
            try:
                again = await self.step(datetime.now(UTC))
            except Exception as error:  # the next step sees it all anew
                say = log.warning if isinstance(error, DsliteError) else log.exception
                say("B4s are not distributed", reason=str(error))
            try:
                await asyncio.wait_for(self._news.wait(), again)
            except TimeoutError:
                continue
            await asyncio.sleep(SETTLE_S)

    async def step(self, now: datetime) -> float:
        """One look at everything, and what follows from it; seconds until the next, if nothing changes before."""
        found, results = survey(self._cache), dict[str, Result]()
        wanted = {name: one for ground in found.grounds for name, one in wanted_of(ground.pool).items()}
        standing = await self._names.keep(wanted, self._use(found.unread), now)
        await self._sightings.meet(ground for ground in found.grounds if ground.told)
        for ground in found.grounds:
            results |= await self._results(found, ground, standing, now)
        await self._write(found, results)
        self._tell(found, results)
        await self._say(found, results, standing)
        return SOON_S if standing.trouble else LOOK_S

    def _use(self, unread: Set[str]) -> Use:
        """Which names are handed out; not known while a server may tell something else than it should, or than we know, nor for how long
        before its leases were read.

        `unread` pools keep theirs.
        """
        tellers = self._tellers.values()
        lifetime = max((one.lifetime for one in tellers), default=NOBODY)
        if any(one.as_is or not one.settled or not one.counted for one in tellers):
            return Use(None, lifetime)
        told = [assignment for one in tellers for assignment in (one.told or {}).values()]
        names = {name for one in told for part in one.parts for name in part.names if name}
        return Use(names, lifetime, unread)

    # ------------------------------------------------------------ decided
    async def _results(self, found: Survey, ground: Ground, standing: Standing, now: datetime) -> dict[str, Result]:
        """What holds for each group of a pool.  What nobody expected of one pool must not stop the others."""
        seen, why = None, ""
        try:
            leases = {name: one.leases for name, one in self._tellers.items()}
            seen = await self._sightings.of(ground, leases) if ground.told else None
        except Exception as error:
            why = stuck(ground, error)
        try:
            results = await asyncio.to_thread(self._decide, found, ground, seen, standing, now)
        except Exception as error:
            why = stuck(ground, error)
            results = {name_of(group): Result(known=False) for group in ground.told}
        return {name: replace(one, trouble=one.trouble or why) for name, one in results.items()}

    def _decide(
        self, found: Survey, ground: Ground, seen: Mapping[str, Observed] | None, standing: Standing, now: datetime
    ) -> dict[str, Result]:
        """What holds for each group of a pool.  What stands in the way of one keeps all where they are."""
        tellers = {name_of(group): self._tellers.get(server_of(group)) for group in ground.told}
        counted = {name for name, teller in tellers.items() if teller and teller.counted}
        seen = {name: one for name, one in (seen or {}).items() if name in counted}
        copies = {name: one.copies for name, one in self._tellers.items()}
        every = {name: text for one in copies.values() for name, text in (one or {}).items()}
        gone = former(ground, found.left(every))
        results = in_force(found, ground, copies, gone.values(), seen)
        known = [group for group in ground.told if results[name_of(group)].known and server_of(group) in self._tellers]
        maps = {name: one.map for name, one in results.items() if one.map is not None}
        given = Circumstances(
            now, standing.resolved, {name for name, teller in tellers.items() if teller and teller.tells(name)},
            {name_of(group): self._renewal(group) for group in known},
            seen, ground.drains, {name: at for one in self._tellers.values() for name, at in one.told_at.items()},
            {name for name, one in results.items() if not one.told},
        )  # fmt: skip
        try:
            decided = decide(ground.pool, known, gone | maps, given)
        except Exception as error:
            why = str(error) if isinstance(error, DsliteError) else stuck(ground, error)
            shorter = {name: shortened(one, given) for name, one in maps.items() if name in given.renewals}
            return {name: one.stopped(why, shorter.get(name)) for name, one in results.items()}
        return {name: replace(one, decided=decided.get(name)) for name, one in results.items()}

    def _renewal(self, group: B4Group) -> timedelta:
        return self._tellers[server_of(group)].renewal(area.subnet for area in areas_of(group))

    # ------------------------------------------------------------ carried out
    async def _write(self, found: Survey, results: dict[str, Result]) -> None:
        """The maps, before anybody is told them.  A group whose map is not taken stays as it is, and holds up no other."""
        for name, one in list(results.items()):
            try:
                await self._write_map(found.objects[name], one, found.config_maps.get(name))
            except DsliteError as error:
                status = error.status if isinstance(error, ApiError) else None
                if status == 0:
                    raise  # nobody is answered
                log.warning("a bucket map is not written", group=name, reason=str(error))
                why = "" if status == CONFLICT else str(error)  # others' change is on its way
                results[name] = one.stopped(why, one.decided.renewal if one.decided else None)

    async def _write_map(self, group: Object, one: Result, before: Object | None) -> None:
        """That of one group.  Raises ApiError, MapError."""
        if one.lost:
            await self._writer.say(group, [Said("Warning", "BucketMapLost", one.lost)])
        if one.decided is None or one.decided.map is None:
            return
        wanted = map_object(group, one.decided.map.pool, text_of(one.decided.map), before)
        if before is None:
            self._cache.learn(await self._new(wanted))
        elif not contains(before, wanted):
            self._cache.learn(await self._writer.apply(wanted))
        if one.decided.due is not None:
            await self._writer.say(group, [Said("Normal", "B4sMove", forecast([one.decided.due]))])

    async def _new(self, wanted: Object) -> Object:
        """A ConfigMap that was not there.  Raises ApiError, and MapError where a person has one of that name."""
        made = await self._writer.create(wanted)
        if made is None:
            metadata = wanted["metadata"]
            raise MapError(
                f"ConfigMap {metadata['namespace']}/{metadata['name']} is not ours (it lacks the label {COMPONENT_LABEL}={COMPONENT}, or "
                "the B4Group as its owner), and the bucket map is to have its name: delete it, or give it another name"
            )
        return made

    def _tell(self, found: Survey, results: dict[str, Result]) -> None:
        """Each server what its groups' maps say; none as long as it is not known what one of its groups should be told."""
        for name, teller in self._tellers.items():
            if teller.copies is None:
                continue
            wanted, left = dict[str, Assignment](), found.left(teller.copies)
            for ground in found.grounds:
                try:
                    wanted |= assignments(name, ground, left, results)
                except Exception as error:
                    why, its = stuck(ground, error), [one for one in ground.told if server_of(one) == name]
                    results |= {name_of(group): Result(known=False, trouble=why) for group in its}
            unknown = found.unknown | {name for name, one in results.items() if not one.known}
            if unknown.isdisjoint(teller.copies):
                teller.tell(wanted)

    async def _say(self, found: Survey, results: Mapping[str, Result], standing: Standing) -> None:
        """What the statuses of all groups say from now on."""
        self._fielded = {name: one for name, one in self._fielded.items() if name in results}
        said = {
            name_of(group): await self._said(ground, group, results[name_of(group)], standing)
            for ground in found.grounds
            for group in ground.told
        }
        before, self._told = self._told or {}, said
        for ground in found.grounds:
            if any(before.get(name) != said[name] for name in map(name_of, ground.told)):
                self._changed(ground.key)

    async def _said(self, ground: Ground, group: B4Group, result: Result, standing: Standing) -> Told:
        server = server_of(group)
        teller, names = self._tellers.get(server), names_of(ground.pool, result.decided)
        heard = heard_of(teller, name_of(group)) if teller else None
        verdict = provisioned(heard, server, result)
        verdicts = (verdict, resolved(names, standing)) if names else (verdict,)
        renewal = self._renewal(group) if teller and teller.kept else None
        return Told(verdicts, await self._fields(ground, name_of(group), result, renewal))

    async def _fields(self, ground: Ground, name: str, result: Result, renewal: timedelta | None) -> Object:
        """The numbers of a group, counted anew when something was seen anew: there may be a million B4s."""
        seen, basis = result.seen, (result.decided, renewal)
        known = self._fielded.get(name)
        if known is None or known[0] is not seen or known[1] != basis:
            known = self._fielded[name] = (
                seen,
                basis,
                await asyncio.to_thread(group_fields, ground.pool, result, renewal),
            )
        return known[2]


def stuck(ground: Ground, error: Exception) -> str:
    """For the conditions of a pool's groups; where it happened is in the log."""
    log.exception("B4s of a pool are not distributed", pool=str(ground.key))
    return f"{type(error).__name__}: {error}"


def assignments(
    server: str, ground: Ground, left: Mapping[str, str], results: Mapping[str, Result]
) -> dict[str, Assignment]:
    """What a server is to tell the B4s of each group of a pool; `left` are texts of maps of groups that are gone.  Raises MapError."""
    groups = [group for group in ground.told if server_of(group) == server]
    decided = {name: one for group in groups if (one := results[name := name_of(group)].decided)}
    maps = {name: one.map for name, one in decided.items() if one.map is not None}
    told = told_maps(groups, maps, former(ground, left).values())
    renewals = {name: decided[name].renewal if name in decided else None for name in told}
    return {name: assignment_of(ground.pool, one, renewals[name]) for name, one in told.items()}


def heard_of(teller: Teller, group: str) -> Server:
    """A server, as far as one group is concerned."""
    trouble = teller.trouble or teller.blocked.get(group, "")
    return Server(teller.name, teller.kept is not None, teller.tells(group), trouble)
