"""One Kea changed safely.

read ─► patch ─► ask as a B4 ─► config-test ─► read the hash again ─► config-set or class-update ─► ask as a B4 ─► config-write
                                                                          │                            │
                                                                          └── refused, silent, wrong ──┴─► what was before, asked again

Kea has no compare-and-set: between the hash and `config-set` is a moment in which another's change could be lost.  Who reads
the hash again just before, and looks again afterwards, as this does, loses nothing of others outside that moment, and notices its own loss.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dslite_operator.distribution.providers.errors import (
    MovedOnError,
    ProviderError,
    RefusedError,
    RolledBackError,
    SilentError,
    UnreachableError,
)
from dslite_operator.distribution.providers.kea.patching import changed_classes
from dslite_operator.distribution.providers.kea.questions import Check
from dslite_operator.distribution.providers.kea.server import Configuration, Kea
from dslite_operator.distribution.providers.probe import Prober

Object = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """From what is in force to what should be."""

    before: Configuration
    after: Object
    checks: Sequence[Check]

    @property
    def needed(self) -> bool:
        """Whether there is a difference."""
        return self.before.document != self.after


Planned = Callable[[Configuration], Change]


async def change(kea: Kea, prober: Prober, planned: Planned) -> bool:
    """Carry out what `planned` makes of what is in force; whether anything was changed.  Raises ProviderError."""
    made = planned(await kea.configuration())
    if not made.needed:
        return False
    await _serves(kea, prober, made.checks)
    await kea.test(made.after)
    if await kea.hash() != made.before.hash:
        raise MovedOnError(
            f"Kea at {kea.where} was changed by someone else meanwhile: nothing was set, it is read again"
        )
    ours = await _put(kea, prober, made)
    try:
        await _tells(prober, made.checks)
    except ProviderError as error:
        await _roll_back(kea, prober, made, ours, error)
    if planned(await kea.configuration()).needed:
        raise MovedOnError(
            f"Kea at {kea.where} was changed by someone else just after us: ours is not in force, it is read again"
        )
    await _keep(kea)
    return True


async def _serves(kea: Kea, prober: Prober, checks: Sequence[Check]) -> None:
    """Before anything is changed: who does not answer now cannot tell us afterwards that all is well."""
    try:
        for check in checks[:1]:
            await prober.ask(check.question)
    except SilentError as error:
        raise SilentError(f"Kea at {kea.where} was left as it is: {error}") from error


async def _put(kea: Kea, prober: Prober, made: Change) -> str:
    """Put it in force; the hash of what is then.  A refusal may have closed Kea's sockets, whatever `status-get` says."""
    classes = changed_classes(made.before.document, made.after) if (await kea.dialect()).updates_classes else None
    try:
        if classes is None:
            await kea.set(made.after)
        else:
            for _, body in classes:
                await kea.update_class(body)
        return await kea.hash()
    except (RefusedError, UnreachableError) as error:
        await _roll_back(kea, prober, made, None, error)
        raise


async def _tells(prober: Prober, checks: Sequence[Check]) -> None:
    for check in checks:
        name = await prober.ask(check.question)
        if check.name is not None and name != check.name:
            raise RefusedError(
                f"a B4 on link {check.question.link} is told {name or 'no name'} and not {check.name}: see whether a reservation, a pool "
                "or another class of Kea tells it otherwise"
            )


async def _roll_back(kea: Kea, prober: Prober, made: Change, ours: str | None, why: ProviderError) -> None:
    """What was before is in force again, unless someone else has set something since.  Always raises RolledBackError."""
    now = await kea.configuration()
    if ours is not None and now.hash != ours:
        raise RolledBackError(f"{why}; and someone else has changed Kea since: left as it is", serves=False) from why
    said = await _attempt(lambda: kea.set(made.before.document))
    silence = await _attempt(lambda: _serves(kea, prober, made.checks))
    if silence is None:
        raise RolledBackError(f"{why}; what was before is in force again, and served", serves=True) from why
    raise RolledBackError(
        f"{why}; and it does not serve with what was before either: {said or silence}: restart it when its surroundings are as before",
        serves=False,
    ) from why


async def _attempt(step: Callable[[], Awaitable[None]]) -> ProviderError | None:
    try:
        await step()
    except ProviderError as error:
        return error
    return None


async def _keep(kea: Kea) -> None:
    try:
        await kea.write()
    except RefusedError as error:
        raise RefusedError(
            f"{error}: in force, but a restart of Kea would forget it: let Kea write its configuration file"
        ) from error
