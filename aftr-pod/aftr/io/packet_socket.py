"""AF_PACKET sockets from the control thread's side.

The host's own stack sees the same frames in this mode.  It stays silent as long as neither tunnel nor pool addresses are configured
on the host and forwarding is off (`device` warns when it is on): frames to foreign addresses end there unanswered.
A classic BPF filter lets only ours into the socket's buffer: to this host's MAC, without a VLAN tag (a VLAN has an interface of its
own here, where the kernel takes the tag off and puts it on), IPv6 to a slot's address or IPv4 to a NAT prefix; in layer-2 mode
also ARP and neighbour discovery about these addresses, to this host or to a group.
"""

from __future__ import annotations

import ctypes
import socket
import struct

from aftr.io.bpf import ACCESS, INTERNET, Steering
from aftr.io.errors import DeviceError
from aftr.io.layout import PACKET, queue_at
from aftr.lowlevel.bits import Memory

_SOL_PACKET = 263
_STATISTICS, _FANOUT, _QDISC_BYPASS, _IGNORE_OUTGOING = 6, 18, 20, 23
_FANOUT_HASH, _FANOUT_UNIQUE = 0, 0x2000
_SO_ATTACH_FILTER, _SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 26, 32, 33
_RECEIVE_BUFFER, _SEND_BUFFER = 32 << 20, 4 << 20
_ETH_P_ALL = 3
# Classic BPF: opcodes and the pseudo offsets of skb fields (linux/filter.h)
_LD_W, _LD_H, _LD_B, _LD_MEM, _ST, _SUB, _AND = 0x20, 0x28, 0x30, 0x60, 0x02, 0x14, 0x54
_JA, _JEQ, _JGE, _RET = 0x05, 0x15, 0x35, 0x06
_PACKET_TYPE, _VLAN_PRESENT = 0xFFFFF000 + 4, 0xFFFFF000 + 48
_ACCEPT = 0x40000

_TO_OTHERS = 3  # PACKET_OTHERHOST; below: to this host, to all, to a group
_IPV4, _ARP, _IPV6 = 0x0800, 0x0806, 0x86DD

Instruction = tuple[int, int, int, int]
Code = list[Instruction]
REJECT: Instruction = (_RET, 0, 0, 0)
ACCEPT: Instruction = (_RET, 0, 0, _ACCEPT)
TYPE: Instruction = (_LD_H, 0, 0, 12)


def packet_filter(steering: Steering, sides: int) -> Code:
    """The classic BPF program, as (opcode, jump if true, jump if false, operand)."""
    neighbours = steering.answer_neighbours
    code: Code = [(_LD_W, 0, 0, _VLAN_PRESENT), (_JEQ, 1, 0, 0), REJECT]
    code += [(_LD_W, 0, 0, _PACKET_TYPE), (_JGE, 0, 1, _TO_OTHERS), REJECT]
    to_us: Code = [(_LD_W, 0, 0, _PACKET_TYPE), (_JEQ, 1, 0, 0), REJECT]
    if sides & ACCESS:
        code += _about_slots(steering) if neighbours else []
        to_us += [TYPE, *_skipping(_IPV6, _is_slot(steering, 38))]
    if not sides & INTERNET:
        return [*code, *to_us, REJECT]
    to_us += [TYPE, (_JEQ, 1, 0, _IPV4), REJECT, (_LD_W, 0, 0, 30), (_ST, 0, 0, 0)]
    if neighbours:  # the target's address, to the same list
        code += [TYPE, *_skipping(_ARP, [(_LD_W, 0, 0, 38), (_ST, 0, 0, 0), (_JA, 0, 0, len(to_us))])]
    return [*code, *to_us, *_in_pools(steering), REJECT]


def _skipping(value: int, then: Code) -> Code:
    """`then`, where the accumulator has this value."""
    return [(_JEQ, 0, len(then), value), *then]


def _is_slot(steering: Steering, at: int) -> Code:
    """Accepts where the IPv6 address at byte `at` is a slot's, else rejects."""
    *words, first = struct.unpack(">4I", steering.first_slot.packed)
    code: Code = []
    for place, word in enumerate(words):
        code += [(_LD_W, 0, 0, at + 4 * place), (_JEQ, 1, 0, word), REJECT]
    return [*code, (_LD_W, 0, 0, at + 12), (_SUB, 0, 0, first), (_JGE, 0, 1, steering.slots), REJECT, ACCEPT]


def _about_slots(steering: Steering) -> Code:
    """Accepts solicitations and advertisements whose target is a slot's address, and rejects others."""
    target = _is_slot(steering, 62)
    kind: Code = [(_LD_B, 0, 0, 54), (_JEQ, 1, 0, 135), (_JEQ, 0, len(target), 136), *target]
    return [TYPE, *_skipping(_IPV6, [(_LD_B, 0, 0, 20), *_skipping(socket.IPPROTO_ICMPV6, kind)])]


def _in_pools(steering: Steering) -> Code:
    """Accepts where the address in scratch word 0 is of a pool."""
    code: Code = []
    for pool in steering.pools:
        mask, base = int(pool.netmask), int(pool.network_address)
        code += [(_LD_MEM, 0, 0, 0), (_AND, 0, 0, mask), (_JEQ, 0, 1, base), ACCEPT]
    return code


class PacketSocket:
    """One socket on an interface index. Those of one interface share its frames by flow: `group` is the first of them.

    Raises DeviceError, whose cause is the OSError.
    """

    fanout: int = 0

    def __init__(
        self, interface: int, steering: Steering, sides: int, *, shared: bool = False, group: PacketSocket | None = None
    ) -> None:
        self._sides = sides
        self._dropped = 0
        try:
            self.socket = socket.socket(
                socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0
            )
        except OSError as error:
            raise DeviceError(f"no AF_PACKET socket: {error.strerror}") from error
        try:
            self.steer(steering)
            for option in (_IGNORE_OUTGOING, _QDISC_BYPASS):
                self.socket.setsockopt(_SOL_PACKET, option, 1)
            self._buffer(_SO_RCVBUFFORCE, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            self._buffer(_SO_SNDBUFFORCE, socket.SO_SNDBUF, _SEND_BUFFER)
            self.socket.bind((socket.if_indextoname(interface), _ETH_P_ALL))
            if shared:
                self._join(group)
        except OSError as error:
            self.close()
            raise DeviceError(f"packet socket: {error.strerror}") from error

    def _buffer(self, force: int, plain: int, size: int) -> None:
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, force, size)
        except PermissionError:
            self.socket.setsockopt(socket.SOL_SOCKET, plain, size)

    def _join(self, group: PacketSocket | None) -> None:
        mode = _FANOUT_HASH if group else _FANOUT_HASH | _FANOUT_UNIQUE
        number = group.fanout if group else 0
        self.socket.setsockopt(_SOL_PACKET, _FANOUT, struct.pack("=I", number | mode << 16))
        self.fanout = self.socket.getsockopt(_SOL_PACKET, _FANOUT) & 0xFFFF

    def steer(self, steering: Steering) -> None:
        """Replace the filter; no frame slips in between."""
        program = b"".join(struct.pack("=HBBI", *instruction) for instruction in packet_filter(steering, self._sides))
        buffer = ctypes.create_string_buffer(program, len(program))
        self.socket.setsockopt(
            socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
        )

    def describe(self, memory: Memory, queue: int) -> None:
        """Write the socket into a QUEUE that is not live."""
        record = queue_at(memory, queue)
        record.kind, record.fd, record.device_queue = PACKET, self.socket.fileno(), 0

    def statistics(self) -> dict[str, int]:
        """Frames the kernel dropped because the socket's buffer was full."""
        self._dropped += struct.unpack("=II", self.socket.getsockopt(_SOL_PACKET, _STATISTICS, 8))[1]
        return {"rx_dropped": self._dropped}

    def close(self) -> None:
        self.socket.close()
