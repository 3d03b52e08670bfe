"""How each field may change: one table, with a row for every leaf of the schema."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network

import pytest

from contract_objects import ABSENT, NORTH, POOL, SOUTH, documents, full
from dslite_contract.changes import Change, changes
from dslite_contract.fields import leaves
from dslite_contract.load import Configuration, configuration
from dslite_contract.schema import AftrPool, B4Group

# Place, new value in YAML, class, and the path reported where entries of a list go by name or value.
POOL_CHANGES = [
    ("metadata.namespace", "core", "immutable", None),
    ("spec.slots", "8", "immutable", None),
    ("spec.softwire.prefix", "2001:db8:65::/64", "immutable", None),
    ("spec.softwire.domain", "aftr.example.org", "immutable", None),
    ("spec.softwire.tunnelMtu", "1400", "live", None),
    ("spec.softwire.dscpPreservation", "false", "live", None),
    ("spec.softwire.mssClamping.enabled", "false", "live", None),
    ("spec.softwire.dontFragment", "fragment", "live", None),
    ("spec.softwire.reassembly.timeoutSeconds", "3", "live", None),
    ("spec.softwire.reassembly.maxContexts", "64", "rolling", None),
    ("spec.softwire.reassembly.maxBytes", "1Mi", "rolling", None),
    ("spec.softwire.reassembly.maxPacketBytes", "1500", "rolling", None),
    ("spec.nat.pools[1].slots", "4-7", "drain", "spec.nat.pools[business].slots"),
    ("spec.nat.pools[1].slots", ABSENT, "drain", "spec.nat.pools[business].slots"),
    ("spec.nat.pools[1].interface", "internet", "live", "spec.nat.pools[business].interface"),
    ("spec.nat.pools[0].prefixes", "[192.0.2.0/24]", "drain", "spec.nat.pools[default].prefixes[203.0.113.128/25]"),
    ("spec.nat.pools[0].prefixes[2]", "20.0.0.0/24", "live", "spec.nat.pools[default].prefixes[20.0.0.0/24]"),
    ("spec.nat.pools[2]", "{name: new, prefixes: [20.0.0.0/24]}", "live", "spec.nat.pools[new]"),
    ("spec.nat.portBlock.size", "512", "drain", None),
    ("spec.nat.portBlock.maxPerSubscriber", "4", "live", None),
    ("spec.nat.portBlock.holdDownSeconds", "60", "live", None),
    ("spec.nat.subscriberMaskV6", "64", "immutable", None),
    ("spec.nat.maxSoftwiresPerSubscriber", "2", "live", None),
    ("spec.nat.stateMigrate", "false", "live", None),
    ("spec.nat.b4AddressChangeLimitSeconds", "60", "live", None),
    ("spec.nat.filtering", "address-dependent", "rolling", None),
    ("spec.nat.limits.sessionsPerSubscriber", "5", "live", None),
    ("spec.nat.limits.newSessionsPerSecond", "5", "live", None),
    ("spec.nat.limits.newSessionBurst", "5", "live", None),
    ("spec.nat.limits.memoryBytesPerSubscriber", "5Mi", "live", None),
    ("spec.nat.timeouts.udpSeconds", "120", "live", None),
    ("spec.nat.timeouts.tcpEstablishedSeconds", "8000", "live", None),
    ("spec.nat.timeouts.tcpTransitorySeconds", "300", "live", None),
    ("spec.nat.timeouts.icmpSeconds", "90", "live", None),
    ("spec.nat.tcpLoose", "false", "live", None),
    ("spec.nat.unsolicitedSyn", "icmp", "live", None),
    ("spec.nat.icmpRefusalCode", "13", "live", None),
    ("spec.nat.udpRefreshByInbound", "true", "live", None),
    ("spec.nat.noTranslationDestinations", "[]", "drain", "spec.nat.noTranslationDestinations[198.18.0.0/15]"),
    ("spec.nat.noTranslationDestinations[1]", "20.0.0.0/8", "live", "spec.nat.noTranslationDestinations[20.0.0.0/8]"),
    ("spec.nat.preAuthorizedSources", "[]", "drain", "spec.nat.preAuthorizedSources[100.64.0.0/10]"),
    ("spec.nat.allowedPrivateDestinations", "[]", "live", "spec.nat.allowedPrivateDestinations[10.8.0.0/16]"),
    ("spec.capacity.mappingsPerSlot", "1000", "rolling", None),
    ("spec.capacity.extraSessionsPerSlot", "1000", "rolling", None),
    ("spec.capacity.subscribersPerSlot", "1000", "rolling", None),
    ("spec.interfaces[0].side", "both", "rolling", "spec.interfaces[access].side"),
    ("spec.interfaces[0].sriov.networkAttachment", "x", "rolling", "spec.interfaces[access].sriov.networkAttachment"),
    ("spec.interfaces[0].sriov.resourceName", "a.b/c", "rolling", "spec.interfaces[access].sriov.resourceName"),
    ("spec.interfaces[3]", "{name: x, side: both, sriov: {networkAttachment: x, resourceName: a.b/x}}", "rolling", "spec.interfaces[x]"),
    ("spec.replicas", "3", "live", None),
    ("spec.routing", ABSENT, "rolling", None),
    ("spec.routing.bgp.localAsn", "64513", "rolling", None),
    ("spec.routing.bgp.peers[2]", ABSENT, "live", "spec.routing.bgp.peers[tor4b]"),
    ("spec.routing.bgp.peers[2].interface", "internet", "rolling", "spec.routing.bgp.peers[tor4b].interface"),
    ("spec.routing.bgp.peers[2].address", "198.51.101.1", "rolling", "spec.routing.bgp.peers[tor4b].address"),
    ("spec.routing.bgp.peers[2].asn", "64509", "rolling", "spec.routing.bgp.peers[tor4b].asn"),
    ("spec.routing.bgp.peers[2].passwordSecret", "x", "rolling", "spec.routing.bgp.peers[tor4b].passwordSecret"),
    ("spec.store.durability", "disk", "rolling", None),
    ("spec.store.waitReplicas", "1", "rolling", None),
    ("spec.store.onLoss", "refuse", "live", None),
    ("spec.store.adopt", "true", "rolling", None),
    ("spec.failover.deadAfterMilliseconds", "800", "rolling", None),
    ("spec.failover.drainSeconds", "3", "live", None),
    ("spec.failover.failsafe", "available", "rolling", None),
    ("spec.failover.restoredFilteringGraceSeconds", "0", "live", None),
    ("spec.release", "0.2.0", "rolling", None),
    ("spec.autoscaling", ABSENT, "live", None),
    ("spec.autoscaling.minReplicas", "3", "live", None),
    ("spec.autoscaling.maxReplicas", "7", "live", None),
    ("spec.autoscaling.targets.workerUtilizationPercent", "50", "live", None),
    ("spec.autoscaling.targets.portUtilizationPercent", "50", "live", None),
    ("spec.autoscaling.scaleDownStabilizationSeconds", "60", "live", None),
    ("spec.deletionDrainSeconds", "60", "live", None),
    ("spec.allowDisruption", "true", "live", None),
    ("spec.rollout", "inPlace", "live", None),
]  # fmt: skip

GROUP_CHANGES = [
    ("spec.prefixes[2]", "2001:db8:9000::/48", "live", "spec.prefixes[2001:db8:9000::/48]"),
    ("spec.prefixes", "[2001:db8:1000::/36]", "live", "spec.prefixes[2001:db8:8000::/48]"),
    ("spec.natPool", "business", "drain", None),
    ("spec.limits.sessionsPerSubscriber", "5", "live", None),
    ("spec.limits.newSessionsPerSecond", ABSENT, "live", None),
    ("spec.limits.newSessionBurst", "5", "live", None),
    ("spec.limits.memoryBytesPerSubscriber", "5Mi", "live", None),
    ("spec.subscriberMaskV6", "64", "immutable", None),
    ("spec.maxSoftwiresPerSubscriber", "5", "live", None),
    ("spec.dhcp.server", "other", "live", None),
    ("spec.dhcp.subnets[1]", "2001:db8:8000::/48", "live", "spec.dhcp.subnets[2001:db8:8000::/48]"),
    ("spec.dhcp.bucketBytes", "lastNibble", "immutable", None),
    ("spec.match", ABSENT, "live", None),
    ("spec.match.relayInterfaceId", "dslam-8", "live", None),
    ("spec.slots", "2", "live", None),
    ("spec.rebalance", "automatic", "live", None),
    ("spec.maxMovesPerHour", "5", "live", None),
    ("spec.moveWindow", ABSENT, "live", None),
    ("spec.moveWindow.start", "'23:00'", "live", None),
    ("spec.moveWindow.end", "'06:00'", "live", None),
]  # fmt: skip

# Leaves that have one value only, name their object or entry (a new name is another one), or are tried in tests of their own.
ELSEWHERE = {
    "apiVersion", "kind", "metadata.name", "metadata.namespace", "spec.nat.allocation", "spec.poolRef.name",
    "spec.nat.pools[].name", "spec.interfaces[].name", "spec.nat.bypass[].b4", "spec.nat.bypass[].address",
    "spec.nat.bypass[].port", "spec.nat.bypass[].protocol", "spec.nat.bypass[].destination", "spec.nat.bypass[].slot",
    "spec.routing.bgp.peers[].name", "spec.routing.bgp.peers[].families", "spec.store.secretRef",
}  # fmt: skip


def summary(found: list[Change]) -> list[tuple[str, str, str]]:
    return [(change.owner, change.path, change.kind) for change in found]


@pytest.mark.parametrize(("place", "value", "kind", "path"), POOL_CHANGES)
def test_pool_change(place: str, value: str, kind: str, path: str | None) -> None:
    edited = documents({place: value})
    if place == "metadata.namespace":
        for group in edited[1:]:
            group["metadata"]["namespace"] = "core"
    found = [change for change in changes(full(), configuration(edited)) if change.owner == "AftrPool east"]
    assert summary(found) == [("AftrPool east", path or place, kind)]


@pytest.mark.parametrize(("place", "value", "kind", "path"), GROUP_CHANGES)
def test_group_change(place: str, value: str, kind: str, path: str | None) -> None:
    found = changes(full(), full({place: value}, NORTH))
    assert summary(found) == [("B4Group north", path or place, kind)]


def test_every_leaf_is_tried() -> None:
    for model, table in ((AftrPool, POOL_CHANGES), (B4Group, GROUP_CHANGES)):
        tried = {re.sub(r"\[\d+\]", "[]", place) for place, _, _, _ in table}
        known = {path for path, _ in leaves(model)}
        assert known - ELSEWHERE <= tried | {place.removesuffix("[]") for place in tried}


def test_nothing_changed() -> None:
    assert changes(full(), full()) == []


def test_order_and_spelling_say_nothing() -> None:
    edited = documents({"spec.softwire.reassembly.maxBytes": "67108864", "spec.softwire.prefix": '"2001:0DB8:64::/64"'})
    for holder in (edited[POOL]["spec"]["nat"], edited[POOL]["spec"]):
        for name in ("pools", "bypass", "interfaces"):
            holder[name] = list(reversed(holder[name])) if name in holder else []
    del edited[POOL]["spec"]["pools"], edited[POOL]["spec"]["bypass"], edited[POOL]["spec"]["nat"]["interfaces"]
    edited[NORTH]["spec"]["prefixes"].reverse()
    edited[1:] = reversed(edited[1:])
    assert changes(full(), configuration(edited)) == []


def test_values_of_a_change() -> None:
    (change,) = changes(full(), full({"spec.softwire.tunnelMtu": "1400"}))
    assert change == Change("AftrPool east", "spec.softwire.tunnelMtu", 1500, 1400, "live")
    assert str(change) == "AftrPool east: spec.softwire.tunnelMtu: 1500 -> 1400 [live]"
    (change,) = changes(full(), full({"spec.nat.pools[0].prefixes": "[192.0.2.0/24]"}))
    assert (change.old, change.new) == (IPv4Network("203.0.113.128/25"), None)
    (change,) = changes(full(), full({"spec.nat.tcpLoose": "false"}))
    assert str(change) == "AftrPool east: spec.nat.tcpLoose: true -> false [live]"


def test_renamed_pool_is_another_pool() -> None:
    edited = documents({"metadata.name": "west"})
    for group in edited[1:]:
        group["spec"]["poolRef"]["name"] = "west"
    found = changes(full(), configuration(edited))
    assert summary(found) == [
        ("AftrPool east", "metadata.name", "immutable"),
        ("B4Group north", "spec.poolRef.name", "immutable"),
        ("B4Group south", "spec.poolRef.name", "immutable"),
    ]


def test_entries_of_bypass_are_told_apart_by_value() -> None:
    found = changes(full(), full({"spec.nat.bypass[1].port": "5062"}))
    entry = "b4=2001:db8:1000:8::/64 address=203.0.113.10 port={} protocol=tcp destination=198.18.5.0/24 slot=3"
    assert summary(found) == [
        ("AftrPool east", f"spec.nat.bypass[{entry.format(5061)}]", "drain"),
        ("AftrPool east", f"spec.nat.bypass[{entry.format(5062)}]", "live"),
    ]
    assert str(found[0]).endswith("'destination': '198.18.5.0/24', 'slot': 3} -> absent [drain]")


def test_nat_pool_removed_and_device_exchanged() -> None:
    edits = {"spec.nat.pools[1]": ABSENT, "spec.interfaces[1].podNetwork": ABSENT}
    edits["spec.interfaces[1].sriov"] = "{networkAttachment: aftr-internet, resourceName: example.com/aftr_internet}"
    edited = documents(edits)
    edited[SOUTH]["spec"]["natPool"] = "default"
    assert summary(changes(full(), configuration(edited))) == [
        ("AftrPool east", "spec.nat.pools[business]", "drain"),
        ("AftrPool east", "spec.interfaces[internet].sriov", "rolling"),
        ("AftrPool east", "spec.interfaces[internet].podNetwork", "rolling"),
        ("B4Group south", "spec.natPool", "drain"),
    ]


def test_store_removed() -> None:
    edits = {"spec.autoscaling": ABSENT}
    found = changes(full(edits), full({**edits, "spec.store": ABSENT}))
    assert summary(found) == [("AftrPool east", "spec.store", "rolling")]


def test_another_store_and_other_families_take_a_new_process() -> None:
    edits = {"spec.store": "{secretRef: redis, durability: memory}", "spec.interfaces[2].side": "both"}
    found = changes(full({"spec.interfaces[2].side": "both"}), full(edits))
    assert summary(found) == [
        ("AftrPool east", "spec.store.embedded", "rolling"),
        ("AftrPool east", "spec.store.secretRef", "rolling"),
    ]
    peer = "{name: tor4b, interface: internet-b, address: '2001:db8:1::1', asn: 64501, families: [ipv6]}"
    moved = full({"spec.routing.bgp.peers[2]": peer, "spec.interfaces[2].side": "both"})
    place = "spec.routing.bgp.peers[tor4b]"
    assert [change.path for change in changes(full(edits), moved) if change.path.startswith(place)] == [
        f"{place}.address",
        f"{place}.families[ipv4]",
        f"{place}.families[ipv6]",
    ]


def test_groups_that_come_and_go_change_by_their_prefixes() -> None:
    both = full()
    one = Configuration(both.pool, both.groups[:1])
    prefix = IPv6Network("2001:db8:1800::/40")
    path = "spec.prefixes[2001:db8:1800::/40]"
    assert changes(both, one) == [Change("B4Group south", path, prefix, None, "live")]
    assert changes(one, both) == [Change("B4Group south", path, None, prefix, "live")]
