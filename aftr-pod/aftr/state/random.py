"""Random numbers of a worker: fast, seeded with the boot's secrets, not guessable from a few outputs."""

from __future__ import annotations

from aftr.lowlevel.bits import Memory, add64, mum
from aftr.lowlevel.kernel import kernel
from aftr.state.layout import worker_at

_STEP = 0x60BEE2BEE120FC15  # odd constant of wyrand
_MIX = -0x5C4B5D4A3B2C1D0F


@kernel
def random64(memory: Memory, worker: int) -> int:
    """Next 64-bit pattern of the worker's generator (wyrand)."""
    record = worker_at(memory, worker)
    record.random = add64(record.random, _STEP)
    return mum(record.random, record.random ^ _MIX)


@kernel
def random_below(memory: Memory, worker: int, bound: int) -> int:
    """Uniform in 0 … bound − 1; 1 <= bound < 2**31."""
    return (((random64(memory, worker) >> 16) & 0x7FFFFFFF) * bound) >> 31


@kernel
def permute32(value: int, secret0: int, secret1: int) -> int:
    """A keyed permutation of 32-bit numbers (4-round Feistel): unpredictable, yet no repetition in 2**32 (RFC 7739)."""
    left, right = (value >> 16) & 0xFFFF, value & 0xFFFF
    for turn in range(4):
        left, right = right, left ^ (mum(right ^ secret0, secret1 ^ (turn + 1)) & 0xFFFF)
    return (left << 16) | right
