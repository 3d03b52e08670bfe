"""Where results go, and which machine and version they are of."""

from __future__ import annotations

import datetime
import os
import pathlib
import platform
import subprocess
from typing import Any

import numba

RESULTS = pathlib.Path(__file__).parent / "results"


def about() -> dict[str, Any]:
    """Machine and version."""
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    model = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": git.stdout.strip(),
        "cpu": model,
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "numba": numba.__version__,
    }
