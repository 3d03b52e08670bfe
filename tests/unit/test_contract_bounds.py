"""Records that make no sense in a slot, each named."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import numpy as np
import pytest

from dslite_contract.bounds import Bounds, bounds_of, faults
from dslite_contract.journal import RECORD, Kind, Records
from dslite_contract.load import load_config
from rig import config_text

ADDRESS = int(IPv4Address("192.0.2.64"))
BOUNDS = Bounds(((ADDRESS, ADDRESS + 63), (ADDRESS + 128, ADDRESS + 128)), 1024, 256)


def records(**fields: Any) -> Records:
    """A good mapping, then one with these fields."""
    found = np.zeros(2, RECORD)
    found["kind"], found["protocol"], found["external_address"], found["external_port"] = (
        Kind.MAPPING,
        17,
        ADDRESS,
        1027,
    )
    for name, value in fields.items():
        found[name][1] = value
    return found


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"kind": 0}, "kind 0 is unknown"),
        ({"kind": 7}, "kind 7 is unknown"),
        ({"kind": Kind.BLOCK_TAKEN, "external_port": 1280, "bits": 129}, "a prefix of 129 bits, there are 128"),
        ({"external_address": ADDRESS - 1}, "external address 192.0.2.63 is not the slot's"),
        ({"external_address": ADDRESS + 64}, "external address 192.0.2.128 is not the slot's"),
        ({"protocol": 50}, "protocol 50 has no mappings"),
        ({"protocol": 50, "flags": 2}, "protocol 50 has no mappings"),
        ({"protocol": 0, "kind": Kind.MAPPING_REMOVED}, "protocol 0 has no mappings"),
        ({"external_port": 1023}, "external port 1023 is not in 1024 to 65535"),
        ({"kind": Kind.BLOCK_TAKEN, "external_port": 1281}, "no block of 256 ports begins at port 1281"),
        ({"kind": Kind.BLOCK_RELEASED, "external_port": 0}, "external port 0 is not in 1024 to 65535"),
        ({"kind": Kind.BLOCK_RELEASED, "external_address": 1}, "external address 0.0.0.1 is not the slot's"),
    ],
)
def test_what_is_wrong_is_named_with_its_value(fields: dict[str, Any], sentence: str) -> None:
    assert faults(records(**fields), BOUNDS) == {1: sentence}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"external_address": ADDRESS + 128, "external_port": 65535},
        {"flags": 2, "external_address": 1, "external_port": 80},  # not translated: the host's own address and port
        {"kind": Kind.MAPPING_REMOVED, "external_address": 1, "external_port": 80},
        {"kind": Kind.BLOCK_TAKEN, "external_port": 1280, "bits": 128},
        {"kind": Kind.SOFTWIRE_FROM, "external_address": 0, "external_port": 0},
    ],
)
def test_what_is_right_is_not(fields: dict[str, Any]) -> None:
    assert faults(records(**fields), BOUNDS) == {}


def test_bounds_come_from_the_pool() -> None:
    pools = [{"name": "default", "prefixes": ["192.0.2.0/24"]}, {"name": "other", "prefixes": ["198.51.100.0/28"]}]
    spec = {"slots": 4, "nat": {"pools": pools, "portBlock": {"size": 512}}}
    pool = load_config(config_text(spec)).pool
    first = (int(IPv4Address("192.0.2.64")), int(IPv4Address("192.0.2.127")))
    second = (int(IPv4Address("198.51.100.4")), int(IPv4Address("198.51.100.7")))
    assert bounds_of(pool, 1) == Bounds((first, second), 1024, 512)
    assert bounds_of(pool, 1).end == 65536
