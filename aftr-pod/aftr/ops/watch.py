"""Notices that files which others write have new content: inotify on their folders, and SIGHUP.

A ConfigMap's or Secret's file is a symbolic link through `..data`, which Kubernetes replaces by a rename: so every folder on
the way from link to link is watched, and what counts is whether the bytes at the end of the way are others than before.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

import structlog
from inotify_simple import INotify, flags

SETTLE_S = 0.2  # editors and Kubernetes write in several steps
LOOK_AGAIN_S = 60.0  # network file systems say nothing by inotify
LONGEST_WAY = 40  # links to follow, as the kernel does
_EVENTS = (
    flags.CREATE | flags.CLOSE_WRITE | flags.MOVED_TO | flags.MOVED_FROM | flags.DELETE | flags.ATTRIB | flags.MODIFY
)
Changed = Callable[[], Awaitable[None]]
log = structlog.get_logger()


def folders_of(path: Path) -> set[Path]:
    """The folders in which a link on the way to `path`'s content, or the file itself, may be replaced."""
    folders, place = set[Path](), Path(os.path.abspath(path))
    for _ in range(LONGEST_WAY):
        for part in (place, *place.parents):
            if part.is_symlink():
                folders.add(part.parent)
                rest = place.relative_to(part)
                place = Path(os.path.normpath(part.parent / os.readlink(part) / rest))
                break
        else:
            break
    return {*folders, place.parent}


def files_of(path: Path) -> list[Path]:
    """A file alone; of a folder all files in it and below, but for those that Kubernetes keeps behind its links (`..data`)."""
    if not path.is_dir():
        return [path]
    found = (file for file in path.rglob("*") if file.is_file())
    return sorted(file for file in found if not any(part.startswith("..") for part in file.relative_to(path).parts))


def fingerprint(path: Path) -> bytes | None:
    """A hash of the content, and of a folder's names; None while it cannot be read."""
    digest = hashlib.sha256()
    try:
        for file in files_of(path):
            digest.update(f"{file}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    except OSError:
        return None
    return digest.digest()


class Watch:
    """Calls `changed` when the content of a file, or of a folder's files, is another than `seen`, one call at a time."""

    def __init__(self, path: Path, changed: Changed, seen: bytes | None) -> None:
        self._path, self._changed, self._seen = path, changed, seen
        self._inotify = INotify(nonblocking=True)
        self._watched: dict[Path, int] = {}
        self._wake, self._asked = asyncio.Event(), False
        self._watch_folders()
        self._wake.set()  # it may have changed since it was read

    def _watch_folders(self) -> None:
        """Watch the folders that are on the way now."""
        folders = self._folders()
        for folder in self._watched.keys() - folders:
            with contextlib.suppress(OSError):  # the folder may be gone, and its watch with it
                self._inotify.rm_watch(self._watched[folder])
        self._watched = {}
        for folder in folders:
            with contextlib.suppress(OSError):  # not there at the moment: its parent on the way tells when it is
                self._watched[folder] = self._inotify.add_watch(folder, _EVENTS)

    def _folders(self) -> set[Path]:
        try:
            return set[Path]().union(*(folders_of(file) for file in files_of(self._path)))
        except OSError:  # it is being replaced: the folders that are watched tell when that is done
            return set(self._watched)

    def notified(self) -> None:
        """inotify has something to say."""
        if self._inotify.read(timeout=0):
            self._wake.set()

    def ask(self) -> None:
        """SIGHUP: decide again, whether or not the content is another."""
        self._asked = True
        self._wake.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), LOOK_AGAIN_S)
                await asyncio.sleep(SETTLE_S)
            self._wake.clear()
            self._watch_folders()
            await self._look()

    async def _look(self) -> None:
        asked, self._asked = self._asked, False
        found = fingerprint(self._path)
        if not asked and found in (None, self._seen):
            return
        self._seen = found or self._seen
        try:
            await self._changed()
        except Exception:  # the watch must outlive whatever a new file brings about
            log.exception("a changed file could not be looked at", file=str(self._path))

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look, while the context lasts."""
        loop, number = asyncio.get_running_loop(), self._inotify.fileno()
        loop.add_reader(number, self.notified)
        task = asyncio.create_task(self.run())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            loop.remove_reader(number)
            self._inotify.close()


@contextlib.asynccontextmanager
async def watch(changed: Mapping[Path, Changed], seen: Mapping[Path, bytes | None]) -> AsyncIterator[None]:
    """Await what belongs to a file or folder whenever it has new content, and at every SIGHUP, while the context lasts.

    `seen`: fingerprints from before they were read.
    """
    loop = asyncio.get_running_loop()
    watches = [Watch(path, call, seen[path]) for path, call in changed.items()]

    def ask_all() -> None:
        for one in watches:
            one.ask()

    async with contextlib.AsyncExitStack() as stack:
        for one in watches:
            await stack.enter_async_context(one.running())
        loop.add_signal_handler(signal.SIGHUP, ask_all)
        stack.callback(loop.remove_signal_handler, signal.SIGHUP)
        yield
