"""200 pools and 1,000 groups on a real API server, with no node: how long, how much memory, how many writes."""

from __future__ import annotations

import asyncio
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config

from cluster_objects import group, pool
from dslite_operator.apply import Writer
from dslite_operator.names import path
from kube_api import Api
from operating import operator

pytestmark = pytest.mark.soak

POOLS, GROUPS = 200, 1000
CONVERGED_S, MEMORY_MIB, WRITES_A_MINUTE, CALM_S = 60, 250, 5, 60


def objects() -> list[dict[str, Any]]:
    pools = [pool(f"p{number}", number=number, replicas=1) for number in range(POOLS)]
    groups = [group(f"g{number}", f"2001:{0x1000 + number:x}::/32", f"p{number % POOLS}") for number in range(GROUPS)]
    return [*pools, *groups]


async def create_all(writer: Writer, bodies: list[dict[str, Any]]) -> None:
    keep = ("name", "namespace")
    for body in bodies:
        body["metadata"] = {key: body["metadata"][key] for key in keep}
    await asyncio.gather(*(writer.create(body) for body in bodies))


async def accepted(writer: Writer) -> int:
    """How many objects are in force, with their latest generation."""
    found = [one for kind in ("AftrPool", "B4Group") for one in await writer.list(kind, "edge")]
    return sum(in_force(one) for one in found)


def in_force(body: dict[str, Any]) -> bool:
    status = body.get("status", {})
    verdicts = {one["type"]: one["status"] for one in status.get("conditions", ())}
    return verdicts.get("Accepted") == "True" and status["observedGeneration"] == body["metadata"]["generation"]


async def writes(writer: Writer) -> int:
    """Requests that changed something, as the API server counts them; those of its own loopback client are not ours to judge."""
    request = writer._api.param_serialize("GET", "/metrics", auth_settings=["BearerToken"])
    text = writer._api.call_api(*request).read().decode()  # type: ignore[no-untyped-call]
    ours = r'^apiserver_request_total{.*resource="(?:aftrpools|b4groups|configmaps|deployments|statefulsets|services|events|secrets|'
    ours += r'poddisruptionbudgets|networkpolicies|pods)".*verb="(?:APPLY|PATCH|POST|PUT|DELETE)".*} (\d+)$'
    return sum(int(number) for number in re.findall(ours, text, re.MULTILINE))


def resident_mib(pid: int) -> int:
    line = next(one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmRSS:"))
    return int(line.split()[1]) >> 10


async def test_convergence_memory_and_calm(api: Api, tmp_path: Path) -> None:
    config.load_kube_config(str(api.kubeconfig))  # type: ignore[no-untyped-call]
    writer = Writer(client.ApiClient(), 16)
    await create_all(writer, objects())
    began = time.monotonic()
    with operator(api, tmp_path) as process:
        while await accepted(writer) < POOLS + GROUPS:
            assert time.monotonic() - began < 3 * CONVERGED_S, process.log.read_text()[-4000:]
            await asyncio.sleep(0.5)
        took = time.monotonic() - began
        deployments = len((await writer.call("GET", path("Deployment", "edge")))["items"])
        await asyncio.sleep(10)
        before = await writes(writer)
        await asyncio.sleep(CALM_S)
        calm, memory = await writes(writer) - before, resident_mib(process.process.pid)
        print(json.dumps({"seconds": round(took, 1), "writesAMinute": calm, "residentMiB": memory}))
        assert deployments == POOLS
        assert took <= CONVERGED_S
        assert calm * 60 / CALM_S <= WRITES_A_MINUTE
        assert memory <= MEMORY_MIB
