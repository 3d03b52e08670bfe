"""What the schema accepts: the samples, the defaults of operator.md, every field, quantities, the shape for the CRDs."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from contract_objects import ABSENT, FULL, NORTH, SMALL, SOUTH, documents, full
from dslite_contract import schema
from dslite_contract.errors import ConfigurationError
from dslite_contract.fields import change_class, entry_of, leaves, model_of
from dslite_contract.load import configuration, load_config
from dslite_contract.schema import AftrPool, B4Group, Model
from dslite_contract.values import SlotRange

SAMPLES = Path(__file__).parents[2] / "samples"
MODELS = [
    model
    for model in vars(schema).values()
    if isinstance(model, type) and issubclass(model, Model) and model is not Model
]


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        ("pool.yaml", ["homes", "shops"]),
        ("lab.yaml", ["north", "south"]),
        ("failover.yaml", ["north", "south"]),
        ("layer2.yaml", ["north", "south"]),
        ("replicated.yaml", ["north"]),
        ("homes.yaml", ["homes"]),
        ("homes-divided.yaml", ["north", "south"]),
        ("kubernetes/sriov.yaml", ["homes"]),
        ("kubernetes/one-armed.yaml", ["metro-homes"]),
        ("kubernetes/external-store.yaml", ["core-homes"]),
        ("kubernetes/autoscaling.yaml", []),
        ("kubernetes/two-nat-pools.yaml", ["residents", "companies"]),
        ("kubernetes/divided.yaml", ["west-homes"]),
    ],
)
def test_samples_load(name: str, groups: list[str]) -> None:
    loaded = load_config(SAMPLES / name)
    assert [group.metadata.name for group in loaded.groups] == groups


def test_every_sample_is_loaded_here() -> None:
    assert {path.name for path in SAMPLES.glob("*.yaml")} == {
        "pool.yaml", "lab.yaml", "failover.yaml", "layer2.yaml", "replicated.yaml", "homes.yaml", "homes-divided.yaml",
    }  # fmt: skip


def test_lab_sample_is_the_demos_pool() -> None:
    pool = load_config(SAMPLES / "lab.yaml").pool
    assert (pool.metadata.name, pool.spec.slots, pool.spec.softwire.domain) == ("east", 4, "aftr.example.net")
    assert pool.spec.softwire.prefix == IPv6Network("2001:db8:64::/64")
    assert pool.spec.nat.pools[0].prefixes == (IPv4Network("192.0.2.0/24"),)


def test_full_configuration() -> None:
    pool = full().pool
    business = pool.spec.nat.pools[1]
    assert (business.slots, business.interface) == (SlotRange(0, 3), "internet-b")
    assert pool.spec.nat.bypass[0].address == IPv4Address("203.0.113.10")
    assert pool.spec.nat.bypass[0].destination is None
    assert pool.spec.softwire.reassembly.max_bytes == 64 << 20
    assert [interface.side for interface in pool.spec.interfaces] == ["access", "internet", "internet"]


def test_defaults_are_those_written_out_in_full() -> None:
    """FULL spells the defaults of operator.md; SMALL leaves them out."""
    given, default = full().pool.spec, load_config(SMALL).pool.spec
    optional = {
        "pools",
        "no_translation_destinations",
        "bypass",
        "pre_authorized_sources",
        "allowed_private_destinations",
    }
    assert given.softwire == default.softwire
    assert given.capacity == default.capacity
    assert (given.replicas, given.slots) == (default.replicas, default.slots)
    assert given.nat.model_dump(exclude=optional) == default.nat.model_dump(exclude=optional)
    assert all(getattr(default.nat, name) == () for name in optional - {"pools"})
    assert default.interfaces == ()
    assert given.failover == default.failover
    assert default.routing is None
    assert default.store is None
    assert given.store is not None
    assert schema.Store(embedded=schema.EmbeddedStore(), durability="memory") == given.store
    assert schema.effective_durability(schema.Store(embedded=schema.EmbeddedStore())) == "memory"
    assert schema.effective_durability(schema.Store(secret_ref="redis")) == "replicated"


def test_a_group_is_on_one_slot_and_moves_only_when_asked() -> None:
    north, south = (group.spec for group in full().groups)
    assert (north.slots, north.dhcp and north.dhcp.bucket_bytes, south.slots) == (4, "last", 1)
    assert (south.dhcp, south.match, south.move_window) == (None, None, None)
    assert (
        (south.rebalance, south.max_moves_per_hour) == (north.rebalance, north.max_moves_per_hour) == ("manual", 10_000)
    )


def test_group_overrides() -> None:
    loaded = full()
    north, south = loaded.groups
    assert schema.effective_limits(loaded.pool, north).sessions_per_subscriber == 100
    assert schema.effective_limits(loaded.pool, north).memory_bytes_per_subscriber == 1 << 20
    assert schema.effective_limits(loaded.pool, south) == loaded.pool.spec.nat.limits
    assert [schema.effective_subscriber_mask(loaded.pool, group) for group in loaded.groups] == [60, 56]
    assert [schema.effective_max_softwires(loaded.pool, group) for group in loaded.groups] == [2, 1]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("65536", 65536),
        ("64Ki", 65536),
        ("64Mi", 64 << 20),
        ("1Gi", 1 << 30),
        ("100k", 100_000),
        ("5M", 5_000_000),
        ("2G", 2 * 10**9),
    ],
)
def test_quantities(text: str, size: int) -> None:
    loaded = full({"spec.softwire.reassembly.maxBytes": text})
    assert loaded.pool.spec.softwire.reassembly.max_bytes == size


@pytest.mark.parametrize(
    "edits",
    [
        {"spec.softwire.prefix": "2001:db8:64::/123"},
        {"spec.softwire.prefix": "2001:db8:64:0:ffff:ffff:ffff:ffe0/123"},
        {"spec.softwire.domain": "a." * 90 + "net"},
        {"spec.nat.portBlock": "{size: 64, maxPerSubscriber: 1008, holdDownSeconds: 10}"},
        {"spec.nat.portBlock": "{size: 4096, maxPerSubscriber: 15}"},
        {"spec.nat.pools[1].slots": '"5"'},
        {"spec.nat.pools[1].slots": "8-15"},
        {"spec.nat.pools[1].prefixes[0]": "198.51.100.0/30"},
        {
            "spec.nat.timeouts": "{udpSeconds: 120, tcpEstablishedSeconds: 7440, tcpTransitorySeconds: 240, icmpSeconds: 60}"
        },
        {"spec.nat.allowedPrivateDestinations": "[192.0.0.0/29, 10.0.0.0/8]"},
        {"spec.nat.bypass": "[]"},
        {"spec.nat.preAuthorizedSources": "[]"},
        {"spec.interfaces": "[]", "spec.routing.bgp.peers[2]": ABSENT},
        {"spec.replicas": "16"},
        {"spec.store": "{secretRef: redis}"},
        {"spec.store": "{embedded: {}, durability: disk, waitReplicas: 1}"},
        {"spec.routing.bgp.peers[0].asn": "64512"},
        {"spec.interfaces[0].side": "both"},
        {"spec.nat.limits.memoryBytesPerSubscriber": "1Ti"},
        {"spec.softwire.mssClamping": "{enabled: false}"},
        {"spec.softwire.tunnelMtu": "9216"},
        {"spec.nat.b4AddressChangeLimitSeconds": "0"},
    ],
)
def test_accepted(edits: dict[str, str]) -> None:
    full(edits)


@pytest.mark.parametrize("prefix", ["2001:db8:1000:7::1/128", "2001:db8::/32", "2001:db8:1000::/40", "2000::/3"])
def test_group_prefixes_accepted(prefix: str) -> None:
    """Nested groups are fine (the longest wins); one that contains the slots' own addresses is: those are never a B4's."""
    full({"spec.prefixes[2]": prefix}, NORTH)


@pytest.mark.parametrize(
    ("server", "interface"), [("metro", "dslam-8*"), ("metro", "dslam-6"), ("rural", "dslam-7*")]
)  # fmt: skip
def test_groups_share_a_subnet_when_their_clients_are_told_apart(server: str, interface: str) -> None:
    edits = {"spec.dhcp": f"{{server: {server}, subnets: ['2001:db8:1000::/48']}}"}
    full({**edits, "spec.match": f"{{relayInterfaceId: '{interface}'}}"}, SOUTH)


def test_appendix_b_of_rfc_6333_can_be_configured() -> None:
    text = SMALL.replace("2001:db8:64::/64", "2001:db8:0:2::/64").replace("spec:", "spec:\n  slots: 1", 1)
    text += "---\napiVersion: dslite.dev/v1alpha1\nkind: B4Group\nmetadata: {name: b}\n"
    text += "spec: {poolRef: {name: east}, prefixes: [2001:db8:0:1::/64]}"
    assert load_config(text).groups[0].spec.prefixes == (IPv6Network("2001:db8:0:1::/64"),)


def test_written_out_and_read_again() -> None:
    loaded = full()
    objects = [item.model_dump(mode="json", by_alias=True, exclude_none=True) for item in (loaded.pool, *loaded.groups)]
    assert configuration(objects) == loaded
    assert objects[0]["spec"]["nat"]["pools"][1]["slots"] == "0-3"


def test_models_are_frozen_and_take_python_names() -> None:
    block = schema.PortBlock(size=64, max_per_subscriber=2, hold_down_seconds=10)
    with pytest.raises(ValidationError):
        block.size = 128
    with pytest.raises(ValidationError, match="7 is not allowed"):
        schema.PortBlock(size=7)
    assert schema.NatPool(name="a", prefixes=(IPv4Network("192.0.2.0/24"),), slots=SlotRange(0, 1)).slots == SlotRange(
        0, 1
    )


def test_python_names_are_refused_in_yaml() -> None:
    with pytest.raises(ConfigurationError, match="port_block: unknown field"):
        configuration(documents({"spec.nat.port_block": "{}"}))


def test_every_leaf_says_how_it_may_change() -> None:
    for model in (AftrPool, B4Group):
        for path, info in leaves(model):
            assert change_class(info), path


def test_every_field_is_described_and_lists_say_how_they_may_change() -> None:
    for model in MODELS:
        assert model.__doc__, model
        for name, info in model.model_fields.items():
            assert info.description, (model, name)
            listed = entry_of(info.annotation) is not None
            holder = not listed and model_of(info.annotation) is not None and info.default is not None
            assert bool(change_class(info)) != holder, (model, name)


def bounded(part: Any, path: str) -> None:
    """Every string has maxLength or enum, every list maxItems: the cost budget of a CRD's rules needs them."""
    if part.get("type") == "string":
        assert "maxLength" in part or "enum" in part or "const" in part, path
    if part.get("type") == "array":
        assert "maxItems" in part, path
        bounded(part["items"], f"{path}[]")
    for name, inner in part.get("properties", {}).items():
        bounded(inner, f"{path}.{name}")


@pytest.mark.parametrize("model", [AftrPool, B4Group])
def test_json_schema_bounds_every_string_and_list(model: type[Model]) -> None:
    made = model.model_json_schema(by_alias=True)
    for name, part in {"": made, **made["$defs"]}.items():
        bounded(part, name)
    assert made["$defs"]["PortBlock" if model is AftrPool else "PoolRef"]["additionalProperties"] is False


def test_json_schema_of_leaves() -> None:
    parts = AftrPool.model_json_schema(by_alias=True)["$defs"]
    hold_down = parts["PortBlock"]["properties"]["holdDownSeconds"]
    assert (hold_down["type"], hold_down["minimum"], hold_down["maximum"], hold_down["default"]) == (
        "integer",
        10,
        86400,
        120,
    )
    assert parts["AftrPoolSpec"]["properties"]["slots"]["enum"] == [1 << n for n in range(11)]
    assert parts["Softwire"]["properties"]["dontFragment"]["enum"] == ["icmp", "fragment"]


def test_labels_and_annotations_are_kubernetes_own() -> None:
    assert "labels: {tier: gold}" in FULL
    assert full().pool.metadata.name == "east"
