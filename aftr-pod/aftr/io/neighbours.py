"""Where frames are sent next: the kernel's routes and neighbours of our interfaces, as one small table.

The kernel (and BIRD, through it) decides; this only looks.  A netlink event, whichever, means "look again soon": links, routes of the main
table and neighbours are read anew and the table is built from nothing, so a lost event costs nothing but the next one.
Each gateway is entered as a managed neighbour (NTF_EXT_MANAGED, Linux 5.16), which the kernel resolves and keeps fresh although none of its
own packets uses it; as long as one is unresolved it is also asked for once a second (NTF_USE), which older kernels understand.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from aftr.io.device import Interface
from aftr.io.links import Link, link_of

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_GROUPS = 0x1 | 0x4 | 0x40 | 0x400  # RTMGRP_LINK, NEIGH, IPV4_ROUTE, IPV6_ROUTE
_MAIN_TABLE, _UNICAST = 254, 1
_DEAD = 0x1 | 0x10  # RTNH_F_DEAD, RTNH_F_LINKDOWN
_NTF_USE, _NTF_EXT_MANAGED, _NUD_FAILED, _NUD_NOARP, _NUD_PERMANENT = 0x1, 0x1, 0x20, 0x40, 0x80
_VERSIONS = {"access": (6,), "internet": (4,), "both": (4, 6)}
SETTLE_S = 0.02  # events come in flocks
RETRY_S = 1.0


@dataclass(frozen=True)
class NextHop:
    """Packets to `prefix` leave by the pool's interface `interface`. Several rows of one prefix and interface: ECMP, by `weight`.

    `gateway` None: the prefix is on the link itself, and whoever is known there has a row of its own; call `resolve` for the others.
    `mac` None: not resolved (yet).
    """

    interface: str
    prefix: Network
    gateway: Address | None
    mac: bytes | None
    source_mac: bytes
    weight: int = 1


@dataclass(frozen=True)
class Route:
    """One next hop of a unicast route of the main table."""

    prefix: Network
    link: int
    gateway: Address | None
    metric: int = 0
    weight: int = 1


def next_hops(
    interfaces: Sequence[Interface],
    links: Iterable[Link],
    routes: Iterable[Route],
    neighbours: Mapping[tuple[int, Address], bytes],
) -> list[NextHop]:
    """The table. `neighbours`: MAC by (interface index, address). Of several metrics the lowest counts, per interface."""
    routes = list(routes)
    by_name = {link.name: link for link in links}
    table: set[NextHop] = set()
    for interface in interfaces:
        link = by_name.get(interface.device)
        if link is None or not link.up:
            continue
        versions = _VERSIONS[interface.side]
        own = [route for route in routes if route.link == link.index and route.prefix.version in versions]
        lowest = {route.prefix: route.metric for route in sorted(own, key=lambda route: -route.metric)}
        for route in own:
            if route.metric == lowest[route.prefix]:
                table.update(_rows(interface.name, link, route, neighbours))
    return sorted(table, key=_order)


def _rows(name: str, link: Link, route: Route, neighbours: Mapping[tuple[int, Address], bytes]) -> Iterator[NextHop]:
    mac = neighbours.get((link.index, route.gateway)) if route.gateway else None
    yield NextHop(name, route.prefix, route.gateway, mac, link.mac, route.weight)
    if route.gateway is None:
        for (index, address), known in neighbours.items():
            if index == link.index and address.version == route.prefix.version and address in route.prefix:
                yield NextHop(name, ipaddress.ip_network(address), address, known, link.mac)


def _order(hop: NextHop) -> tuple[Any, ...]:
    prefix = hop.prefix
    return hop.interface, prefix.version, -prefix.prefixlen, int(prefix.network_address), str(hop.gateway)


# ---------------------------------------------------------------- the kernel's messages
def routes_of(message: Any) -> Iterator[Route]:
    """A decoded RTM_NEWROUTE → its usable next hops. Blackholes and the like, multicast and link-local prefixes: none."""
    if message["type"] != _UNICAST or message["flags"] & _DEAD:
        return
    any_address = "::" if message["family"] == socket.AF_INET6 else "0.0.0.0"
    prefix = ipaddress.ip_network(f"{message.get_attr('RTA_DST') or any_address}/{message['dst_len']}")
    if prefix.is_multicast or prefix.is_link_local:
        return
    metric = message.get_attr("RTA_PRIORITY") or 0
    paths = message.get_attr("RTA_MULTIPATH")
    if paths is None:
        yield Route(prefix, message.get_attr("RTA_OIF") or 0, _gateway(message), metric)
        return
    for path in paths:
        if not path["flags"] & _DEAD:
            yield Route(prefix, path["oif"], _gateway(path), metric, path["hops"] + 1)


def _gateway(part: Any) -> Address | None:
    via = part.get_attr("RTA_VIA")
    text = via["addr"] if via else part.get_attr("RTA_GATEWAY")
    return ipaddress.ip_address(text) if text else None


def neighbour_of(message: Any) -> tuple[tuple[int, Address], bytes] | None:
    """A decoded RTM_NEWNEIGH → ((interface index, address), MAC), None while it has none that may be used."""
    address, mac = message.get_attr("NDA_DST"), message.get_attr("NDA_LLADDR")
    if not address or not mac or message["state"] & (_NUD_FAILED | _NUD_NOARP):
        return None
    return (message["ifindex"], ipaddress.ip_address(address)), bytes.fromhex(mac.replace(":", ""))


# ---------------------------------------------------------------- watching
class Neighbours:
    """Keeps the table while the control thread's event loop runs: `await start()`, later `await stop()`.

    `on_change` gets every new table; `on_links` all links by name whenever one appeared, changed or went (for `Device.refresh`).
    `trouble` is why the kernel could not be asked just now, "" when it could.
    """

    def __init__(
        self,
        interfaces: Sequence[Interface],
        on_change: Callable[[list[NextHop]], None],
        on_links: Callable[[dict[str, Link]], None] = lambda _: None,
    ) -> None:
        self.table: list[NextHop] = []
        self._interfaces, self._on_change, self._on_links = tuple(interfaces), on_change, on_links
        self._links: list[Link] = []
        self._managed: set[tuple[int, Address]] = set()
        self._wanted: set[tuple[int, Address]] = set()
        self._asked: dict[tuple[int, Address], float] = {}
        self.trouble = ""
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to watch; the first table has been delivered when this returns."""
        self._events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
        self._events.bind((0, _GROUPS))
        self._netlink = AsyncIPRoute()
        await self._look()
        asyncio.get_running_loop().add_reader(self._events, self._drain)
        self._task = asyncio.create_task(self._watch(), name="neighbours")

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            asyncio.get_running_loop().remove_reader(self._events)
            self._netlink.close()
            self._events.close()
            self._task = None

    def resolve(self, interface: str, address: Address) -> None:
        """Ask the kernel for a host on the link, which the engine has packets for; the answer arrives as a new table."""
        devices = {one.device for one in self._interfaces if one.name == interface}
        self._wanted.update((link.index, address) for link in self._links if link.name in devices)
        self._wake.set()

    def _drain(self) -> None:
        """Events are only counted as "something happened"; an overflow of the socket is one more."""
        with contextlib.suppress(BlockingIOError):
            while True:
                try:
                    self._events.recv(1 << 16)
                except OSError as error:
                    if error.errno != errno.ENOBUFS:
                        raise
        self._wake.set()

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                unresolved = any(hop.gateway and hop.mac is None for hop in self.table)
                await asyncio.wait_for(self._wake.wait(), RETRY_S if unresolved else None)
            try:
                await self._knock(self._wanted)  # packets are dropped meanwhile: before anything that takes time
                await asyncio.sleep(SETTLE_S)
                self._wake.clear()
                await self._look()
                self.trouble = ""
            except (OSError, NetlinkError) as error:
                self.trouble = f"routes and neighbours cannot be read: {error}"
                self._netlink.close()
                self._netlink = AsyncIPRoute()
                await asyncio.sleep(RETRY_S)
                self._wake.set()

    async def _look(self) -> None:
        links = [link_of(message) async for message in await self._netlink.link("dump")]
        if links != self._links:
            self._links = links
            self._on_links({link.name: link for link in links})
        names = {interface.device for interface in self._interfaces}
        ours = {link.index for link in links if link.name in names}
        routes: list[Route] = []
        for family in (socket.AF_INET6, socket.AF_INET):
            async for message in await self._netlink.route("dump", family=family, table=_MAIN_TABLE):
                routes += [route for route in routes_of(message) if route.link in ours]
        messages = [message async for message in await self._netlink.neigh("dump")]
        found = [neighbour_of(message) for message in messages]
        known = dict(one for one in found if one and one[0][0] in ours)
        static = {
            one[0] for one, message in zip(found, messages, strict=True) if one and message["state"] & _NUD_PERMANENT
        }
        table = next_hops(self._interfaces, links, routes, known)
        if table != self.table or not self._task:
            self.table = table
            self._on_change(table)
        gateways = {(route.link, route.gateway) for route in routes if route.gateway}
        await self._ask(gateways - static, known)  # what an administrator entered stays as it is

    async def _ask(self, gateways: set[tuple[int, Address]], known: Mapping[tuple[int, Address], bytes]) -> None:
        """Managed entries for new gateways; a knock for those unresolved, and for hosts asked for by `resolve`."""
        self._managed &= gateways
        for key in gateways - self._managed:
            if self._is_up(key) and await self._enter(key, flags_ext=_NTF_EXT_MANAGED):
                self._managed.add(key)
        await self._knock((gateways | self._wanted) - known.keys())
        self._wanted.clear()

    async def _knock(self, hosts: set[tuple[int, Address]]) -> None:
        """Have the kernel ask for these, each once a second at most."""
        now = asyncio.get_running_loop().time()
        self._asked = {key: when for key, when in self._asked.items() if now - when < RETRY_S}
        for key in hosts - self._asked.keys():
            if self._is_up(key):
                await self._enter(key, flags=_NTF_USE)
                self._asked[key] = now

    def _is_up(self, key: tuple[int, Address]) -> bool:
        return any(link.up and link.index == key[0] for link in self._links)

    async def _enter(self, key: tuple[int, Address], **flags: int) -> bool:
        try:
            await self._netlink.neigh("replace", ifindex=key[0], dst=str(key[1]), state=0, **flags)
        except NetlinkError:
            return False  # the link went meanwhile, or the kernel is too old: the next look tries again
        return True
