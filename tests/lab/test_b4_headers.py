"""The reference B4's arithmetic: headers, options, congestion, command line. No root needed."""

from __future__ import annotations

import struct
import subprocess
import sys

import pytest

from aftr.b4.errors import AftrNameError
from aftr.b4.relay import replace_tos
from aftr.b4.softwire import decapsulated_tos, encapsulation_limit_options, flow_label
from aftr.b4.wan import resolve_aftr
from packets import checksum

NOT_ECT, ECT1, ECT0, CE = range(4)


def ipv4(tos: int = 0, fragment: int = 0, ports: tuple[int, int] = (1000, 80), source: int = 0xC0A8010A) -> bytearray:
    header = struct.pack("!BBHHHBBHII", 0x45, tos, 28, 7, fragment, 64, 17, 0, source, 0xC6120050)
    packet = bytearray(header + struct.pack("!HHHH", *ports, 8, 0))
    packet[10:12] = checksum(bytes(packet[:20])).to_bytes(2, "big")
    return packet


def test_d24_encapsulation_limit_is_what_ip6tnl_sends() -> None:
    assert encapsulation_limit_options(4) == bytes(
        [0, 0, 4, 1, 4, 1, 1, 0]
    )  # the kernel writes the next header over byte 0


def test_d27_flow_label_is_of_the_flow_and_never_zero() -> None:
    labels = {flow_label(bytes(ipv4(ports=(port, 80)))) for port in range(1, 200)}
    assert len(labels) > 190
    assert all(0 < label < 1 << 20 for label in labels)


def test_d27_all_fragments_of_a_packet_have_one_label() -> None:
    first = ipv4(fragment=0x2000, ports=(1000, 80))
    second = ipv4(fragment=0x2001, ports=(4711, 9))
    last = ipv4(fragment=0x0002, ports=(77, 1))
    assert flow_label(bytes(first)) == flow_label(bytes(second)) == flow_label(bytes(last))


def test_d27_options_are_not_taken_for_ports() -> None:
    with_options, other = ipv4(ports=(1, 2)), ipv4(ports=(3, 4))
    with_options[0] = other[0] = 0x46
    assert flow_label(bytes(with_options)) == flow_label(bytes(other))


@pytest.mark.parametrize(
    ("inner", "results"),  # RFC 6040 figure 4, a row of it: for each outer header in the order of their numbers
    [
        (NOT_ECT, [NOT_ECT, NOT_ECT, NOT_ECT, None]),
        (ECT1, [ECT1, ECT1, ECT1, CE]),
        (ECT0, [ECT0, ECT1, ECT0, CE]),
        (CE, [CE, CE, CE, CE]),
    ],
)
def test_d02_ecn_of_both_headers_at_decapsulation(inner: int, results: list[int | None]) -> None:
    assert [decapsulated_tos(inner, outer) for outer in (NOT_ECT, ECT1, ECT0, CE)] == results


def test_d02_dscp_comes_from_the_outer_header() -> None:
    assert decapsulated_tos(0x28 << 2 | ECT0, 0x0A << 2 | CE) == 0x0A << 2 | CE


@pytest.mark.parametrize("source", [0xC0A8010A, 0x00000000, 0xFFFFFFFF, 0x0A0BF52E])
@pytest.mark.parametrize("tos", [0, 1, 0xB8, 0xFF])
def test_d02_checksum_is_right_after_the_tos_changed(tos: int, source: int) -> None:
    packet = ipv4(tos=0x2A, source=source)
    replace_tos(packet, tos)
    assert packet[1] == tos
    assert checksum(bytes(packet[:20])) == 0


@pytest.mark.parametrize("inner", ["192.0.0.1", "192.0.0.7", "192.0.0.8", "192.168.1.1", "x"])
def test_b03_only_the_b4s_own_addresses_of_the_29(inner: str) -> None:
    command = [sys.executable, "-m", "aftr.b4", "--aftr", "2001:db8::1", "--wan", "lo", "--inner", inner]
    refused = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert refused.returncode == 2
    assert "is not one of 192.0.0.2 to 192.0.0.6" in refused.stderr


def test_a_missing_wan_is_said_in_one_sentence() -> None:
    command = [sys.executable, "-m", "aftr.b4", "--aftr", "2001:db8::1", "--wan", "nothere"]
    refused = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert refused.returncode == 78
    assert refused.stderr == "aftr b4: interface 'nothere' does not exist: name an existing one with --wan or --lan\n"


def test_the_aftr_may_be_an_address_or_a_name() -> None:
    assert str(resolve_aftr("2001:db8:0::1")) == "2001:db8::1"
    with pytest.raises(AftrNameError, match=r"'aftr\.invalid' has no IPv6 address"):
        resolve_aftr("aftr.invalid")  # RFC 6761: never exists
