"""What is seen of B4s now and then: softwires, by the AFTRs that serve them, put together with the leases of DHCPv6 servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from ipaddress import IPv6Address
from itertools import count
from typing import Any

import aiohttp
import structlog

from dslite_contract.schema import AftrPool
from dslite_operator import pods
from dslite_operator.distribution.counting import Softwire
from dslite_operator.distribution.ground import Ground
from dslite_operator.distribution.observed import ByServer, Observed, observed
from dslite_operator.names import Key
from dslite_operator.observe import Cache
from dslite_operator.signer import Signer

Object = dict[str, Any]
log = structlog.get_logger()

SOON_S = 10.0  # from one look at pools that were never counted to the next
TURNS = 6  # of these to one look at all pools

Softwires = tuple[Softwire, ...]


class Sightings:
    """Of all pools that were asked for; `changed` is called after each look."""

    def __init__(
        self, cache: Cache, session: aiohttp.ClientSession, signer: Signer, changed: Callable[[], None]
    ) -> None:
        self._cache, self._session, self._signer, self._changed = cache, session, signer, changed
        self._asked: dict[Key, AftrPool] = {}
        self._softwires: dict[Key, Softwires] = {}
        self._made: dict[Key, tuple[tuple[Any, ...], dict[str, Observed]]] = {}  # from what it was made

    async def run(self) -> None:
        """Until cancelled."""
        for turn in count(1):
            await asyncio.sleep(SOON_S)
            for gone in self._asked.keys() - self._cache.pools():
                self._asked.pop(gone)
                self._softwires.pop(gone, None)
                self._made.pop(gone, None)
            due = [key for key in self._asked if turn % TURNS == 0 or key not in self._softwires]
            await asyncio.gather(*map(self._look, due))
            if due:
                self._changed()

    async def _look(self, key: Key) -> None:
        """One pool; what was seen stays so when an AFTR does not answer."""
        try:
            view = self._cache.view(key)
            if view.pool is None:
                return
            key_of_pool, slots = self._signer.key_of(view.pool), self._asked[key].spec.slots
            found = await pods.softwires(self._session, view.pods, key_of_pool, slots)
            if found is None:
                self._signer.doubt(view.pool)
                return
            self._softwires[key] = await asyncio.to_thread(read, found)
        except (KeyError, TypeError, ValueError) as error:  # no list of softwires: as though it had not answered
            log.warning("what an AFTR lists as its softwires cannot be read", pool=str(key), reason=repr(error))

    async def meet(self, grounds: Iterable[Ground]) -> None:
        """Looks at pools that were not asked for before, at all of them at once: an AFTR that does not answer takes its time."""
        new = {ground.key: ground.pool for ground in grounds if ground.key not in self._asked}
        self._asked |= new
        await asyncio.gather(*map(self._look, new))

    async def of(self, ground: Ground, leases: ByServer) -> dict[str, Observed] | None:
        """What is seen of a pool's groups; None while not all of its slots' AFTRs have answered at once."""
        await self.meet([ground])
        self._asked[ground.key] = ground.pool
        softwires = self._softwires.get(ground.key)
        if softwires is None:
            return None
        basis = (ground.groups, softwires, *leases.values())
        known = self._made.get(ground.key)
        if known is None or any(old is not new for old, new in zip(known[0], basis, strict=True)):
            known = basis, await asyncio.to_thread(observed, ground.groups, leases, softwires)
            self._made[ground.key] = known
        return known[1]


def read(found: Iterable[Object]) -> Softwires:
    """What AFTRs said."""
    return tuple(Softwire(IPv6Address(one["softwire"]), one["slot"], one["sessions"]) for one in found)
