"""Interfaces opened for packets: which mode, which queues, and what happens when one goes away and returns.

A `Device` is one network device with the sockets of all workers. It carries one interface of the pool's configuration, or several
VLANs. Modes, best first: zero-copy AF_XDP, native AF_XDP (in the driver, one copy), generic AF_XDP (any driver), AF_PACKET. `auto`
takes the first that the interface offers; `Device.mode_sentence` says which one and why not a better one.
Nothing is changed on the host but what is attached here, and that leaves with the process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from aftr.io.bpf import OBJECT, Program, Steering, sides_of
from aftr.io.errors import DeviceError
from aftr.io.groups import SolicitedNodeGroups, too_many
from aftr.io.layout import STATISTICS, queue_at
from aftr.io.links import Link, find_link, forwards, need_link, offloads
from aftr.io.packet_socket import PacketSocket
from aftr.io.queue_table import QueueTable
from aftr.io.xdp_socket import XdpSocket

MODES = {
    "zerocopy": "zero-copy AF_XDP",
    "native": "native AF_XDP with one copy",
    "generic": "generic AF_XDP with one copy",
    "packet": "AF_PACKET",
}
WITHOUT_REDIRECT = frozenset(
    {"ixgbevf"}
)  # drivers that run the steering program and drop what it gives us (docs/nics.md)
ETHERNET_OVERHEAD = 18  # Ethernet header and one VLAN tag


@dataclass(frozen=True)
class Interface:
    """An interface of the pool: `side` is access, internet or both.

    `device` is a network device, which may itself be a VLAN; or, with `vlan`, the device on whose frames that tag is.
    """

    name: str
    side: str
    device: str
    vlan: int = 0


@dataclass(frozen=True)
class Port:
    """An interface on its device: `vlan` is the tag in the frames of the queues, 0 for none; `link` has its MTU and MAC."""

    interface: Interface
    link: Link
    vlan: int


class Device:
    """One network device, opened. Made by `open_devices`; everything here is for the control thread.

    `mode` is a key of `MODES`; `queues[w]` are the offsets of worker w's QUEUE records, of which it sends by the first.
    """

    def __init__(
        self, number: int, name: str, interfaces: Sequence[Interface], table: QueueTable, steering: Steering
    ) -> None:
        self.number, self.name = number, name
        self.mode, self.mode_sentence = "", ""
        self.warnings: tuple[str, ...] = ()
        self.lost = False
        self.queues: list[list[int]] = [[] for _ in range(table.workers)]
        self._interfaces, self._table, self._steering = tuple(interfaces), table, steering
        self._candidates: tuple[str, ...] = ()
        self._sockets: list[XdpSocket | PacketSocket] = []
        self._program: Program | None = None
        self._groups: list[SolicitedNodeGroups] = []
        self._past: Counter[str] = Counter(gone=0)  # how often it went away, and what closed sockets had counted
        self._closing = False
        self._complaint = ""
        self._look()

    # ---------------------------------------------------------------- opening
    def _look(self) -> None:
        """Ask the kernel about the device and its interfaces."""
        self.link = need_link(self.name)
        self.ports = tuple(
            Port(one, link, one.vlan or (0 if link.index == self.link.index else link.vlan))
            for one in self._interfaces
            for link in [need_link(one.device)]
        )
        room = self._table.umem.room
        if self.link.mtu + ETHERNET_OVERHEAD > room:
            raise DeviceError(
                f"{self.name} has MTU {self.link.mtu}, a frame has room for {room - ETHERNET_OVERHEAD}:"
                " lower the MTU" + (" or use frames of 4 KiB" if room < 2048 else "")
            )

    def open(self, candidates: Sequence[str]) -> None:
        """Open in the first mode of `candidates` that works; DeviceError with all reasons when none does."""
        self._candidates = tuple(candidates)
        reasons: list[str] = []
        for mode in candidates:
            try:
                self._open_packet() if mode == "packet" else self._open_xdp(mode)
                self._join_groups()
            except DeviceError as error:
                self._close_sockets()
                reasons.append(f"{MODES[mode]}: {error}")
                continue
            self.mode = mode
            self._connect()
            names = ", ".join(port.interface.name for port in self.ports)
            count = len(self._sockets)
            why = f" ({'; '.join(reasons)})" if reasons else ""
            self.mode_sentence = (
                f"interface {names} on {self.name}: {MODES[mode]}, {count} queue{'s' if count > 1 else ''}{why}"
            )
            self.warnings = tuple(self._warn())
            return
        raise DeviceError(f"{self.name} cannot be opened: {'; '.join(reasons)}")

    def _sides(self) -> dict[int, int]:
        return sides_of((port.vlan, port.interface.side) for port in self.ports)

    def _mac(self) -> bytes:
        """The destination of our frames; zeroes (any) when a VLAN has a MAC of its own."""
        macs = {port.link.mac for port in self.ports}
        return macs.pop() if len(macs) == 1 else bytes(6)

    def _open_xdp(self, mode: str) -> None:
        table, features = self._table, offloads(self.name)
        usable = min(features.rx_queues, features.tx_queues)
        if usable < table.workers:
            raise DeviceError(
                f"{usable} queue{'s' if usable > 1 else ''} for {table.workers} workers:"
                f" try `ethtool -L {self.name} rx {table.workers} tx {table.workers}` (or `combined`), or fewer --workers"
            )
        if features.rx_vlan and any(port.vlan for port in self.ports) and features.driver != "veth":
            raise DeviceError(f"{self.name} takes VLAN tags off: run `ethtool -K {self.name} rxvlan off`")
        if mode != "generic" and features.driver in WITHOUT_REDIRECT:
            raise DeviceError(f"the driver {features.driver} cannot give packets to sockets")
        self._program = Program(OBJECT)
        self._program.steer(self._steering, self._mac())
        self._program.set_vlans(self._sides())
        self._program.attach(self.link.index, native=mode != "generic")
        first: XdpSocket | None = None
        for queue in range(features.rx_queues):
            zero_copy = mode == "zerocopy"
            sock = XdpSocket(self.link.index, queue, table.umem, table.ring_size, zero_copy=zero_copy, share=first)
            self._sockets.append(sock)
            self._program.set_socket(queue, sock.socket.fileno())
            first = first or sock

    def _open_packet(self) -> None:
        if any(port.vlan for port in self.ports):
            raise DeviceError("a VLAN needs a network device of its own in this mode")
        sides, workers = self._sides()[0], self._table.workers
        first: PacketSocket | None = None
        for _ in range(workers):
            sock = PacketSocket(self.link.index, self._steering, sides, shared=workers > 1, group=first)
            self._sockets.append(sock)
            first = first or sock

    def _join_groups(self) -> None:
        """Hear the solicitations that the engine answers."""
        if not self._steering.answer_neighbours:
            return
        for port in self.ports:
            if port.interface.side != "internet":
                groups = SolicitedNodeGroups(port.link.index, self._steering.first_slot, self._steering.slots)
                self._groups.append(groups)

    def _connect(self) -> None:
        """Give each socket a QUEUE, sockets in turn to the workers, and ask the workers to use them."""
        memory, workers = self._table.umem.memory, self._table.workers
        for number, sock in enumerate(self._sockets):
            worker, place = number % workers, number // workers
            if place == len(self.queues[worker]):
                self.queues[worker].append(self._table.add(worker, self.number))
            queue = self.queues[worker][place]
            sock.describe(memory, queue)
            queue_at(memory, queue).interface = self.link.index
            queue_at(memory, queue).wanted = 1

    def _warn(self) -> Iterator[str]:
        features = offloads(self.name)
        if features.lro or (features.gro and self.mode == "packet"):
            yield f"{self.name} merges received packets: run `ethtool -K {self.name} gro off lro off`"
        if features.driver == "veth":
            yield (
                f"{self.name} is a veth: packets of a kernel at its other end have no checksums"
                " unless `ethtool -K PEER tx off gso off tso off` was run there"
            )
        if self._groups and (sentence := too_many(self.name, features.driver, self._steering.slots)):
            yield sentence
        for port in self.ports if self.mode == "packet" else ():
            for sysctl in forwards(port.link.name):
                yield f"the kernel forwards as well: set {sysctl}=0"

    # ---------------------------------------------------------------- while it runs
    def steer(self, steering: Steering) -> None:
        """Change live which packets are ours."""
        self._steering = steering
        if self._program:
            self._program.steer(steering, self._mac())
        for sock in self._sockets:
            if isinstance(sock, PacketSocket):
                sock.steer(steering)

    def transmit_queue(self, worker: int) -> int:
        """The QUEUE by which the worker sends on this device."""
        return self.queues[worker][0]

    def statistics(self) -> dict[str, int]:
        """Counters of all queues, (`socket_…`) what the kernel dropped at our sockets, and (`gone`) how often the device went away."""
        total = self._past.copy()
        for queue in self._all():
            record = queue_at(self._table.umem.memory, queue)
            total.update({name: getattr(record, name) for name in STATISTICS})
        for sock in self._sockets:
            total.update(_of_socket(sock))
        return dict(total)

    def refresh(self, links: Mapping[str, Link]) -> str | None:
        """Follow the device, given all links there are: to be called on every link event and about once per second; returns what
        happened, if anything.

        Gone: ask the workers to let go of its queues; when they have, close the sockets and have the frames taken back. Back (the
        same name): open it again. No call waits for anything. The workers must go on calling `reclaim`.
        """
        memory = self._table.umem.memory
        if not self.lost:
            link = links.get(self.name)
            if link is not None and link.index == self.link.index:
                return self._follow(link, links)
            self.lost = self._closing = True
            self._past["gone"] += 1
            for queue in self._all():
                queue_at(memory, queue).wanted = 0
            return f"{self.name} is gone: its queues are closed until it returns"
        if self._closing:
            if any(queue_at(memory, queue).live for queue in self._all()):
                return None
            self._close_sockets()
            self._closing = False
        if self.name not in links or any(queue_at(memory, queue).recover for queue in self._all()):
            return None
        return self._reopen()

    def _follow(self, link: Link, links: Mapping[str, Link]) -> str | None:
        """The device is still the same: take note of another MTU or MAC, and of up and down."""
        ports = tuple(replace(port, link=links.get(port.interface.device, port.link)) for port in self.ports)
        if link == self.link and ports == self.ports:
            return None
        self.link, self.ports = link, ports
        self.steer(self._steering)
        return f"{self.name} is {'up' if link.up else 'down'}, MTU {link.mtu}, MAC {link.mac.hex(':')}"

    def _reopen(self) -> str | None:
        try:
            self._look()
            self.open(self._candidates)
        except DeviceError as error:
            complaint = f"{self.name} is back, but not usable: {error}"
            if complaint == self._complaint:
                return None
            self._complaint = complaint
            return complaint
        self.lost, self._complaint = False, ""
        return f"{self.name} is back: {self.mode_sentence}"

    # ---------------------------------------------------------------- closing
    def _all(self) -> list[int]:
        return [queue for queues in self.queues for queue in queues]

    def _close_sockets(self) -> None:
        """Close everything; the frames in the rings come back with the workers' next `reclaim`."""
        for sock in reversed(self._sockets):
            self._past.update(_of_socket(sock))
            sock.close()
        self._sockets.clear()
        for groups in self._groups:
            groups.close()
        self._groups.clear()
        if self._program:
            self._program.close()
            self._program = None
        for queue in self._all():
            queue_at(self._table.umem.memory, queue).recover = 1

    def close(self) -> None:
        """Close for good, when the workers have stopped."""
        memory = self._table.umem.memory
        for queue in self._all():
            queue_at(memory, queue).wanted = queue_at(memory, queue).live = 0
        self._close_sockets()


def _of_socket(sock: XdpSocket | PacketSocket) -> dict[str, int]:
    return {f"socket_{name}": value for name, value in sock.statistics().items()}


def _plan(interfaces: Sequence[Interface]) -> dict[str, list[Interface]]:
    """Interfaces by the device that carries their frames: VLAN devices go to their parent."""
    plan: dict[str, list[Interface]] = {}
    for interface in interfaces:
        link = need_link(interface.device)
        parent = find_link(link.parent) if link.parent else None
        plan.setdefault(parent.name if parent else link.name, []).append(interface)
    return plan


def open_devices(interfaces: Sequence[Interface], mode: str, table: QueueTable, steering: Steering) -> list[Device]:
    """Open all interfaces in `mode` (a key of `MODES`, or `auto`); DeviceError says what to do.

    VLANs share their parent device with tagged frames where it can run zero-copy or native; else each VLAN device is opened itself.
    """
    if mode != "auto" and mode not in MODES:
        raise DeviceError(f"mode {mode!r}: choose one of auto, {', '.join(MODES)}")
    modes = list(MODES) if mode == "auto" else [mode]
    devices: list[Device] = []
    try:
        for name, members in _plan(interfaces).items():
            for device in _open_group(len(devices), name, members, modes, table, steering):
                devices.append(device)  # noqa: PERF402 - one by one, so that those before a refusal are closed
    except DeviceError:
        for device in devices:
            device.close()
        raise
    return devices


def _open_group(
    number: int, name: str, members: list[Interface], modes: list[str], table: QueueTable, steering: Steering
) -> Iterator[Device]:
    direct = all(member.device == name for member in members)
    tagged_modes = modes if direct else [mode for mode in modes if mode in ("zerocopy", "native")]
    refusal = None
    if tagged_modes:
        device = Device(number, name, members, table, steering)
        try:
            device.open(tagged_modes)
        except DeviceError as error:
            refusal = error
        else:
            yield device
            return
    own_modes = [mode for mode in modes if mode not in tagged_modes]
    if not own_modes and refusal:
        raise refusal
    for place, member in enumerate(members):
        device = Device(number + place, member.device, [member], table, steering)
        device.open(modes if member.device == name else own_modes)
        yield device
