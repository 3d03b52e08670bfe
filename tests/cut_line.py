"""A line to a DNS server that is cut at an update: before the server has it, or afterwards, and its answer is lost."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Literal

from dslite_operator.settings import Place

UPDATE = 5  # opcode, RFC 2136 section 1.3


class Line:
    """Passes DNS over TCP, and remembers the opcodes of what was asked. `cut` says what happens at update number `at` (from 1)."""

    def __init__(self, there: Place) -> None:
        self.there, self.place = there, there
        self.cut: Literal["before", "after", "never"] = "never"
        self.at = 1
        self.passed: list[int] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        answers, asks = await asyncio.open_connection(*self.there)
        back = asyncio.create_task(copied(answers, writer))
        try:
            while question := await message(reader):
                self.passed.append(question[4] >> 3 & 15)
                cut = self.cut if self.passed[-1] == UPDATE and self.passed.count(UPDATE) == self.at else "never"
                if cut == "before":
                    return
                if cut == "after":
                    back.cancel()
                asks.write(question)
                if cut == "after":
                    await message(answers)
                    return
        finally:
            back.cancel()
            for one in (asks, writer):
                one.close()
            await asyncio.gather(back, return_exceptions=True)


async def message(reader: asyncio.StreamReader) -> bytes:
    """The next one with its length before it; nothing at the end."""
    with suppress(asyncio.IncompleteReadError):
        length = await reader.readexactly(2)
        return length + await reader.readexactly(struct.unpack("!H", length)[0])
    return b""


async def copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """All that comes."""
    while some := await reader.read(65536):
        writer.write(some)
        await writer.drain()
    writer.close()


@asynccontextmanager
async def line_to(there: Place) -> AsyncIterator[Line]:
    """A line on a port of its own."""
    line = Line(there)
    server = await asyncio.start_server(line.serve, "127.0.0.1", 0)
    async with server:
        line.place = Place("127.0.0.1", server.sockets[0].getsockname()[1])
        yield line
