"""Option 64 as RFC 6334 has it, and the few messages that a probe needs, against bytes written by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv6Address
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dslite_operator.distribution.providers import dhcpv6, option64
from dslite_operator.distribution.providers.dhcpv6 import Question
from dslite_operator.distribution.providers.errors import OptionError, SilentError
from dslite_operator.distribution.providers.probe import Prober

NAME = "aftr.example.net"
WIRE = bytes.fromhex("04 61667472 07 6578616d706c65 03 6e6574 00")
LINK = IPv6Address("2001:db8:40::1")
ASKED = Question(bytes.fromhex("0003000102646c736c00"), LINK, b"port-7")
labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)


def test_o01_a_name_on_the_wire() -> None:
    assert option64.encode(NAME) == option64.encode(f"{NAME}.") == WIRE
    assert option64.decode(WIRE) == NAME


@given(st.lists(labels, min_size=1, max_size=3).map(lambda found: ".".join([*found, "net"])))
def test_o01_every_name_comes_back(name: str) -> None:
    assert option64.decode(option64.encode(name)) == name


@pytest.mark.parametrize("data", [b"", b"\0", WIRE[:-1], WIRE + WIRE, WIRE + b"\0", b"\xc0\x0c", b"\x05aftr"])
def test_o01_what_is_not_one_whole_name_is_refused(data: bytes) -> None:
    with pytest.raises(OptionError, match=r"is not one absolute name \(RFC 6334 section 3\)"):
        option64.decode(data)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "net",
        "-a.net",
        "a-.net",
        "a_b.net",
        "a..net",
        "10.0.0.1",
        "::1",
        "ä.net",
        "a.net,b.net",
        f"{'a' * 63}." * 4 + "net",
    ],
)
def test_o01_names_that_no_b4_could_use(name: str) -> None:
    with pytest.raises(OptionError, match=r"cannot be an AFTR's name"):
        option64.checked(name)


def test_a_question_as_a_relay_sends_it() -> None:
    data = dhcpv6.question(ASKED, b"\1\2\3")
    request = "0b0102030001000a0003000102646c736c00000600020040000800020000"
    relayed = "0c00" + LINK.packed.hex() + dhcpv6.PEER.hex() + "00120006" + b"port-7".hex() + "008700020000"
    assert data.hex() == relayed + f"0009{len(request) // 2:04x}" + request


def relayed(transaction: bytes, option: bytes = WIRE, kind: int = 7) -> bytes:
    reply = bytes([kind]) + transaction + bytes.fromhex("0040") + len(option).to_bytes(2, "big") + option
    return b"\x0d\0" + LINK.packed + dhcpv6.PEER + b"\0\x09" + len(reply).to_bytes(2, "big") + reply


def test_an_answer_is_that_to_our_question() -> None:
    assert dhcpv6.answer(relayed(b"abc"), b"abc") == {64: WIRE}
    assert dhcpv6.answer(relayed(b"abd"), b"abc") is None
    assert dhcpv6.answer(relayed(b"abc", kind=2), b"abc") is None
    assert dhcpv6.answer(b"\x0d", b"abc") is None
    assert dhcpv6.answer(b"\x07abc", b"abc") is None


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    for sent in (data, relayed(b"abc")[:38] + data, relayed(b"abc", data)):
        dhcpv6.answer(sent, b"abc")


class Server(asyncio.DatagramProtocol):
    """Answers a question after as many as it leaves out; first with something that is no answer."""

    def __init__(self, leaves_out: int, option: bytes = WIRE) -> None:
        self.left, self.option, self.heard = leaves_out, option, 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.heard += 1
        transaction = data[data.index(b"\x0b", 34) + 1 :][:3]
        self.transport.sendto(relayed(b"???"), addr)
        if self.heard > self.left:
            self.transport.sendto(relayed(transaction, self.option), addr)


@asynccontextmanager
async def answering(server: Server) -> AsyncIterator[Prober]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: server, local_addr=("::1", 0))
    try:
        yield Prober(IPv6Address("::1"), transport.get_extra_info("sockname")[1], first_wait_s=0.02)
    finally:
        transport.close()


async def test_a_question_is_asked_again_and_then_given_up() -> None:
    async with answering(Server(leaves_out=2)) as prober:
        assert await prober.ask(ASKED) == NAME
    async with answering(Server(leaves_out=3)) as prober:
        with pytest.raises(
            SilentError, match=r"the DHCPv6 server at ::1 port \d+ answers none of 3 .* from link 2001:db8:40::1"
        ):
            await prober.ask(ASKED)


async def test_o01_a_server_that_hands_out_what_is_no_name_is_said() -> None:
    async with answering(Server(0, b"\xc0\x0c")) as prober:
        with pytest.raises(OptionError, match=r"c00c in DHCPv6 option 64 is not one absolute name"):
            await prober.ask(ASKED)
