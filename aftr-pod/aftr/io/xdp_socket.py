"""AF_XDP sockets from the control thread's side: made, bound, mapped, closed.

The sockets of one interface share one UMEM registration (XDP_SHARED_UMEM), each queue with FILL and completion rings of its own.
Each interface registers the same memory anew: the kernel would otherwise make all share one mode (zero-copy or not) and one fate,
while a frame's offset is what it is in every registration, so frames cross from one to another without a copy.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket
import struct

import numpy as np

from aftr.io.errors import DeviceError
from aftr.io.layout import XDP, queue_at
from aftr.io.queue_table import Umem
from aftr.lowlevel.bits import Memory

AF_XDP, SOL_XDP = 44, 283
_MMAP_OFFSETS, _RX_RING, _TX_RING, _UMEM_REG, _FILL_RING, _DONE_RING, _STATISTICS = 1, 2, 3, 4, 5, 6, 7
_MAX_TX_BUDGET = 9  # XDP_MAX_TX_SKB_BUDGET, Linux 6.17: frames per sendto() in copy mode
_SHARED_UMEM, _COPY, _ZEROCOPY, _NEED_WAKEUP = 1, 2, 4, 8
_SO_SNDBUFFORCE = 32
_SEND_BUFFER = 16 << 20
# ring: (socket option, offset for mmap, bytes per entry), in the order of struct xdp_mmap_offsets
_RINGS = {
    "rx": (_RX_RING, 0, 16),
    "tx": (_TX_RING, 0x80000000, 16),
    "fill": (_FILL_RING, 0x100000000, 8),
    "done": (_DONE_RING, 0x180000000, 8),
}
STATISTICS = ("rx_dropped", "rx_invalid", "tx_invalid", "rx_ring_full", "rx_fill_ring_empty", "tx_ring_empty")
_HINTS = {
    errno.EBUSY: " (another socket has it)",
    errno.ENOBUFS: " (the frames cannot be locked in memory: give CAP_IPC_LOCK or a higher RLIMIT_MEMLOCK)",
}

_libc = ctypes.CDLL(None, use_errno=True)


class XdpSocket:
    """One socket on (interface index, hardware queue); `share` is another socket of the same interface.

    Raises DeviceError, whose cause is the OSError.
    """

    def __init__(
        self, interface: int, device_queue: int, umem: Umem, ring_size: int, *, zero_copy: bool, share: XdpSocket | None
    ) -> None:
        self.device_queue, self._ring_size = device_queue, ring_size
        self._maps: dict[str, mmap.mmap] = {}
        self._offsets: dict[str, tuple[int, ...]] = {}
        try:
            self.socket = socket.socket(AF_XDP, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        except OSError as error:
            raise DeviceError(f"no AF_XDP socket: {error.strerror}") from error
        try:
            if share is None:
                self._register(umem)
            self._make_rings()
            flags = _SHARED_UMEM if share else (_ZEROCOPY if zero_copy else _COPY) | _NEED_WAKEUP
            self._bind(interface, flags, share)
        except OSError as error:
            self.close()
            raise DeviceError(f"queue {device_queue}: {error.strerror}{_HINTS.get(error.errno or 0, '')}") from error

    def _register(self, umem: Umem) -> None:
        """struct xdp_umem_reg {addr, len, chunk_size, headroom, flags, tx_metadata_len}.

        No headroom of our own: the kernel leaves XDP_PACKET_HEADROOM = 256 bytes before each received packet.
        """
        registration = struct.pack("=QQIIII", umem.address, umem.size, 1 << umem.shift, 0, 0, 0)
        self.socket.setsockopt(SOL_XDP, _UMEM_REG, registration)

    def _make_rings(self) -> None:
        for option, _, _ in _RINGS.values():
            self.socket.setsockopt(SOL_XDP, option, self._ring_size)
        raw = struct.unpack("=16Q", self.socket.getsockopt(SOL_XDP, _MMAP_OFFSETS, 128))
        for place, (name, (_, offset, size)) in enumerate(_RINGS.items()):
            fields = raw[4 * place : 4 * place + 4]
            length = fields[2] + self._ring_size * size
            flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
            self._maps[name] = mmap.mmap(self.socket.fileno(), length, flags, offset=offset)
            self._offsets[name] = fields
        for level, option, value in (
            (socket.SOL_SOCKET, _SO_SNDBUFFORCE, _SEND_BUFFER),
            (SOL_XDP, _MAX_TX_BUDGET, self._ring_size),
        ):
            try:
                self.socket.setsockopt(level, option, value)
            except OSError:
                continue  # only faster

    def _bind(self, interface: int, flags: int, share: XdpSocket | None) -> None:
        """struct sockaddr_xdp {family, flags, ifindex, queue_id, shared_umem_fd}, which Python's socket cannot spell."""
        fd = share.socket.fileno() if share else 0
        address = struct.pack("=HHIII", AF_XDP, flags, interface, self.device_queue, fd)
        if _libc.bind(self.socket.fileno(), address, len(address)) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def describe(self, memory: Memory, queue: int) -> None:
        """Write the socket and the addresses of its rings into a QUEUE that is not live."""
        record = queue_at(memory, queue)
        record.kind, record.fd, record.device_queue = XDP, self.socket.fileno(), self.device_queue
        for name, ring in self._maps.items():
            start = np.frombuffer(ring, np.uint8).ctypes.data
            fields = ("producer", "consumer", "descriptors", "flags")
            for field, offset in zip(fields, self._offsets[name], strict=True):
                setattr(record, f"{name}_{field}", start + offset)
            setattr(record, f"{name}_size", self._ring_size)

    def statistics(self) -> dict[str, int]:
        """struct xdp_statistics: what the kernel dropped before or after our rings."""
        raw = self.socket.getsockopt(SOL_XDP, _STATISTICS, 48)
        return dict(zip(STATISTICS, struct.unpack("=6Q", raw), strict=True))

    def close(self) -> None:
        """Unmap the rings and close: no worker may have the queue live any more."""
        for ring in self._maps.values():
            ring.close()
        self._maps.clear()
        self.socket.close()
