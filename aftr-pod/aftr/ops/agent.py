"""The pod's process: devices, worker threads and, on one asyncio thread, everything that is not a packet."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import time
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path
from typing import Any

import structlog

from aftr.announce.addresses import read_addresses
from aftr.announce.announcer import Announcer, states_of
from aftr.announce.errors import AnnounceError
from aftr.announce.layer2 import Layer2Announcer
from aftr.io.bpf import Steering
from aftr.io.device import Device, Interface, open_devices
from aftr.io.links import Link, need_link
from aftr.io.neighbours import Neighbours, NextHop
from aftr.io.queue_table import QueueTable, Umem, table_size
from aftr.ops.clock import boottime_ms
from aftr.ops.faulthook import FaultHook
from aftr.ops.invariants import check_pod
from aftr.ops.kernel_thread import KernelThread, back_here
from aftr.ops.loop import DEVICE_SIZE, device_at
from aftr.ops.secrets import StoreLogin, read_key, read_login, read_passwords
from aftr.ops.serving.member import Member
from aftr.ops.serving.settings import store_settings
from aftr.ops.workers import Workers
from aftr.state.frames import frames_at
from aftr.state.layout import MAX_INTERFACES, pod_at, slot_at, worker_at
from aftr.state.pod import Pod, Sizes
from aftr.state.policy import Hop, InterfaceSetting, RouteSetting, write_hops, write_interfaces, write_policy
from aftr.store.settings import StoreSettings
from aftr.store.store import Store
from dslite_contract.bounds import Bounds, bounds_of, faults
from dslite_contract.errors import DsliteError
from dslite_contract.journal import Records
from dslite_contract.load import Configuration, load_config
from dslite_contract.schema import AftrPool
from dslite_contract.slots import slot_address
from dslite_contract.tables import FRAMES_PER_WORKER, plan_slot

log = structlog.get_logger()

CHUNK_SHIFT = 12
RESERVE = 1024  # frames that stay with the engine
HOUSEKEEPING_S = 0.05
LOG_IN_TIMES, LOG_IN_AGAIN_S = 10, 2.0
OPENED_S = 10.0  # after which a start is over
GIB = 1 << 30
DEFAULT_RUNTIME = Path("/run/dslite")


@dataclass(frozen=True)
class Options:
    """What belongs to one process (flags and environment), not to the pool's configuration."""

    config: Path
    interfaces: tuple[Interface, ...]
    mode: str = "auto"
    workers: int = 1
    slots: tuple[int, ...] | None = None
    huge_pages: bool = True
    member: str = ""  # our name in the pool, where it has a store
    store: str = ""  # its address, unless `secrets` has it
    secrets: Path | None = None  # folder of mounted Secrets
    status_port: int = 0  # where others reach us
    runtime: Path | None = None  # folder for files of this process
    hooks: frozenset[FaultHook] = frozenset()  # guards that a test leaves out
    cluster: str = ""  # ids that mark the store as ours
    pool: str = ""


def steering(configuration: Configuration) -> Steering:
    """What the devices give to the engine: tunnel addresses, NAT prefixes, untranslated addresses."""
    spec = configuration.pool.spec
    pools = [prefix for nat_pool in spec.nat.pools for prefix in nat_pool.prefixes]
    pools += [IPv4Network(entry.address) for entry in spec.nat.bypass]
    if spec.nat.no_translation_destinations:
        pools += spec.nat.pre_authorized_sources
    shared = spec.routing is not None and spec.routing.layer2 is not None
    return Steering(slot_address(configuration.pool, 0), spec.slots, tuple(dict.fromkeys(pools)), shared)


def check_memory(configuration: Configuration, frames: int) -> None:
    """Raises DsliteError when this machine has not the memory for all slots' tables and `frames` bytes of packets."""
    pool = configuration.pool
    slot = plan_slot(configuration).size
    needed, available = slot * pool.spec.slots + frames, available_memory()
    if needed > available:
        raise DsliteError(
            f"the pool needs {needed / GIB:.1f} GiB ({pool.spec.slots} slots of {slot / GIB:.2f} GiB), this machine has "
            f"{available / GIB:.1f} GiB available: lower spec.capacity, or give it more memory"
        )


def available_memory() -> int:
    """Bytes that can be taken without swapping, as Linux estimates (proc(5))."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))


def digest(path: Path) -> str:
    """Hash that names a configuration, as pods report it."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def settings_of(options: Options, pool: AftrPool) -> StoreSettings:
    """The store of a pool, with the login of now; raises SecretError."""
    login = StoreLogin(options.store)
    if options.secrets is not None and not options.store:
        login = read_login(options.secrets / "store")
    return store_settings(pool, login, options.member, options.hooks, cluster=options.cluster, pool_id=options.pool)


def setting_of(interface: Interface, link: Link, vlan: int) -> InterfaceSetting:
    """An interface as the engine sees it."""
    return InterfaceSetting(interface.name, interface.side, link.mtu, vlan, link.mac)


def routes_of(table: list[NextHop], name: str) -> list[RouteSetting]:
    """The next hops of one interface as the engine wants them; weights are repeated hops."""
    by_prefix: dict[Any, list[Hop]] = {}
    for row in table:
        if row.interface == name:
            by_prefix.setdefault(row.prefix, []).extend([Hop(row.mac, row.source_mac)] * row.weight)
    return [RouteSetting(prefix, tuple(hops)) for prefix, hops in by_prefix.items()]


class Agent:
    """One `aftr run`."""

    def __init__(self, options: Options) -> None:
        self.options, self.started = options, time.time()
        self.configuration = load_config(options.config)
        self.config_hash = digest(options.config)
        self.last_error: str | None = None
        self._asked: dict[int, int] = {}
        self._moved: dict[int, int] = {}
        self._bounds: dict[int, Bounds] = {}  # by slot, as in the configuration
        settings = [setting_of(one, need_link(one.device), one.vlan) for one in options.interfaces]
        frames = FRAMES_PER_WORKER * options.workers
        extra = table_size(frames, options.workers) + MAX_INTERFACES * DEVICE_SIZE
        check_memory(self.configuration, frames << CHUNK_SHIFT)
        sizes = Sizes(frames, 1 << CHUNK_SHIFT, options.workers, options.huge_pages, extra)
        self.pod = Pod(self.configuration, settings, sizes)
        self._leave_out_hold_down()
        self.member: Member | None = None
        self.announcer: Announcer | Layer2Announcer | None = None
        self.sessions: dict[str, str] = {}
        self._reconfiguring: asyncio.Task[None] | None = None
        self.devices = self._open_devices()
        self.workers = Workers(self.pod)
        self._next_hop_table: list[NextHop] = []
        self._links: dict[str, Link] = {}

    def _leave_out_hold_down(self) -> None:
        if FaultHook.NO_HOLD_DOWN in self.options.hooks:
            pod_at(self.pod.memory, 0).hold_down = 0

    # ------------------------------------------------------------ opening
    def _open_slots(self) -> None:
        """All slots, or those asked for: there is no store, so there is nobody to share them with."""
        wanted = self.options.slots
        for number in range(self.configuration.pool.spec.slots):
            if wanted is None or number in wanted:
                self.pod.open(number, number % self.options.workers, boottime_ms())

    async def _join(self, stack: contextlib.AsyncExitStack) -> None:
        """Become a member of the pool: routes, store, slots as they fall to us."""
        announcer = await self._make_announcer()
        await announcer.start()
        self.announcer = announcer
        stack.push_async_callback(announcer.stop)
        if self.configuration.pool.spec.store is None:
            self._open_slots()
            for number in self.pod.open_slots:
                await announcer.announce(number, 0)
            return
        options = self.options
        store = Store(settings_of(options, self.configuration.pool), self._judge)
        stack.push_async_callback(store.close)
        self.member = Member(
            self.pod, self.workers, store, announcer, options.member, options.status_port, options.hooks
        )

    def _passwords(self) -> dict[str, str]:
        """Those of BGP sessions, as they are now."""
        return read_passwords(self.options.secrets / "bgp") if self.options.secrets else {}

    async def _make_announcer(self) -> Announcer | Layer2Announcer:
        """How the configuration wants slots to be announced, if at all."""
        devices = {one.name: one.device for one in self.options.interfaces}
        routing = self.configuration.pool.spec.routing
        if routing is None or routing.layer2 is None:
            addresses = await read_addresses(devices)
            self._sessions_changed({})
            return Announcer(
                self.configuration, addresses, self.options.runtime or DEFAULT_RUNTIME, say=log.info,
                passwords=self._passwords(), on_sessions=self._sessions_changed,
                beside=self.kernel.run,
            )  # fmt: skip
        sides = {one.name: one.side for one in self.options.interfaces}
        return Layer2Announcer(self.configuration, devices, sides, owns=self._owns, claims=self._claims, say=log.info)

    def _owns(self, number: int) -> bool:
        """Whether a slot is open here, stays, and may send (`ops.loop.owns`)."""
        slot, deadline = self.pod.slot(number), pod_at(self.pod.memory, 0).deadline
        in_time = deadline == 0 or time.clock_gettime_ns(time.CLOCK_BOOTTIME) < deadline
        return in_time and slot > 0 and slot_at(self.pod.memory, slot).frozen == 0

    def _claims(self, number: int) -> int:
        """Claims of others to a slot's addresses that its worker has heard."""
        return int(slot_at(self.pod.memory, self.pod.area(number)).claims)

    def _judge(self, slot: int, records: Records) -> dict[int, str]:
        """Which stored records make no sense in a slot."""
        if slot not in self._bounds:
            self._bounds[slot] = bounds_of(self.configuration.pool, slot)
        return faults(records, self._bounds[slot])

    def _open_devices(self) -> list[Device]:
        pod = self.pod
        umem = Umem(pod.memory, pod.umem, pod.sizes.frames * pod.sizes.chunk, CHUNK_SHIFT)
        stacks = [worker_at(pod.memory, worker).frames for worker in pod.workers]
        table = QueueTable(umem, pod.extra, stacks, reserve=RESERVE)
        devices = open_devices(self.options.interfaces, self.options.mode, table, steering(self.configuration))
        records = pod.extra + table_size(umem.chunks, len(pod.workers))
        numbers = {one.name: number for number, one in enumerate(self.options.interfaces)}
        for device in devices:
            log.info(device.mode_sentence)
            for warning in device.warnings:
                log.warning(warning)
            record = device_at(pod.memory, records + device.number * DEVICE_SIZE)
            record.ports = len(device.ports)
            for place, port in enumerate(device.ports):
                setattr(record, f"interface{place}", numbers[port.interface.name])
        for number, worker in enumerate(pod.workers):
            me = worker_at(pod.memory, worker)
            me.queues, me.queue_count = table.queues(number)
            me.devices = records
            for device in devices:
                for port in device.ports:
                    at = me.transmit_queues + 8 * numbers[port.interface.name]
                    pod.memory[at : at + 8].view("i8")[0] = device.transmit_queue(number)
        self._queue_table = table
        return devices

    # ------------------------------------------------------------ the kernel's news
    def _next_hops(self, table: list[NextHop]) -> None:
        self._next_hop_table = table
        with self.workers.halted():
            for number, interface in enumerate(self.options.interfaces):
                write_hops(self.pod.memory, self.pod.policy, number, routes_of(table, interface.name))
        log.info("next hops changed", resolved=sum(row.mac is not None for row in table), rows=len(table))

    def _links_changed(self, links: dict[str, Link]) -> None:
        self._links = links
        self._refresh()

    def _refresh(self) -> None:
        happened = [sentence for device in self.devices if (sentence := device.refresh(self._links))]
        for sentence in happened:
            log.warning(sentence)
        if happened:
            self._settings_changed()

    def _settings_changed(self) -> None:
        """MTUs and MACs as the links have them now."""
        ports = {port.interface.name: port for device in self.devices for port in device.ports}
        self.pod.interfaces[:] = [
            setting_of(one, ports[one.name].link, ports[one.name].vlan) for one in self.options.interfaces
        ]
        with self.workers.halted():
            write_interfaces(self.pod.memory, self.pod.policy, self.configuration, self.pod.interfaces)

    def _housekeeping(self) -> None:
        """What cannot be waited for: devices on their way back, neighbours that packets miss, dead workers."""
        self._refresh()
        for number, worker in enumerate(self.pod.workers):
            record = worker_at(self.pod.memory, worker)
            if record.asked_count != self._asked.get(number, 0):
                self._asked[number] = record.asked_count
                self._resolve(record.asked_interface, record.asked_hi, record.asked_lo)

    def _resolve(self, interface: int, hi: int, lo: int) -> None:
        value = ((hi & (2**64 - 1)) << 64) | (lo & (2**64 - 1))
        address = IPv4Address(value) if hi == 0 and value < 2**32 else IPv6Address(value)
        self.kernel.soon(self.neighbours.resolve, self.options.interfaces[interface].name, address)

    # ------------------------------------------------------------ configuration
    def apply(self, configuration: Configuration, config_hash: str) -> None:
        """Put live fields into force; sessions go on."""
        with self.pod.turn, self.workers.halted():
            write_policy(self.pod.memory, self.pod.policy, configuration, self.pod.interfaces)
            self._leave_out_hold_down()
            self.pod.configuration = self.configuration = configuration
            self._bounds.clear()
            for number in self.pod.prepared:
                self.pod.set_interfaces(self.pod.area(number))
        for device in self.devices:
            device.steer(steering(configuration))
        if self.member is not None:
            self.member.reconfigure(configuration.pool)
        if self.announcer is not None:
            self._reconfiguring = asyncio.get_running_loop().create_task(self._tell_routers(configuration))
        self.config_hash, self.last_error = config_hash, None
        log.info("configuration applied", hash=config_hash)

    async def _tell_routers(self, configuration: Configuration) -> None:
        assert self.announcer is not None
        try:
            await self.announcer.reconfigure(configuration)
        except AnnounceError as error:
            self.refuse(str(error))

    async def log_in(self) -> None:
        """Secrets have new content: the store's next connections and the routers' sessions are made with it."""
        taken = self._log_in_to_the_store()
        for _ in range(LOG_IN_TIMES):  # BIRD may be on its way up
            try:
                if isinstance(self.announcer, Announcer):
                    await self.announcer.log_in(self._passwords())
            except DsliteError as error:
                log.error("passwords of BGP sessions not taken", reason=str(error))
                await asyncio.sleep(LOG_IN_AGAIN_S)
            else:
                if taken:
                    log.info("secrets taken")
                return

    def _log_in_to_the_store(self) -> bool:
        try:
            if self.member is not None:
                self.member.store.log_in(settings_of(self.options, self.configuration.pool))
        except DsliteError as error:
            log.error("the store's secret not taken", reason=str(error))
            return False
        return True

    def _sessions_changed(self, found: dict[str, str]) -> None:
        self.sessions = states_of(self.configuration, found)

    def refuse(self, sentence: str) -> None:
        """Keep the running configuration, and say why."""
        self.last_error = sentence
        log.error("configuration refused", reason=sentence)

    # ------------------------------------------------------------ what the status port asks
    def question_key(self) -> bytes | None:
        """With which the operator signs its questions; None: anybody may ask them; empty: nobody."""
        return read_key(self.options.secrets / "operator") if self.options.secrets else None

    def alive(self) -> bool:
        """Whether all workers run and move."""
        return all(worker.alive for worker in self.workers.all)

    def missing(self) -> list[str]:
        """Why the pod is not ready; empty when it is."""
        reasons = [f"interface device {device.name} is gone" for device in self.devices if device.lost]
        links = {port.interface.name: port.link for device in self.devices for port in device.ports}
        reasons += [f"interface {name} is down" for name, link in links.items() if not link.up]
        for interface in self.options.interfaces:
            rows = [row for row in self._next_hop_table if row.interface == interface.name and row.mac]
            if not rows:
                reasons.append(f"no next hop is resolved on interface {interface.name}")
        if not self.alive():
            reasons.append("a worker thread has ended")
        if self.member is not None and not self.member.answered:
            reasons.append(f"the store has not answered yet: {self.member.trouble or 'it is being asked'}")
        return reasons

    def store_state(self) -> dict[str, Any] | None:
        """Whether the store answers, and in one sentence what is wrong with it and what to do."""
        member = self.member
        if member is None:
            return None
        return {"reachable": member.connected, "trouble": member.store_trouble, "warnings": list(member.store.warnings)}

    def slot_states(self) -> list[dict[str, Any]]:
        """What the pool's members do with each slot, as far as we know; nothing without a store."""
        return self.member.describe() if self.member is not None else []

    def verify(self) -> list[str]:
        """What does not hold between the tables; packets wait meanwhile."""
        with self.workers.halted():
            return check_pod(self.pod, self._queue_table.held())

    def worker_states(self) -> list[dict[str, Any]]:
        """What each worker does."""
        states = []
        for worker, at in zip(self.workers.all, self.pod.workers, strict=True):
            record = worker_at(self.pod.memory, at)
            states.append(
                {
                    "worker": worker.number,
                    "core": worker.core,
                    "loops": record.loops,
                    "packets": record.packets,
                    "busySeconds": record.busy_ns / 1e9,
                    "framesFree": frames_at(self.pod.memory, record.frames).count,
                    "slots": [n for n in self.pod.open_slots if self.pod.worker_of(n) == at],
                }
            )
        return states

    def interface_states(self) -> list[dict[str, Any]]:
        """Each interface with its device, mode and device counters."""
        return [
            {
                "interface": port.interface.name,
                "side": port.interface.side,
                "device": device.name,
                "mode": device.mode,
                "sentence": device.mode_sentence,
                "mtu": port.link.mtu,
                "vlan": port.vlan,
                "up": port.link.up and not device.lost,
                "counters": device.statistics(),
            }
            for device in self.devices
            for port in device.ports
        ]

    # ------------------------------------------------------------ life
    async def run(self, serve: Any) -> None:
        """Serve until SIGTERM or SIGINT; `serve(agent)` is an async context manager that runs status port and watches."""
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        self.workers.start()
        self.kernel = KernelThread()
        self.neighbours = Neighbours(
            self.options.interfaces, back_here(self._next_hops), back_here(self._links_changed)
        )
        await self.kernel.run(self.neighbours.start())
        try:
            async with contextlib.AsyncExitStack() as stack:
                await self._join(stack)
                await stack.enter_async_context(serve(self))
                log.info(
                    "serving", pool=self.configuration.pool.metadata.name, slots=self.pod.open_slots, pid=os.getpid()
                )
                await self._live(stopping)
        finally:
            await self.kernel.run(self.neighbours.stop())
            self.kernel.close()
            self.close()

    async def _populate(self) -> None:
        """Have the memory of all slots that we may serve, once those that wait for us have been opened: it takes a while."""
        await asyncio.sleep(OPENED_S)
        mine = self.pod.open_slots if self.member is None else range(self.configuration.pool.spec.slots)
        for number in mine:
            await asyncio.to_thread(self.pod.populate, number)

    async def _live(self, stopping: asyncio.Event) -> None:
        """Keep house until told to stop, or until something that must go on has ended."""
        populating = asyncio.create_task(self._populate())
        member = asyncio.create_task(self.member.run()) if self.member is not None else None
        try:
            while not stopping.is_set():
                self._housekeeping()
                dead = [worker for worker in self.workers.all if not worker.alive]
                if dead:
                    raise DsliteError(
                        f"worker {dead[0].number} ended: {dead[0].error!r}; the process ends, start it again"
                    )
                if member is not None and member.done():
                    await member
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stopping.wait(), HOUSEKEEPING_S)
            if self.member is not None:
                await self.member.leave()
        finally:
            populating.cancel()
            await asyncio.gather(populating, return_exceptions=True)
            if member is not None:
                member.cancel()
                await asyncio.gather(member, return_exceptions=True)

    def close(self) -> None:
        """Stop the workers and give everything back."""
        self.workers.end()
        for device in self.devices:
            device.close()
        self.pod.close()
