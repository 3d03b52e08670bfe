"""Loads, stores and bit operations that Numba lacks, on one convention: every integer is an int64.

`memory` is a one-dimensional uint8 array; offsets are bytes from its start.  Loads of 8, 16 and 32 bits are
zero-extended, so plain arithmetic with literals stays in int64 (Numba turns `uint64 + literal` into a float).
`be16`/`be32` read and write network byte order; `load16`/`load32`/`load64` the machine's little endian.
Each primitive is a plain Python function, which runs when the JIT is off, plus an `overload` that lowers to one or two instructions.
With NUMBA_BOUNDSCHECK=1 each access is checked against the array.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.extending import (
    NativeValue,
    intrinsic,
    make_attribute_wrapper,
    overload,
    register_model,
    typeof_impl,
    unbox,
)

from aftr.lowlevel.kernel import BOUNDSCHECK

Memory = np.ndarray[Any, np.dtype[np.uint8]]


class ArenaArray(Memory):
    """A uint8 array that compiled code sees as a bare pointer and size: nothing to count references of, call for call."""

    @property
    def address(self) -> int:
        """Address of the first byte."""
        return int(self.__array_interface__["data"][0])


class ArenaType(types.Type):
    """Numba type of an `ArenaArray`."""

    def __init__(self) -> None:
        super().__init__(name="Arena")


arena_type = ArenaType()


@register_model(ArenaType)
class _ArenaModel(models.StructModel):
    def __init__(self, manager: Any, fe_type: Any) -> None:
        super().__init__(manager, fe_type, [("data", types.voidptr), ("size", types.int64)])


make_attribute_wrapper(ArenaType, "size", "size")


@typeof_impl.register(ArenaArray)
def _typeof_arena(value: Any, context: Any) -> Any:
    return arena_type


@unbox(ArenaType)
def _unbox_arena(arena_type: Any, value: Any, context: Any) -> Any:
    builder, api = context.builder, context.pyapi
    arena = cgutils.create_struct_proxy(arena_type)(context.context, builder)
    for name, numba_type in (("address", types.int64), ("size", types.int64)):
        attribute = api.object_getattr_string(value, name)
        number = api.to_native_value(numba_type, attribute).value
        api.decref(attribute)
        if name == "address":
            arena.data = builder.inttoptr(number, cgutils.voidptr_t)
        else:
            arena.size = number
    return NativeValue(arena._getvalue(), is_error=cgutils.is_not_null(builder, api.err_occurred()))


def data_pointer(context: Any, builder: Any, memory_type: Any, memory: Any) -> Any:
    """LLVM pointer to the first byte of an arena (or, in tests, of any uint8 array)."""
    if isinstance(memory_type, ArenaType):
        return cgutils.create_struct_proxy(memory_type)(context, builder, value=memory).data
    return context.make_array(memory_type)(context, builder, memory).data


M16 = 0xFFFF
M32 = 0xFFFFFFFF
_M64 = (1 << 64) - 1
_INT = {bits: ir.IntType(bits) for bits in (1, 8, 16, 32, 64, 128)}


def signed(value: int) -> int:
    """The int64 with the low 64 bits of `value`."""
    value &= _M64
    return value - (1 << 64) if value >> 63 else value


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, offset: Any, bits: int) -> Any:
    base = builder.bitcast(data_pointer(context, builder, array_type, array), _INT[8].as_pointer())
    return builder.bitcast(builder.gep(base, [offset]), _INT[bits].as_pointer())


def _swap(builder: Any, value: Any, bits: int) -> Any:
    return builder.call(builder.module.declare_intrinsic("llvm.bswap", [_INT[bits]]), [value])


def _load(bits: int, *, big: bool = False, atomic: str = "") -> Any:
    @intrinsic
    def load(typingctx: Any, memory: Any, offset: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            offset = context.cast(builder, args[1], signature.args[1], types.int64)
            pointer = _pointer(context, builder, signature.args[0], args[0], offset, bits)
            if atomic:
                value = builder.load_atomic(pointer, atomic, bits // 8)
            else:
                value = builder.load(pointer)
                value.align = 1
            if big:
                value = _swap(builder, value, bits)
            return value if bits == 64 else builder.zext(value, _INT[64])

        return types.int64(memory, offset), codegen

    return load


def _store(bits: int, *, big: bool = False, atomic: str = "") -> Any:
    @intrinsic
    def store(typingctx: Any, memory: Any, offset: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            offset = context.cast(builder, args[1], signature.args[1], types.int64)
            wide = context.cast(builder, args[2], signature.args[2], types.int64)
            narrow = wide if bits == 64 else builder.trunc(wide, _INT[bits])
            if big:
                narrow = _swap(builder, narrow, bits)
            pointer = _pointer(context, builder, signature.args[0], args[0], offset, bits)
            if atomic:
                builder.store_atomic(narrow, pointer, atomic, bits // 8)
            else:
                builder.store(narrow, pointer).align = 1
            return context.get_dummy_value()

        return types.void(memory, offset, value), codegen

    return store


def check(memory: Memory, offset: int, size: int) -> None:
    """Bounds check of the NUMBA_BOUNDSCHECK=1 test leg; raises IndexError."""
    if offset < 0 or offset + size > memory.size:
        raise IndexError("access outside the arena")


@overload(check)
def _check(memory, offset, size):  # type: ignore[no-untyped-def]
    def implementation(memory, offset, size):  # type: ignore[no-untyped-def]
        if offset < 0 or offset + size > memory.size:
            raise IndexError("access outside the arena")

    return implementation


def _loader(name: str, bits: int, **how: Any) -> Callable[[Memory, int], int]:
    size, order = bits // 8, "big" if how.get("big") else "little"
    primitive = _load(bits, **how)

    def load(memory: Memory, offset: int) -> int:
        check(memory, offset, size)
        value = int.from_bytes(memory[offset : offset + size].tobytes(), order)  # type: ignore[arg-type]
        return signed(value) if bits == 64 else value

    def checked(memory, offset):  # type: ignore[no-untyped-def]
        check(memory, offset, size)
        return primitive(memory, offset)

    def plain(memory, offset):  # type: ignore[no-untyped-def]
        return primitive(memory, offset)

    load.__name__ = load.__qualname__ = name
    overload(load)(lambda memory, offset: checked if BOUNDSCHECK else plain)
    return load


def _storer(name: str, bits: int, **how: Any) -> Callable[[Memory, int, int], None]:
    size, order = bits // 8, "big" if how.get("big") else "little"
    primitive = _store(bits, **how)

    def store(memory: Memory, offset: int, value: int) -> None:
        check(memory, offset, size)
        narrow = int(value) & ((1 << bits) - 1)
        memory[offset : offset + size] = np.frombuffer(narrow.to_bytes(size, order), np.uint8)  # type: ignore[arg-type]

    def checked(memory, offset, value):  # type: ignore[no-untyped-def]
        check(memory, offset, size)
        primitive(memory, offset, value)

    def plain(memory, offset, value):  # type: ignore[no-untyped-def]
        primitive(memory, offset, value)

    store.__name__ = store.__qualname__ = name
    overload(store)(lambda memory, offset, value: checked if BOUNDSCHECK else plain)
    return store


load8 = _loader("load8", 8)
load16 = _loader("load16", 16)
load32 = _loader("load32", 32)
load64 = _loader("load64", 64)
be16 = _loader("be16", 16, big=True)
be32 = _loader("be32", 32, big=True)
be64 = _loader("be64", 64, big=True)
load32_acquire = _loader("load32_acquire", 32, atomic="acquire")
load64_acquire = _loader("load64_acquire", 64, atomic="acquire")
store8 = _storer("store8", 8)
store16 = _storer("store16", 16)
store32 = _storer("store32", 32)
store64 = _storer("store64", 64)
put_be16 = _storer("put_be16", 16, big=True)
put_be32 = _storer("put_be32", 32, big=True)
put_be64 = _storer("put_be64", 64, big=True)
store32_release = _storer("store32_release", 32, atomic="release")
store64_release = _storer("store64_release", 64, atomic="release")


# ------------------------------------------------------------------ memory of the kernel (AF_XDP rings), by address
def _absolute(bits: int, kind: str) -> Any:
    if kind == "load":

        @intrinsic
        def load(typingctx: Any, address: Any) -> Any:
            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                pointer = builder.inttoptr(args[0], _INT[bits].as_pointer())
                value = builder.load_atomic(pointer, "acquire", bits // 8)
                return value if bits == 64 else builder.zext(value, _INT[64])

            return types.int64(types.int64), codegen

        return load

    @intrinsic
    def store(typingctx: Any, address: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pointer = builder.inttoptr(args[0], _INT[bits].as_pointer())
            narrow = args[1] if bits == 64 else builder.trunc(args[1], _INT[bits])
            builder.store_atomic(narrow, pointer, "release", bits // 8)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), codegen

    return store


def _at_loader(name: str, bits: int) -> Callable[[int], int]:
    primitive = _absolute(bits, "load")
    c_type = {32: ctypes.c_uint32, 64: ctypes.c_int64}[bits]

    def load(address: int) -> int:
        return int(c_type.from_address(address).value)

    load.__name__ = load.__qualname__ = name
    overload(load)(lambda address: lambda address: primitive(address))
    return load


def _at_storer(name: str, bits: int) -> Callable[[int, int], None]:
    primitive = _absolute(bits, "store")
    c_type = {32: ctypes.c_uint32, 64: ctypes.c_int64}[bits]

    def store(address: int, value: int) -> None:
        c_type.from_address(address).value = value

    store.__name__ = store.__qualname__ = name
    overload(store)(lambda address, value: lambda address, value: primitive(address, value))
    return store


load32_at = _at_loader("load32_at", 32)
load64_at = _at_loader("load64_at", 64)
store32_at = _at_storer("store32_at", 32)
store64_at = _at_storer("store64_at", 64)


# ------------------------------------------------------------------ arithmetic
@intrinsic
def _mum(typingctx: Any, a: Any, b: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        wide = [builder.zext(value, _INT[128]) for value in args]
        product = builder.mul(wide[0], wide[1])
        high = builder.trunc(builder.lshr(product, ir.Constant(_INT[128], 64)), _INT[64])
        return builder.xor(builder.trunc(product, _INT[64]), high)

    return types.int64(types.int64, types.int64), codegen


def mum(a: int, b: int) -> int:
    """Fold of the 128-bit product of two 64-bit patterns (wyhash): low half xor high half."""
    product = (int(a) & _M64) * (int(b) & _M64)
    return signed(product ^ (product >> 64))


overload(mum)(lambda a, b: lambda a, b: _mum(a, b))


@intrinsic
def _add64(typingctx: Any, a: Any, b: Any) -> Any:
    return types.int64(types.int64, types.int64), lambda context, builder, signature, args: builder.add(*args)


def add64(a: int, b: int) -> int:
    """Sum modulo 2**64, as an int64."""
    return signed(int(a) + int(b))


overload(add64)(lambda a, b: lambda a, b: _add64(a, b))


@intrinsic
def _lshr64(typingctx: Any, a: Any, b: Any) -> Any:
    return types.int64(types.int64, types.int64), lambda context, builder, signature, args: builder.lshr(*args)


def lshr64(a: int, b: int) -> int:
    """Logical shift right of a 64-bit pattern; 0 <= b < 64."""
    return signed((int(a) & _M64) >> int(b))


overload(lshr64)(lambda a, b: lambda a, b: _lshr64(a, b))


@intrinsic
def _ctz64(typingctx: Any, a: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_INT[64], [_INT[64], _INT[1]]), "llvm.cttz.i64"
        )
        return builder.call(function, [args[0], _INT[1](0)])

    return types.int64(types.int64), codegen


def ctz64(a: int) -> int:
    """Number of trailing zero bits; 64 for 0."""
    pattern = int(a) & _M64
    return 64 if pattern == 0 else (pattern & -pattern).bit_length() - 1


overload(ctz64)(lambda a: lambda a: _ctz64(a))


# ------------------------------------------------------------------ cache hints
def _hint(write: int) -> Any:
    @intrinsic
    def hint(typingctx: Any, memory: Any, offset: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            offset = context.cast(builder, args[1], signature.args[1], types.int64)
            pointer = _pointer(context, builder, signature.args[0], args[0], offset, 8)
            arguments = [_INT[8].as_pointer(), _INT[32], _INT[32], _INT[32]]
            function = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(ir.VoidType(), arguments), "llvm.prefetch.p0"
            )
            builder.call(function, [pointer, _INT[32](write), _INT[32](3), _INT[32](1)])
            return context.get_dummy_value()

        return types.void(memory, offset), codegen

    return hint


_prefetch, _prefetch_write = _hint(0), _hint(1)


def prefetch(memory: Memory, offset: int) -> None:
    """Ask for the cache line of `offset`; never faults, changes nothing."""


def prefetch_write(memory: Memory, offset: int) -> None:
    """Ask for the cache line of `offset` in order to write it."""


overload(prefetch)(lambda memory, offset: lambda memory, offset: _prefetch(memory, offset))


overload(prefetch_write)(lambda memory, offset: lambda memory, offset: _prefetch_write(memory, offset))
