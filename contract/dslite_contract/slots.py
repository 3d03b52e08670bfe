"""Slot arithmetic: which addresses belong to which slot.  Pure functions of the pool's configuration.

Slot i of a pool has the tunnel address prefix::(i+1), the name s<i>.<pool>.<domain>, and the part of each NAT prefix
that falls to it when the prefix is divided equally, in order, among the slots that carry it.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address

from dslite_contract.errors import DsliteError
from dslite_contract.schema import AftrPool, B4Group, NatPool
from dslite_contract.values import SlotRange

PORTS = 65536
FIRST_EXTERNAL_PORT = 1024  # RFC 4787 REQ-3


class SlotError(DsliteError):
    """A slot number that the pool does not have."""


@dataclass(frozen=True)
class SlotPrefix:
    """The part of a NAT prefix that one slot owns."""

    pool_name: str
    network: IPv4Network


@dataclass(frozen=True)
class NatCapacity:
    """How many subscribers external addresses can serve.

    `subscribers` is with one port block each, `subscribers_at_most_blocks` with maxPerSubscriber blocks each.
    """

    addresses: int
    blocks_per_address: int
    blocks: int
    subscribers: int
    subscribers_at_most_blocks: int


def check_slot(pool: AftrPool, slot: int) -> None:
    """Raises SlotError unless the pool has this slot."""
    if not 0 <= slot < pool.spec.slots:
        raise SlotError(f"slot {slot} does not exist: AftrPool {pool.metadata.name} has 0 to {pool.spec.slots - 1}")


def slot_address(pool: AftrPool, slot: int) -> IPv6Address:
    """The tunnel address of a slot, prefix::(slot+1).

    Never carries out of the low 64 bits: a valid prefix has more addresses than slots, so the sum stays among its
    host bits, and the low 64 of a prefix of /64 or shorter are clear.  Raises SlotError.
    """
    check_slot(pool, slot)
    return pool.spec.softwire.prefix.network_address + (slot + 1)


def slot_of_tunnel_address(pool: AftrPool, address: IPv6Address) -> int | None:
    """The slot with this tunnel address, None if there is none."""
    slot = int(address) - int(pool.spec.softwire.prefix.network_address) - 1
    return slot if 0 <= slot < pool.spec.slots else None


def slot_fqdn(pool: AftrPool, slot: int) -> str:
    """The name of a slot for DHCPv6 option 64 (RFC 6334), without the last dot.  Raises SlotError."""
    check_slot(pool, slot)
    return f"s{slot}.{pool.metadata.name}.{pool.spec.softwire.domain}"


def carrying_slots(pool: AftrPool, nat_pool: NatPool) -> SlotRange:
    """The slots that carry a NAT pool: those it names, else all."""
    return nat_pool.slots or SlotRange(0, pool.spec.slots - 1)


def group_slots(pool: AftrPool, group: B4Group) -> SlotRange:
    """The slots that a group's B4s may be on: those that carry its NAT pool."""
    return carrying_slots(pool, next(one for one in pool.spec.nat.pools if one.name == group.spec.nat_pool))


def part_of(prefix: IPv4Network, carriers: SlotRange, slot: int) -> IPv4Network:
    """The equal, ordered part of `prefix` that falls to `slot`, one of `carriers`."""
    length = prefix.prefixlen + (len(carriers) - 1).bit_length()
    step = 1 << (32 - length)
    return IPv4Network((int(prefix.network_address) + (slot - carriers.first) * step, length))


def slot_prefixes(pool: AftrPool, slot: int) -> tuple[SlotPrefix, ...]:
    """The IPv4 prefixes that a slot owns, in the order of the configuration.  Raises SlotError."""
    check_slot(pool, slot)
    return tuple(
        SlotPrefix(nat_pool.name, part_of(prefix, carriers, slot))
        for nat_pool in pool.spec.nat.pools
        if slot in (carriers := carrying_slots(pool, nat_pool))
        for prefix in nat_pool.prefixes
    )


def owner_of_address(pool: AftrPool, address: IPv4Address) -> int | None:
    """The slot that owns an external address, None if no NAT pool has it."""
    for nat_pool in pool.spec.nat.pools:
        carriers = carrying_slots(pool, nat_pool)
        for prefix in nat_pool.prefixes:
            if address in prefix:
                place = int(address) - int(prefix.network_address)
                return carriers.first + place * len(carriers) // prefix.num_addresses
    return None


def slot_bypass_addresses(pool: AftrPool, slot: int) -> tuple[IPv4Address, ...]:
    """The bypassed addresses that a slot's owner announces as /32, sorted.  Raises SlotError."""
    check_slot(pool, slot)
    return tuple(sorted({entry.address for entry in pool.spec.nat.bypass if entry.slot == slot}))


def first_block_port(size: int) -> int:
    """The first port of an address's first block: blocks of `size` ports are aligned and begin at 1024 or above."""
    return -(-FIRST_EXTERNAL_PORT // size) * size


def blocks_per_address(size: int) -> int:
    """How many port blocks of `size` ports one external address has: floor(64512 / size)."""
    return (PORTS - first_block_port(size)) // size


def slot_capacity(pool: AftrPool, slot: int, nat_pool_name: str) -> NatCapacity:
    """What one slot can serve from one NAT pool; all zero but blocks_per_address if it carries none of it."""
    addresses = sum(part.network.num_addresses for part in slot_prefixes(pool, slot) if part.pool_name == nat_pool_name)
    block = pool.spec.nat.port_block
    blocks = addresses * blocks_per_address(block.size)
    return NatCapacity(addresses, blocks_per_address(block.size), blocks, blocks, blocks // block.max_per_subscriber)


def nat_pool_capacity(pool: AftrPool, nat_pool_name: str) -> NatCapacity:
    """What a NAT pool can serve over all slots; a subscriber's blocks are all of one slot."""
    slots = [slot_capacity(pool, slot, nat_pool_name) for slot in range(pool.spec.slots)]
    return NatCapacity(
        sum(slot.addresses for slot in slots),
        slots[0].blocks_per_address,
        sum(slot.blocks for slot in slots),
        sum(slot.subscribers for slot in slots),
        sum(slot.subscribers_at_most_blocks for slot in slots),
    )
