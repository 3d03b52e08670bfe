"""What AFTRs say of themselves: questions to their status ports."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import aiohttp

from dslite_operator.names import COMPONENT_LABEL, STATUS_PORT
from dslite_operator.status import Report

Object = dict[str, Any]

PATIENCE = aiohttp.ClientTimeout(total=3.0)
COUNT_PATIENCE = aiohttp.ClientTimeout(total=30.0)  # counting a million mappings


def address_of(pod: Object) -> str | None:
    """Where a pod's status port is, as a URL has it."""
    address = pod.get("status", {}).get("podIP")
    if not address:
        return None
    return f"http://[{address}]:{STATUS_PORT}" if ":" in address else f"http://{address}:{STATUS_PORT}"


def is_aftr(pod: Object) -> bool:
    """Whether it is one of the pool's AFTRs that is not gone for good."""
    component = pod["metadata"].get("labels", {}).get(COMPONENT_LABEL)
    return component == "aftr" and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")


async def report(session: aiohttp.ClientSession, pod: Object) -> Report:
    """A pod with its own words, if it says any."""
    said: Object | None = None
    url = address_of(pod)
    if url is not None and pod["status"].get("phase") == "Running":
        try:
            async with session.get(f"{url}/status", timeout=PATIENCE) as answer:
                said = await answer.json() if answer.status == 200 else None
        except (aiohttp.ClientError, TimeoutError, ValueError):
            said = None
    return Report(pod, said)


async def reports(session: aiohttp.ClientSession, pods: Iterable[Object]) -> tuple[Report, ...]:
    """All AFTRs of a pool, by name."""
    found = await asyncio.gather(*(report(session, pod) for pod in pods if is_aftr(pod)))
    return tuple(sorted(found, key=lambda one: one.name))


async def softwires(session: aiohttp.ClientSession, pods: Iterable[Object]) -> list[Object] | None:
    """B4s that have mappings, as AFTRs that are ready see them; None when one of these does not answer."""
    ready = [pod for pod in pods if is_aftr(pod) and Report(pod, None).ready]
    found = await asyncio.gather(*(softwires_of(session, pod) for pod in ready))
    return None if None in found else [one for its in found for one in its or ()]


async def softwires_of(session: aiohttp.ClientSession, pod: Object) -> list[Object] | None:
    """The same of one AFTR; one of a release that does not list them has none."""
    try:
        async with session.get(f"{address_of(pod)}/v1/softwires", timeout=COUNT_PATIENCE) as answer:
            found: list[Object] = await answer.json() if answer.status == 200 else []
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return None
    return found


async def lost(session: aiohttp.ClientSession, every: Iterable[Report], text: str) -> int | None:
    """How many live mappings would end under another configuration; None when an AFTR that has some does not say."""
    counts = await asyncio.gather(*(count(session, one, text) for one in every if one.ready or one.said))
    return None if None in counts else sum(number or 0 for number in counts)


async def count(session: aiohttp.ClientSession, one: Report, text: str) -> int | None:
    """The same of one AFTR."""
    url = address_of(one.pod)
    try:
        async with session.post(f"{url}/v1/check", data=text.encode(), timeout=COUNT_PATIENCE) as answer:
            found = await answer.json() if answer.status == 200 else {}
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return None
    number = found.get("lost")
    return number if isinstance(number, int) else None
