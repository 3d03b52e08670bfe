"""From the kernel's links, routes and neighbours to the engine's table of next hops."""

from __future__ import annotations

import ipaddress

from aftr.io.device import Interface
from aftr.io.links import Link
from aftr.io.neighbours import Address, Network, NextHop, Route, next_hops

ACCESS, INTERNET = Interface("access", "access", "eth0"), Interface("internet", "internet", "eth1")
MAC0, MAC1 = bytes.fromhex("020000000010"), bytes.fromhex("020000000011")
LINKS = [Link("eth0", 10, 1500, MAC0, up=True), Link("eth1", 11, 1500, MAC1, up=True)]
ROUTER, OTHER = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")


def net(text: str) -> Network:
    return ipaddress.ip_network(text)


def ip(text: str) -> Address:
    return ipaddress.ip_address(text)


def test_default_routes_by_side() -> None:
    routes = [
        Route(net("::/0"), 10, ip("fe80::1")),
        Route(net("0.0.0.0/0"), 11, ip("198.18.0.1")),
        Route(net("::/0"), 11, ip("fe80::2")),  # IPv6 on the internet side is not ours
        Route(net("0.0.0.0/0"), 12, ip("10.0.0.1")),  # nor is the pod's own network
    ]
    known = {(10, ip("fe80::1")): ROUTER}
    assert next_hops([ACCESS, INTERNET], LINKS, routes, known) == [
        NextHop("access", net("::/0"), ip("fe80::1"), ROUTER, MAC0),
        NextHop("internet", net("0.0.0.0/0"), ip("198.18.0.1"), None, MAC1),
    ]


def test_longer_prefixes_first_and_equal_ones_together() -> None:
    routes = [
        Route(net("::/0"), 10, ip("fe80::1")),
        Route(net("2001:db8:1000::/36"), 10, ip("fe80::1"), weight=2),
        Route(net("2001:db8:1000::/36"), 10, ip("fe80::2"), weight=1),
    ]
    table = next_hops([ACCESS], LINKS, routes, {(10, ip("fe80::1")): ROUTER, (10, ip("fe80::2")): OTHER})
    assert [(str(hop.prefix), hop.mac, hop.weight) for hop in table] == [
        ("2001:db8:1000::/36", ROUTER, 2),
        ("2001:db8:1000::/36", OTHER, 1),
        ("::/0", ROUTER, 1),
    ]


def test_lowest_metric_counts() -> None:
    routes = [Route(net("::/0"), 10, ip("fe80::1"), metric=1024), Route(net("::/0"), 10, ip("fe80::2"), metric=512)]
    assert [hop.gateway for hop in next_hops([ACCESS], LINKS, routes, {})] == [ip("fe80::2")]


def test_hosts_on_the_link() -> None:
    routes = [Route(net("198.18.0.0/24"), 11, None)]
    known = {
        (11, ip("198.18.0.80")): OTHER,
        (11, ip("203.0.113.1")): ROUTER,  # not in the prefix
        (10, ip("198.18.0.81")): ROUTER,  # not on this link
    }
    assert next_hops([INTERNET], LINKS, routes, known) == [
        NextHop("internet", net("198.18.0.80/32"), ip("198.18.0.80"), OTHER, MAC1),
        NextHop("internet", net("198.18.0.0/24"), None, None, MAC1),
    ]


def test_ipv4_by_an_ipv6_gateway() -> None:
    routes = [Route(net("0.0.0.0/0"), 11, ip("fe80::1"))]
    assert next_hops([INTERNET], LINKS, routes, {(11, ip("fe80::1")): ROUTER})[0].mac == ROUTER


def test_one_armed_interface_has_both_families() -> None:
    both = Interface("one", "both", "eth0")
    routes = [Route(net("::/0"), 10, ip("fe80::1")), Route(net("0.0.0.0/0"), 10, ip("192.0.2.1"))]
    assert [hop.prefix.version for hop in next_hops([both], LINKS, routes, {})] == [4, 6]


def test_link_that_is_down_or_absent_has_none() -> None:
    routes = [Route(net("::/0"), 10, ip("fe80::1"))]
    down = [Link("eth0", 10, 1500, MAC0, up=False)]
    assert next_hops([ACCESS], down, routes, {}) == next_hops([ACCESS], [], routes, {}) == []
