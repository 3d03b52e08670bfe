"""One Kea changed safely.

read ─► patch ─► ask as a B4 ─► config-test ─► read the hash again ─► config-set or class-update ─► ask as a B4 ─► config-write
                                                                          │                            │
                                                                          └── refused, silent, wrong ──┴─► what was before, asked again

Kea has no compare-and-set: between the hash and `config-set` is a moment in which another's change could be lost.  Who reads the
hash again just before, and looks again afterwards, loses nothing of others outside that moment, and notices its own loss.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

from dslite_operator.distribution.providers.errors import (
    MovedOnError,
    ProviderError,
    RefusedError,
    RolledBackError,
    SilentError,
    UnsuitableError,
    UnwrittenError,
)
from dslite_operator.distribution.providers.kea.channel import Hold
from dslite_operator.distribution.providers.kea.dialect import Dialect
from dslite_operator.distribution.providers.kea.marks import holds
from dslite_operator.distribution.providers.kea.patching import changed_classes, stages
from dslite_operator.distribution.providers.kea.peers import all_serve, settled
from dslite_operator.distribution.providers.kea.questions import Check
from dslite_operator.distribution.providers.kea.server import Configuration, Kea
from dslite_operator.distribution.providers.kea.surroundings import left_out, without_missing
from dslite_operator.distribution.providers.probe import Prober

Object = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """From what is in force to what should be."""

    before: Configuration
    after: Object
    checks: Sequence[Check]
    dialect: Dialect

    @property
    def needed(self) -> bool:
        """Whether there is a difference."""
        return self.before.document != self.after

    @cached_property
    def classes(self) -> list[tuple[Object, Object]] | None:
        """(before, after) of each class that is changed, where classes are all that is, and can be set by themselves."""
        return changed_classes(self.before.document, self.after) if self.dialect.updates_classes else None


class Planned(Protocol):
    """What should be in a Kea."""

    def on(self, found: Configuration, dialect: Dialect) -> Change:
        """What that makes of a configuration.  Raises ForeignError."""

    def others(self, found: Configuration, dialect: Dialect) -> Object:
        """A configuration without what is ours."""


class Changer:
    """Changes one Kea.  `changes` counts what was set there, whatever came of it: each time it may have been silent."""

    def __init__(self, kea: Kea, prober: Prober) -> None:
        self.kea, self.prober = kea, prober
        self.changes = 0
        self._owed: Change | None = None  # which of ours left it deaf
        self._unproven: Configuration | None = None  # what was in force before one that nobody has asked for yet
        self._written: bool | None = None  # whether its file has what is in force; None: not known

    @property
    def is_deaf(self) -> bool:
        """Whether a change of ours has left it so."""
        return self._owed is not None

    async def change(self, plan: Planned, partners: Sequence[Kea] = ()) -> bool:
        """Carry out what `plan` makes of what is in force, while `partners` serve; whether anything was changed.

        Raises ProviderError.
        """
        await self._pay()
        dialect = await self.kea.dialect()
        made = await asyncio.to_thread(plan.on, await self.kea.configuration(), dialect)
        if made.needed:
            await all_serve(partners)
            await self._serves(made.checks)
            await self._put(made, plan)
        elif self._unproven is not None:
            made = replace(made, before=self._unproven)
        else:
            await self._keep_anew(made, plan)
            return False
        await settled(self.kea)
        self._unproven = None
        await self._prove(made, plan)
        return True

    async def keep(self) -> None:
        """Write down what it tells, where that could not be.  Raises ProviderError."""
        if self._written is False and self._unproven is None:
            await self._keep()

    def _unless_changed(self, since: str) -> Hold:
        """Has the last word before a configuration is set: nobody else's is overwritten."""

        async def hold() -> None:
            if await self.kea.hash() != since:
                raise self._moved_on("meanwhile, and nothing was set")
            self.changes += 1

        return hold

    def _moved_on(self, when: str) -> MovedOnError:
        return MovedOnError(f"Kea at {self.kea.where} was changed by someone else {when}: it is read again")

    # ------------------------------------------------------------ steps
    async def _serves(self, checks: Sequence[Check]) -> None:
        """Who does not answer before a change cannot tell us afterwards that all is well."""
        try:
            for check in checks[:1]:
                await self.prober.ask(check.question)
        except SilentError as error:
            raise SilentError(f"Kea at {self.kea.where} was left as it is: {error}") from error

    async def _put(self, made: Change, plan: Planned) -> None:
        """A refusal may have closed Kea's sockets, whatever `status-get` says."""
        if made.classes is None:
            await self.kea.test(made.after)
        try:
            if made.classes is None:
                await self.kea.set(made.after, self._unless_changed(made.before.hash))
            for body in stages(made.classes or []):
                self.changes += 1
                await self.kea.update_class(body)
        except MovedOnError:
            raise
        except ProviderError as error:
            raise await self._rolled_back(made, plan, False, error) from error
        self._unproven, self._written = made.before, False

    async def _prove(self, made: Change, plan: Planned) -> None:
        """What was put in force is told, is still there, and is kept."""
        try:
            await self._tells(made.checks)
        except ProviderError as error:
            raise await self._rolled_back(made, plan, True, error) from error
        if not await self._in_force(made, plan):
            raise self._moved_on("just after us, and ours is gone")
        await self._keep()

    async def _in_force(self, made: Change, plan: Planned) -> bool:
        """A look at all of it stops Kea for as long as a change does: at classes alone where they are all."""
        if made.classes is not None:
            return all([holds(await self.kea.client_class(new["name"]), new) for _, new in made.classes])
        now = await self.kea.configuration()
        return not (await asyncio.to_thread(plan.on, now, made.dialect)).needed

    async def _tells(self, checks: Sequence[Check]) -> None:
        for check in checks:
            name = await self.prober.ask(check.question)
            if check.name is not None and name != check.name:
                raise RefusedError(
                    f"a B4 on link {check.question.link} is told {name or 'no name'} by Kea at {self.kea.where} and not {check.name}: "
                    "see whether a reservation, a pool or another class tells it otherwise"
                )

    async def _keep(self) -> None:
        self._written = False
        try:
            await self.kea.write()
        except RefusedError as error:
            raise UnwrittenError(
                f"{error}: in force, but a restart would forget it: let Kea write its configuration file"
            ) from error
        self._written = True

    async def _keep_anew(self, made: Change, plan: Planned) -> None:
        """Nothing is to be set, but its file may have refused what is, or an operator before us was ended before it wrote that."""
        if self._written is None:
            others = await asyncio.to_thread(plan.others, made.before, made.dialect)
            self._written = others == made.before.document
        if not self._written:
            await self._keep()

    # ------------------------------------------------------------ back
    async def _rolled_back(self, made: Change, plan: Planned, put: bool, why: ProviderError) -> ProviderError:
        """What was before is put in force again, unless someone else has set something since; what came of it."""
        try:
            now = await self.kea.configuration()
        except ProviderError as error:
            self._owed = made
            return RolledBackError(f"{why}; and {error}", serves=False)
        undone = put and now.hash == made.before.hash
        if undone or plan.others(now, made.dialect) != plan.others(made.before, made.dialect):
            return self._moved_on(f"just after us ({why})")
        lost, trouble = await self._restore(made.before.document, now.hash)
        trouble = trouble or await _failure(settled(self.kea)) or await _failure(self._serves(made.checks))
        if trouble is None:
            missing = f", without {', '.join(lost)}, which is gone" if lost else ""
            return RolledBackError(f"{why}; what was before is in force again and served{missing}", serves=True)
        if isinstance(trouble, UnsuitableError):
            return RolledBackError(f"{why}; what was before is in force again, and {trouble}", serves=True)
        self._owed = made
        return RolledBackError(
            f"{why}; and it does not serve what was before either: {trouble}; this is tried again", serves=False
        )

    async def _restore(self, document: Object, since: str) -> tuple[list[str], ProviderError | None]:
        """Set what was in force, if need be without interfaces that are gone; what had to be left out, and what Kea says."""
        hold = self._unless_changed(since)
        trouble = await _failure(self.kea.set(document, hold))
        while trouble is not None and (shorter := without_missing(document, str(trouble))) is not None:
            document = shorter
            trouble = await _failure(self.kea.set(document, hold))
        return left_out(document), trouble

    async def _pay(self) -> None:
        """Give back the service that a change of ours took, once the surroundings let it, unless it is there again."""
        owed = self._owed
        if owed is not None and (await self.kea.configuration()).hash == owed.before.hash:
            await settled(self.kea)
            if await _failure(self._serves(owed.checks)) is not None:
                _, trouble = await self._restore(owed.before.document, owed.before.hash)
                if trouble is not None:
                    raise RolledBackError(f"Kea at {self.kea.where} still does not serve: {trouble}", serves=False)
        self._owed = None


async def _failure(step: Awaitable[None]) -> ProviderError | None:
    try:
        await step
    except ProviderError as error:
        return error
    return None
