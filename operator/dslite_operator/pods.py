"""What AFTRs say of themselves: questions to their status ports."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import aiohttp
import structlog

from dslite_contract.signing import DIGEST, SIGNATURE, digest, question, signature
from dslite_operator.answers import is_status
from dslite_operator.names import COMPONENT_LABEL, POOL_LABEL, STATUS_PORT, child
from dslite_operator.status import Report, owners, unserved

Object = dict[str, Any]
log = structlog.get_logger()

CHECK, SOFTWIRES = "/v1/check", "/v1/softwires"
PATIENCE = aiohttp.ClientTimeout(total=3.0)
COUNT_PATIENCE = aiohttp.ClientTimeout(total=30.0)  # counting a million mappings
FORBIDDEN = 403


def address_of(pod: Object) -> str | None:
    """Where a pod's status port is, as a URL has it."""
    address = pod.get("status", {}).get("podIP")
    if not address:
        return None
    return f"http://[{address}]:{STATUS_PORT}" if ":" in address else f"http://{address}:{STATUS_PORT}"


def component_of(pod: Object) -> str:
    """What a pod of a pool is: aftr or store."""
    return str(pod["metadata"].get("labels", {}).get(COMPONENT_LABEL))


def is_aftr(pod: Object) -> bool:
    """Whether it is one of the pool's AFTRs that is not gone for good."""
    return component_of(pod) == "aftr" and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")


def is_waiting(pod: Object) -> bool:
    """Whether a node has it, and its container has never started: a Secret may be missing."""
    return bool(pod["spec"].get("nodeName")) and not Report(pod, None).started


async def report(session: aiohttp.ClientSession, pod: Object) -> Report:
    """A pod with its own words, if it says any that can be read."""
    said: Object | None = None
    url = address_of(pod)
    if url is not None and pod["status"].get("phase") == "Running":
        try:
            async with session.get(f"{url}/status", timeout=PATIENCE) as answer:
                found = await answer.json() if answer.status == 200 else None
            said = found if is_status(found) else None
        except (aiohttp.ClientError, TimeoutError, ValueError):
            said = None
    return Report(pod, said)


async def reports(session: aiohttp.ClientSession, pods: Iterable[Object]) -> tuple[Report, ...]:
    """All AFTRs of a pool, by name."""
    found = await asyncio.gather(*(report(session, pod) for pod in pods if is_aftr(pod)))
    return tuple(sorted(found, key=lambda one: one.name))


async def softwires(
    session: aiohttp.ClientSession, pods: Iterable[Object], key: bytes, slots: int
) -> list[Object] | None:
    """B4s that have mappings, as AFTRs see them. None unless all answer, serve `slots` slots together, and none is taken over meanwhile."""
    asked = [one for one in await reports(session, pods) if one.ready or one.said]
    if unserved(range(slots), asked):
        return None
    found = await asyncio.gather(*(softwires_of(session, one.pod, key) for one in asked))
    if None in found or await moved_since(session, asked):
        return None
    return [one for its in found for one in its or ()]


async def moved_since(session: aiohttp.ClientSession, asked: Iterable[Report]) -> bool:
    """Whether a slot was taken over since these AFTRs were asked: the old owner and the new one may both have left it out of a count."""
    before = tuple(asked)
    return owners(await reports(session, [one.pod for one in before])) != owners(before)


async def softwires_of(session: aiohttp.ClientSession, pod: Object, key: bytes) -> list[Object] | None:
    """The same of one AFTR; None when it does not say."""
    url = f"{address_of(pod)}{SOFTWIRES}"
    try:
        async with session.get(url, headers=signed(key, "GET", SOFTWIRES), timeout=COUNT_PATIENCE) as answer:
            await say_if_refused(answer, pod)
            found: list[Object] | None = await answer.json() if answer.status == 200 else None
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return None
    return found


async def lost(session: aiohttp.ClientSession, every: Iterable[Report], text: str, key: bytes) -> int | None:
    """How many live mappings would end under another configuration; None when an AFTR that has some does not say."""
    counts = await asyncio.gather(*(count(session, one, text.encode(), key) for one in every if one.ready or one.said))
    return None if None in counts else sum(number or 0 for number in counts)


async def count(session: aiohttp.ClientSession, one: Report, text: bytes, key: bytes) -> int | None:
    """The same of one AFTR."""
    url = f"{address_of(one.pod)}{CHECK}"
    try:
        headers = signed(key, "POST", CHECK, text)
        async with session.post(url, data=text, headers=headers, timeout=COUNT_PATIENCE) as answer:
            await say_if_refused(answer, one.pod)
            found = await answer.json() if answer.status == 200 else {}
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return None
    number = found.get("lost") if isinstance(found, dict) else None
    return number if isinstance(number, int) else None


def signed(key: bytes, method: str, path: str, body: bytes = b"") -> dict[str, str]:
    """The headers of a question; none without a key."""
    if not key:
        return {}
    its = digest(body)
    return {DIGEST: its, SIGNATURE: signature(key, question(method, path, its))}


async def say_if_refused(answer: aiohttp.ClientResponse, pod: Object) -> None:
    """An AFTR does not take our signature: it has another key than ours, or none."""
    if answer.status == FORBIDDEN:
        metadata = pod["metadata"]
        secret = child(metadata["labels"][POOL_LABEL], "aftr")
        log.warning("an AFTR refuses us", pod=metadata["name"], secret=secret, reason=(await answer.text()).strip())
