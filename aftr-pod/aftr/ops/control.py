"""The control socket: HTTP over a Unix socket, for `aftr show`.  Whoever may open the socket may see every subscriber's bindings.

    GET /v1/slots   /v1/counters   /v1/verify   /v1/subscribers?slot=&limit=   /v1/bindings?slot=&softwire=&limit=
        /v1/lookup?address=&port=&protocol=
    POST /v1/accept   /v1/repair

Answers are JSON; a refusal is {"error": sentence} with status 400.  Tables are read and sent in pieces.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Network
from typing import Any

from aiohttp import web

from aftr.ops.agent_view import AgentView
from aftr.ops.snapshot import at_most, binding_pieces, holders, softwire_pieces, subscriber_pieces
from aftr.ops.tables import slots
from aftr.state.pod import Pod
from dslite_contract.errors import DsliteError
from dslite_contract.slots import check_slot

PORT_MAX = 65535
AGENT = web.AppKey("agent", AgentView)
Pieces = Iterator[list[dict[str, Any]]]


class QueryError(DsliteError):
    """A query that the control socket does not understand."""


def number_in(request: web.Request, name: str) -> int | None:
    """A number from the query, None if it is not there."""
    value = request.query.get(name)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit()):
        raise QueryError(f"{name} {value!r} is not a number")
    return int(value)


def slots_in(request: web.Request, pod: Pod) -> list[int]:
    """The open slots that the query means."""
    slot = number_in(request, "slot")
    if slot is None:
        return pod.open_slots
    check_slot(pod.configuration.pool, slot)
    if not pod.slot(slot):
        raise QueryError(f"slot {slot} is not open here; open are {', '.join(map(str, pod.open_slots)) or 'none'}")
    return [slot]


def softwire_in(request: web.Request) -> IPv6Network | None:
    """The B4s that the query means: an address or a prefix."""
    value = request.query.get("softwire")
    try:
        return None if value is None else IPv6Network(value, strict=False)
    except ValueError:
        raise QueryError(f"softwire {value!r} is neither an IPv6 address nor a prefix") from None


async def stream(request: web.Request, pieces: Pieces) -> web.StreamResponse:
    """A JSON list, read in another thread and sent piece by piece."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    loop, before = asyncio.get_running_loop(), "[\n"
    while (piece := await loop.run_in_executor(None, next, pieces, None)) is not None:
        if piece:
            await response.write((before + ",\n".join(map(json.dumps, piece))).encode())
            before = ",\n"
    await response.write(b"[]\n" if before == "[\n" else b"\n]\n")
    await response.write_eof()
    return response


async def get_slots(request: web.Request) -> web.StreamResponse:
    """Each slot with how full it is."""
    agent = request.app[AGENT]
    entries = await asyncio.get_running_loop().run_in_executor(None, slots, agent.pod)
    return web.json_response(with_members(agent, entries))


def with_members(agent: AgentView, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Slots with what the pool's members do with them, where it has a store."""
    states = agent.slot_states() or [{}] * len(entries)
    return [entry | state for entry, state in zip(entries, states, strict=True)]


async def get_counters(request: web.Request) -> web.StreamResponse:
    """The JSON of docs/counters.md."""
    return web.json_response(request.app[AGENT].pod.counters())


async def get_verify(request: web.Request) -> web.StreamResponse:
    """What does not hold between the tables, and between them and the store: an empty list when all is well."""
    agent = request.app[AGENT]
    problems = await asyncio.get_running_loop().run_in_executor(None, agent.verify)
    if agent.member is not None:
        problems += await agent.member.compare()
    return web.json_response(problems)


async def post_accept(request: web.Request) -> web.StreamResponse:
    """End the quarantine of all slots served here: what was in it."""
    return web.json_response(await member_of(request).accept())


async def post_repair(request: web.Request) -> web.StreamResponse:
    """Store anew what the store holds wrongly: what that was."""
    return web.json_response(await member_of(request).repair())


def member_of(request: web.Request) -> Any:
    """The member of the pool that this AFTR is."""
    member = request.app[AGENT].member
    if member is None:
        raise QueryError("this AFTR has no store (spec.store): there is nothing to accept or to repair")
    return member


async def get_bindings(request: web.Request) -> web.StreamResponse:
    """Mappings, of one slot or of some B4s if asked for."""
    pod = request.app[AGENT].pod
    pieces = binding_pieces(pod, slots_in(request, pod), softwire_in(request))
    return await stream(request, at_most(pieces, number_in(request, "limit") or 0))


async def get_lookup(request: web.Request) -> web.StreamResponse:
    """Who has an external endpoint now."""
    pod, query = request.app[AGENT].pod, request.query
    protocol, port = query.get("protocol", ""), number_in(request, "port")
    try:
        address = IPv4Address(query.get("address", ""))
    except ValueError:
        raise QueryError(f"address {query.get('address')!r} is not an IPv4 address") from None
    if protocol not in ("tcp", "udp", "icmp") or port is None or port > PORT_MAX:
        raise QueryError("an endpoint is an address, a port up to 65535, and tcp, udp or icmp")
    loop = asyncio.get_running_loop()
    return web.json_response(await loop.run_in_executor(None, holders, pod, address, port, protocol))


async def get_subscribers(request: web.Request) -> web.StreamResponse:
    """Subscribers, of one slot if asked for."""
    pod = request.app[AGENT].pod
    pieces = subscriber_pieces(pod, slots_in(request, pod))
    return await stream(request, at_most(pieces, number_in(request, "limit") or 0))


async def get_softwires(request: web.Request) -> web.StreamResponse:
    """B4s that have mappings in the slots served here, each with its sessions."""
    agent = request.app[AGENT]
    served = [entry["slot"] for entry in with_members(agent, slots(agent.pod)) if entry["state"] == "open"]
    return await stream(request, softwire_pieces(agent.pod, served))


@web.middleware
async def say_why(request: web.Request, handler: Any) -> web.StreamResponse:
    """An error of the user's as a sentence."""
    try:
        response: web.StreamResponse = await handler(request)
    except DsliteError as error:
        return web.json_response({"error": str(error)}, status=400)
    return response


def control_routes() -> list[web.RouteDef]:
    """What only the Unix socket answers."""
    return [
        web.get("/v1/slots", get_slots),
        web.get("/v1/counters", get_counters),
        web.get("/v1/verify", get_verify),
        web.post("/v1/accept", post_accept),
        web.post("/v1/repair", post_repair),
        web.get("/v1/bindings", get_bindings),
        web.get("/v1/lookup", get_lookup),
        web.get("/v1/subscribers", get_subscribers),
    ]
