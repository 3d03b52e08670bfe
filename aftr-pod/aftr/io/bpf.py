"""The steering program `steer.bpf.c`: loaded through libbpf, its maps filled and changed live, attached by a bpf_link.

A bpf_link is a file descriptor: when the process ends, however it ends, the kernel detaches the program.
"""

from __future__ import annotations

import ctypes
import functools
import ipaddress
import os
import pathlib
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from aftr.io.errors import SteeringError

OBJECT = pathlib.Path(__file__).with_name("steer.bpf.o")
XDP_PASS, XDP_REDIRECT = 2, 4  # enum xdp_action
ACCESS, INTERNET = 1, 2  # sides of a VLAN, as in steer.bpf.c
_NATIVE, _GENERIC = 1 << 2, 1 << 1  # XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE
_BPF_XDP = 37  # enum bpf_attach_type
_ANSWER_NEIGHBOURS = 1
_ANY_MAC = bytes(6)


@dataclass(frozen=True)
class Steering:
    """What the AFTR answers to: slot i has the tunnel address `first_slot + i`; `pools` are the NAT prefixes."""

    first_slot: ipaddress.IPv6Address
    slots: int
    pools: tuple[ipaddress.IPv4Network, ...]
    answer_neighbours: bool = False  # ARP and neighbour discovery about these addresses are the engine's


class _LinkOptions(ctypes.Structure):
    """struct bpf_link_create_opts of libbpf, up to `flags` and zeroes."""

    _fields_ = (("size", ctypes.c_size_t), ("flags", ctypes.c_uint32), ("rest", ctypes.c_uint32 * 9))


class _TestRun(ctypes.Structure):
    """struct bpf_test_run_opts of libbpf."""

    _fields_ = (
        ("size", ctypes.c_size_t),
        ("data_in", ctypes.c_char_p),
        ("data_out", ctypes.c_void_p),
        ("data_size_in", ctypes.c_uint32),
        ("data_size_out", ctypes.c_uint32),
        ("ctx_in", ctypes.c_void_p),
        ("ctx_out", ctypes.c_void_p),
        ("ctx_size_in", ctypes.c_uint32),
        ("ctx_size_out", ctypes.c_uint32),
        ("retval", ctypes.c_uint32),
        ("repeat", ctypes.c_int),
        ("duration", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("cpu", ctypes.c_uint32),
        ("batch_size", ctypes.c_uint32),
    )


_messages: list[str] = []
_PRINTER = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)


def _keep_message(level: int, form: bytes, arguments: int) -> int:
    text = ctypes.create_string_buffer(4096)
    ctypes.CDLL(None).vsnprintf(text, ctypes.c_size_t(4096), form, ctypes.c_void_p(arguments))
    _messages.append(text.value.decode(errors="replace"))
    return 0


_printer = _PRINTER(_keep_message)  # libbpf keeps the pointer: it must live as long as the process


@functools.cache
def _libbpf() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libbpf.so.1", use_errno=True)
    except OSError as error:
        raise SteeringError("libbpf.so.1 is missing: install libbpf1, or use --mode packet") from error
    for name, arguments in {
        "bpf_object__open_file": [ctypes.c_char_p, ctypes.c_void_p],
        "bpf_object__find_program_by_name": [ctypes.c_void_p, ctypes.c_char_p],
    }.items():
        getattr(library, name).restype = ctypes.c_void_p
        getattr(library, name).argtypes = arguments
    for name in ("bpf_object__load", "bpf_object__close", "bpf_program__fd"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
    library.bpf_object__find_map_fd_by_name.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    library.libbpf_set_print(_printer)
    return library


def _refuse(what: str, code: int) -> NoReturn:
    text = ctypes.create_string_buffer(128)
    _libbpf().libbpf_strerror(code, text, ctypes.c_size_t(len(text)))
    detail = " ".join(line.strip() for line in "".join(_messages[-6:]).splitlines() if line.strip())
    raise SteeringError(f"{what}: {text.value.decode()}{f' ({detail[-400:]})' if detail else ''}")


class Program:
    """The steering program of one interface, loaded with maps of its own. `close()` detaches it and frees everything."""

    def __init__(self, path: pathlib.Path = OBJECT) -> None:
        if not path.exists():
            raise SteeringError(f"{path} is missing: run `make bpf` (needs clang and libbpf-dev), or use --mode packet")
        self._library = _libbpf()
        self._link = -1
        self._pools: set[ipaddress.IPv4Network] = set()
        self._vlans: dict[int, int] = {}
        _messages.clear()
        self._object: Any = self._library.bpf_object__open_file(str(path).encode(), None)
        if not self._object:
            _refuse(f"{path} cannot be read as a BPF object", ctypes.get_errno())
        code = self._library.bpf_object__load(self._object)
        if code < 0:
            self.close()
            _refuse("the kernel refused the steering program", code)
        program = self._library.bpf_object__find_program_by_name(self._object, b"steer")
        self.fd = self._library.bpf_program__fd(program)
        self._maps = {name: self._map(name) for name in ("xsks", "softwire", "pools", "vlans")}

    def _map(self, name: str) -> int:
        return int(self._library.bpf_object__find_map_fd_by_name(self._object, name.encode()))

    def _update(self, name: str, key: bytes, value: bytes) -> None:
        code = self._library.bpf_map_update_elem(self._maps[name], key, value, ctypes.c_uint64(0))
        if code < 0:
            _refuse(f"map {name} of the steering program refused an entry", code)

    def _delete(self, name: str, key: bytes) -> None:
        self._library.bpf_map_delete_elem(self._maps[name], key)

    def steer(self, steering: Steering, mac: bytes = _ANY_MAC) -> None:
        """Change what is ours. `mac`: destination of our frames; zeroes take any (an interface that is promiscuous by design)."""
        address, slots = steering.first_slot.packed, steering.slots
        first = int.from_bytes(address[12:], "big")
        if first + slots > 1 << 32:
            raise SteeringError(
                f"{slots} slots from {steering.first_slot} cross a /96: choose a shorter softwire prefix"
            )
        flags = _ANSWER_NEIGHBOURS if steering.answer_neighbours else 0
        self._update("softwire", bytes(4), address[:12] + struct.pack("=III6s2x", first, slots, flags, mac))
        pools = set(steering.pools)
        for pool in pools - self._pools:
            self._update("pools", _pool_key(pool), struct.pack("=I", 1))
        for pool in self._pools - pools:
            self._delete("pools", _pool_key(pool))
        self._pools = pools

    def set_vlans(self, sides: Mapping[int, int]) -> None:
        """Which tags are ours: VLAN id (0: untagged) → `ACCESS`, `INTERNET` or both."""
        for vlan in self._vlans.keys() | sides.keys():
            self._update("vlans", struct.pack("=I", vlan), struct.pack("=I", sides.get(vlan, 0)))
        self._vlans = dict(sides)

    def set_socket(self, device_queue: int, fd: int) -> None:
        """Frames of that receive queue go to the AF_XDP socket `fd`, which must be bound to the same queue."""
        self._update("xsks", struct.pack("=I", device_queue), struct.pack("=I", fd))

    def attach(self, interface: int, *, native: bool) -> None:
        """Attach to the interface with that index, in the driver or in the generic hook; SteeringError when it will not have it."""
        _messages.clear()
        options = _LinkOptions(size=ctypes.sizeof(_LinkOptions), flags=_NATIVE if native else _GENERIC)
        code = self._library.bpf_link_create(self.fd, interface, _BPF_XDP, ctypes.byref(options))
        if code < 0:
            _refuse(f"the {'native' if native else 'generic'} XDP hook refused the steering program", code)
        self._link = code

    def detach(self) -> None:
        """Take the program off its interface; it can be attached again."""
        if self._link >= 0:
            os.close(self._link)
            self._link = -1

    def test_run(self, frame: bytes, repeat: int = 1) -> int:
        """The action the program returns for `frame`, without any interface (BPF_PROG_TEST_RUN)."""
        out = ctypes.create_string_buffer(max(len(frame), 64) + 256)
        run = _TestRun(
            size=ctypes.sizeof(_TestRun), data_in=frame, data_size_in=len(frame), repeat=repeat,
            data_out=ctypes.addressof(out), data_size_out=len(out),
        )  # fmt: skip
        code = self._library.bpf_prog_test_run_opts(self.fd, ctypes.byref(run))
        if code < 0:
            _refuse(f"test run of a frame of {len(frame)} bytes", code)
        return int(run.retval)

    def close(self) -> None:
        self.detach()
        if self._object:
            self._library.bpf_object__close(self._object)
            self._object = None


def _pool_key(pool: ipaddress.IPv4Network) -> bytes:
    return struct.pack("=I", pool.prefixlen) + pool.network_address.packed


def sides_of(interfaces: Iterable[tuple[int, str]]) -> dict[int, int]:
    """(VLAN id, side) of each interface of a device, side being access, internet or both → the argument of `set_vlans`."""
    sides: dict[int, int] = {}
    for vlan, side in interfaces:
        sides[vlan] = sides.get(vlan, 0) | {"access": ACCESS, "internet": INTERNET, "both": ACCESS | INTERNET}[side]
    return sides
