"""BIRD's control socket: a command, and lines of an answer (the protocol that birdc speaks).

Each line is `CODE-text` (more follows) or `CODE text` (the last), or begins with a blank: the same code as the line before.
Codes from 8000 on are refusals.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from pathlib import Path

from aftr.announce.errors import BirdError

ANSWER_S = 2.0
PROTOCOL_LINE = 1002
FIRST_REFUSAL = 8000

Line = tuple[int, str]


async def ask(path: Path, command: str, seconds: float = ANSWER_S) -> list[Line]:
    """BIRD's answer as (code, text) lines. Raises BirdError when it refuses or does not answer in time."""
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                await _read(reader)  # the greeting
                writer.write(command.encode() + b"\n")
                lines = await _read(reader)
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError) as error:
        raise BirdError(f"BIRD does not answer `{command}` on {path}: {error or 'no answer in time'}") from error
    if lines[-1][0] >= FIRST_REFUSAL:
        raise BirdError(f"BIRD refuses `{command}`: {'; '.join(text for _, text in lines)}")
    return lines


async def _read(reader: asyncio.StreamReader) -> list[Line]:
    lines: list[Line] = []
    more = True
    while more:
        text = (await reader.readuntil(b"\n")).decode(errors="replace").rstrip("\n")
        if text.startswith(" ") and lines:
            lines.append((lines[-1][0], text[1:]))
            continue
        lines.append((int(text[:4]), text[5:]))
        more = text[4:5] == "-"
    return lines


def bgp_states(lines: Iterable[Line]) -> dict[str, str]:
    """From `show protocols`: BGP session → its state (RFC 4271 section 8.2.2), such as Established or Active; Down if disabled."""
    found = {}
    for code, text in lines:
        words = text.split()  # name, protocol, table, up or down or start, since, state of the session
        if code == PROTOCOL_LINE and len(words) >= 5 and words[1] == "BGP":
            found[words[0]] = words[5] if len(words) > 5 else "Down"
    return found
