"""What is around the cluster: the router, B4s and internet of a lab without AFTRs, on the same two links as the nodes' devices."""

from typing import Any

from aftr_lab.network import End, add_link
from dslite_cluster.errors import ClusterError
from dslite_cluster.plan import MTU, Plan

BRIDGES = {"access": "aftrAccess", "internet": "internet"}  # side: its bridge in the lab's state


def join(plan: Plan, lab: dict[str, Any]) -> None:
    """Link the router of the lab with this state to the cluster's fabric; the links go with whichever goes first. Raises `ClusterError`."""
    if not lab["options"]["outside"]:
        raise ClusterError(f"lab {lab['lab']!r} has AFTRs of its own: make it with `aftr-lab up FILE --outside`")
    for side, name in BRIDGES.items():
        bridge = lab["bridges"][name]
        router = End(bridge["namespace"], f"fabric-{side}", bridge=bridge["device"])
        add_link(End(plan.namespace("fabric"), f"router-{side}", bridge=side), router, MTU)
