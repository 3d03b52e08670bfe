"""Nodes that route to AFTRs on the pod network: a BIRD on each learns slots from its own pods, and tells the outside's router.

So do the CNIs that speak BGP.  All nodes have the addresses that the pool calls its peers: what a pod sends there, its own node answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml

from aftr_lab.record import Record
from dslite_cluster.plan import LINKS, Node, router_addresses
from dslite_contract.load import load_config
from dslite_contract.schema import Bgp, Peer
from running_cluster import Cluster
from running_lab import Lab

CONFIGURATION, CONTROL, LOG = "/run/bird.conf", "/run/bird.ctl", "/run/bird.log"  # of a node's own /run

# The newest owner's MED arrives at the router as it was: nodes and router are one AS.
NODE = """\
log "{log}" all;
router id {node.addresses[0].ip};
protocol device {{ scan time 10; }}
protocol kernel {{ ipv4 {{ import none; export where source = RTS_BGP; }}; }}
protocol kernel {{ ipv6 {{ import none; export where source = RTS_BGP; }}; }}
"""
PODS = """\
protocol bgp 'pods-{peer.name}' {{
    local {peer.address} as {peer.asn};
    neighbor range {pods} as {bgp.local_asn};
    dynamic name "pods-{peer.name}-";
    direct;
    hold time 9;
    keepalive time 3;
    {family} {{ import all; export none; gateway direct; }};
}}
protocol bgp 'router-{peer.name}' {{
    local {own} as {peer.asn};
    neighbor {router} as {peer.asn};
    direct;
    connect delay time 1;
    connect retry time 2;
    error wait time 1, 4;
    {family} {{ import none; export where source = RTS_BGP; next hop self; }};
}}
"""
ROUTER = """\
protocol bgp 'nodes-{peer.name}' {{
    local {router} as {peer.asn};
    neighbor range {link} as {peer.asn};
    dynamic name "nodes-{peer.name}-";
    direct;
    {family} {{ import all; export none; gateway direct; }};
}}
"""


def bgp_of(documents: list[dict[str, Any]]) -> Bgp:
    """That of a pool and its groups."""
    routing = load_config(yaml.safe_dump_all(documents)).pool.spec.routing
    assert routing is not None
    assert routing.bgp is not None
    return routing.bgp


def at(peer: Peer) -> int:
    """Where a pair of an IPv4 and an IPv6 address has the one that is of the peer's family."""
    return 0 if peer.address.version == 4 else 1


def node_conf(node: Node, bgp: Bgp) -> str:
    """bird.conf of a node."""
    parts = [NODE.format(log=LOG, node=node)]
    for peer in bgp.peers:
        own, router = node.addresses[at(peer)].ip, router_addresses()[at(peer)].ip
        words = {"peer": peer, "bgp": bgp, "pods": node.pods[at(peer)], "own": own, "router": router}
        parts.append(PODS.format(family=peer.families[0], **words))
    return "\n".join(parts)


def router_conf(bgp: Bgp) -> str:
    """What the outside's router has besides."""
    return "\n".join(
        ROUTER.format(peer=peer, router=router_addresses()[at(peer)].ip, link=LINKS[at(peer)], family=peer.families[0])
        for peer in bgp.peers
    )


@contextmanager
def nodes_with_bgp(cluster: Cluster, outside: Lab, bgp: Bgp) -> Iterator[None]:
    """Routes for the time of the block; the nodes' BIRDs end with the nodes."""
    before = Record(outside.name).router_file.read_text()
    configure_router(outside, before + router_conf(bgp))
    for number in range(1, len(cluster.nodes) + 1):
        start_bird(cluster, outside, Node(number), bgp)
    try:
        yield
    finally:
        configure_router(outside, before)


def start_bird(cluster: Cluster, outside: Lab, node: Node, bgp: Bgp) -> None:
    """With routes to B4s and to the internet, as a node's default route is."""
    four, six = (str(address.ip) for address in router_addresses())
    for bridge, family, gateway in (("access", "-6", six), ("internet", "-4", four)):
        for prefix in outside.state["bridges"][bridge]["prefixes"]:
            cluster.run(node.name, "ip", family, "route", "replace", prefix, "via", gateway)
    for peer in bgp.peers:
        cluster.run(node.name, "ip", "address", "replace", str(peer.address), "dev", "lo")
    write = f"cat > {CONFIGURATION} <<'EOF'\n{node_conf(node, bgp)}\nEOF"
    cluster.run(node.name, "sh", "-c", f"{write}\nbird -c {CONFIGURATION} -s {CONTROL}")


def configure_router(outside: Lab, text: str) -> None:
    """Give the router's BIRD this configuration."""
    record = Record(outside.name)
    record.router_file.write_text(text)
    said = outside.run("router", "birdc", "-s", str(record.router_socket), "configure")
    assert "Reconfigur" in said, said
