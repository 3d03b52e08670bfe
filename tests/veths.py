"""Veth pairs in namespaces of a test's own, and a worker that only forwards, for tests of devices with real frames.

The worker (access → internet and back, bytes untouched) stands for the engine; the peers are packet sockets.
"""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import mmap
import os
import select
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

import packets
from aftr.io.bpf import Steering
from aftr.io.device import Device, Interface, open_devices
from aftr.io.layout import BATCH, DESCRIPTOR_SIZE, QUEUE_SIZE, queue_at
from aftr.io.links import need_link
from aftr.io.queue_table import QueueTable, Umem, table_size
from aftr.io.queues import kick, receive, reclaim, transmit, wait
from aftr.lowlevel.bits import Memory, load64
from aftr.lowlevel.kernel import kernel
from aftr.state.frames import frames_at, frames_size, give_frame, open_frames

SHIFT, FRAMES_PER_WORKER = 11, 4096
STEERING = Steering(ipaddress.IPv6Address("2001:db8:64::1"), 16, (ipaddress.IPv4Network("192.0.2.0/24"),))
Names = tuple[str, str]
T = TypeVar("T")

_libc = ctypes.CDLL(None, use_errno=True)


# ---------------------------------------------------------------------------------------------- namespaces and links
def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


@contextlib.contextmanager
def inside(namespace: str) -> Iterator[None]:
    """This thread in that namespace."""
    with open("/proc/self/ns/net") as home, open(f"/run/netns/{namespace}") as there:
        assert _libc.setns(there.fileno(), 0x40000000) == 0
        try:
            yield
        finally:
            assert _libc.setns(home.fileno(), 0x40000000) == 0


@contextlib.contextmanager
def two_namespaces() -> Iterator[Names]:
    """The AFTR's and its peers', without any IPv6 of the kernel's own; gone at the end, with all that is in them."""
    names = (f"io-aftr-{os.getpid()}", f"io-peer-{os.getpid()}")
    try:
        for name in names:
            run("ip", "netns", "add", name)
            run("ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def plug(aftr: str, peer: str, name: str, queues: int = 1) -> None:
    """A veth pair, `name` in `aftr` and `name`-peer in `peer`, up and without offloads."""
    count = str(queues)
    many = ("numrxqueues", count, "numtxqueues", count)
    run("ip", "-n", aftr, "link", "add", name, *many, "type", "veth", "peer", f"{name}-peer", "netns", peer, *many)
    for namespace, device in ((aftr, name), (peer, f"{name}-peer")):
        ethtool = ("ip", "netns", "exec", namespace, "ethtool")
        run(*ethtool, "-L", device, "rx", count, "tx", count)
        run(
            *ethtool,
            "-K",
            device,
            "tx",
            "off",
            "gso",
            "off",
            "gro",
            "off",
            "tso",
            "off",
            "txvlan",
            "off",
            "rxvlan",
            "off",
        )
        run("ip", "-n", namespace, "link", "set", device, "up")


# ---------------------------------------------------------------------------------------------- a worker without an engine
@kernel
def forward(
    memory: Memory, frames: int, queues: int, count: int, partners: int, scratch: int, eventfd: int, stop: int
) -> None:
    """Until the byte at `stop` is set: what arrives on queue i leaves by the QUEUE whose offset is the i-th at `partners`."""
    while memory[stop] == 0:
        done = 0
        for i in range(count):
            reclaim(memory, queues + QUEUE_SIZE * i)
        for i in range(count):
            n = receive(memory, queues + QUEUE_SIZE * i, scratch, BATCH)
            if n > 0:
                partner = load64(memory, partners + 8 * i)
                accepted = transmit(memory, partner, scratch, n)
                kick(memory, partner)
                for j in range(accepted, n):
                    give_frame(memory, frames, load64(memory, scratch + DESCRIPTOR_SIZE * j))
                done += n
        if done == 0:
            for i in range(count):
                kick(memory, queues + QUEUE_SIZE * i)
            wait(memory, queues, count, eventfd, 20)


@dataclass
class Plane:
    """An arena with frames and queues, opened devices, and a thread per worker."""

    workers: int = 1
    devices: list[Device] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)

    def __post_init__(self) -> None:
        chunks = FRAMES_PER_WORKER * self.workers
        stack, umem_size = frames_size(chunks), chunks << SHIFT
        self.frames = [umem_size + worker * stack for worker in range(self.workers)]
        table = umem_size + self.workers * stack
        self.extra = table + table_size(chunks, self.workers)
        self.room = mmap_array(self.extra + 65536 * self.workers)
        for worker, frames in enumerate(self.frames):
            open_frames(self.room, frames, 0, SHIFT, chunks, worker * FRAMES_PER_WORKER, FRAMES_PER_WORKER)
        self.table = QueueTable(Umem(self.room, 0, umem_size, SHIFT), table, self.frames, reserve=512, ring_size=1024)
        self.eventfd = os.eventfd(0, os.EFD_NONBLOCK)

    def start(self) -> None:
        """Pair the first device with the second: worker w's k-th queue sends by the other device's first of worker w."""
        access, internet = self.devices
        for worker in range(self.workers):
            first, count = self.table.queues(worker)
            base = self.extra + 65536 * worker
            for one, other in ((access, internet), (internet, access)):
                for queue in one.queues[worker]:
                    place = base + 4096 + (queue - first) // QUEUE_SIZE * 8
                    self.room[place : place + 8].view(np.int64)[0] = other.transmit_queue(worker)
            arguments = (self.room, self.frames[worker], first, count, base + 4096, base + 8192, self.eventfd, base)
            thread = threading.Thread(target=forward, args=arguments)
            thread.start()
            self.threads.append(thread)
        queues = [queue for device in self.devices for queues in device.queues for queue in queues]
        until(lambda: all(queue_at(self.room, queue).live for queue in queues), seconds=120)  # compiled, and at work

    def stop(self) -> None:
        for worker in range(self.workers):
            self.room[self.extra + 65536 * worker] = 1
        os.eventfd_write(self.eventfd, 1)
        for thread in self.threads:
            thread.join(5)
            assert not thread.is_alive()
        self.threads.clear()

    def close(self) -> None:
        self.stop()
        for device in self.devices:
            device.close()
        for worker in range(self.workers):
            first, count = self.table.queues(worker)
            for number in range(count):
                reclaim(self.room, first + QUEUE_SIZE * number)
        os.close(self.eventfd)

    def account(self) -> None:
        """After `close`: every frame is in a stack again, once."""
        assert self.table.held() == 0
        assert self.table.free() == FRAMES_PER_WORKER * self.workers
        chunks = [
            chunk
            for frames in self.frames
            for chunk in self.room[frames + 64 :].view(np.uint32)[: frames_at(self.room, frames).count].tolist()
        ]
        assert sorted(chunks) == list(range(FRAMES_PER_WORKER * self.workers))
        assert all(frames_at(self.room, frames).overflow == 0 for frames in self.frames)


def mmap_array(size: int) -> Memory:
    return np.frombuffer(mmap.mmap(-1, (size + 4095) // 4096 * 4096), np.uint8)


@contextlib.contextmanager
def plane(namespaces: Names, mode: str, workers: int = 1, vlan: int = 0) -> Iterator[Plane]:
    """The veths `access` (with frames of that VLAN) and `internet`, forwarding; at the end every frame is accounted for."""
    one = Plane(workers)
    interfaces = [Interface("a", "access", "access", vlan), Interface("i", "internet", "internet")]
    with inside(namespaces[0]):
        one.devices = open_devices(interfaces, mode, one.table, STEERING)
    try:
        one.start()
        yield one
    finally:
        one.close()
    one.account()


# ---------------------------------------------------------------------------------------------- peers
class Peer:
    """A packet socket at the other end of a veth, which takes every frame of one interface."""

    def __init__(self, namespace: str, device: str) -> None:
        with inside(namespace):
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self.socket.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
            self.socket.setsockopt(263, 23, 1)  # PACKET_IGNORE_OUTGOING
            self.socket.bind((device, 3))

    def receive(self, most: int, seconds: float) -> list[bytes]:
        """At most so many frames, ending when none came for that long."""
        got: list[bytes] = []
        while len(got) < most and select.select([self.socket], [], [], seconds)[0]:
            got.append(self.socket.recv(4096))
        return got


def exchange(sender: Peer, receiver: Peer, frames: list[bytes]) -> list[bytes]:
    """Send in bursts that no queue overflows; what arrives."""
    got: list[bytes] = []
    for start in range(0, len(frames), 128):
        burst = frames[start : start + 128]
        for frame in burst:
            sender.socket.send(frame)
        got += receiver.receive(len(burst), 1)
    return got


def mac_of(namespace: str, device: str) -> str:
    with inside(namespace):
        return need_link(device).mac.hex(":")


def softwire_frame(number: int, to: str, size: int = 0, slot: int = 2) -> bytes:
    body = packets.udp(1000 + number, 2000, struct.pack("!I", number) + bytes(size))
    inner = packets.ipv4(body, src="10.0.0.1", dst="198.51.100.1")
    return packets.eth(packets.ipv6(inner, src="2001:db8:1000::1", dst=f"2001:db8:64::{slot + 1:x}"), dst=to)


def internet_frame(number: int, to: str, size: int = 0) -> bytes:
    body = packets.udp(2000, 1000 + number, struct.pack("!I", number) + bytes(size))
    return packets.eth(packets.ipv4(body, src="198.51.100.1", dst="192.0.2.77"), dst=to)


def until(probe: Callable[[], T | None], seconds: float = 5) -> T:
    """The first result of `probe` that is something, within that time."""
    deadline = time.monotonic() + seconds
    while not (result := probe()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return result
