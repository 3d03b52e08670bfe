"""Kea as a provider: its peers one after another, changes gathered and not more often than every `interval_s`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from ipaddress import IPv6Network
from typing import Any

from dslite_operator.distribution.providers.errors import ForeignError, RefusedError, UnwrittenError
from dslite_operator.distribution.providers.kea.change import Change, Changer
from dslite_operator.distribution.providers.kea.dialect import Dialect
from dslite_operator.distribution.providers.kea.leases import Held, held, live
from dslite_operator.distribution.providers.kea.patching import copies, obstacles, patch
from dslite_operator.distribution.providers.kea.questions import Link, checks, links
from dslite_operator.distribution.providers.kea.rendering import Rendering, check, conflicts, render
from dslite_operator.distribution.providers.kea.server import Configuration
from dslite_operator.distribution.providers.kea.subnets import subnets_of
from dslite_operator.distribution.providers.kea.timers import timers
from dslite_operator.distribution.providers.pace import Pace
from dslite_operator.distribution.providers.provider import B4, Assignment, Given, Outcome, Timers

Object = dict[str, Any]

INTERVAL_S = 30.0  # Kea answers nobody during config-set, the longer the more subnets it has


@dataclass(frozen=True)
class KeaPlan:
    """All that a Kea should know of `owner`, the operator of one installation, beside what groups `as_is` have there."""

    owner: str
    assignments: tuple[Assignment, ...]
    as_is: Set[str] = frozenset()
    _renderings: dict[Dialect, Rendering] = field(default_factory=dict, compare=False, repr=False)

    def on(self, found: Configuration, dialect: Dialect) -> Change:
        """What that makes of a configuration.  Raises ForeignError."""
        if dialect not in self._renderings:
            self._renderings[dialect] = render(self.assignments, self.owner, dialect, self.as_is)
        after = patch(found.document, self._renderings[dialect], dialect)
        return Change(found, after, checks(found.document, after, self.assignments, dialect), dialect)

    def others(self, found: Configuration, dialect: Dialect) -> Object:
        """A configuration without what is ours."""
        return patch(found.document, Rendering(self.owner), dialect)


class KeaProvider:
    """One Kea, or peers with the same subnets that serve in each other's place."""

    live_update = False  # it answers nobody while it reads or writes out its configuration

    def __init__(self, owner: str, peers: Sequence[Changer], interval_s: float = INTERVAL_S) -> None:
        self._owner, self._peers = owner, tuple(peers)
        self._linked: Configuration | None = None  # what these are in
        self._links: Mapping[IPv6Network, Link] = {}
        self._pace: Pace[KeaPlan, Outcome] = Pace(interval_s, self._change)

    def render(self, assignments: Sequence[Assignment], as_is: Set[str] = frozenset()) -> KeaPlan:
        """Pure; raises OptionError, ForeignError."""
        check(assignments)
        return KeaPlan(self._owner, tuple(assignments), as_is)

    async def validate(self, plan: KeaPlan) -> None:
        """What each peer says to it; raises ProviderError."""
        for peer in self._peers:
            found, dialect = await peer.kea.configuration(), await peer.kea.dialect()
            made = await asyncio.to_thread(plan.on, found, dialect)
            if made.needed:
                await peer.kea.test(made.after)

    async def apply(self, plan: KeaPlan) -> Outcome:
        """One peer after another, and no further than the first that does not tell what it should; raises ProviderError."""
        return await self._pace(plan)

    async def ready(self) -> None:
        """Until the interval since the last change is over."""
        await self._pace.free()

    async def revision(self) -> str | None:
        """The hashes of all peers, None for those that have none of their own; raises ProviderError."""
        hashes = [await peer.kea.own_hash() for peer in self._peers]
        return None if None in hashes else " ".join(map(str, hashes))

    async def _change(self, plan: KeaPlan) -> Outcome:
        """An interval begins with whatever was set, but for a Kea that serves nobody: that may be helped at any time."""
        before = self._changes
        try:
            changed = await self._one_after_another(plan)
        finally:
            if self._changes != before and not any(peer.is_deaf for peer in self._peers):
                self._pace.begin()
        said = f"changed Kea at {', '.join(changed)}" if changed else "Kea has it all already"
        return Outcome(tuple(changed), said)

    @property
    def _changes(self) -> int:
        return sum(peer.changes for peer in self._peers)

    async def _one_after_another(self, plan: KeaPlan) -> list[str]:
        """Those that were changed."""
        changed = list[str]()

        async def change(peer: Changer) -> None:
            if await peer.change(plan, [one.kea for one in self._peers if one is not peer]):
                changed.append(peer.kea.where)

        await self._each(change)
        return changed

    async def keep(self) -> None:
        """Each peer writes its file, unless it has it already; raises ProviderError."""
        await self._each(Changer.keep)

    async def _each(self, step: Callable[[Changer], Awaitable[None]]) -> None:
        """One peer that cannot write its file tells what it should: the others are to tell, and write, the same."""
        unwritten = list[str]()
        for peer in self._peers:
            try:
                await step(peer)
            except UnwrittenError as error:
                unwritten.append(str(error))
        if unwritten:
            raise UnwrittenError("; ".join(unwritten))

    async def observe(self, b4: B4) -> str | None:
        """What each peer tells it, whoever of them serves it now; raises ProviderError, also where they do not tell it the same."""
        asked = (await self._link_of(b4.subnet)).question(b4.duid, b4.interface_id)
        names = {peer.kea.where: await peer.prober.ask(asked) for peer in self._peers}
        if len(set(names.values())) > 1:
            told = " and ".join(f"{name or 'no name'} by Kea at {where}" for where, name in names.items())
            raise RefusedError(
                f"a B4 on subnet {b4.subnet} is told {told}: what is wrong is told again; see who else changes it"
            )
        return next(iter(names.values()))

    async def _link_of(self, subnet: IPv6Network) -> Link:
        """As the first peer has it, of which the configuration is read again for a subnet that it did not have: reading stops Kea."""
        kea = self._peers[0].kea
        if subnet not in self._links_in(kea.last):
            await kea.known()
        if subnet not in self._links_in(kea.last):
            raise ForeignError(f"Kea at {kea.where} has no subnet {subnet}: a B4 there is told nothing")
        return self._links[subnet]

    def _links_in(self, found: Configuration | None) -> Mapping[IPv6Network, Link]:
        if found is not None and found is not self._linked:
            self._linked, self._links = found, links(found.document)
        return self._links

    async def copies(self) -> dict[str, str]:
        """Those that the first peer keeps; raises ProviderError."""
        kea = self._peers[0].kea
        return copies((kea.last or await kea.known()).document, self._owner)

    async def timers(self) -> dict[IPv6Network, Timers]:
        """Those of the first peer; raises ProviderError."""
        kea = self._peers[0].kea
        return await asyncio.to_thread(timers, (kea.last or await kea.known()).document)

    async def leases(self) -> list[Given] | None:
        """Those of the first peer, page by page; None without the hook libdhcp_lease_cmds.so.  Raises ProviderError."""
        kea, found, after = self._peers[0].kea, list[Held](), "start"
        document = (await kea.known()).document
        if not (await kea.dialect()).shows_leases:
            return None
        subnets = {one["id"]: IPv6Network(one["subnet"]) for one, _ in subnets_of(document)}
        while page := await kea.lease_page(after):
            found += held(page, subnets)
            after = page[-1]["ip-address"]
        return await asyncio.to_thread(live, found)

    async def obstacles(self, assignments: Sequence[Assignment]) -> dict[str, str]:
        """On any of the peers, and between groups; raises ProviderError."""
        found: dict[str, list[str]] = {}
        for both, sentence in conflicts(assignments):
            for group in both:
                found.setdefault(group, []).append(sentence)
        for peer in self._peers:
            document, dialect = (await peer.kea.configuration()).document, await peer.kea.dialect()
            for one in assignments:
                found.setdefault(one.group, []).extend(
                    obstacles(document, render([one], self._owner, dialect), dialect)
                )
        return {group: "; ".join(dict.fromkeys(sentences)) for group, sentences in found.items() if sentences}
