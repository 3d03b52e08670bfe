"""The AFTR: tunnel and NAT44 engine, its devices, state and operations (RFC 6333)."""

import os

# One machine-code cache serves every x86-64-v3 node (docs/design/0002): must be set before Numba is imported.
os.environ.setdefault("NUMBA_CPU_NAME", "x86-64-v3")
os.environ.setdefault("NUMBA_CPU_FEATURES", "")
os.environ.setdefault("NUMBA_CACHE_DIR", os.path.expanduser("~/.cache/dslite/kernels"))
