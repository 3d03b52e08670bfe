"""The two networks of AFTRs as Kubernetes knows them: NetworkAttachmentDefinitions, and how many devices a node has. Pure.

Their addresses and gateways are those of the lab, whose router is outside.
"""

import json
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from aftr_lab.plan import ACCESS_LINK, FIRST_AFTR, INTERNET_LINK, ROUTER_IPV4, ROUTER_IPV6, SERVER
from dslite_cluster.plan import RESOURCES, SIDES

NAMESPACE = "default"
# Routes by a device that the kernel itself does not prefer: the AFTR's packets leave by them, the pod's own by the cluster's network.
PRIORITY = 2048
_LINKS: dict[str, tuple[Any, IPv4Address | IPv6Address, str]] = {  # side: subnet, gateway, destination
    "access": (ACCESS_LINK, ROUTER_IPV6, "::/0"),
    "internet": (INTERNET_LINK, ROUTER_IPV4, "0.0.0.0/0"),
}


def attachment(side: str) -> dict[str, Any]:
    """The NetworkAttachmentDefinition `aftr-SIDE`; a pod asks for it by annotation and requests one of its resource."""
    subnet, gateway, destination = _LINKS[side]
    first, last = FIRST_AFTR, SERVER - 1
    config = {
        "cniVersion": "1.0.0",
        "name": f"aftr-{side}",
        "type": "free-device",
        "kind": side,
        "ipam": {
            "type": "host-local",
            "dataDir": "/var/lib/cni/shared",
            "ranges": [[{"subnet": str(subnet), "rangeStart": str(subnet[first]), "rangeEnd": str(subnet[last])}]],
            "routes": [{"dst": destination, "gw": str(gateway), "priority": PRIORITY}],
        },
    }
    annotations = {"k8s.v1.cni.cncf.io/resourceName": RESOURCES[side]}
    return {
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": f"aftr-{side}", "namespace": NAMESPACE, "annotations": annotations},
        "spec": {"config": json.dumps(config)},
    }


def attachments() -> list[dict[str, Any]]:
    """Both networks."""
    return [attachment(side) for side in SIDES]


def capacity_patch(devices: int) -> str:
    """A JSON patch (RFC 6902) of a node's status: so many devices of each side."""
    return json.dumps(
        [
            {"op": "add", "path": f"/status/capacity/{resource.replace('/', '~1')}", "value": str(devices)}
            for resource in RESOURCES.values()
        ]
    )
