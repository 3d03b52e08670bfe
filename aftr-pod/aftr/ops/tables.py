"""Tables of a pod as people and programs see them: bindings, subscribers, slots; preloading; the check of all invariants."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from operator import index
from typing import Any

import numpy as np

from aftr.lowlevel.bits import M32
from aftr.nat.blocks import block_offset, give_block, protocol_number, reverse_word, use_port
from aftr.nat.mapping import enter_mapping, mapping_key, port_key
from aftr.nat.subscriber import (
    admit_softwire,
    find_group,
    find_softwire,
    find_subscriber,
    prefix_hi,
    prefix_lo,
    subscriber_of,
)
from aftr.nat.tcp import is_established
from aftr.path.locate import find_range, range_external, range_slot
from aftr.state.layout import (
    BYPASSED,
    EXTERNAL,
    LIVE,
    MAPPING,
    PUBLIC_SOURCE,
    SLOT_CONTEXTS,
    SLOT_MAPPINGS,
    SLOT_SESSIONS,
    SLOT_SOFTWIRES,
    SLOT_SUBSCRIBERS,
    SOFTWIRE,
    UNTRANSLATED_KEY,
    block_at,
    external_at,
    group_at,
    mapping_at,
    range_at,
    slot_at,
    subscriber_at,
    table_at,
    worker_at,
)
from aftr.state.pod import Pod
from aftr.state.policy import MAX_POOLS
from aftr.state.table import record_number
from dslite_contract.errors import DsliteError
from dslite_contract.slots import slot_fqdn, slot_prefixes

PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp"}
RESERVED = (0xC0000000, 0xC0000001)  # 192.0.0.0, 192.0.0.1
NUMBERS = {name: number for number, name in PROTOCOLS.items()}
Rows = np.ndarray[Any, Any]


class BindingError(DsliteError):
    """A binding to preload that is not possible."""


# ---------------------------------------------------------------- reading
def rows(pod: Pod, slot: int, table: int, dtype: np.dtype[Any]) -> Rows:
    """All records of a table ever used, free ones included, as a structured array (a view)."""
    record = table_at(pod.memory, slot + table)
    size = dtype.itemsize
    return pod.memory[record.records : record.records + size * record.high].view(dtype)


def copied(table: Rows, which: Any) -> Rows:
    """A copy of some records (a slice, a mask, or numbers), each as a whole: numpy by itself copies field by field, ten times slower."""
    return np.array(table.view(f"V{table.dtype.itemsize}")[which]).view(table.dtype)


def live(table: Rows) -> Rows:
    """The records in use."""
    return copied(table, table["state"] == LIVE)


def ipv6(hi: int, lo: int) -> IPv6Address:
    """An address from its halves."""
    return IPv6Address(((int(hi) & (2**64 - 1)) << 64) | (int(lo) & (2**64 - 1)))


def now_of(pod: Pod, slot: int) -> int:
    """Clock of the worker that serves a slot."""
    return int(worker_at(pod.memory, pod.worker_of(slot)).now)


def bindings(pod: Pod, *, slots: list[int] | None = None) -> list[dict[str, Any]]:
    """All mappings, field names as in RFC 8512 and RFC 8513 spelled in camelCase; ages in seconds."""
    result: list[dict[str, Any]] = []
    for number in pod.open_slots if slots is None else slots:
        slot, now = pod.slot(number), now_of(pod, number)
        mappings = live(
            rows(pod, slot, SLOT_MAPPINGS, MAPPING).copy()
        )  # before their softwires: these are all there then
        softwires = rows(pod, slot, SLOT_SOFTWIRES, SOFTWIRE).copy()
        result += [binding(row, softwires[int(row["softwire"]) & ~UNTRANSLATED_KEY], number, now) for row in mappings]
    return result


def binding(row: Any, softwire: Any, slot: int, now: int) -> dict[str, Any]:
    """One mapping for JSON."""
    entry = {
        "slot": slot,
        "softwire": str(ipv6(softwire["hi"], softwire["lo"])),
        "protocol": PROTOCOLS[int(row["protocol"])],
        "internalAddress": str(IPv4Address(int(row["internal_address"]))),
        "internalPort": int(row["internal_port"]),
        "externalAddress": str(IPv4Address(int(row["external_address"]))),
        "externalPort": int(row["external_port"]),
        "sessions": int(row["sessions"]),
        "ageSeconds": (now - int(row["created"])) // 1000,
        "idleSeconds": ((now - int(row["seen"])) & M32) // 1000,
    }
    if row["protocol"] == NUMBERS["tcp"]:
        established = row["session_state"] == LIVE and is_established(int(row["session_flags"]))
        entry["state"] = "established" if established else "transitory"
    if int(row["flags"]) & BYPASSED:
        entry["bypassed"] = True
    return entry


def slots(pod: Pod) -> list[dict[str, Any]]:
    """Each slot: addresses, worker, and how full it is."""
    result = []
    pool = pod.configuration.pool
    for number in range(pool.spec.slots):
        entry: dict[str, Any] = {
            "slot": number,
            "state": "open" if pod.slot(number) else "closed",
            "fqdn": slot_fqdn(pool, number),
            "prefixes": [str(part.network) for part in slot_prefixes(pool, number)],
        }
        if pod.slot(number):
            entry |= slot_use(pod, pod.slot(number))
        result.append(entry)
    return result


def slot_use(pod: Pod, slot: int) -> dict[str, Any]:
    """Use of an open slot's tables and ports."""
    memory, record = pod.memory, slot_at(pod.memory, slot)
    places = {
        "mappings": SLOT_MAPPINGS,
        "extraSessions": SLOT_SESSIONS,
        "softwires": SLOT_SOFTWIRES,
        "subscribers": SLOT_SUBSCRIBERS,
        "fragmentContexts": SLOT_CONTEXTS,
    }
    use: dict[str, Any] = {"address": str(ipv6(record.tunnel_hi, record.tunnel_lo))}
    for name, place in places.items():
        table = table_at(memory, slot + place)
        use[name] = table.live
        use[f"{name}Capacity"] = table.capacity
    externals = [external_at(memory, record.externals + EXTERNAL.itemsize * n) for n in range(record.external_count)]
    pooled = [entry for entry in externals if entry.pool < MAX_POOLS and entry.address]
    use["blocks"] = record.blocks_per_address * len(pooled)
    use["blocksFree"] = sum(entry.free_blocks for entry in pooled)
    return use


# ---------------------------------------------------------------- preloading
def parse_binding(entry: dict[str, Any]) -> tuple[int, int, int, int, int, int, int]:
    """(softwire hi, lo, inner address, inner port, protocol, external address, external port) of a JSON entry; BindingError."""
    try:
        softwire = int(IPv6Address(entry["softwire"]))
        protocol = NUMBERS[entry["protocol"]]
        inner, outer = int(IPv4Address(entry["internalAddress"])), int(IPv4Address(entry["externalAddress"]))
        ports = (index(entry["internalPort"]), index(entry["externalPort"]))
    except (KeyError, ValueError, TypeError) as error:
        raise BindingError(
            f"binding {entry!r} is not usable ({error!r}): it needs softwire, protocol (tcp, udp or icmp), "
            "internalAddress, internalPort, externalAddress and externalPort, as `aftr show bindings -o json` prints them"
        ) from error
    least = 0 if entry["protocol"] == "icmp" else 1
    if not all(least <= port <= 65535 for port in ports):
        raise BindingError(f"binding {entry!r}: a port is not between {least} and 65535")
    if inner in RESERVED:
        raise BindingError(f"binding {entry!r}: internalAddress is the AFTR's own (RFC 6333 section 6.5)")
    half = softwire & (2**64 - 1)
    return signed(softwire >> 64), signed(half), inner, ports[0], protocol, outer, ports[1]


def signed(value: int) -> int:
    """A 64-bit pattern as int64."""
    return value - 2**64 if value >> 63 else value


def preload_bindings(pod: Pod, entries: list[dict[str, Any]]) -> None:
    """Install mappings while no worker runs: all of them, or none and BindingError."""
    parsed = [parse_binding(entry) for entry in entries]
    seen: set[tuple[Any, ...]] = set()
    for entry, (hi, lo, inner, inner_port, protocol, outer, outer_port) in zip(entries, parsed, strict=True):
        number = locate(pod, entry, outer, outer_port)
        endpoints = {("external", outer, outer_port, protocol), ("internal", hi, lo, inner, inner_port, protocol)}
        external = range_external(pod.memory, find_range(pod.memory, outer), outer)
        taken = reverse_word(pod.memory, pod.slot(number), external, protocol, outer_port)
        if endpoints & seen or pod.memory[taken : taken + 4].any():
            raise BindingError(f"binding {entry!r} collides with another one: each endpoint can be mapped once")
        seen |= endpoints
    for entry, values in zip(entries, parsed, strict=True):
        install(pod, entry, values)


def locate(pod: Pod, entry: dict[str, Any], outer: int, port: int) -> int:
    """The open slot that an external endpoint belongs to."""
    found = find_range(pod.memory, outer)
    number = range_slot(pod.memory, found, outer) if found else -1
    if not found or entry.get("slot", number) != number or not pod.slot(number):
        where = f"slot {entry['slot']}" if "slot" in entry else "any slot"
        raise BindingError(f"binding {entry!r}: externalAddress lies outside the pool of {where} that is open here")
    if port < slot_at(pod.memory, pod.slot(number)).first_port and range_at(pod.memory, found).pool < MAX_POOLS:
        raise BindingError(f"binding {entry!r}: externalPort is below the first port block")
    return number


def install(pod: Pod, entry: dict[str, Any], values: tuple[int, int, int, int, int, int, int]) -> None:
    """Install one mapping whose endpoint is known to be free."""
    hi, lo, inner, inner_port, protocol, outer, outer_port = values
    memory = pod.memory
    found = find_range(memory, outer)
    number = range_slot(memory, found, outer)
    slot, external = pod.slot(number), range_external(memory, found, outer)
    worker = pod.worker_of(number)
    softwire = -1 if moves_another(memory, slot, hi, lo) else admit_softwire(memory, worker, slot, hi, lo)
    if softwire < 0:
        raise BindingError(
            f"binding {entry!r}: its softwire is not admitted (no B4Group, or more than its subscriber may have)"
        )
    bypassed = range_at(memory, found).pool >= MAX_POOLS
    if not bypassed:
        claim_port(pod, entry, slot, subscriber_of(memory, slot, softwire), external, protocol, outer_port)
    untranslated = UNTRANSLATED_KEY if bypassed else 0
    key = mapping_key(record_number(memory, slot + SLOT_SOFTWIRES, softwire) | untranslated, inner)
    mapping = enter_mapping(memory, worker, slot, softwire, key, port_key(protocol, inner_port), external, outer_port)
    if mapping == 0:
        raise BindingError(f"binding {entry!r}: the slot's table of mappings is full")
    if bypassed:
        mapping_at(memory, mapping).flags = BYPASSED | PUBLIC_SOURCE


def moves_another(memory: Any, slot: int, hi: int, lo: int) -> bool:
    """Whether admitting this softwire would take the place of another one of its subscriber."""
    entry = find_group(memory, hi, lo)
    if entry == 0 or find_softwire(memory, slot, hi, lo) > 0:
        return False
    group = group_at(memory, entry)
    bits = group.subscriber_bits
    subscriber = find_subscriber(memory, slot, prefix_hi(hi, bits), prefix_lo(lo, bits))
    return bool(subscriber > 0 and subscriber_at(memory, subscriber).softwires >= group.max_softwires)


def claim_port(
    pod: Pod, entry: dict[str, Any], slot: int, subscriber: int, external: int, protocol: int, port: int
) -> None:
    """Take the port, and its block for the subscriber when it is free."""
    memory, record = pod.memory, slot_at(pod.memory, slot)
    place = port - record.first_port
    number = place >> record.block_shift
    block = block_offset(memory, slot, external, number)
    owner = block_at(memory, block)
    worker = pod.worker_of(record.number)
    mine = record_number(memory, slot + SLOT_SUBSCRIBERS, subscriber) + 1
    if owner.state == LIVE and owner.subscriber_ref != mine:
        raise BindingError(f"binding {entry!r} collides: its port block belongs to another subscriber")
    if owner.state not in (0, LIVE):
        raise BindingError(f"binding {entry!r}: its port block rests after its last use (holdDownSeconds)")
    if owner.state == 0:
        give_block(memory, worker, slot, subscriber, external, number)
    use_port(memory, slot, block, protocol_number(protocol), place & ((1 << record.block_shift) - 1))
