"""Announcing slots on links that the AFTRs share with their routers: no protocol, neighbours are told which station has an address now.

The engine answers who asks (`path/neighbours.py`); this tells those who believe to know.  A slot is told of at its takeover,
again while frames may have been lost, and every `REFRESH_S` for as long as it is served; and whenever another station claims one
of its addresses: an AFTR that was stopped may still have sent an answer when it resumed.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from aftr.announce.claims import frames
from aftr.announce.errors import AnnounceError
from dslite_contract.load import Configuration

# After the first telling: seconds until the next, and whether it includes ARP (RFC 4861 section 10: three advertisements a
# second apart; RFC 5227 section 1.1: two ARP announcements two seconds apart).
ROUNDS = ((1.0, False), (1.0, True))
REFRESH_S = 30.0
DEFEND_S = 1.0  # RFC 5227 section 2.4 wants 10: customers of a slot cannot wait that long for a claim to be put right
LOOK_S = 0.1
BATCH = 64  # frames between two looks at the lease, and turns of the event loop
FULL_S, PATIENCE_S = 0.001, 0.5  # until a device with a full queue is asked again, and for how long
_GET_FLAGS, _RUNNING = 0x8913, 0x40  # SIOCGIFFLAGS, IFF_RUNNING


@dataclass
class Announced:
    """An announced slot: how often it has been told of, when next, and claims of others heard until then."""

    epoch: int
    claims: int
    due: float
    told: int = 0
    defended: float = float("-inf")

    def next_round(self, now: float) -> bool:
        """Whether the telling that is due includes ARP; the one after it becomes due."""
        with_arp = self.told >= len(ROUNDS) or ROUNDS[self.told][1]
        self.told += 1
        self.due = now + (ROUNDS[self.told][0] if self.told < len(ROUNDS) else REFRESH_S)
        return with_arp


class Layer2Announcer:
    """Tells the neighbours which slots are served here; the same calls as `Announcer`.

    `devices` and `sides`: of each of the pool's interfaces, by its name. `owns`: whether a slot is served here and goes on to be,
    asked just before frames leave. `claims`: how many claims of others to a slot's addresses were heard so far.
    `say` is told sentences for people.
    """

    def __init__(
        self,
        configuration: Configuration,
        devices: Mapping[str, str],
        sides: Mapping[str, str],
        *,
        owns: Callable[[int], bool],
        claims: Callable[[int], int],
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._pool, self._devices, self._sides = configuration.pool, devices, sides
        self._owns, self._claims, self._say = owns, claims, say
        self._slots: dict[int, Announced] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def announced(self) -> dict[int, int]:
        """Announced slots with their epochs."""
        return {number: slot.epoch for number, slot in self._slots.items()}

    async def start(self) -> None:
        """Begin to look after what will be announced."""
        self._task = asyncio.create_task(self._tend(), name="layer-2 announcements")

    async def announce(self, slot: int, epoch: int) -> None:
        """All neighbours have been told once when this returns, and will be again. Raises AnnounceError.

        A slot is opened first and announced then: nothing is said of one that is not.
        """
        now = asyncio.get_running_loop().time()
        self._slots[slot] = Announced(epoch, self._claims(slot), now + ROUNDS[0][0])
        await self._tell(slot, with_arp=True)

    async def withdraw(self, slot: int) -> None:
        """Say nothing more: the new owner's word holds, and neighbours find out by asking where there is none."""
        self._slots.pop(slot, None)

    async def linked(self) -> bool:
        """Whether all devices have link."""
        return all(_has_link(device) for device in self._devices.values())

    async def reconfigure(self, configuration: Configuration) -> None:
        """Follow a changed file: what has been added is told, and all else again. Raises AnnounceError."""
        self._pool = configuration.pool
        for slot, announced in list(self._slots.items()):
            await self.announce(slot, announced.epoch)

    async def stop(self) -> None:
        """Say nothing more."""
        self._slots.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    # ------------------------------------------------------------ telling
    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            now = asyncio.get_running_loop().time()
            for number, slot in list(self._slots.items()):
                try:
                    await self._look(number, slot, now)
                except (AnnounceError, OSError) as error:
                    self._say(str(error))

    async def _look(self, number: int, slot: Announced, now: float) -> None:
        """Tell of a slot when that is due, or somebody else claims an address of it; of one that is frozen, once it goes on."""
        if not self._owns(number):
            return
        if now >= slot.due:
            await self._tell(number, with_arp=slot.next_round(now))
        elif self._claims(number) != slot.claims and now - slot.defended >= DEFEND_S:
            claims, slot.defended = self._claims(number), now
            self._say(f"another station claims an address of slot {number}: announcing it again")
            await self._tell(number, with_arp=True)
            if self._owns(number):
                slot.claims = claims

    async def _tell(self, number: int, *, with_arp: bool) -> None:
        """A slot's frames, as long as it is ours."""
        with _opened(self._devices) as sockets:
            stations = {name: one.getsockname()[4] for name, one in sockets.items()}
            rest = frames(self._pool, number, self._sides, stations, with_arp=with_arp)
            while self._owns(number) and (batch := list(islice(rest, BATCH))):
                for name, frame in batch:
                    await _send(sockets[name], frame, self._devices[name])
                await asyncio.sleep(0)


@contextlib.contextmanager
def _opened(devices: Mapping[str, str]) -> Iterator[dict[str, socket.socket]]:
    """A socket by name of interface, which receives nothing: opened each time, for devices go and return."""
    with contextlib.ExitStack() as stack:
        sockets: dict[str, socket.socket] = {}
        for name, device in devices.items():
            try:
                one = stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0))
                one.bind((device, 0))
            except OSError as error:
                raise AnnounceError(f"interface {name}: nothing can be sent on {device}: {error.strerror}") from error
            sockets[name] = one
        yield sockets


async def _send(one: socket.socket, frame: bytes, device: str) -> None:
    """Give a frame to a device; where its queue is full, a little later."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    while True:
        try:
            one.send(frame)
            return
        except OSError as error:
            full = error.errno in (errno.EAGAIN, errno.ENOBUFS)
            if not full or asyncio.get_running_loop().time() > deadline:
                raise AnnounceError(f"a slot cannot be announced on {device}: {error.strerror}") from error
        await asyncio.sleep(FULL_S)


def _has_link(device: str) -> bool:
    """Whether a device is there, up, and has a carrier."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as one:
        try:
            answer = fcntl.ioctl(one, _GET_FLAGS, struct.pack("16s24x", device.encode()))
        except OSError:
            return False
    return bool(struct.unpack_from("=H", answer, 16)[0] & _RUNNING)
