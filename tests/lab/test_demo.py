"""`make demo`'s program ends with 0 in under two minutes and leaves nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from pyroute2 import netns

pytestmark = pytest.mark.lab


def test_demo_shows_what_it_promises() -> None:
    began = time.monotonic()
    demo = subprocess.run(
        [sys.executable, "-m", "aftr_lab.demo"], capture_output=True, text=True, timeout=240, check=False
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert time.monotonic() - began < 120
    for sight in (
        "192.0.0.1",
        "64 MiB arrived unchanged",
        "fragments into softwires",
        "of 64 MiB have arrived",
        "is dead, and its customer's",
        "b4-1 follows s1.east.aftr.example.net",
        "host-2's group stays where it was",
        "aftr-lab down",
    ):
        assert sight in demo.stdout
    assert not [name for name in netns.listnetns() if name.startswith("dsl-demo-")]
    assert not Path("/run/dslite-lab/demo").exists()
