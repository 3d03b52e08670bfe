"""The one decorator of every compiled function, and where its machine code is cached.

Numba's own cache misses two things that an image needs: it does not notice that a *callee* in another
module changed, and it is not used from a read-only folder.  `PackageLocator` stamps every cache entry with
a hash of all sources of the package, and accepts a folder it cannot write.
"""

from __future__ import annotations

import functools
import hashlib
import os
import pathlib
from collections.abc import Callable
from typing import Any, TypeVar

import numba
from numba.core import config
from numba.core.caching import CacheImpl, UserProvidedCacheLocator

F = TypeVar("F", bound=Callable[..., Any])

BOUNDSCHECK = bool(config.BOUNDSCHECK)
JIT = not config.DISABLE_JIT


@functools.cache
def source_stamp(package: str) -> str:
    """SHA-256 over every Python source below `package` (a folder), in path order."""
    digest = hashlib.sha256()
    for path in sorted(pathlib.Path(package).rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


class PackageLocator(UserProvidedCacheLocator):  # type: ignore[misc]
    """Cache below NUMBA_CACHE_DIR, stamped by the whole package, valid in a read-only image."""

    def ensure_cache_path(self) -> None:
        try:
            super().ensure_cache_path()
        except OSError:
            if not os.path.isdir(self.get_cache_path()):
                raise

    def get_source_stamp(self) -> str:
        return f"{source_stamp(str(pathlib.Path(__file__).parent.parent))}-boundscheck={BOUNDSCHECK}"


CacheImpl._locator_classes.insert(0, PackageLocator)


def kernel(function: F) -> F:
    """Compile for the packet path: no GIL, no Python objects, C division, cached machine code."""
    compiled: F = numba.njit(nogil=True, cache=True, error_model="numpy")(function)
    return compiled


def inline_kernel(function: F) -> F:
    """As `kernel`, and forced into its caller: for the few lines that every packet runs."""
    compiled: F = numba.njit(nogil=True, cache=True, error_model="numpy", forceinline=True)(function)
    return compiled
