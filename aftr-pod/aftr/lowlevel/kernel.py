"""The one decorator of every compiled function, how a program of many small functions is compiled, and where its code is cached.

**Compilation.** Numba links all callees into every function, and optimises and assembles each of these sums: a program of 150 small
functions takes minutes.  Here a kernel that is called by a kernel is only lowered; a kernel that *Python* calls is an entry: all that
it reaches is linked once, optimised once and cached as one object (`link_once`).  Measured: docs/design/0002-compilation.md.

**Cache.** Numba's own cache does not notice that a callee in another module changed, and is not used from a read-only folder.
`PackageLocator` stamps every entry with a hash of all sources that kernels come from, and accepts a folder it cannot write.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import pathlib
import types
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from numba import _dynfunc
from numba.core import codegen, config
from numba.core.caching import CacheImpl, UserProvidedCacheLocator
from numba.core.compiler_lock import require_global_compiler_lock
from numba.core.cpu import CPUContext
from numba.core.registry import CPUDispatcher

from dslite_contract import counters, journal

F = TypeVar("F", bound=Callable[..., Any])

BOUNDSCHECK = bool(config.BOUNDSCHECK)
JIT = not config.DISABLE_JIT
KERNEL_SOURCES = (
    *("lowlevel/*.py", "state/*.py", "nat/*.py", "path/*.py", "ops/loop.py"),
    *(f"io/{name}.py" for name in ("layout", "packet", "queues", "rings", "syscalls")),
)


# ---------------------------------------------------------------- cache
@functools.cache
def source_stamp() -> str:
    """SHA-256 over every source that compiled code can depend on: the kernels' folders, and the numbers of the counters."""
    package = pathlib.Path(__file__).parent.parent
    sources = [path for place in KERNEL_SOURCES for path in package.glob(place)]
    sources += [pathlib.Path(str(module.__file__)) for module in (counters, journal)]
    digest = hashlib.sha256()
    for path in sorted(sources):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


class PackageLocator(UserProvidedCacheLocator):
    """Cache below NUMBA_CACHE_DIR, stamped by the whole package, valid in a read-only image."""

    def ensure_cache_path(self) -> None:
        try:
            super().ensure_cache_path()
        except OSError:
            if not os.path.isdir(self.get_cache_path()):
                raise

    def get_source_stamp(self) -> str:
        return f"{source_stamp()}-boundscheck={BOUNDSCHECK}"


CacheImpl._locator_classes.insert(0, PackageLocator)


# ---------------------------------------------------------------- compilation
_deferring = [0]  # entries under compilation (one at a time, under Numba's compiler lock; nested only by recursion)
ENTRY = "entry of "


def parts(library: Any, seen: dict[Any, None]) -> Iterator[Any]:
    """The libraries that this one needs, and those that deferred ones among them need in turn."""
    for needed in library._linking_libraries:
        if needed not in seen:
            seen[needed] = None
            yield needed
            if getattr(needed, "deferred", False):
                yield from parts(needed, seen)


def linkable(library: Any) -> Any:
    """A copy of a library's module whose functions the linker keeps even while nothing refers to them yet."""
    module = library._final_module.clone()
    for function in module.functions:
        if not function.is_declaration:
            function.linkage = "weak_odr"
    return module


def link_once(library: Any) -> None:
    """`CPUCodeLibrary.finalize` of Numba 0.68: deferred inside an entry, else with all deferred parts linked in."""
    require_global_compiler_lock()
    library._codegen._check_llvm_bugs()
    library._raise_if_finalized()
    if _deferring[0] and not library.name.startswith(ENTRY):
        library.deferred = library._finalized = True
        return
    own = {function.name for function in library.get_defined_functions()}
    for needed in parts(library, {}):
        library._reload_init.update(needed._reload_init)
        library._final_module.link_in(linkable(needed))
    for function in library.get_defined_functions():
        if function.name not in own:
            function.linkage = "linkonce_odr"  # not internal: LLVM would inline every function with one caller
    library._optimize_final_module()
    library._final_module.verify()
    library._finalize_final_module()


def executable(context: Any, library: Any, description: Any, environment: Any) -> Any:
    """`CPUContext.get_executable`: a deferred library has no machine code, only a name that calls are resolved by."""
    library._ensure_finalized()
    if getattr(library, "deferred", False):
        name = description.qualname.split(".")[-1]
        return _dynfunc.make_function(description.lookup_module(), name, name, _NO_CODE, environment, (library,))
    return _get_executable(context, library, description, environment)


_NO_CODE = ctypes.cast(ctypes.CDLL(None).abort, ctypes.c_void_p).value  # never called: Python calls entries only
_get_executable = CPUContext.get_executable
codegen.CPUCodeLibrary.finalize = link_once
CPUContext.get_executable = executable


class Entry(CPUDispatcher):
    """A kernel as Python calls it: one machine-code object with all that it reaches."""

    def compile(self, signature: Any) -> Any:
        _deferring[0] += 1
        try:
            return super().compile(signature)
        finally:
            _deferring[0] -= 1


class Kernel(CPUDispatcher):
    """A kernel as kernels call it: lowered, no code of its own.  Calling it from Python goes to its `entry`."""

    entry: Entry

    def __call__(self, *arguments: Any) -> Any:
        return self.entry(*arguments)


# `forceinline` is always given: Numba lets callees inherit it from the caller under compilation
OPTIONS = {"nopython": True, "nogil": True, "error_model": "numpy", "boundscheck": False, "forceinline": False}


def _compiled(function: F, **more: Any) -> F:
    if not JIT:
        return function
    inner = Kernel(function, targetoptions=OPTIONS | {"no_cpython_wrapper": True, "no_cfunc_wrapper": True} | more)
    python = types.FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__)
    python.__qualname__, python.__module__ = ENTRY + function.__qualname__, function.__module__
    inner.entry = Entry(python, targetoptions=OPTIONS)
    inner.entry.enable_caching()
    functools.update_wrapper(inner, function)
    return inner


def kernel(function: F) -> F:
    """Compile for the packet path: no GIL, no Python objects, C division; positional int64 and arena arguments."""
    return _compiled(function)


def inline_kernel(function: F) -> F:
    """As `kernel`, and forced into its caller: for the few lines that every packet runs."""
    return _compiled(function, forceinline=True)
