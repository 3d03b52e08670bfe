"""Following the journals of several slots. Redis answers as soon as one of them has an entry.

A cluster refuses a question about slots of several hash slots, so there each slot has a connection of its own; elsewhere all share one,
whichever they are.
A question that has not been answered when another one was stays open for the next call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aftr.store.client import Client
from aftr.store.errors import JournalGapError, UnreadableRecordError
from aftr.store.inspection import Judge, inspect
from aftr.store.line import Command
from aftr.store.reading import is_next, place_of
from aftr.store.slots import Row, rows_of
from dslite_contract.journal import EntryId, Records
from dslite_contract.store_keys import journal_key

AT_ONCE = 64  # entries per slot and answer

Positions = tuple[tuple[int, EntryId], ...]
Entries = list[tuple[EntryId, Records]]


class Tail:
    """`entries` is what a single reader calls in a loop; two at a time would take each other's answers."""

    def __init__(self, client: Client, judge: Judge) -> None:
        self._client, self._prefix, self._judge = client, client.settings.prefix, judge
        self._open: dict[Positions, asyncio.Task[dict[int, list[Row]]]] = {}

    async def entries(self, positions: Mapping[int, EntryId], block_ms: int) -> dict[int, Entries]:
        """What comes after each position, waiting about `block_ms` for anything at all.

        Raises JournalGapError or UnreadableRecordError once nothing readable stands before the trouble: that slot must be
        loaded again, the others go on from the same positions.
        """
        if self._client.topology.one_slot_at_a_time:
            questions: set[Positions] = {((slot, position),) for slot, position in positions.items()}
        else:
            questions = {tuple(sorted(positions.items()))} if positions else set()
        await self._give_up(self._open.keys() - questions)
        for question in questions - self._open.keys():
            self._open[question] = asyncio.create_task(self._ask(question, block_ms), name="tail")
        answers = await self._first(questions, block_ms / 1000 + self._client.settings.timeout)
        return {slot: self._usable(slot, positions[slot], rows) for slot, rows in answers.items()}

    async def _first(self, questions: set[Positions], seconds: float) -> dict[int, list[Row]]:
        """The answers that are there first. An empty one ends the wait too: its slots must be asked for anew."""
        if not questions:
            return {}
        waiting = [self._open[question] for question in questions]
        done, _ = await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        self._open = {question: task for question, task in self._open.items() if task not in done}
        failed = [error for task in done if (error := task.exception())]
        answers = {slot: rows for task in done if not task.exception() for slot, rows in task.result().items()}
        if failed and not answers:  # what did arrive comes first: one node that is down does not hide the others
            raise failed[0]
        return answers

    async def _ask(self, question: Positions, block_ms: int) -> dict[int, list[Row]]:
        keys = {journal_key(self._prefix, slot): slot for slot, _ in question}
        ids = (str(position) for _, position in question)
        command: Command = ("XREAD", "COUNT", AT_ONCE, "BLOCK", max(block_ms, 1), "STREAMS", *keys, *ids)
        seconds = block_ms / 1000 + self._client.settings.timeout
        answer: list[Any] | None
        purpose = "tail", tuple(keys) if self._client.topology.one_slot_at_a_time else ()
        (answer,) = await self._client.ask(next(iter(keys)), purpose, command, within=seconds)
        return {keys[str(key, "utf-8")]: rows_of(entries) for key, entries in answer or ()}

    def _usable(self, slot: int, after: EntryId, rows: list[Row]) -> Entries:
        """The entries before the first trouble, which comes first in the next answer."""
        if not rows:  # Redis names a journal that has gone on, and holds nothing any more
            raise JournalGapError(slot, after)
        key, usable = journal_key(self._prefix, slot), list[tuple[EntryId, Records]]()
        found = inspect(self._judge, slot, [place_of(key, row) for row in rows])
        for row, (records, damage) in zip(rows, found, strict=True):
            gap = not is_next(after, row)
            if usable and (gap or damage):
                break
            if gap:
                raise JournalGapError(slot, after, row[0])
            if damage:
                raise UnreadableRecordError(slot, [damage])
            after = row[0]
            usable.append((after, records))
        return usable

    async def _give_up(self, questions: set[Positions]) -> None:
        for question in questions:
            task = self._open.pop(question)
            task.cancel()
            await asyncio.wait([task])  # who is cancelled here is cancelled, and not only the question
            if not task.cancelled():
                task.exception()

    async def close(self) -> None:
        """End what is still being asked."""
        await self._give_up(set(self._open))
