"""One cluster for all tests, with dslite installed by the commands that README gives, and B4s outside of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from installed_pool import Pool, installed, outside_of, reaches, until
from running_cluster import Cluster, cluster_up
from running_lab import Lab

NODES, DEVICES = 2, 2  # of each side, on each node


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with cluster_up("test", "--nodes", str(NODES), "--devices", str(DEVICES)) as made:
        yield made


@pytest.fixture(scope="session")
def outside(cluster: Cluster) -> Iterator[Lab]:
    """B4s that are told their AFTR, and what else is around the cluster."""
    with outside_of(cluster, "cluster") as lab:
        yield lab


@pytest.fixture(scope="session")
def pool(cluster: Cluster, outside: Lab) -> Pool:
    """The pool of README's quick start, whose slots all B4s reach."""
    found = installed(cluster)
    for b4 in outside.state["b4s"]:
        until(lambda b4=b4: reaches(outside, b4), f"{b4['name']} reaches {b4['tunnelAddress']}")  # type: ignore[misc]
    return found


@pytest.fixture
def pods(pool: Pool) -> list[dict[str, Any]]:
    return pool.pods()
