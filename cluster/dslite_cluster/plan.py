"""Everything that a cluster will consist of: namespaces, addresses, names. Pure; nothing is made here.

kubectl ─ 127.0.0.1:PORT ─ haproxy ─┐ (into the namespace `plane`)
                             API server, etcd, DNS ─ 172.18.0.1 ─┬─ node-1: kubelet, containerd, kube-proxy, pods 10.244.1.0/24
                                                                 └─ node-2 …
outside's router ─ access, internet (bridges in `fabric`) ─ access0 … of each node ─ (moved into pods by CNI)
                 └ 172.18.0.254, on the nodes' link: pods' way to the provider's servers
"""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network, ip_interface
from typing import Any

LINKS = (IPv4Network("172.18.0.0/24"), IPv6Network("fd18::/64"))  # control plane and nodes
PODS = (IPv4Network("10.244.0.0/16"), IPv6Network("fd10:244::/56"))
SERVICES = (IPv4Network("10.96.0.0/16"), IPv6Network("fd10:96::/112"))
API_SERVICE = SERVICES[0][1]
PLANE_HOST, FIRST_NODE_HOST, ROUTER_HOST = 1, 11, 254
API_PORT = 6443
DOMAIN = "cluster.local"
SIDES = ("access", "internet")  # of an AFTR: kinds of devices, bridges of the fabric
RESOURCES = {side: f"example.com/aftr_{side}" for side in SIDES}  # what a pod requests to get a device
MTU = 1500


@dataclass(frozen=True)
class Node:
    """Node number `number`, from 1."""

    number: int

    @property
    def name(self) -> str:
        return f"node-{self.number}"

    @property
    def addresses(self) -> tuple[IPv4Interface | IPv6Interface, ...]:
        return _on_links(FIRST_NODE_HOST + self.number - 1)

    @property
    def pods(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Its pods' subnets: 10.244.1.0/24 and fd10:244:0:1::/64 for the first."""
        return (list(PODS[0].subnets(new_prefix=24))[self.number], list(PODS[1].subnets(new_prefix=64))[self.number])


@dataclass(frozen=True)
class Plan:
    """All of a cluster. Its namespaces are `dsc-CLUSTER-PART`."""

    cluster: str
    nodes: tuple[Node, ...]
    devices: int  # of each side, on each node
    port: int  # of the API server on this machine's loopback address

    def namespace(self, part: str) -> str:
        return f"dsc-{self.cluster}-{part}"

    def parts(self) -> Iterator[str]:
        yield from ("plane", "fabric")
        yield from (node.name for node in self.nodes)


def make_plan(cluster: str, nodes: int, devices: int, port: int) -> Plan:
    """The cluster that was asked for."""
    return Plan(cluster, tuple(Node(number) for number in range(1, nodes + 1)), devices, port)


def _on_links(host: int) -> tuple[IPv4Interface | IPv6Interface, ...]:
    return tuple(ip_interface(f"{link[host]}/{link.prefixlen}") for link in LINKS)


def plane_addresses() -> tuple[IPv4Interface | IPv6Interface, ...]:
    """The control plane's own, on the link of the nodes."""
    return _on_links(PLANE_HOST)


def router_addresses() -> tuple[IPv4Interface | IPv6Interface, ...]:
    """Those of the outside's router there, once it has joined."""
    return _on_links(ROUTER_HOST)


def api_names() -> tuple[str | IPv4Address | IPv6Address, ...]:
    """What clients call the API server, for its certificate."""
    names = (
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        f"kubernetes.default.svc.{DOMAIN}",
    )
    return (*names, IPv4Address("127.0.0.1"), API_SERVICE, *(address.ip for address in plane_addresses()))


def describe(plan: Plan) -> dict[str, Any]:
    """The plan as JSON: what `state.json` holds and `dslite-cluster status -o json` shows."""
    return {
        "cluster": plan.cluster,
        "devices": plan.devices,
        "port": plan.port,
        "namespaces": {part: plan.namespace(part) for part in plan.parts()},
        "nodes": [
            {
                "name": node.name,
                "addresses": [str(address.ip) for address in node.addresses],
                "pods": [str(network) for network in node.pods],
            }
            for node in plan.nodes
        ],
        "resources": RESOURCES,
    }
