"""What is around the cluster: the router, B4s and internet of a lab without AFTRs, on the same two links as the nodes' devices.

The router is on the nodes' own link, too: pods reach the provider's DHCPv6 and DNS servers by it.
"""

from typing import Any

from aftr_lab.network import End, add_link
from dslite_cluster.errors import ClusterError
from dslite_cluster.node import add_pod_routes
from dslite_cluster.plan import MTU, Plan, router_addresses

BRIDGES = {"access": "aftrAccess", "internet": "internet"}  # side: its bridge in the lab's state


def join(plan: Plan, lab: dict[str, Any]) -> None:
    """Link the router of the lab with this state to the cluster's fabric; the links go with whichever goes first. Raises `ClusterError`."""
    if not lab["options"]["outside"]:
        raise ClusterError(f"lab {lab['lab']!r} has AFTRs of its own: make it with `aftr-lab up FILE --outside`")
    for side, name in BRIDGES.items():
        bridge = lab["bridges"][name]
        router = End(bridge["namespace"], f"fabric-{side}", bridge=bridge["device"])
        add_link(End(plan.namespace("fabric"), f"router-{side}", bridge=side), router, MTU)
    router = End(lab["namespaces"]["router"], "nodes", router_addresses())
    add_link(End(plan.namespace("plane"), "router", bridge="nodes"), router, MTU)
    add_pod_routes(plan, router.namespace)
