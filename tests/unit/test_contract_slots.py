"""Slot arithmetic: a division is a partition, every address has one owner, and the sums add up."""

from __future__ import annotations

import itertools
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, collapse_addresses

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from contract_objects import full
from dslite_contract.errors import ConfigurationError, DsliteError
from dslite_contract.load import load_config
from dslite_contract.schema import AftrPool
from dslite_contract.slots import (
    NatCapacity,
    SlotError,
    SlotPrefix,
    blocks_per_address,
    first_block_port,
    nat_pool_capacity,
    owner_of_address,
    slot_address,
    slot_bypass_addresses,
    slot_capacity,
    slot_fqdn,
    slot_of_tunnel_address,
    slot_prefixes,
)

SIZES = [64, 128, 256, 512, 1024, 2048, 4096]


def pool_of(slots: int, prefixes: list[IPv4Network], carriers: str = "", tunnel: str = "2001:db8:64::/64") -> AftrPool:
    """A pool with one NAT pool of these prefixes."""
    on = f", slots: '{carriers}'" if carriers else ""
    return load_config(
        f"""
apiVersion: dslite.dev/v1alpha1
kind: AftrPool
metadata: {{name: east}}
spec:
  slots: {slots}
  softwire: {{prefix: "{tunnel}", domain: aftr.example.net}}
  nat: {{pools: [{{name: default, prefixes: [{", ".join(map(str, prefixes))}]{on}}}]}}
"""
    ).pool


@st.composite
def pools(draw: st.DrawFn) -> AftrPool:
    """Pools of up to 64 slots with up to four NAT prefixes, on all slots or some."""
    slots = 1 << draw(st.integers(0, 6))
    many = 1 << draw(st.integers(0, slots.bit_length() - 1))
    first = draw(st.integers(0, slots - many))
    prefixes = []
    for number in range(draw(st.integers(1, 4))):
        length = draw(st.integers(16, 33 - many.bit_length()))
        base = (20 + number << 24) + (draw(st.integers(0, (1 << length - 8) - 1)) << 32 - length)
        prefixes.append(IPv4Network((base, length)))
    assume(first + many <= slots)
    return pool_of(slots, prefixes, f"{first}-{first + many - 1}")


@settings(deadline=None)
@given(pools())
def test_division_is_a_partition(pool: AftrPool) -> None:
    parts = [part.network for slot in range(pool.spec.slots) for part in slot_prefixes(pool, slot)]
    assert not any(a.overlaps(b) for n, a in enumerate(parts) for b in parts[:n] if len(parts) <= 64)
    assert sum(part.num_addresses for part in parts) == sum(p.num_addresses for p in pool.spec.nat.pools[0].prefixes)
    assert list(collapse_addresses(parts)) == list(collapse_addresses(pool.spec.nat.pools[0].prefixes))


@settings(deadline=None)
@given(pools())
def test_division_is_equal_and_ordered(pool: AftrPool) -> None:
    carrying = [parts for slot in range(pool.spec.slots) if (parts := slot_prefixes(pool, slot))]
    assert len({tuple(part.network.prefixlen for part in parts) for parts in carrying}) == 1
    for earlier, later in itertools.pairwise(carrying):
        assert all(a.network < b.network for a, b in zip(earlier, later, strict=True))


@settings(deadline=None)
@given(pools(), st.data())
def test_every_address_has_exactly_one_owner(pool: AftrPool, data: st.DataObject) -> None:
    prefix = data.draw(st.sampled_from(pool.spec.nat.pools[0].prefixes))
    address = prefix[data.draw(st.integers(0, prefix.num_addresses - 1))]
    owners = [s for s in range(pool.spec.slots) if any(address in part.network for part in slot_prefixes(pool, s))]
    assert owners == [owner_of_address(pool, address)]


@settings(deadline=None)
@given(pools(), st.integers(0, 2**32 - 1))
def test_foreign_addresses_have_no_owner(pool: AftrPool, number: int) -> None:
    address = IPv4Address(number)
    inside = any(address in prefix for prefix in pool.spec.nat.pools[0].prefixes)
    assert (owner_of_address(pool, address) is not None) == inside


@settings(deadline=None)
@given(st.integers(3, 127), st.integers(0, 2**128 - 1), st.integers(0, 10), st.data())
def test_tunnel_addresses(length: int, bits: int, power: int, data: st.DataObject) -> None:
    """prefix::(i+1), inside the prefix, never a carry out of the low 64 bits; and back again."""
    number = (1 << 125 | bits & (1 << 125) - 1) >> 128 - length << 128 - length
    slots = 1 << power
    assume(2 ** (128 - length) > slots)
    pool = pool_of(slots, [IPv4Network("20.0.0.0/16")], tunnel=str(IPv6Network((number, length))))
    slot = data.draw(st.integers(0, slots - 1))
    address = slot_address(pool, slot)
    assert int(address) == number + slot + 1
    assert address in pool.spec.softwire.prefix
    assert int(address) >> 64 == number >> 64 or length < 64
    assert (number & (1 << 64) - 1) + slot + 1 < 1 << 64
    assert slot_of_tunnel_address(pool, address) == slot


def test_prefix_too_small_for_the_slots_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="17 addresses or more for 16 slots"):
        pool_of(16, [IPv4Network("192.0.2.0/24")], tunnel="2001:db8::10/124")


@settings(deadline=None)
@given(st.integers(0, 2**128 - 1))
def test_other_addresses_are_no_slots(number: int) -> None:
    pool = full().pool
    expected = next((s for s in range(16) if int(slot_address(pool, s)) == number), None)
    assert slot_of_tunnel_address(pool, IPv6Address(number)) == expected


def test_neighbours_of_the_tunnel_addresses() -> None:
    pool = full().pool
    assert slot_of_tunnel_address(pool, IPv6Address("2001:db8:64::")) is None
    assert slot_of_tunnel_address(pool, IPv6Address("2001:db8:64::1")) == 0
    assert slot_of_tunnel_address(pool, IPv6Address("2001:db8:64::10")) == 15
    assert slot_of_tunnel_address(pool, IPv6Address("2001:db8:64::11")) is None


def test_names_and_prefixes_of_a_slot() -> None:
    pool = full().pool
    assert slot_fqdn(pool, 3) == "s3.east.aftr.example.net"
    assert slot_prefixes(pool, 3) == (
        SlotPrefix("default", IPv4Network("192.0.2.48/28")),
        SlotPrefix("default", IPv4Network("203.0.113.152/29")),
        SlotPrefix("business", IPv4Network("198.51.100.96/27")),
    )
    assert [part.pool_name for part in slot_prefixes(pool, 4)] == ["default", "default"]


def test_longest_name_fits_a_domain_name() -> None:
    pool = pool_of(1024, [IPv4Network("20.0.0.0/22")])
    name, domain = "p" * 63, "a." * 90 + "net"
    softwire = pool.spec.softwire.model_copy(update={"domain": domain})
    metadata = pool.metadata.model_copy(update={"name": name})
    pool = pool.model_copy(update={"metadata": metadata, "spec": pool.spec.model_copy(update={"softwire": softwire})})
    assert len(slot_fqdn(pool, 1023)) == 253


def test_bypass_addresses_of_a_slot() -> None:
    pool = full().pool
    assert slot_bypass_addresses(pool, 3) == (IPv4Address("203.0.113.10"),)
    assert slot_bypass_addresses(pool, 4) == ()
    assert owner_of_address(pool, IPv4Address("203.0.113.10")) is None


@pytest.mark.parametrize("slot", [-1, 16, 1000])
def test_slot_that_does_not_exist(slot: int) -> None:
    pool = full().pool
    for ask in (slot_address, slot_fqdn, slot_prefixes, slot_bypass_addresses):
        with pytest.raises(SlotError, match=f"slot {slot} does not exist: AftrPool east has 0 to 15"):
            ask(pool, slot)
    assert issubclass(SlotError, DsliteError)


@pytest.mark.parametrize("size", SIZES)
def test_blocks_are_aligned_and_above_1023(size: int) -> None:
    """RFC 4787 REQ-3: no external port below 1024; a block's number is its first port divided by its size."""
    starts = [port for port in range(0, 65536, size) if port >= 1024]
    assert first_block_port(size) == starts[0]
    assert blocks_per_address(size) == len(starts) == 64512 // size
    assert starts[-1] + size == 65536


def test_capacity() -> None:
    pool = full().pool
    assert slot_capacity(pool, 0, "business") == NatCapacity(32, 252, 8064, 8064, 1008)
    assert slot_capacity(pool, 4, "business") == NatCapacity(0, 252, 0, 0, 0)
    assert nat_pool_capacity(pool, "business") == NatCapacity(128, 252, 32256, 32256, 4032)
    assert nat_pool_capacity(pool, "default").addresses == 256 + 128


@settings(deadline=None)
@given(pools())
def test_capacity_counts_every_address_once(pool: AftrPool) -> None:
    capacity = nat_pool_capacity(pool, "default")
    assert capacity.addresses == sum(prefix.num_addresses for prefix in pool.spec.nat.pools[0].prefixes)
    assert capacity.blocks == capacity.subscribers == capacity.addresses * 252
    assert capacity.subscribers_at_most_blocks <= capacity.blocks // 8
