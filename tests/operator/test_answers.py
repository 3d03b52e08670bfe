"""What a status port answers is a status, or it is no answer: nothing of it stops a look at the pool."""

from __future__ import annotations

import copy
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from cluster_objects import IDS, KEY, SETTINGS, configured, pod, pool, report, said
from dslite_operator import pods
from dslite_operator.answers import is_status
from dslite_operator.controller import uses
from dslite_operator.desired import render
from dslite_operator.status import Facts, Report, owners, pool_status
from status_port import status_port

ADDRESS = "127.0.0.73"
RENDERED = render(KEY, IDS, None, configured(pool()), "", SETTINGS)
WORDS = {**said({0: 1}), "slots": [*said({0: 1})["slots"], {"slot": 1, "state": "closed"}]}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda part: st.lists(part, max_size=2) | st.dictionaries(st.text(max_size=3), part, max_size=2),
    max_leaves=4,
)


def places(found: Any) -> list[tuple[Any, ...]]:
    """The way to each part of a document."""
    parts = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
    return [(), *((key, *rest) for key, part in parts for rest in places(part))]


@given(st.data())
def test_one_part_that_is_anything_or_is_gone_is_found_out_or_does_no_harm(data: st.DataObject) -> None:
    words: Any = {"all": copy.deepcopy(WORDS)}
    whole: tuple[Any, ...] = ("all", *data.draw(st.sampled_from(places(WORDS))))
    way, last, part = whole[:-1], whole[-1], words
    for key in way:
        part = part[key]
    if data.draw(st.booleans()) and way:
        del part[last]
    else:
        part[last] = data.draw(JSON)
    if is_status(words["all"]):
        one = Report(pod("a"), words["all"])
        assert one.mappings is not None
        uses([one])
        owners([one])
        pool_status(Facts(KEY, 1, 1, RENDERED, {}, (one,)), pool(), "now")


def test_a_slot_that_is_served_has_its_numbers() -> None:
    assert is_status(WORDS)
    assert not is_status({**WORDS, "slots": [{"slot": 0, "state": "open"}]})


@pytest.mark.parametrize("words", [[], {}, None, "x", {"slots": [1]}])
async def test_what_is_none_is_no_answer(session: aiohttp.ClientSession, words: Any) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response(words)

    ready = pod("a")
    ready["status"]["podIP"] = ADDRESS
    async with status_port(ADDRESS, web.get("/status", answer), web.post(pods.CHECK, answer)):
        (silent,) = await pods.reports(session, [ready])
        assert silent.said is None
        one = report("a", {0: 1})
        one.pod["status"]["podIP"] = ADDRESS
        assert await pods.lost(session, [one], "", b"") is None
