"""A member of a pool as `aftr run` has it: engine, worker thread, control thread, store; its network is a `Wire`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from aftr.announce.announcer import Announcer
from aftr.failover.machine import Phase
from aftr.ops.agent import CHUNK_SHIFT, FRAMES_PER_WORKER
from aftr.ops.engine import NEXT_MACS, OUR_MAC
from aftr.ops.secrets import StoreLogin
from aftr.ops.serving.member import Member
from aftr.ops.serving.settings import store_settings
from aftr.ops.workers import Workers
from aftr.state.counters import read_counters
from aftr.state.layout import SLOT_MAPPINGS, table_at, worker_at
from aftr.state.pod import Pod, Sizes
from aftr.state.policy import Hop, InterfaceSetting, RouteSetting, write_hops
from aftr.store.settings import Durability
from aftr.store.store import Store
from bench.wire import Wire, room_for
from bench.workload import configuration_for

PATIENCE_S = 60.0


class Aftr:
    """One member; everything in this process, its control thread is the caller's event loop."""

    def __init__(self, name: str, url: str, durability: Durability, flows: int, slots: int) -> None:
        interfaces = [InterfaceSetting("access", "access", 1540), InterfaceSetting("internet", "internet", 1500)]
        configuration = configuration_for(flows, slots, f"store: {{secretRef: bench, durability: {durability.value}}}")
        sizes = Sizes(FRAMES_PER_WORKER, 1 << CHUNK_SHIFT, extra=room_for(flows))
        self.pod = Pod(configuration, interfaces, sizes)
        for number, prefix in enumerate(("::/0", "0.0.0.0/0")):
            hop = Hop(NEXT_MACS[interfaces[number].side], OUR_MAC)
            write_hops(self.pod.memory, self.pod.policy, number, [RouteSetting(ip_network(prefix), (hop,))])
        for number in range(slots):
            self.pod.populate(number)
        self.wire, self.workers = Wire(self.pod, flows), Workers(self.pod)
        self.store = Store(store_settings(configuration.pool, StoreLogin(url), name))
        announcer = Announcer(configuration, {}, Path("/nonexistent"))  # without spec.routing it has nothing to do
        self.member = Member(self.pod, self.workers, self.store, announcer, name, 9)
        self._work: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Be a member."""
        self.workers.start()
        self.wire.start()
        self._work = asyncio.get_running_loop().create_task(self.member.run())

    async def until(self, phase: Phase) -> None:
        """Until all slots are in a phase."""
        async with asyncio.timeout(PATIENCE_S):
            while any(slot.phase is not phase for slot in self.member.slots):
                self.check()
                await asyncio.sleep(0.002)

    async def until_arrived(self, flows: int, within: float = PATIENCE_S) -> None:
        """Until the first packets of so many flows have left, or the time is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                while self.wire.arrived < flows:
                    self.check()
                    await asyncio.sleep(0.005)

    def check(self) -> None:
        """Raises what ended the member's work."""
        if self._work is not None and self._work.done():
            self._work.result()

    async def die(self) -> None:
        """As a process that is killed: nothing is handed over, nobody is told."""
        if self._work is None:
            return
        tasks = [self._work, *(task for slot in self.member.slots for task in slot.tasks)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._work = None
        self.workers.end()
        self.wire.stop()
        await self.store.close()

    @property
    def mappings(self) -> int:
        """Mappings in all slots."""
        tables = (self.pod.area(slot.number) + SLOT_MAPPINGS for slot in self.member.slots)
        return sum(int(table_at(self.pod.memory, table).live) for table in tables)

    @property
    def counters(self) -> dict[str, Any]:
        """The worker's books."""
        return read_counters(self.pod.memory, self.pod.workers)

    @property
    def effort(self) -> tuple[int, int]:
        """Packets that the worker took, and nanoseconds of its turns with packets."""
        worker = worker_at(self.pod.memory, self.pod.workers[0])
        return int(worker.packets), int(worker.busy_ns)


@asynccontextmanager
async def member(name: str, url: str, durability: Durability, flows: int, slots: int) -> AsyncIterator[Aftr]:
    """A member that has begun."""
    one = Aftr(name, url, durability, flows, slots)
    one.begin()
    try:
        yield one
    finally:
        await one.die()
        one.pod.close()
