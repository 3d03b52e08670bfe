"""The table of next hops follows a real kernel: resolved gateways, ECMP, changes, links that go and return."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from aftr.io.device import Interface
from aftr.io.neighbours import Neighbours, NextHop
from veths import Names, inside, mac_of, plug, run, two_namespaces

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]

INTERFACES = [Interface("a", "access", "access"), Interface("i", "internet", "internet")]


@pytest.fixture
def namespaces() -> Iterator[Names]:
    with two_namespaces() as names:
        for name in names:
            run("ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=0")
            run("ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
        plug(*names, "access")
        plug_internet(names)
        run("ip", "-n", names[0], "address", "add", "2001:db8:ffff::11/64", "dev", "access", "nodad")
        for host in (1, 2):
            run("ip", "-n", names[1], "address", "add", f"2001:db8:ffff::{host}/64", "dev", "access-peer", "nodad")
        yield names


def plug_internet(names: Names) -> None:
    plug(*names, "internet")
    run("ip", "-n", names[0], "address", "add", "198.18.0.11/24", "dev", "internet")
    run("ip", "-n", names[1], "address", "add", "198.18.0.1/24", "dev", "internet-peer")
    run("ip", "-n", names[1], "address", "add", "198.18.0.80/24", "dev", "internet-peer")
    route(names, "add", "default", "via", "198.18.0.1")


def route(names: Names, *words: str) -> None:
    run("ip", "-n", names[0], *(("-6",) if any("2001:" in word for word in words) else ()), "route", *words)


class Watcher:
    def __init__(self) -> None:
        self.tables: list[list[NextHop]] = []
        self.link_events = 0
        self.neighbours = Neighbours(INTERFACES, self.tables.append, self.count)

    def count(self, _: object) -> None:
        self.link_events += 1

    def rows(self, interface: str, prefix: str) -> list[tuple[str, str | None]]:
        return [
            (str(hop.gateway), hop.mac.hex(":") if hop.mac else None)
            for hop in self.tables[-1]
            if (hop.interface, str(hop.prefix)) == (interface, prefix)
        ]

    async def until(self, probe: Callable[[], bool]) -> None:
        async with asyncio.timeout(8):
            while not probe():  # noqa: ASYNC110
                await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def watching(names: Names) -> AsyncIterator[Watcher]:
    with inside(names[0]):
        watcher = Watcher()
        await watcher.neighbours.start()
        try:
            yield watcher
        finally:
            await watcher.neighbours.stop()


async def test_gateways_are_resolved_and_followed(namespaces: Names) -> None:
    access, internet = mac_of(namespaces[1], "access-peer"), mac_of(namespaces[1], "internet-peer")
    async with watching(namespaces) as watcher:
        assert watcher.rows("i", "0.0.0.0/0")  # there from the first table, resolved or not
        await watcher.until(lambda: watcher.rows("i", "0.0.0.0/0") == [("198.18.0.1", internet)])
        both = ("nexthop", "via", "2001:db8:ffff::1", "nexthop", "via", "2001:db8:ffff::2")
        route(namespaces, "add", "2001:db8:1000::/36", *both)
        two = [("2001:db8:ffff::1", access), ("2001:db8:ffff::2", access)]
        await watcher.until(lambda: watcher.rows("a", "2001:db8:1000::/36") == two)
        assert watcher.rows("a", "2001:db8:ffff::1/128") == two[:1]
        assert watcher.rows("a", "2001:db8:ffff::/64") == [("None", None)]
        route(namespaces, "del", "2001:db8:1000::/36")
        await watcher.until(lambda: not watcher.rows("a", "2001:db8:1000::/36"))
        run("ip", "-n", namespaces[1], "link", "set", "internet-peer", "address", "02:00:00:00:00:55")
        run("ip", "netns", "exec", namespaces[1], "ping", "-c1", "-W1", "198.18.0.11")
        await watcher.until(lambda: watcher.rows("i", "0.0.0.0/0") == [("198.18.0.1", "02:00:00:00:00:55")])
        assert watcher.neighbours.trouble == ""


async def test_absent_gateway_is_asked_for_until_it_answers(namespaces: Names) -> None:
    route(namespaces, "replace", "default", "via", "198.18.0.99")
    async with watching(namespaces) as watcher:
        await asyncio.sleep(3.5)  # the kernel gave up once
        assert watcher.rows("i", "0.0.0.0/0") == [("198.18.0.99", None)]
        run("ip", "-n", namespaces[1], "address", "add", "198.18.0.99/24", "dev", "internet-peer")
        internet = mac_of(namespaces[1], "internet-peer")
        await watcher.until(lambda: watcher.rows("i", "0.0.0.0/0") == [("198.18.0.99", internet)])
        assert len(watcher.tables) < 10


async def test_hosts_on_the_link_are_found_when_asked_for(namespaces: Names) -> None:
    async with watching(namespaces) as watcher:
        assert not watcher.rows("i", "198.18.0.80/32")
        watcher.neighbours.resolve("i", ipaddress.ip_address("198.18.0.80"))
        internet = mac_of(namespaces[1], "internet-peer")
        await watcher.until(lambda: watcher.rows("i", "198.18.0.80/32") == [("198.18.0.80", internet)])


async def test_link_goes_and_returns(namespaces: Names) -> None:
    async with watching(namespaces) as watcher:
        await watcher.until(lambda: watcher.rows("i", "0.0.0.0/0") != [])
        before = watcher.link_events
        run("ip", "-n", namespaces[1], "link", "del", "internet-peer")
        await watcher.until(lambda: not watcher.rows("i", "0.0.0.0/0"))
        assert watcher.link_events > before
        plug_internet(namespaces)
        internet = mac_of(namespaces[1], "internet-peer")
        await watcher.until(lambda: watcher.rows("i", "0.0.0.0/0") == [("198.18.0.1", internet)])
        assert watcher.tables[-1] == watcher.neighbours.table
        assert {hop.source_mac.hex(":") for hop in watcher.tables[-1] if hop.interface == "i"} == {
            mac_of(namespaces[0], "internet")
        }


async def test_overflow_of_events_is_survived(namespaces: Names) -> None:
    async with watching(namespaces) as watcher:
        for _ in range(2):
            batch = "".join(
                f"neigh replace 198.18.0.{host} lladdr 02:00:00:00:01:{host:02x} dev internet\n" * 8
                for host in range(100, 200)
            )
            process = await asyncio.create_subprocess_exec(
                "ip", "-n", namespaces[0], "-batch", "-", stdin=asyncio.subprocess.PIPE
            )
            await process.communicate(batch.encode())
        await watcher.until(lambda: len(watcher.rows("i", "198.18.0.199/32")) == 1)
        assert watcher.neighbours.trouble == ""
