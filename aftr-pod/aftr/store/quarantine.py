"""What of a slot could not be read, kept until a person has looked.

The next checkpoints would overwrite it, and with it all that tells the slot's next owners that a block which looks free may be
somebody's.  So who finds damage notes it first, with its bytes; an owner gives out no block while the note is there.
"""

from __future__ import annotations

from collections.abc import Sequence

from aftr.store.client import Client
from aftr.store.errors import Damage
from dslite_contract.store_keys import accepted_key, quarantine_key


class Quarantine:
    """The notes of all slots."""

    def __init__(self, client: Client) -> None:
        self._client, self._prefix = client, client.settings.prefix

    async def note(self, slot: int, damages: Sequence[Damage]) -> None:
        """Keep these, and those that were noted before."""
        key = quarantine_key(self._prefix, slot)
        for damage in damages:
            await self._client.ask(key, "ask", ("HSETNX", key, str(damage), damage.data))

    async def noted(self, slot: int) -> list[str]:
        """What was noted, as sentences."""
        key = quarantine_key(self._prefix, slot)
        (names,) = await self._client.ask(key, "ask", ("HKEYS", key))
        return sorted(str(name, "utf-8") for name in names)

    async def end(self, slot: int) -> list[str]:
        """Nothing is kept back any more; the notes stay under another key until the next end. What they said."""
        found = await self.noted(slot)
        if found:
            key = quarantine_key(self._prefix, slot)
            await self._client.ask(key, "ask", ("RENAME", key, accepted_key(self._prefix, slot)))
        return found
