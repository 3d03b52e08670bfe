"""Names of slots brought to what they should be, and looked at: the room where DNS meets the reconcile.

    read the zone ─► plan ─► update ─► read again … until nothing is left to do ─► ask every server

Nothing is remembered that the zone does not say.  While no serial changes, this costs two questions to a zone's primary, and one to
each of its other servers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from dslite_operator.distribution.dns.errors import DnsError, MovedOnError
from dslite_operator.distribution.dns.key import read_key
from dslite_operator.distribution.dns.plan import Change, Use, plan
from dslite_operator.distribution.dns.records import Held, Wanted, by_zone
from dslite_operator.distribution.dns.resolving import Said, Standing, joined, judged
from dslite_operator.distribution.dns.server import BATCH, Primary, Server
from dslite_operator.settings import DnsSettings, DnsZone

ROUNDS = 4  # of reading and writing, when others write too
STANDS = timedelta(minutes=10)  # how long what was seen is believed while the serial is the same


class Names:
    """The names of all pools, in all zones of the installation."""

    def __init__(self, settings: DnsSettings, secrets: Path) -> None:
        self._keepers = {one.zone: Keeper(one, settings.owner, secrets) for one in settings.zones}

    async def keep(self, wanted: Mapping[str, Wanted], use: Use, now: datetime) -> Standing:
        """Writes what is wanted, gives up what is not, and looks at it; `now` is UTC.  One call at a time.

        `wanted` are the names of all pools that there are, but for those in `use.unread`: any other that is left out is taken to be gone.
        """
        parts = by_zone(wanted, self._keepers)
        standings = await asyncio.gather(*(self._keepers[zone].keep(part, use, now) for zone, part in parts.items()))
        homeless = wanted.keys() - {name for part in parts.values() for name in part}
        words = {name: f"{name} is in no zone of the chart value dns.zones: add its zone" for name in homeless}
        return joined([*standings, Standing(wrong=words)])


class Seen(NamedTuple):
    """When, and at which serial, something was seen in a zone."""

    serial: int
    at: datetime

    def stands(self, serial: int, now: datetime) -> bool:
        """Whether it is still so."""
        return self.serial == serial and self.at <= now < self.at + STANDS


class Keeper:
    """One zone."""

    def __init__(self, zone: DnsZone, owner: str, secrets: Path) -> None:
        self._zone, self._owner, self._secrets = zone, owner, secrets
        self._servers = [Server(zone.zone, place) for place in (zone.server, *zone.secondaries)]
        self._held: tuple[Seen, Mapping[str, Held]] | None = None
        self._said: dict[Server, tuple[Seen, Mapping[str, Said]]] = {}

    async def keep(self, wanted: Mapping[str, Wanted], use: Use, now: datetime) -> Standing:
        """As Names.keep, for one zone.  One without a key is looked at only."""
        trouble, refusals = list[str](), dict[str, str]()
        try:
            if self._zone.tsig_secret_ref:
                refusals = await self._write(wanted, use, now)
        except DnsError as error:
            self._held = None
            trouble.append(str(error))
        looks = await asyncio.gather(*(self._look(one, list(wanted), now) for one in self._servers))
        trouble += [look for look in looks if isinstance(look, str)]
        said = {
            one.where: None if isinstance(look, str) else look for one, look in zip(self._servers, looks, strict=True)
        }
        return replace(judged(wanted, said, refusals), trouble=tuple(dict.fromkeys(trouble)))

    async def _write(self, wanted: Mapping[str, Wanted], use: Use, now: datetime) -> dict[str, str]:
        """Reads and writes until nothing is left to write; the names that others have.  Raises DnsError."""
        key = read_key(self._secrets / self._zone.tsig_secret_ref)
        primary = Primary(self._zone.zone, self._zone.server, key)
        for _ in range(ROUNDS):
            todo = plan(wanted, await self._read(primary, now), self._owner, use, now)
            if not todo.changes:
                return dict(todo.refusals)
            self._held = None
            await write(primary, todo.changes)
        raise MovedOnError(
            f"zone {self._zone.zone} at DNS server {primary.where} is not as it was written: somebody else changes our names; "
            f"the name in dns.owner, {self._owner}, must be of this installation alone"
        )

    async def _read(self, primary: Primary, now: datetime) -> Mapping[str, Held]:
        """What the zone holds."""
        if self._held is None or not self._held[0].stands(await primary.serial(), now):
            serial, held = await primary.transfer()
            self._held = Seen(serial, now), held
        return self._held[1]

    async def _look(self, server: Server, names: Sequence[str], now: datetime) -> Mapping[str, Said] | str:
        """What a server says of names, or why it says nothing."""
        try:
            serial = await server.serial()
            before = self._said.get(server)
            if before is None or not before[0].stands(serial, now) or not before[1].keys() >= set(names):
                before = self._said[server] = Seen(serial, now), await server.addresses(names)
            return before[1]
        except DnsError as error:
            self._said.pop(server, None)
            return str(error)


async def write(primary: Primary, changes: Sequence[Change]) -> None:
    """Changes in messages, each made as a whole or not; one that came too late for what others did is left to the next round."""
    for first in range(0, len(changes), BATCH):
        try:
            await primary.change(changes[first : first + BATCH])
        except MovedOnError:
            return
