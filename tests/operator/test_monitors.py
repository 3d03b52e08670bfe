"""ServiceMonitors, where the cluster knows them: a definition that comes and goes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from cluster_objects import pool
from kube_api import Api
from looking import look, operator_of
from operating import operator
from reconciling import get, give, knowing_monitors, tidy, until

pytestmark = pytest.mark.api


@pytest.fixture(autouse=True)
def tidied(api: Api) -> Iterator[None]:
    yield
    tidy(api)


def monitor(api: Api) -> Any:
    return get(api, "servicemonitor", "east-aftr")


def test_a_pool_is_scraped(api: Api, tmp_path: Path) -> None:
    with knowing_monitors(api):
        give(api, pool())
        with operator(api, tmp_path):
            until(lambda: bool(monitor(api)))
        made = monitor(api)
        assert (made["spec"]["endpoints"][0]["path"], made["spec"]["targetLabels"]) == ("/metrics", ["dslite.dev/pool"])
        service = get(api, "service", "east-aftr")["metadata"]["labels"]
        assert made["spec"]["selector"]["matchLabels"].items() <= service.items()


async def test_what_somebody_deletes_or_changes_comes_back(api: Api, session: aiohttp.ClientSession) -> None:
    """With the next list, once a minute."""
    with knowing_monitors(api):
        give(api, pool())
        looking = operator_of(api, session)

        async def after_a_list() -> Any:
            await looking._list_monitors()
            await look(api, looking.controller)
            return monitor(api)

        made = await after_a_list()
        api.kubectl("delete", "servicemonitor", "east-aftr", "-n", "edge")
        again = await after_a_list()
        assert again["spec"] == made["spec"]
        patch = ("--type=merge", "-p", json.dumps({"spec": {"endpoints": []}}))
        assert api.kubectl("patch", "servicemonitor", "east-aftr", "-n", "edge", *patch).returncode == 0
        assert (await after_a_list())["spec"] == made["spec"]


async def test_those_of_before_go_when_they_are_not_wanted(api: Api, session: aiohttp.ClientSession) -> None:
    """By the chart value monitoring.serviceMonitor: once, and nothing is left to write."""
    with knowing_monitors(api):
        give(api, pool())
        for monitoring in (True, False):
            looking = operator_of(api, session, monitoring=monitoring)
            await looking._list_monitors()
            await look(api, looking.controller)
            assert bool(monitor(api)) == monitoring
        await look(api, looking.controller)  # the StatefulSet is known now, so its Secret is seen to once more
        assert await look(api, looking.controller) == 0


async def test_nothing_is_written_of_what_went_with_its_definition(api: Api, session: aiohttp.ClientSession) -> None:
    looking = operator_of(api, session)
    with knowing_monitors(api):
        give(api, pool())
        await looking._list_monitors()
        await look(api, looking.controller)
        assert monitor(api)
    await looking._list_monitors()
    await look(api, looking.controller)
    assert await look(api, looking.controller) == 0
