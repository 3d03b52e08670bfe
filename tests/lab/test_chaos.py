"""The long fault tests: `make chaos-crash`, `make chaos-handover` (issue State, proofs 1 and 2)."""

from __future__ import annotations

import os

import pytest

from running_lab import FAILOVER, chaos, lab_up

KILLS = os.environ.get("CHAOS_KILLS", "100")
LOAD = ("--b4s", "256", "--rate", "2000", "--flows", "50000")


@pytest.mark.chaos
@pytest.mark.parametrize("fault", ["crash", "leave", "stop", "cut"])
def test_d22_a_hundred_faults_under_load(fault: str) -> None:
    with lab_up(f"chaos-{fault}", FAILOVER, "--b4s", "1") as lab:
        report = chaos(lab, "--fault", fault, "--kills", KILLS, "--seed", "100", *LOAD, timeout=3500)
        assert report["lostBindings"] == report["duplicateEndpoints"] == report["misdelivered"] == 0
