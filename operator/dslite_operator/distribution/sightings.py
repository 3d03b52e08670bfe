"""What is seen of B4s now and then: softwires, by the AFTRs that serve them, put together with the leases of DHCPv6 servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from ipaddress import IPv6Address
from typing import Any

import aiohttp
import structlog

from dslite_operator import pods
from dslite_operator.distribution.counting import Softwire
from dslite_operator.distribution.ground import Ground
from dslite_operator.distribution.observed import ByServer, Observed, observed
from dslite_operator.names import Key
from dslite_operator.observe import Cache
from dslite_operator.signer import Signer

Object = dict[str, Any]
log = structlog.get_logger()

LOOK_S = 60.0

Softwires = tuple[Softwire, ...]


class Sightings:
    """Of all pools; `changed` is called after each look."""

    def __init__(
        self, cache: Cache, session: aiohttp.ClientSession, signer: Signer, changed: Callable[[], None]
    ) -> None:
        self._cache, self._session, self._signer, self._changed = cache, session, signer, changed
        self._asked: set[Key] = set()
        self._softwires: dict[Key, Softwires] = {}
        self._made: dict[Key, tuple[tuple[Any, ...], dict[str, Observed]]] = {}  # from what it was made

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            there = self._cache.pools()
            for gone in self._asked - there:
                self._asked.discard(gone)
                self._softwires.pop(gone, None)
                self._made.pop(gone, None)
            await asyncio.gather(*(self._look(key) for key in there))
            self._changed()

    async def _look(self, key: Key) -> None:
        """One pool; what was seen stays so when an AFTR does not answer."""
        try:
            view = self._cache.view(key)
            if view.pool is None:
                return
            found = await pods.softwires(self._session, view.pods, self._signer.key_of(view.pool))
            if found is None:
                self._signer.doubt(view.pool)
                return
            self._softwires[key] = await asyncio.to_thread(read, found)
        except (KeyError, TypeError, ValueError) as error:  # no list of softwires: as though it had not answered
            log.warning("what an AFTR lists as its softwires cannot be read", pool=str(key), reason=repr(error))

    async def of(self, ground: Ground, leases: ByServer) -> dict[str, Observed] | None:
        """What is seen of a pool's groups; None while its AFTRs have not all answered once."""
        if ground.key not in self._asked:
            self._asked.add(ground.key)
            await self._look(ground.key)
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
