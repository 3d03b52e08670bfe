"""`boot`: an AFTR from the test's defaults and overrides; `rig`: one without overrides.

At the end of every test each engine's invariants are checked: no leaked frames, contexts or ports, consistent tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from rig import Boot, Rig, config_text


@pytest.fixture
def boot() -> Iterator[Boot]:
    rigs: list[Rig] = []

    def make(
        spec: dict[str, Any] | None = None,
        groups: list[dict[str, Any]] | None = None,
        *,
        seed: int = 0,
        workers: int = 1,
        start: float = 10_000.0,
    ) -> Rig:
        rigs.append(Rig(config_text(spec, groups), seed=seed, workers=workers, start=start))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.close()


@pytest.fixture
def rig(boot: Boot) -> Rig:
    return boot()
