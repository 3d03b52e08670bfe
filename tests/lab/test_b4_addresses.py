"""Which of an interface's addresses is the B4's end of the softwire, as a real kernel lists them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from ipaddress import IPv6Address

import pytest

from aftr.b4.errors import InterfaceError
from aftr.b4.wan import Address, read_interface, softwire_source
from veths import inside, run

pytestmark = pytest.mark.lab

DELEGATED, RENUMBERED, ULA = "2001:db8:1000::1", "2001:db8:2000::1", "fd12:3456:789a::1"


@pytest.fixture(autouse=True)
def lan() -> Iterator[None]:
    """In a namespace with an interface `lan`."""
    namespace = f"b4-addresses-{os.getpid()}"
    run("ip", "netns", "add", namespace)
    try:
        run("ip", "-netns", namespace, "link", "add", "lan", "up", "type", "veth", "peer", "name", "far")
        with inside(namespace):
            yield
    finally:
        run("ip", "netns", "delete", namespace)


def add(address: str, *how: str) -> None:
    run("ip", "address", "add", f"{address}/64", "dev", "lan", "nodad", *how)


def ours() -> Address:
    return softwire_source(read_interface("lan"), None)


@pytest.mark.parametrize("addresses", [(DELEGATED, ULA), (ULA, DELEGATED)])
def test_b02_a_ula_is_never_our_end(addresses: tuple[str, str]) -> None:
    for address in addresses:
        add(address)
    assert ours() == (IPv6Address(DELEGATED), False)
    run("ip", "address", "delete", f"{DELEGATED}/64", "dev", "lan")
    with pytest.raises(InterfaceError, match="lan has no global IPv6 address, and a ULA is none"):
        ours()


@pytest.mark.parametrize("deprecated", [DELEGATED, RENUMBERED])
def test_b02_a_deprecated_address_is_our_end_only_while_it_is_alone(deprecated: str) -> None:
    run("ip", "address", "add", "192.168.1.1/24", "dev", "lan")
    for address in (DELEGATED, RENUMBERED):
        add(address, "preferred_lft", "0" if address == deprecated else "forever")
    (other,) = {DELEGATED, RENUMBERED} - {deprecated}
    assert ours() == (IPv6Address(other), False)
    run("ip", "address", "delete", f"{other}/64", "dev", "lan")
    assert ours() == (IPv6Address(deprecated), True)
