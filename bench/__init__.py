"""Speed of the packet path against the memory floor: `make bench`, or `python -m bench --help`.

Its kernels are cached beside the product's, in a folder named by a hash of these sources (the product's stamp covers only itself).
"""

import hashlib
import os
import pathlib

_sources = b"".join(path.read_bytes() for path in sorted(pathlib.Path(__file__).parent.glob("*.py")))
CACHE = pathlib.Path(os.environ.get("BENCH_CACHE_DIR", "~/.cache/dslite")).expanduser()
os.environ["NUMBA_CACHE_DIR"] = str(CACHE / f"bench-{hashlib.sha256(_sources).hexdigest()[:12]}")
