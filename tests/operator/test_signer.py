"""Questions to AFTRs are signed with a key of each pool, the same after a restart; who refuses one has not answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from aftr.ops.status import NOT_SIGNED, signed
from cluster_objects import KEY, pod, pool, report, said
from dslite_operator import pods
from dslite_operator.signer import Signer, SignerError, secret
from status_port import status_port

EAST, WEST = pool(), pool("west", number=1)
TEXT = "kind: AftrPool"
ADDRESS = "127.0.0.73"


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    (tmp_path / "key").write_text("the installation's own\n")
    return Signer(tmp_path / "key")


def test_each_pool_has_a_key_that_a_restarted_operator_has_too(signer: Signer, tmp_path: Path) -> None:
    again = Signer(tmp_path / "key")
    assert signer.key_of(EAST) == again.key_of(EAST) != signer.key_of(WEST)
    assert secret(KEY, signer.key_of(EAST))["stringData"] == {"key": signer.key_of(EAST).decode()}
    assert secret(KEY, b"x")["metadata"]["name"] == "east-aftr"


def test_without_a_key_nothing_is_signed(tmp_path: Path) -> None:
    nobody = Signer(tmp_path / "none")
    assert nobody.key_of(EAST) == b""
    assert pods.signed(b"", "GET", pods.SOFTWIRES) == {}


def test_an_empty_key_is_no_key(tmp_path: Path) -> None:
    """AFTRs would refuse whatever is asked, since they have a Secret."""
    (tmp_path / "key").write_text("\n")
    with pytest.raises(
        SignerError, match="key is empty: put a key into the Secret, such as `openssl rand -hex 32` gives"
    ):
        Signer(tmp_path / "key")


@asynccontextmanager
async def aftr(key: bytes | None) -> AsyncIterator[None]:
    """A status port that answers whoever has this key; None, as an older one: anybody."""

    async def answer(request: web.Request) -> web.Response:
        return web.json_response([] if request.method == "GET" else {"lost": 7})

    agent = cast(Any, SimpleNamespace(question_key=lambda: key))

    async def status(_: web.Request) -> web.Response:
        return web.json_response(said({0: 1}))

    pages = (web.get(pods.SOFTWIRES, signed(answer)), web.post(pods.CHECK, signed(answer)), web.get("/status", status))
    async with status_port(ADDRESS, *pages, agent=agent):
        yield


REFUSED = [{"event": "an AFTR refuses us", "log_level": "warning", "pod": "aftr-0", "secret": "east-aftr",
            "reason": NOT_SIGNED.strip()}]  # fmt: skip


@pytest.mark.parametrize(
    ("asks", "whose", "lost", "softwires", "logged"),
    [
        (EAST, EAST, 7, [], []),
        (EAST, None, 7, [], []),
        (EAST, WEST, None, None, REFUSED * 2),
        (None, EAST, None, None, REFUSED * 2),  # as an operator of v0.1.0 asks: what may end mappings waits
        (None, None, 7, [], []),
    ],
)
async def test_a_question_is_answered_by_who_has_the_pools_key(
    signer: Signer,
    asks: dict[str, Any] | None,
    whose: dict[str, Any] | None,
    lost: int | None,
    softwires: list[Any] | None,
    logged: list[Any],
) -> None:
    one = report("aftr-0", {0: 1})
    one.pod["status"]["podIP"] = ADDRESS
    ready = pod("aftr-0")
    ready["status"]["podIP"] = ADDRESS
    key, its = signer.key_of(asks) if asks else b"", signer.key_of(whose) if whose else None
    async with aftr(its), aiohttp.ClientSession() as session:
        with capture_logs() as lines:
            assert await pods.lost(session, [one], TEXT, key) == lost
            assert await pods.softwires(session, [ready], key, 1) == softwires
    assert lines == logged
