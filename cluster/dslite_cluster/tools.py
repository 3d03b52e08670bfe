"""Programs that do one thing and end."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from dslite_cluster.errors import BuildError

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "dslite"
REPOSITORY = Path(__file__).parents[2]
LAST_LINES = 30


def run(
    command: Sequence[str | Path], *, folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> str:
    """What the program prints on stdout. Raises `BuildError` with its last lines if it fails or is missing."""
    words = [str(word) for word in command]
    whole = {**os.environ, **(environment or {})}
    try:
        done = subprocess.run(words, cwd=folder, env=whole, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise BuildError(f"{words[0]} is not installed: run `sudo make cluster`, which installs it") from error
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-LAST_LINES:])
        raise BuildError(f"`{' '.join(words)}` failed:\n{last}")
    return done.stdout
