"""The routes of slots, in a kernel table of their own that no rule looks at: it exists for BIRD to learn.

Each is `blackhole PREFIX metric 2^32-1-epoch`: the newer an owner, the lower the metric, which becomes the MED of its announcement.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from aftr.announce.errors import AnnounceError
from dslite_contract.schema import AftrPool
from dslite_contract.slots import slot_address, slot_bypass_addresses, slot_prefixes

Network = IPv4Network | IPv6Network
Route = tuple[Network, int]  # a prefix and its metric

SLOT_TABLE = 6333  # number of the kernel table; only BIRD reads it
LARGEST_METRIC = (1 << 32) - 1
LARGEST_EPOCH = LARGEST_METRIC - 1  # a metric of 0 would mean "the kernel's default" to IPv6
_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
_BLACKHOLE = 6  # RTN_BLACKHOLE
_STATIC = 4  # RTPROT_STATIC


def slot_networks(pool: AftrPool, slot: int) -> tuple[Network, ...]:
    """What the owner of a slot announces: its tunnel address, its parts of the NAT prefixes, its bypassed hosts. Raises SlotError."""
    external = [part.network for part in slot_prefixes(pool, slot)]
    bypassed = [IPv4Network(address) for address in slot_bypass_addresses(pool, slot)]
    return (IPv6Network(slot_address(pool, slot)), *external, *bypassed)


def metric_of(epoch: int) -> int:
    """The metric, and MED, of an owner in its epoch: lower is newer. Raises AnnounceError."""
    if not 0 <= epoch <= LARGEST_EPOCH:
        raise AnnounceError(f"epoch {epoch} cannot be announced: 0 to {LARGEST_EPOCH}")
    return LARGEST_METRIC - epoch


class SlotRoutes:
    """The kernel table of this network namespace. `await open()` first, `await close()` last; both empty the table.

    A call that failed is repeated as it was: what is there already, or gone already, is as good as done.
    """

    def __init__(self, table: int = SLOT_TABLE) -> None:
        self.table = table
        self._held: dict[int, set[Route]] = {}
        self._lock = asyncio.Lock()

    async def open(self) -> None:
        """Forget what an earlier process announced."""
        self._netlink = AsyncIPRoute()
        await self._flush()

    async def close(self) -> None:
        """Announce nothing any more."""
        try:
            await self._flush()
        finally:
            self._netlink.close()

    async def put(self, slot: int, epoch: int, networks: Iterable[Network]) -> None:
        """Announce `networks` for a slot in this epoch. What was announced for it before goes when the new routes are there."""
        wanted = {(network, metric_of(epoch)) for network in networks}
        async with self._lock:
            held = self._held.setdefault(slot, set())
            held |= (
                wanted  # before they are there: a failure half-way is undone by `remove`, completed by another `put`
            )
            for route in sorted(wanted, key=str):
                await self._change("add", route, errno.EEXIST)
            await self._remove(held, held - wanted)

    async def remove(self, slot: int) -> None:
        """Withdraw a slot; one that is not announced stays so."""
        async with self._lock:
            held = self._held.get(slot, set())
            await self._remove(held, set(held))
            self._held.pop(slot, None)

    async def _remove(self, held: set[Route], routes: set[Route]) -> None:
        for route in sorted(routes, key=str):
            await self._change("del", route, errno.ESRCH)
            held.remove(route)

    async def _change(self, command: str, route: Route, already: int) -> None:
        network, metric = route
        words = {"dst": str(network), "family": _FAMILY[network.version], "type": _BLACKHOLE, "proto": _STATIC}
        try:
            await self._netlink.route(command, table=self.table, priority=metric, **words)
        except NetlinkError as error:
            if error.code != already:
                raise AnnounceError(
                    f"route {network} metric {metric}: the kernel refused to {command} it: {error}"
                ) from error

    async def _flush(self) -> None:
        self._held.clear()
        for family in _FAMILY.values():
            found = [message async for message in await self._netlink.route("dump", family=family, table=self.table)]
            for message in found:
                await self._delete(message, family)

    async def _delete(self, message: Any, family: int) -> None:
        anywhere = "::" if family == socket.AF_INET6 else "0.0.0.0"
        dst = f"{message.get_attr('RTA_DST') or anywhere}/{message['dst_len']}"
        words = {
            "dst": dst,
            "family": family,
            "type": message["type"],
            "priority": message.get_attr("RTA_PRIORITY") or 0,
        }
        try:
            await self._netlink.route("del", table=self.table, **words)
        except NetlinkError as error:
            if error.code != errno.ESRCH:
                raise AnnounceError(f"route {dst} of table {self.table} cannot be removed: {error}") from error
