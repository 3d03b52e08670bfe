"""The few DHCPv6 messages of a probe, as bytes (RFC 8415): an Information-request through a relay, and its answer."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address

from dslite_operator.distribution.providers import option64

INFORMATION_REQUEST, REPLY, RELAY_FORWARD, RELAY_REPLY = 11, 7, 12, 13  # section 7.3
CLIENT_ID, ORO, ELAPSED_TIME, RELAY_MESSAGE, INTERFACE_ID = 1, 6, 8, 9, 18  # section 21
RELAY_PORT = 135  # RFC 8357: the answer comes to the port that the question came from
RELAY_HEADER = struct.Struct("!BB16s16s")
OPTION = struct.Struct("!HH")
PEER = IPv6Address("fe80::d5:1:7e").packed  # the client that our relay forwards for, of a link of its own


@dataclass(frozen=True)
class Question:
    """Who asks, and from which link (section 19.1.1): `link` is an address of the subnet, `interface_id` the relay's option 18."""

    duid: bytes
    link: IPv6Address
    interface_id: bytes | None = None


def question(asked: Question, transaction: bytes) -> bytes:
    """A Relay-forward with an Information-request for option 64; `transaction` has 3 bytes."""
    request = bytes([INFORMATION_REQUEST]) + transaction
    request += _option(CLIENT_ID, asked.duid) + _option(ORO, struct.pack("!H", option64.CODE))
    request += _option(ELAPSED_TIME, bytes(2))
    interface = b"" if asked.interface_id is None else _option(INTERFACE_ID, asked.interface_id)
    header = RELAY_HEADER.pack(RELAY_FORWARD, 0, asked.link.packed, PEER)
    return header + interface + _option(RELAY_PORT, bytes(2)) + _option(RELAY_MESSAGE, request)


def answer(data: bytes, transaction: bytes) -> dict[int, bytes] | None:
    """The options of the Reply to that transaction; None if `data` is anything else."""
    if len(data) < RELAY_HEADER.size or data[0] != RELAY_REPLY:
        return None
    reply = dict(_options(data[RELAY_HEADER.size :])).get(RELAY_MESSAGE, b"")
    if reply[:4] != bytes([REPLY]) + transaction:
        return None
    return dict(_options(reply[4:]))


def _option(code: int, data: bytes) -> bytes:
    return OPTION.pack(code, len(data)) + data


def _options(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Code and data of each option; what is cut off is left out."""
    while len(data) >= OPTION.size:
        code, length = OPTION.unpack_from(data)
        if len(data) < OPTION.size + length:
            return
        yield code, data[OPTION.size : OPTION.size + length]
        data = data[OPTION.size + length :]
