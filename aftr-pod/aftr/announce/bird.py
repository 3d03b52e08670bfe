"""BIRD as a child: it never outlives this process, and comes back when it ends by itself."""

from __future__ import annotations

import asyncio
import contextlib
import os
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aftr.announce.control import ask, bgp_states
from aftr.announce.errors import BirdError

STARTED_S = 5.0
STOPPED_S = 5.0
PROBE_EVERY_S = 0.02
LOOK_EVERY_S = 0.2  # at the sessions
RESTART_S = (0.2, 5.0)  # after a first end, and at most
LONGEST_PATH = 107  # of a Unix socket (unix(7))

# The kernel kills BIRD when the thread that started it ends, however that came about: its sessions close with it, and routers turn to
# another AFTR. setpriv sets that (PR_SET_PDEATHSIG) and becomes BIRD; a preexec_fn would fork a process with packet memory in use.
BECOME = ("setpriv", "--pdeathsig", "KILL")


async def _run(*command: str, **how: Any) -> Process:
    try:
        return await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, **how)
    except FileNotFoundError as error:
        raise BirdError(f"{command[0]} is not installed: run `sudo make system`") from error


class Bird:
    """One BIRD with its files in `directory`: bird.conf and bird.ctl.

    Call it from the thread that lives as long as the process: BIRD dies with the thread that started it. `say` is told what a person
    should know; `on_sessions` gets the states of all sessions whenever one has changed.
    """

    def __init__(
        self,
        directory: Path,
        *,
        say: Callable[[str], None] = lambda _: None,
        on_sessions: Callable[[dict[str, str]], None] = lambda _: None,
    ) -> None:
        self.configuration, self.socket = directory / "bird.conf", directory / "bird.ctl"
        self._say, self._on_sessions = say, on_sessions
        self._process: Process | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._seen: dict[str, str] = {}

    @property
    def pid(self) -> int | None:
        """The process, None while there is none."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self, text: str) -> None:
        """Start with this configuration; BIRD answers when this returns. Raises BirdError."""
        if len(os.fsencode(self.socket)) > LONGEST_PATH:
            raise BirdError(f"{self.socket} is too long for a socket: at most {LONGEST_PATH} characters")
        self.configuration.parent.mkdir(parents=True, exist_ok=True)
        await self.write(text)
        await self._end_stranger()
        await self._spawn()
        self._tasks = [
            asyncio.create_task(self._revive(), name="bird"),
            asyncio.create_task(self._look(), name="bgp-sessions"),
        ]

    async def reconfigure(self, text: str) -> None:
        """Put another configuration into force; sessions that do not change stay up. Raises BirdError."""
        await self.write(text)
        await self.configure()

    async def sessions(self) -> dict[str, str]:
        """State of each session, {} while BIRD does not answer."""
        try:
            return bgp_states(await ask(self.socket, "show protocols"))
        except BirdError:
            return {}

    async def stop(self) -> None:
        """End BIRD; it closes its sessions first."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOPPED_S)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def configure(self) -> None:
        """Put what was written into force; one that is just being started does so by itself. Raises BirdError."""
        if self.pid is not None:
            await ask(self.socket, f'configure "{self.configuration}"')

    async def write(self, text: str) -> None:
        """Try the text, then put it in place whole; passwords stand in it. Raises BirdError, and keeps the old one."""
        draft = self.configuration.with_suffix(".new")
        draft.touch(0o600)
        draft.write_text(text)
        check = await _run("bird", "-p", "-c", str(draft), stdout=PIPE, stderr=STDOUT)
        said, _ = await check.communicate()
        if check.returncode:
            raise BirdError(f"BIRD refuses its configuration: {said.decode(errors='replace').strip()}")
        draft.replace(self.configuration)

    async def _end_stranger(self) -> None:
        """End a BIRD whose parent died before it could be told to die with it."""
        with contextlib.suppress(BirdError):
            await ask(self.socket, "down")
            async with asyncio.timeout(STOPPED_S):
                while True:
                    await ask(self.socket, "show status")
                    await asyncio.sleep(PROBE_EVERY_S)

    async def _spawn(self) -> None:
        options = ("-f", "-c", str(self.configuration), "-s", str(self.socket))
        process = await _run(*BECOME, "bird", *options, start_new_session=True)
        self._process = process
        try:
            async with asyncio.timeout(STARTED_S):
                while not await self.sessions():
                    if process.returncode is not None:
                        raise BirdError(
                            f"BIRD ended with status {process.returncode} at once: see its lines in the log"
                        )
                    await asyncio.sleep(PROBE_EVERY_S)
        except TimeoutError:
            process.kill()
            raise BirdError(f"BIRD does not answer on {self.socket} after {STARTED_S:g} s") from None

    async def _revive(self) -> None:
        """Start BIRD again whenever it ends: what it announces is in the kernel's table."""
        pause = RESTART_S[0]
        while True:
            began = asyncio.get_running_loop().time()
            if self._process:
                status = await self._process.wait()
                self._say(f"BIRD ended with status {status}; starting it again")
            if asyncio.get_running_loop().time() - began > RESTART_S[1]:
                pause = RESTART_S[0]
            await asyncio.sleep(pause)
            pause = min(2 * pause, RESTART_S[1])
            try:
                await self._spawn()
            except BirdError as error:
                self._say(str(error))

    async def _look(self) -> None:
        while True:
            found = await self.sessions()
            if found != self._seen:
                self._seen = found
                self._on_sessions(found)
            await asyncio.sleep(LOOK_EVERY_S)
