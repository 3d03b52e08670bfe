"""One API server for all tests that ask one, with our definitions in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kube_api import Api, api_server

CRDS = Path(__file__).parents[2] / "crds"


def until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    """Until something holds."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds:g} s"
        time.sleep(0.1)


@pytest.fixture(scope="session")
def api() -> Iterator[Api]:
    with api_server() as server:
        made = server.kubectl("create", "-f", str(CRDS))
        assert made.returncode == 0, made.stderr
        ready = server.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", "--all")
        assert ready.returncode == 0, ready.stderr
        until(lambda: "aftrpools" in server.kubectl("api-resources", "--cached=false", "--api-group=dslite.dev").stdout)
        for namespace in ("edge", "core"):
            server.kubectl("create", "namespace", namespace)
        yield server
