"""Unsolicited SYNs under `unsolicitedSyn: icmp` (row T02, RFC 5382 REQ-4): held six seconds in a ring, then answered by port unreachable.

An outbound SYN for the same endpoints meanwhile (simultaneous open) silences the answer.
"""

from __future__ import annotations

from aftr.lowlevel.bits import M32, Memory, be16, be32
from aftr.lowlevel.kernel import kernel
from aftr.lowlevel.records import record_accessor
from aftr.path.icmp import PORT, UNREACHABLE, icmp_error
from aftr.path.ipv4 import transport_at
from aftr.path.send import copy, drop, release
from aftr.state.counters import HELD, count, count_drops, count_event
from aftr.state.layout import (
    HELD_LANE,
    LANE_SIZE,
    mapping_at,
    packet_at,
    pod_at,
    record_layout,
    slot_at,
    worker_at,
)
from aftr.state.reasons import SYNS_HELD, UNSOLICITED_SYN

SYN = record_layout(
    128, ("since", "u4"), ("silent", "u1"), ("side", "u1"), ("length", "u2"), ("source", "u4"), ("destination", "u4"),
    ("source_port", "u2"), ("destination_port", "u2"),
)  # fmt: skip
SYN_QUOTE, SYN_QUOTE_SIZE = 32, 96
SYN_RING, SYN_HOLD_MS = 1024, 6000
syn_at = record_accessor("syn_at", SYN)


@kernel
def syn_entry(memory: Memory, slot: int, number: int) -> int:
    """Byte offset of the n-th held SYN, oldest first."""
    record = slot_at(memory, slot)
    return record.syn_ring + ((record.syn_head + number) & (SYN_RING - 1)) * 128


@kernel
def unsolicited_syn(memory: Memory, worker: int, packet: int, reason: int) -> None:
    """A SYN that nothing inside asked for: dropped under `reason`, at once or after it was held."""
    record = packet_at(memory, packet)
    slot = slot_at(memory, record.slot)
    if pod_at(memory, 0).unsolicited_syn == 0 or slot.syn_count >= SYN_RING or record.originated == 1:
        drop(memory, worker, packet, reason)
        return
    entry = syn_entry(memory, record.slot, slot.syn_count)
    slot.syn_count += 1
    held, ip = syn_at(memory, entry), record.ip
    at = transport_at(memory, ip)
    held.since = worker_at(memory, worker).now & M32
    held.silent = 0
    held.side = record.side
    held.length = min(record.length, SYN_QUOTE_SIZE)
    held.source = be32(memory, ip + 12)
    held.destination = be32(memory, ip + 16)
    held.source_port = be16(memory, at)
    held.destination_port = be16(memory, at + 2)
    copy(memory, entry + SYN_QUOTE, ip, held.length)
    count(memory, worker, record.side, HELD, 1)
    count_event(memory, worker, SYNS_HELD, 1)
    release(memory, worker, packet)


@kernel
def cancel_syn(memory: Memory, worker: int, slot: int, mapping: int, address: int, port: int) -> None:
    """An outbound SYN from the mapping to this remote endpoint silences a held SYN from it."""
    record, entry = slot_at(memory, slot), mapping_at(memory, mapping)
    for number in range(record.syn_count):
        held = syn_at(memory, syn_entry(memory, slot, number))
        from_there = held.source == address and held.source_port == port
        if from_there and held.destination == entry.external_address and held.destination_port == entry.external_port:
            held.silent = 1


@kernel
def expire_syns(memory: Memory, worker: int, slot: int, now: int) -> None:
    """Answer and drop the SYNs that were held for six seconds."""
    record = slot_at(memory, slot)
    while record.syn_count > 0:
        entry = syn_entry(memory, slot, 0)
        held = syn_at(memory, entry)
        if (now - held.since) & M32 < SYN_HOLD_MS:
            return
        count(memory, worker, held.side, HELD, -1)
        count_drops(memory, worker, held.side, UNSOLICITED_SYN, 1)
        if held.silent == 0:
            answer(memory, worker, slot, entry)
        record.syn_head = (record.syn_head + 1) & (SYN_RING - 1)
        record.syn_count -= 1


@kernel
def answer(memory: Memory, worker: int, slot: int, entry: int) -> None:
    """Type 3 code 3 to the sender of a held SYN."""
    packet = worker_at(memory, worker).lanes + HELD_LANE * LANE_SIZE
    record, held = packet_at(memory, packet), syn_at(memory, entry)
    record.frame = 0
    record.ip = entry + SYN_QUOTE
    record.length = held.length
    record.quote = held.length
    record.slot = slot
    record.softwire = 0
    record.side = held.side
    record.inbound = 1
    record.hairpin = 0
    record.originated = 0
    record.cause = 0
    icmp_error(memory, worker, packet, UNREACHABLE, PORT, 0)
