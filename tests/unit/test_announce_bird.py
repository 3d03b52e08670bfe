"""BIRD's control protocol against a server of the test's own, and what is said when BIRD is not there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_interface
from pathlib import Path

import pytest

from aftr.announce.announcer import Announcer, is_heard
from aftr.announce.bird import Bird
from aftr.announce.control import ask
from aftr.announce.errors import AnnounceError, BirdError
from contract_objects import ABSENT, full


@asynccontextmanager
async def answering(path: Path, answer: bytes, pieces: int = 1) -> AsyncIterator[list[bytes]]:
    """A server that greets like BIRD and answers each command alike, in so many pieces; yields the commands."""
    commands: list[bytes] = []

    served: list[asyncio.Event] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(done := asyncio.Event())
        with contextlib.suppress(OSError):
            await talk(reader, writer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        done.set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"0001 BIRD 2.0.12 ready.\n")
        while command := await reader.readline():
            commands.append(command)
            step = -(-len(answer) // pieces)
            for start in range(0, len(answer), step):
                writer.write(answer[start : start + step])
                await writer.drain()
                await asyncio.sleep(0.01)

    async with await asyncio.start_unix_server(serve, path):
        yield commands
        for done in served:
            await done.wait()


@pytest.mark.parametrize("pieces", [1, 7])
async def test_an_answer_is_read_to_its_last_line(tmp_path: Path, pieces: int) -> None:
    text = b"2002-Name Proto\n1002-tor6 BGP\n tor4 BGP\n0000 \n"
    async with answering(tmp_path / "ctl", text, pieces) as commands:
        lines = await ask(tmp_path / "ctl", "show protocols")
    assert lines == [(2002, "Name Proto"), (1002, "tor6 BGP"), (1002, "tor4 BGP"), (0, "")]
    assert commands == [b"show protocols\n"]


@pytest.mark.parametrize("code", [b"8002", b"9001"])
async def test_a_refusal_is_an_error_with_birds_words(tmp_path: Path, code: bytes) -> None:
    async with answering(tmp_path / "ctl", b"0002-Reading configuration\n" + code + b" bird.conf:3 syntax error\n"):
        with pytest.raises(
            BirdError, match=r"BIRD refuses `configure`: Reading configuration; bird\.conf:3 syntax error"
        ):
            await ask(tmp_path / "ctl", "configure")


@pytest.mark.parametrize("answer", [b"0000", b"nonsense\n", b""])
async def test_an_answer_that_never_ends_or_makes_no_sense_is_an_error(tmp_path: Path, answer: bytes) -> None:
    async with answering(tmp_path / "ctl", answer or b" "):
        with pytest.raises(BirdError, match="BIRD does not answer `show status`"):
            await ask(tmp_path / "ctl", "show status", seconds=0.2)


async def test_nobody_at_the_socket_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BirdError, match="does not answer"):
        await ask(tmp_path / "ctl", "show status")


async def test_a_socket_with_a_long_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BirdError, match="too long for a socket"):
        await Bird(tmp_path / ("x" * 120)).start("protocol device { }")


async def test_a_missing_bird_is_named_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BirdError, match="bird is not installed: run `sudo make system`"):
        await Bird(tmp_path / "run").start("protocol device { }")


async def test_without_routing_nothing_is_done_and_slots_are_remembered(tmp_path: Path) -> None:
    announcer = Announcer(full({"spec.routing": ABSENT}), {}, tmp_path)
    await announcer.start()
    await announcer.announce(3, 7)
    await announcer.announce(4, 1)
    await announcer.withdraw(4)
    assert (announcer.active, announcer.announced, announcer.bird_pid) == (False, {3: 7}, None)
    assert await announcer.sessions() == {}
    assert await announcer.linked()
    with pytest.raises(AnnounceError, match="epoch -1 cannot be announced"):
        await announcer.announce(3, -1)
    await announcer.reconfigure(full({"spec.routing": ABSENT}))
    await announcer.stop()
    assert list(tmp_path.iterdir()) == []


async def test_addresses_that_do_not_fit_are_refused_before_anything_starts(tmp_path: Path) -> None:
    announcer = Announcer(full(), {"access": (ip_interface("fe80::1/64"),)}, tmp_path)
    with pytest.raises(AnnounceError):
        await announcer.start()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("down", "heard"),
    [
        ([], True),
        (["tor6"], True),
        (["tor6", "tor4c"], True),
        (["tor6", "tor6b"], False),
        (["tor4b"], False),
        (["tor6b", "tor4"], True),
    ],
)
def test_a_session_on_each_interface_for_each_family_is_enough(down: list[str], heard: bool) -> None:
    """Of two routers on an arm, one may be away; another arm's do not stand in for it."""
    bgp = "spec.routing.bgp.peers"
    second = {
        f"{bgp}[3]": '{name: tor6b, interface: access, address: "2001:db8::2", asn: 64500, families: [ipv6]}',
        f"{bgp}[4]": "{name: tor4c, interface: internet, address: 198.51.100.253, asn: 64500, families: [ipv4]}",
    }
    routing = full(second).pool.spec.routing
    assert routing is not None
    assert routing.bgp is not None
    states = {peer.name: "Established" for peer in routing.bgp.peers} | dict.fromkeys(down, "Active")
    assert is_heard(routing.bgp.peers, states) == heard
    assert not is_heard(routing.bgp.peers, {}), "BIRD does not run"
