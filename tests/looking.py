"""Looks of a controller in this process, one at a time, on a real API server."""

from __future__ import annotations

import aiohttp
from kubernetes import client, config

from cluster_objects import KEY
from dslite_operator.controller import Controller
from dslite_operator.main import Operator
from kube_api import Api
from operating import settings
from reconciling import get


def operator_of(api: Api, session: aiohttp.ClientSession, **changed: object) -> Operator:
    """Not at work: no watch tells it anything."""
    config.load_kube_config(str(api.kubeconfig))  # type: ignore[no-untyped-call]
    return Operator(client.ApiClient(), settings(**changed), ("edge",), session)


async def look(api: Api, looking: Controller) -> int:
    """At the pool east, its groups and pods as they are now, and what it made itself; how many requests were no GET."""
    for kind in ("aftrpool", "b4group", "pod"):
        for body in get(api, kind)["items"]:
            looking.cache.put(body)
    before = looking._writer.writes
    await looking.reconcile(KEY)
    return looking._writer.writes - before
