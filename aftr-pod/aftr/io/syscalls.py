"""System calls that kernels make without leaving compiled code.

`ExternalFunction` is resolved by name when the machine code is loaded, so it may be cached, which a ctypes pointer may not.  All arguments
are int64 (the C ABI of 64-bit Linux reads the low half where it wants an int); results keep C's width so that -1 is -1.
"""

from __future__ import annotations

import ctypes
from typing import Any

from numba import types

from aftr.lowlevel.bits import load32_at
from aftr.lowlevel.kernel import JIT, inline_kernel

MSG_DONTWAIT, MSG_TRUNC = 0x40, 0x20
POLLIN = 1
EINTR, EAGAIN, EINVAL, EMSGSIZE = 4, 11, 22, 90

_libc = None if JIT else ctypes.CDLL(None, use_errno=True)


def _system_call(name: str, arguments: int, bits: int) -> Any:
    if JIT:
        result = types.int64 if bits == 64 else types.int32
        return types.ExternalFunction(name, result(*[types.int64] * arguments))
    function = getattr(_libc, name)
    function.restype = ctypes.c_int64 if bits == 64 else ctypes.c_int32
    function.argtypes = [ctypes.c_int64] * arguments
    return function


sendto = _system_call("sendto", 6, 64)
recvfrom = _system_call("recvfrom", 6, 64)
read = _system_call("read", 3, 64)
write = _system_call("write", 3, 64)
clock_gettime = _system_call("clock_gettime", 2, 32)
poll = _system_call("poll", 3, 32)
recvmmsg = _system_call("recvmmsg", 5, 32)
sendmmsg = _system_call("sendmmsg", 4, 32)
_errno_location = _system_call("__errno_location", 0, 64)

if JIT:

    @inline_kernel
    def last_error() -> int:
        """errno of this thread's last system call, valid only right after one that failed."""
        return load32_at(_errno_location())
else:
    last_error = ctypes.get_errno
