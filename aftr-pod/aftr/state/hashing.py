"""Keyed hashes of the engine: mum folds with secrets of this boot, so that nobody outside can aim at one bucket."""

from __future__ import annotations

from aftr.lowlevel.bits import mum
from aftr.lowlevel.kernel import inline_kernel


@inline_kernel
def hash_pair(a: int, b: int, secret0: int, secret1: int, secret2: int) -> int:
    """64-bit hash of two 64-bit patterns."""
    return mum(mum(a ^ secret0, b ^ secret1) ^ secret2, secret1)


@inline_kernel
def hash_triple(a: int, b: int, c: int, secret0: int, secret1: int, secret2: int) -> int:
    """64-bit hash of three 64-bit patterns."""
    return mum(mum(a ^ secret0, b ^ secret1) ^ secret2, c ^ secret1)
