"""Announcing slots by BGP, as the control thread uses it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from pathlib import Path
from typing import Any

from aftr.announce.bird import Bird
from aftr.announce.config import Addresses, bird_conf
from aftr.announce.routes import SlotRoutes, metric_of, slot_networks
from dslite_contract.load import Configuration
from dslite_contract.schema import Peer

Runs = Callable[[Coroutine[Any, Any, None]], Awaitable[None]]

DOWN = "Down"
ESTABLISHED = "Established"  # RFC 4271 section 8.2.2


async def here(work: Coroutine[Any, Any, None]) -> None:
    """On this event loop."""
    await work


def peers_of(configuration: Configuration) -> tuple[Peer, ...]:
    """The routers that slots are announced to by BGP, if any."""
    routing = configuration.pool.spec.routing
    return routing.bgp.peers if routing and routing.bgp else ()


def states_of(configuration: Configuration, found: Mapping[str, str]) -> dict[str, str]:
    """State of each router's session; one that BIRD does not name is down."""
    return {peer.name: found.get(peer.name, DOWN) for peer in peers_of(configuration)}


def is_heard(peers: Iterable[Peer], sessions: Mapping[str, str]) -> bool:
    """Whether each interface has an established session for each family that it announces: one of several routers may be away."""
    wanted, heard = set[tuple[str, str]](), set[tuple[str, str]]()
    for peer in peers:
        told = {(peer.interface, family) for family in peer.families}
        wanted |= told
        heard |= told if sessions.get(peer.name) == ESTABLISHED else set()
    return heard == wanted


class Announcer:
    """Tells the routers which slots are served here; without `spec.routing` it does nothing and has no sessions.

    `interface_addresses`: the addresses of each of the pool's interfaces, by its name. `runtime_dir` holds BIRD's files and must be this
    AFTR's own. `passwords`: by the name of their Secret. `say` is told sentences for people, `on_sessions` the states of all sessions
    when one has changed. Everything is called from the event loop of the process's main thread: BIRD dies with the thread that starts it.
    `beside` runs what may wait for the kernel's network lock.
    """

    def __init__(
        self,
        configuration: Configuration,
        interface_addresses: Addresses,
        runtime_dir: Path,
        *,
        passwords: Mapping[str, str] | None = None,
        bfd: bool = True,
        say: Callable[[str], None] = lambda _: None,
        on_sessions: Callable[[dict[str, str]], None] = lambda _: None,
        beside: Runs = here,
    ) -> None:
        self._configuration, self._addresses = configuration, interface_addresses
        self._passwords, self._bfd = passwords or {}, bfd
        self._routes, self._beside = SlotRoutes(), beside
        self._bird = Bird(runtime_dir, say=say, on_sessions=on_sessions)
        self._epochs: dict[int, int] = {}
        self._changing = asyncio.Lock()  # BIRD has one draft of its configuration
        self._started = False

    @property
    def active(self) -> bool:
        """Whether the configuration asks for announcements."""
        routing = self._configuration.pool.spec.routing
        return routing is not None and routing.bgp is not None

    @property
    def announced(self) -> dict[int, int]:
        """Announced slots with their epochs."""
        return dict(self._epochs)

    @property
    def bird_pid(self) -> int | None:
        """BIRD's process, None while there is none."""
        return self._bird.pid

    async def start(self) -> None:
        """Nothing is announced, and BIRD runs, when this returns; sessions come up later. Raises AnnounceError."""
        if not self.active:
            return
        text = self._text(self._configuration)
        await self._beside(self._routes.open())
        try:
            await self._bird.start(text)
        except BaseException:
            await self._bird.stop()
            await self._beside(self._routes.close())
            raise
        self._started = True

    async def announce(self, slot: int, epoch: int) -> None:
        """The kernel has the slot's routes when this returns; BIRD tells the routers within milliseconds. Raises AnnounceError.

        Routers prefer the owner with the highest epoch, so a slot is opened first and announced then.
        """
        metric_of(epoch)
        networks = slot_networks(self._configuration.pool, slot)
        self._epochs[slot] = epoch
        if self._started:
            await self._beside(self._routes.put(slot, epoch, networks))

    async def withdraw(self, slot: int) -> None:
        """Take a slot's routes back; the last thing that an old owner does. Raises AnnounceError."""
        self._epochs.pop(slot, None)
        if self._started:
            await self._beside(self._routes.remove(slot))

    async def sessions(self) -> dict[str, str]:
        """The state of each peer's session (RFC 4271 section 8.2.2): Established, Active, …; Down while BIRD does not run."""
        if not self._started:
            return {}
        return states_of(self._configuration, await self._bird.sessions())

    async def linked(self) -> bool:
        """Whether routers on every side hear us; without announcements, always."""
        return not self._started or is_heard(peers_of(self._configuration), await self.sessions())

    async def reconfigure(self, configuration: Configuration, interface_addresses: Addresses | None = None) -> None:
        """Follow a changed file or changed addresses. Sessions that stay the same stay up. Raises AnnounceError, keeping what runs.

        Whether there is any routing at all never changes while a process runs (`[rolling]`).
        """
        addresses = self._addresses if interface_addresses is None else interface_addresses
        async with self._changing:
            if self._started:
                await self._bird.reconfigure(self._text(configuration, addresses))
            self._configuration, self._addresses = configuration, addresses
        for slot, epoch in list(self._epochs.items()):
            if self._epochs.get(slot) == epoch:  # it may have gone elsewhere meanwhile
                await self.announce(slot, epoch)

    async def log_in(self, passwords: Mapping[str, str]) -> None:
        """Use these passwords; sessions whose password is another one begin anew. Raises AnnounceError; the same again is no harm."""
        async with self._changing:
            if self._started:
                pool, addresses = self._configuration.pool, self._addresses
                await self._bird.write(bird_conf(pool, addresses, passwords, bfd=self._bfd))
            self._passwords = passwords
            if self._started:
                await self._bird.configure()

    async def stop(self) -> None:
        """Close the sessions, and leave no route behind."""
        if self._started:
            self._started = False
            await self._bird.stop()
            await self._beside(self._routes.close())

    def _text(self, configuration: Configuration, addresses: Addresses | None = None) -> str:
        return bird_conf(configuration.pool, addresses or self._addresses, self._passwords, bfd=self._bfd)
