"""Configurations for the tests of the contract: one with every field, and edits of it by path."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

from dslite_contract.load import Configuration, configuration
from dslite_contract.yaml_text import parse_documents

FULL = """
apiVersion: dslite.dev/v1alpha1
kind: AftrPool
metadata: {name: east, namespace: edge, labels: {tier: gold}, annotations: {}}
spec:
  release: ""
  replicas: 1
  slots: 16
  softwire:
    prefix: 2001:db8:64::/64
    domain: aftr.example.net
    tunnelMtu: 1500
    dscpPreservation: true
    mssClamping: {enabled: true}
    dontFragment: icmp
    reassembly: {timeoutSeconds: 2, maxContexts: 4096, maxBytes: 64Mi, maxPacketBytes: 9216}
  nat:
    pools:
    - {name: default, prefixes: [192.0.2.0/24, 203.0.113.128/25]}
    - {name: business, prefixes: [198.51.100.0/25], slots: 0-3, interface: internet-b}
    portBlock: {size: 256, maxPerSubscriber: 8, holdDownSeconds: 120}
    subscriberMaskV6: 56
    maxSoftwiresPerSubscriber: 1
    stateMigrate: true
    b4AddressChangeLimitSeconds: 1800
    filtering: endpoint-independent
    limits: {sessionsPerSubscriber: 4096, newSessionsPerSecond: 200, newSessionBurst: 1000, memoryBytesPerSubscriber: 4Mi}
    timeouts: {udpSeconds: 300, tcpEstablishedSeconds: 7440, tcpTransitorySeconds: 240, icmpSeconds: 60}
    allocation: dynamic
    tcpLoose: true
    unsolicitedSyn: drop
    icmpRefusalCode: 1
    udpRefreshByInbound: false
    noTranslationDestinations: [198.18.0.0/15]
    bypass:
    - {b4: "2001:db8:1000:7::/64", address: 203.0.113.10, port: 5060, protocol: udp, slot: 3}
    - {b4: "2001:db8:1000:8::/64", address: 203.0.113.10, port: 5061, protocol: tcp, destination: 198.18.5.0/24, slot: 3}
    preAuthorizedSources: [100.64.0.0/10]
    allowedPrivateDestinations: [10.8.0.0/16]
  capacity: {mappingsPerSlot: 262144, extraSessionsPerSlot: 131072, subscribersPerSlot: 16384}
  interfaces:
  - {name: access, side: access, sriov: {networkAttachment: aftr-access, resourceName: example.com/aftr_access}}
  - {name: internet, side: internet, podNetwork: {}}
  - {name: internet-b, side: internet, sriov: {networkAttachment: net/b, resourceName: example.com/b}}
  routing:
    bgp:
      localAsn: 64512
      peers:
      - {name: tor6, interface: access, address: "2001:db8::1", asn: 64500, families: [ipv6], passwordSecret: tor}
      - {name: tor4, interface: internet, address: 198.51.100.254, asn: 64500, families: [ipv4]}
      - {name: tor4b, interface: internet-b, address: 198.51.101.254, asn: 64501, families: [ipv4]}
  store: {embedded: {}, durability: memory, waitReplicas: all, onLoss: serve, adopt: false}
  failover: {deadAfterMilliseconds: 400, drainSeconds: 2, failsafe: strict, restoredFilteringGraceSeconds: 10}
  autoscaling:
    minReplicas: 2
    maxReplicas: 8
    targets: {workerUtilizationPercent: 60, portUtilizationPercent: 70}
    scaleDownStabilizationSeconds: 900
  deletionDrainSeconds: 600
  allowDisruption: false
  rollout: surge
---
apiVersion: dslite.dev/v1alpha1
kind: B4Group
metadata: {name: north, namespace: edge}
spec:
  poolRef: {name: east}
  prefixes: [2001:db8:1000::/36, 2001:db8:8000::/48]
  natPool: default
  limits: {sessionsPerSubscriber: 100, newSessionsPerSecond: 10, newSessionBurst: 50, memoryBytesPerSubscriber: 1Mi}
  subscriberMaskV6: 60
  maxSoftwiresPerSubscriber: 2
  dhcp: {server: metro, subnets: ["2001:db8:1000::/48"], bucketBytes: last}
  match: {relayInterfaceId: "dslam-7*"}
  slots: 4
  rebalance: manual
  maxMovesPerHour: 10000
  moveWindow: {start: "02:00", end: "05:00"}
---
apiVersion: dslite.dev/v1alpha1
kind: B4Group
metadata: {name: south, namespace: edge}
spec:
  poolRef: {name: east}
  prefixes: [2001:db8:1800::/40]
  natPool: business
"""

SMALL = """
apiVersion: dslite.dev/v1alpha1
kind: AftrPool
metadata: {name: east}
spec:
  softwire: {prefix: 2001:db8:64::/64, domain: aftr.example.net}
  nat: {pools: [{name: default, prefixes: [192.0.2.0/24]}]}
"""

POOL, NORTH, SOUTH = 0, 1, 2  # places of the objects in FULL
ABSENT = "(absent)"


def yaml_value(text: str) -> Any:
    """One value as YAML reads it."""
    return parse_documents(f"value: {text}")[0]["value"]  # type: ignore[index]


def steps(path: str) -> list[str | int]:
    """spec.nat.pools[0].name as ["spec", "nat", "pools", 0, "name"]."""
    return [int(step[1:-1]) if step[0] == "[" else step for step in re.findall(r"\[\d+\]|[^.\[\]]+", path)]


def set_at(document: Any, path: str, text: str) -> None:
    """Sets the value at `path`, given in YAML, or removes it; `[n]` one past the end appends."""
    *parents, last = steps(path)
    for step in parents:
        document = document[step]
    if text == ABSENT:
        del document[last]
    elif isinstance(last, int) and last == len(document):
        document.append(yaml_value(text))
    else:
        document[last] = yaml_value(text)


def documents(edits: Mapping[str, str] | None = None, which: int = POOL) -> list[Any]:
    """The objects of FULL, one of them with edits."""
    objects: list[Any] = copy.deepcopy(FULL_OBJECTS)
    for path, text in (edits or {}).items():
        set_at(objects[which], path, text)
    return objects


def full(edits: Mapping[str, str] | None = None, which: int = POOL) -> Configuration:
    """FULL as a configuration, one of its objects with edits."""
    return configuration(documents(edits, which))


FULL_OBJECTS = parse_documents(FULL)
