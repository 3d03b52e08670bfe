"""The benchmark's memory floor touches exactly the cache lines that the product touches (issue 3, Done when 6)."""

import json
import os
import pathlib
import subprocess
import sys
from functools import cache
from typing import Any

import pytest

ROOT = pathlib.Path(__file__).parents[2]
LINES = {
    "out": ["frames", "frames", "mappings", "mappings index", "softwires", "softwires index"],
    "in": ["frames", "frames", "mappings", "reverse", "softwires"],
}


@cache
def recorded() -> dict[str, list[dict[str, Any]]]:
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "NUMBA_BOUNDSCHECK": "0"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *sys.path])
    done = subprocess.run(
        [sys.executable, "-m", "bench.lines"], capture_output=True, text=True, env=environment, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    lines: dict[str, list[dict[str, Any]]] = json.loads(done.stdout)
    return lines


@pytest.mark.parametrize("direction", ["out", "in"])
def test_floor_touches_the_lines_of_the_product(direction: str) -> None:
    for packet in recorded()[direction]:
        assert packet["floor"] == packet["product"]


@pytest.mark.parametrize("direction", ["out", "in"])
def test_lines_of_a_packet_are_the_documented_ones(direction: str) -> None:
    for packet in recorded()[direction]:
        names = [name for name, _ in packet["product"]]
        once = [name for place, name in enumerate(names) if name == "frames" or name not in names[:place]]
        assert once == LINES[direction]  # probing may cross into a second line of an index


@pytest.mark.parametrize("direction", ["out", "in"])
def test_lines_that_all_packets_share_fit_the_first_cache_easily(direction: str) -> None:
    """Policy, worker, slot, lanes and lists: no more than a quarter of the 512 lines of a 32 KiB cache."""
    assert max(packet["others"] for packet in recorded()[direction]) <= 128


@pytest.mark.parametrize("direction", ["out", "in"])
def test_all_recorded_packets_took_the_fast_path_to_the_end(direction: str) -> None:
    packets = recorded()[direction]
    assert [packet["forwarded"] for packet in packets] == list(range(1, len(packets) + 1))
