"""Servers that are killed, stand still, or are cut off in the middle of an update: nothing is lost, nothing is done twice."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from cut_line import UPDATE, line_to
from dns_servers import ZONE, Server
from dslite_operator.distribution.dns import server as server_module
from dslite_operator.distribution.dns.plan import Use
from dslite_operator.distribution.dns.resolving import resolved
from slot_names import HOUR, NOW, S0, S1, UNUSED, lines, names, wishes


async def test_a_killed_server_is_said_and_keeps_what_it_had(server: Server, tmp_path: Path) -> None:
    dns, wanted = names(server, tmp_path), wishes()
    await dns.keep(wanted, UNUSED, NOW)
    server.kill()
    standing = await dns.keep(wishes(4), Use({S0, S1}, HOUR), NOW)
    verdict = resolved([S0, S1], standing)
    assert (verdict.status, verdict.reason) == ("Unknown", "NoAnswer")
    assert verdict.message.startswith(f"DNS server {server.place} does not answer for the SOA of {ZONE}: ")
    assert f"s2.east.{ZONE}" not in standing.resolved
    server.start()
    assert server.records() == lines(wanted)
    assert (await dns.keep(wishes(4), UNUSED, NOW)).resolved == wishes(4).keys()


async def test_a_server_that_stands_still(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dns = names(server, tmp_path)
    with server.standing_still(), monkeypatch.context() as patched:
        patched.setattr(server_module, "TIMEOUT_S", 0.5)
        standing = await dns.keep(wishes(), UNUSED, NOW)
    late = "not in time: see that it runs, and the way to it"
    assert standing.trouble == tuple(
        f"DNS server {server.place} does not answer for the {what} of {ZONE}: {late}" for what in ("transfer", "SOA")
    )
    assert (await dns.keep(wishes(), UNUSED, NOW)).resolved == {S0, S1}


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_half_an_update_is_finished_later(
    server: Server, tmp_path: Path, cut: Literal["before", "after"]
) -> None:
    """The second of four messages is lost, or its answer."""
    async with line_to(server.place) as line:
        dns, wanted = names(line, tmp_path), wishes(512)
        line.cut, line.at = cut, 2
        standing = await dns.keep(wanted, UNUSED, NOW)
        there = 128 if cut == "before" else 256
        assert len(standing.resolved) == there
        assert standing.trouble == (
            f"DNS server {line.place} does not answer for the update of {ZONE}: EOF: see that it runs",
        )
        assert server.records() == lines(dict(list(wanted.items())[:there]))
        assert (await dns.keep(wanted, UNUSED, NOW)).resolved == wanted.keys()
        assert line.passed.count(UPDATE) == 2 + (512 - there) // 128
    assert server.records() == lines(wanted)


async def test_1024_slots_at_once_and_then_nothing_to_do(server: Server, tmp_path: Path) -> None:
    async with line_to(server.place) as line:
        dns, wanted = names(line, tmp_path), wishes(1024)
        assert (await dns.keep(wanted, UNUSED, NOW)).resolved == wanted.keys()
        assert server.records() == lines(wanted)
        assert line.passed.count(UPDATE) == 8
        line.passed.clear()
        standing = await dns.keep(wanted, UNUSED, NOW + HOUR / 60)
        assert resolved(list(wanted), standing).message == "1024 names resolve at every server"
        assert len(line.passed) == 2
        line.passed.clear()
        await dns.keep(wanted, UNUSED, NOW + HOUR)
        assert len(line.passed) > 1024
        await dns.keep({}, Use((), HOUR), NOW + HOUR)
        await dns.keep({}, Use((), HOUR), NOW + 3 * HOUR)
    assert server.records() == []
