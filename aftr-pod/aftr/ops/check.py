"""POST /v1/check: how many live mappings would end under another configuration.  The operator asks before it brings one about."""

from __future__ import annotations

import asyncio

from aiohttp import web

from aftr.ops.agent_view import AgentView
from aftr.ops.control import AGENT
from aftr.ops.reload import mappings_lost
from dslite_contract.load import load_config
from dslite_contract.restart import in_running_order

LARGEST_BYTES = 1 << 20
ONE_AT_A_TIME = web.AppKey("one-at-a-time", asyncio.Lock)


async def post_check(request: web.Request) -> web.Response:
    """The body is the configuration in YAML; {"lost": number}, or 400 and why it is wrong."""
    agent, text = request.app[AGENT], await request.text()
    async with request.app[ONE_AT_A_TIME]:
        lost = await asyncio.get_running_loop().run_in_executor(None, count, agent, text)
    return web.json_response({"lost": lost})


def count(agent: AgentView, text: str) -> int:
    """Mappings of this pod that would end.  Raises ConfigurationError."""
    running = agent.pod.configuration
    return mappings_lost(agent.pod, running, in_running_order(running, load_config(text)))
