"""Following the AFTR that the DHCPv6 client names: a thread of its own, so that no packet waits for a resolver (row B02).

The client's hook writes `resolv.conf`, then `aftr-name`, at each lease and renewal, each file whole.  A name is resolved when it
changes, and not again: what moves a B4 is a changed name.  Whatever is wrong with a new one, the softwire that is there stays.
"""

import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from threading import Thread

from inotify_simple import INotify, flags

from aftr.b4.errors import AftrNameError, B4Error
from aftr.b4.names import absolute_name, resolve_over_ipv6
from aftr.b4.softwire import Softwire
from aftr.b4.wan import Address

NAME_FILE, RESOLVERS_FILE = "aftr-name", "resolv.conf"
FIRST_RETRY_S, LONGEST_RETRY_S = 1, 60

Ends = tuple[IPv6Address, IPv6Address]  # of a softwire: ours, the AFTR's


@dataclass
class NameCounters:
    """What became of the names that the client wrote."""

    names_followed: int = 0
    names_refused: int = 0  # no absolute domain name (RFC 6334)
    names_failed: int = 0  # attempts: no AAAA, no address of our own, no route


class Follower:
    """Makes a softwire for each name that the client writes into `folder`; `news` can be read when `take` has one.

    `source` tells our end, or raises `B4Error` while there is none; `say` is told what is followed and, once, why a name is not.
    """

    def __init__(
        self,
        folder: Path,
        source: Callable[[], Address],
        softwire: Callable[[IPv6Address, IPv6Address], Softwire],
        say: Callable[[str], None],
    ) -> None:
        self.counters = NameCounters()
        self.news = os.eventfd(0, os.EFD_CLOEXEC)
        self._folder, self._source, self._softwire, self._say = folder, source, softwire, say
        self._made: deque[Softwire] = deque()
        self._name = ""  # that is followed
        self._ends: Ends | None = None
        self._complaint = ""

    def start(self) -> None:
        Thread(target=self._run, name="follower", daemon=True).start()

    def take(self) -> Softwire:
        """The newest softwire; those before it are closed.  Waits until there is one."""
        for _ in range(self._new() - 1):
            self._made.popleft().close()
        return self._made.popleft()

    def _new(self) -> int:
        """How many softwires were made since the last call, at least one; `eventfd_read` is not repeated after a signal (PEP 475)."""
        while True:
            with suppress(InterruptedError):
                return os.eventfd_read(self.news)

    def _run(self) -> None:
        with INotify() as writes:
            writes.add_watch(str(self._folder), flags.MOVED_TO)
            retry_s = FIRST_RETRY_S
            while True:
                settled = self.look()
                news = writes.read(timeout=None if settled else retry_s * 1000)
                retry_s = FIRST_RETRY_S if news else min(2 * retry_s, LONGEST_RETRY_S)

    def look(self) -> bool:
        """Do what the files ask for.  False: it is worth another attempt."""
        text = self._written()
        if text is None:
            return True
        try:
            name = absolute_name(text)
        except AftrNameError as error:
            self.counters.names_refused += self._complain(error)
            return True
        try:
            settled = self._follow(name)
        except B4Error as error:
            self.counters.names_failed += 1
            self._complain(error)
            return False
        self._complaint = ""
        return settled

    def _written(self) -> str | None:
        with suppress(FileNotFoundError):
            return (self._folder / NAME_FILE).read_text(errors="replace")
        return None

    def _follow(self, name: str) -> bool:
        """Make a softwire if the name, or our own address, is another one now.  False: our address is deprecated, another may come."""
        source, deprecated = self._source()
        same = self._ends is not None and name == self._name
        aftr = self._ends[1] if self._ends and same else resolve_over_ipv6(name, self._folder / RESOLVERS_FILE)
        if (source, aftr) != self._ends:
            self._made.append(self._softwire(source, aftr))
            os.eventfd_write(self.news, 1)
            self._say(f"follows {name}: softwire {source} → {aftr}")
        self._ends = source, aftr
        self.counters.names_followed += not same
        self._name = name
        return not deprecated

    def _complain(self, error: B4Error) -> bool:
        """Say it, unless it was the last thing said."""
        new = str(error) != self._complaint
        if new:
            self._complaint = str(error)
            self._say(self._complaint)
        return new
