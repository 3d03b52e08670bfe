"""200 pools and 1,000 groups on a real API server, with no node: how long, how many writes, how much memory, also while they change."""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from pathlib import Path
from statistics import linear_regression
from typing import Any

import pytest
from kubernetes import client, config

from cluster_objects import group, pool
from dslite_operator.apply import MERGE, Writer
from dslite_operator.lease import RENEW_S
from dslite_operator.names import path
from kube_api import Api
from operating import Process, operator

pytestmark = pytest.mark.soak

POOLS, GROUPS = 200, 1000
CONVERGED_S, MEMORY_MIB, WRITES_A_MINUTE, CALM_S = 60, 250, 5, 60
CHURN_S, JUDGED_S, LOOK_S = 900.0, 600.0, 5.0  # objects change all the time; memory is judged by the last ten minutes
CHANGES_A_SECOND, SLOPE_MIB_A_MINUTE, SEED = 5, 1.0, 6333


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


def resident_mib(pid: int) -> float:
    line = next(one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


async def with_everything(api: Api) -> Writer:
    """All objects are there, whether or not a test has made them before."""
    config.load_kube_config(str(api.kubeconfig))  # type: ignore[no-untyped-call]
    writer = Writer(client.ApiClient(), 16)
    await create_all(writer, objects())
    return writer


async def converged(writer: Writer, process: Process) -> float:
    """Seconds until all objects are in force."""
    began = time.monotonic()
    while await accepted(writer) < POOLS + GROUPS:
        assert time.monotonic() - began < 3 * CONVERGED_S, process.log.read_text()[-4000:]
        await asyncio.sleep(0.5)
    return time.monotonic() - began


async def test_convergence_memory_and_calm(api: Api, tmp_path: Path) -> None:
    writer = await with_everything(api)
    with operator(api, tmp_path) as process:
        took = await converged(writer, process)
        deployments = len((await writer.call("GET", path("Deployment", "edge")))["items"])
        await asyncio.sleep(10)
        before = await writes(writer)
        await asyncio.sleep(CALM_S)
        calm, memory = await writes(writer) - before, resident_mib(process.process.pid)
        print(json.dumps({"seconds": round(took, 1), "writesAMinute": calm, "residentMiB": round(memory)}))
        assert deployments == POOLS
        assert took <= CONVERGED_S
        assert calm * 60 / CALM_S + 60 / RENEW_S <= WRITES_A_MINUTE  # the Lease is written too
        assert memory <= MEMORY_MIB


# ---------------------------------------------------------------- while everything changes
async def change_one(writer: Writer, chance: random.Random, number: int) -> None:
    """A field of a pool, its pods, or a group of its own that comes and goes."""
    pool_number = chance.randrange(POOLS)
    where = path("AftrPool", "edge", f"p{pool_number}")
    match number % 4:
        case 0:
            await writer.call("PATCH", where, {"spec": {"replicas": chance.randint(1, 4)}}, MERGE)
        case 1:
            mtu = {"softwire": {"tunnelMtu": chance.randint(1400, 1500)}}
            await writer.call("PATCH", where, {"spec": mtu}, MERGE)
        case 2:
            made = group(f"passing{number}", f"3{number % 0xFFF:03x}::/32", f"p{pool_number}")
            await create_all(writer, [made])
        case 3:
            await writer.call("DELETE", path("B4Group", "edge", f"passing{number - 1}"))


async def churn(writer: Writer, pid: int) -> list[tuple[float, float]]:
    """Objects change for `CHURN_S`; minutes since the beginning and MiB of the operator, in the last `JUDGED_S` of it."""
    chance, began, number = random.Random(SEED), time.monotonic(), 0
    samples: list[tuple[float, float]] = []
    while (since := time.monotonic() - began) < CHURN_S:
        await change_one(writer, chance, number)
        number += 1
        if since >= CHURN_S - JUDGED_S + len(samples) * LOOK_S:
            samples.append((since / 60, resident_mib(pid)))
        await asyncio.sleep(max(0.0, number / CHANGES_A_SECOND - (time.monotonic() - began)))
    return samples


async def test_memory_does_not_grow_while_everything_changes(api: Api, tmp_path: Path) -> None:
    writer = await with_everything(api)
    with operator(api, tmp_path) as process:
        await converged(writer, process)
        samples = await churn(writer, process.process.pid)
        slope = linear_regression(*zip(*samples, strict=True)).slope
        last = samples[-1][1]
        print(json.dumps({"mibAMinute": round(slope, 2), "residentMiB": round(last)}))
        assert len(samples) > 0.9 * JUDGED_S / LOOK_S
        assert slope <= SLOPE_MIB_A_MINUTE
        assert last <= MEMORY_MIB
        await converged(writer, process)
