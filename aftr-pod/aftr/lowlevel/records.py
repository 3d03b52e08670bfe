"""Records in the arena: `mapping_at(memory, offset).last_seen = now` in compiled code and in plain Python.

A record is a pointer with named fields.  Whatever a field's width, reading it gives an int64 (zero- or
sign-extended) and writing it keeps the low bits, so that arithmetic on fields has one type everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models, register_default
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr, intrinsic, lower_getattr_generic, lower_setattr_generic, overload

from aftr.lowlevel.bits import Memory, check, data_pointer, signed
from aftr.lowlevel.kernel import BOUNDSCHECK


class RecordRef(types.Type):
    """Numba type of a pointer to a record of `dtype`."""

    def __init__(self, name: str, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        super().__init__(name=f"RecordRef({name})")


@register_default(RecordRef)
class _RecordModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, ir.IntType(8).as_pointer())


@infer_getattr
class _RecordAttribute(AttributeTemplate):
    key = RecordRef

    def generic_resolve(self, record: Any, attr: str) -> Any:
        return types.int64 if attr in record.dtype.names else None


def _field_pointer(builder: Any, record_type: RecordRef, record: Any, attr: str) -> tuple[Any, Any, int]:
    field, offset = record_type.dtype.fields[attr][:2]  # type: ignore[index]
    pointer = builder.gep(record, [ir.Constant(ir.IntType(64), offset)])
    narrow = ir.IntType(8 * field.itemsize)
    return builder.bitcast(pointer, narrow.as_pointer()), field, field.itemsize


@lower_getattr_generic(RecordRef)
def _getattr(context: Any, builder: Any, record_type: Any, record: Any, attr: str) -> Any:
    pointer, field, size = _field_pointer(builder, record_type, record, attr)
    value = builder.load(pointer)
    value.align = 1
    if size == 8:
        return value
    extend = builder.sext if field.kind == "i" else builder.zext
    return extend(value, ir.IntType(64))


@lower_setattr_generic(RecordRef)
def _setattr(context: Any, builder: Any, signature: Any, args: Any, attr: str) -> None:
    record_type = signature.args[0]
    pointer, _, size = _field_pointer(builder, record_type, args[0], attr)
    value = context.cast(builder, args[1], signature.args[1], types.int64)
    narrow = value if size == 8 else builder.trunc(value, ir.IntType(8 * size))
    builder.store(narrow, pointer).align = 1


class RecordView:
    """The same record where the JIT is off, and for the control thread: fields read and written in place."""

    __slots__ = ("_dtype", "_memory", "_offset")

    _memory: Memory
    _offset: int
    _dtype: np.dtype[Any]

    def __init__(self, memory: Memory, offset: int, dtype: np.dtype[Any]) -> None:
        object.__setattr__(self, "_memory", memory)
        object.__setattr__(self, "_offset", int(offset))
        object.__setattr__(self, "_dtype", dtype)

    def _place(self, name: str) -> tuple[int, int, bool]:
        fields: Any = self._dtype.fields
        if name not in fields:
            raise AttributeError(name)
        field, at = fields[name][:2]
        return self._offset + at, field.itemsize, field.kind == "i"

    def __getattr__(self, name: str) -> int:
        at, size, is_signed = self._place(name)
        return int.from_bytes(self._memory[at : at + size].tobytes(), "little", signed=is_signed)

    def __setattr__(self, name: str, value: int) -> None:
        at, size, _ = self._place(name)
        narrow = int(value) & ((1 << (8 * size)) - 1)
        self._memory[at : at + size] = np.frombuffer(narrow.to_bytes(size, "little"), np.uint8)


def record_accessor(name: str, dtype: np.dtype[Any]) -> Callable[[Memory, int], Any]:
    """A function (memory, byte offset) -> record of `dtype`, usable in kernels and in Python."""
    record_type = RecordRef(name, dtype)
    size = dtype.itemsize

    @intrinsic
    def reference(typingctx: Any, memory: Any, offset: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            data = data_pointer(context, builder, signature.args[0], args[0])
            offset = context.cast(builder, args[1], signature.args[1], types.int64)
            return builder.gep(builder.bitcast(data, cgutils.voidptr_t), [offset])

        return record_type(memory, offset), codegen

    def at(memory: Memory, offset: int) -> Any:
        check(memory, offset, size)
        return RecordView(memory, offset, dtype)

    def checked(memory, offset):  # type: ignore[no-untyped-def]
        check(memory, offset, size)
        return reference(memory, offset)

    def plain(memory, offset):  # type: ignore[no-untyped-def]
        return reference(memory, offset)

    at.__name__ = at.__qualname__ = name
    overload(at)(lambda memory, offset: checked if BOUNDSCHECK else plain)
    return at


__all__ = ["RecordRef", "RecordView", "record_accessor", "signed"]
