"""Layouts of all records in the arena (docs/design/0001).  Offsets are bytes; a record reference is its byte offset.

Addresses and ports are host-order integers, IPv6 addresses two 64-bit halves; stamps are the low 32 bits of milliseconds.
In records, "number + 1" fields (`…_ref`) use 0 for "none".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from aftr.lowlevel.records import record_accessor
from dslite_contract import tables

ACCESS, INTERNET, BOTH = 0, 1, 2
LINE = tables.LINE
PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP = 1, 6, 17


def record_layout(size: int, *fields: tuple[str, str]) -> np.dtype[Any]:
    """A packed little-endian record, padded to `size` bytes."""
    names, formats = [name for name, _ in fields], [f"<{kind}" for _, kind in fields]
    widths = [np.dtype(kind).itemsize for kind in formats]
    offsets = [sum(widths[:number]) for number in range(len(widths))]
    assert sum(widths) <= size, (sum(widths), size)
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": size})


def _i8(names: str) -> list[tuple[str, str]]:
    return [(name, "i8") for name in names.split()]


# ---------------------------------------------------------------- the pod and its policy (one, at offset 0)
POD = record_layout(
    1024,
    *_i8("slots slot_table workers worker_table interfaces interface_table groups group_table ranges range_table"),
    *_i8("prefixes prefix_table bypasses bypass_table octet_class pools pool_table generation"),
    *_i8("tunnel_hi tunnel_lo tunnel_mtu dscp_preservation mss_clamping dont_fragment"),
    *_i8("reassembly_timeout max_contexts max_context_bytes max_packet_bytes"),
    *_i8("max_blocks hold_down filtering tcp_loose unsolicited_syn refusal_code udp_refresh_by_inbound"),
    *_i8("state_migrate address_change_limit udp_timeout tcp_established tcp_transitory icmp_timeout"),
    *_i8("secret0 secret1 secret2 secret3 umem umem_size chunk_shift"),
    *_i8("access_interface slot_workers worker_stride"),
    *_i8("deadline journal_event journal_armed restored_grace answers_neighbours"),
)
GROUP = record_layout(
    128,  # one per B4Group prefix, longest prefix first
    *_i8("hi lo mask_hi mask_lo pool group subscriber_bits max_softwires"),
    *_i8("sessions session_rate session_burst memory max_blocks"),
)
POOL = record_layout(64, *_i8("interface"))
RANGE = record_layout(64, *_i8("base mask part_shift first_slot slots first_external pool"))  # one per NAT prefix
PREFIX = record_layout(64, *_i8("kind base mask"))  # preAuthorizedSources and the like
PRE_AUTHORIZED, ALLOWED_PRIVATE, NO_TRANSLATION = 1, 2, 3
BYPASS = record_layout(128, *_i8("hi mask_hi lo mask_lo address port protocol destination destination_mask slot"))
INTERFACE = record_layout(
    64, *_i8("side mtu vlan hops hop_count routes route_count mac")
)  # side 2: both; mac as a 48-bit number
HOP = record_layout(32, *_i8("resolved ethernet0 ethernet1"))  # bytes 0–7 and 8–11 of the Ethernet header, as loaded
ROUTE = record_layout(64, *_i8("hi lo mask_hi mask_lo hops hop_count"))
MAX_INTERFACES, MAX_HOPS = 16, 16

# ---------------------------------------------------------------- a worker
WORKER = record_layout(
    512,
    *_i8("number now stop frames lanes counters outputs rings random access_list internet_list list_capacity"),
    *_i8("queues queue_count event_fd sleeping pending pending_count pending_capacity loops packets"),
    *_i8("sweep_time devices transmit_queues receive_list scratch base busy_ns"),
    *_i8("asked_hi asked_lo asked_interface asked_count parked journaled"),
)
OUTPUT = record_layout(64, *_i8("count frames meta capacity"))  # per worker and interface: frames to send
RING = record_layout(192, ("head", "i8"), *[(f"pad{n}", "i8") for n in range(7)], ("tail", "i8"),
               *[(f"pod{n}", "i8") for n in range(7)], *_i8("items mask"))  # single producer, single consumer  # fmt: skip
RING_ITEM = 32  # start, size, meta (see path/handover.py), cause
OUTPUT_CAPACITY = 4096

# ---------------------------------------------------------------- a slot
TABLE = record_layout(128, *_i8("index bits records shift capacity high free free_count live cursor"))
SLOT = record_layout(
    tables.SLOT_BYTES,
    *_i8("number open tunnel_hi tunnel_lo generation"),
    *_i8("externals external_count reverse"),
    *_i8("blocks block_stride block_shift blocks_per_address first_port block_bitmaps bitmap_words"),
    *_i8("rest_head rest_tail"),
    *_i8("context_buffers context_stride context_head context_tail context_bytes"),
    *_i8("icmp_tokens icmp_time fragment_counter syn_ring syn_head syn_count sweep_time"),
    *_i8("journal journal_mask journal_head journal_tail committed journaling parking frozen refuse_blocks"),
    *_i8("park_ring park_head park_tail restored moving neighbour_tokens neighbour_time claims overrun"),
)
SLOT_MAPPINGS, SLOT_SESSIONS, SLOT_SOFTWIRES, SLOT_SUBSCRIBERS, SLOT_CONTEXTS = 512, 640, 768, 896, 1024
SLOT_POOLS = 1152  # per pool: first external, count (2 × i8), at most 16 pools

SOFTWIRE = record_layout(
    tables.SOFTWIRE_BYTES, ("hi", "i8"), ("lo", "i8"), ("subscriber", "u4"), ("mappings", "u4"),
    ("seen_seconds", "u2"), ("path_mtu", "u2"), ("path_mtu_seconds", "u2"), ("state", "u1"), ("generation", "u1"),
    ("out_packets", "i8"), ("out_bytes", "i8"), ("in_packets", "i8"), ("in_bytes", "i8"),
)  # fmt: skip
SUBSCRIBER = record_layout(
    tables.SUBSCRIBER_BYTES, ("hi", "i8"), ("lo", "i8"), ("bits", "u1"), ("state", "u1"), ("group", "u2"), ("softwires", "u4"),
    ("mappings", "u4"), ("sessions", "u4"), ("extra_sessions", "u4"), ("block_ref", "u4"), ("blocks", "u4"),
    ("external_ref", "u4"), ("contexts", "u4"), ("context_bytes", "u4"), ("session_tokens", "i8"), ("session_time", "u4"),
    ("icmp_tokens", "i8"), ("icmp_time", "u4"), ("changed", "i8"), ("created", "i8"), ("pool", "u4"), ("group_entry", "i8"),
)  # fmt: skip
MAPPING = record_layout(
    tables.MAPPING_BYTES, ("softwire", "u4"), ("internal_address", "u4"), ("internal_port", "u2"), ("protocol", "u1"), ("state", "u1"),
    ("external_address", "u4"), ("external_port", "u2"), ("external", "u2"), ("address_delta", "u2"), ("transport_delta", "u2"),
    ("seen", "u4"), ("remote_address", "u4"), ("remote_port", "u2"), ("session_flags", "u1"), ("session_state", "u1"),
    ("session_seen", "u4"), ("more_ref", "u4"), ("sessions", "u4"), ("created", "i8"), ("interface", "u1"), ("flags", "u1"),
    ("commit", "u4"),
)  # fmt: skip
SESSION = record_layout(
    tables.SESSION_BYTES, ("mapping", "u4"), ("remote_address", "u4"), ("remote_port", "u2"), ("flags", "u1"), ("state", "u1"),
    ("seen", "u4"), ("next_ref", "u4"),
)  # fmt: skip
BUCKET = record_layout(12, ("tokens", "i8"), ("time", "u4"))  # a token bucket, part of a subscriber or a slot
EXTERNAL = record_layout(
    tables.EXTERNAL_BYTES,
    ("address", "u4"),
    ("pool", "u4"),
    ("free_blocks", "u4"),
    ("ip_id", "u4"),
    ("interface", "u4"),
)
BLOCK = record_layout(
    64, ("subscriber_ref", "u4"), ("next_ref", "u4"), ("mappings", "u4"), ("state", "u4"), ("rest_ref", "u4"), ("rested", "u4"),
    ("external", "u4"), ("number", "u4"), ("used_icmp", "u4"), ("used_tcp", "u4"), ("used_udp", "u4"),
)  # fmt: skip
CONTEXT = record_layout(
    tables.CONTEXT_BYTES, ("key0", "i8"), ("key1", "i8"), ("key2", "i8"), ("started", "u4"), ("state", "u1"), ("kind", "u1"), ("ecn", "u1"),
    ("next_header", "u1"), ("held", "u4"), ("received", "u4"), ("total", "u4"), ("bytes", "u4"), ("subscriber_ref", "u4"),
    ("next_ref", "u4"), ("previous_ref", "u4"), ("stored", "u4"),
    ("source", "u4"), ("destination", "u4"), ("identification", "i4"), ("hi", "i8"), ("lo", "i8"),
    ("interface", "u4"), ("flow", "u4"), ("tos", "u1"), ("side", "u1"),
)  # fmt: skip
CONTEXT_BITMAP = 192  # 160 bytes: one bit per 8 bytes of at most 10,240
LIVE, RESTING, SPOILED = 1, 2, 3  # states of records (0 = free), of blocks, of contexts
V6_REASSEMBLY, V4_OUTBOUND, V4_INBOUND = 1, 2, 3  # kinds of contexts

# TCP session flags (docs/design/0001, 3)
OUT_SEEN, IN_SEEN, FIN_OUT, FIN_IN, RESET = 1, 2, 4, 8, 16
ENDPOINT_INDEPENDENT, ADDRESS_DEPENDENT, ADDRESS_AND_PORT_DEPENDENT = 0, 1, 2
# Mapping flags: not translated; the inner source is public, so that each packet asks how it is treated
BYPASSED, PUBLIC_SOURCE = 1, 2
# …; not stored yet: packets wait until record number `commit` is; restored: its sessions are unknown, and it was established TCP
PENDING, RESTORED, WAS_ESTABLISHED = 4, 8, 16
UNTRANSLATED_KEY = (
    1 << 31
)  # in a mapping's softwire number: the untranslated mapping of an inner endpoint that may have both

# ---------------------------------------------------------------- a packet on its way (one lane of a pipeline)
PACKET = record_layout(
    128,
    *_i8("start size ip length slot hi lo softwire mapping hash key"),
    ("port", "u4"), ("cause", "u4"), ("external", "u4"), ("flow", "u4"),
    ("stage", "u1"), ("side", "u1"), ("inbound", "u1"), ("hairpin", "u1"), ("originated", "u1"), ("outer_tos", "u1"),
    ("next_header", "u1"), ("interface", "u1"), ("frame", "i8"), ("quote", "u4"), ("event", "u4"),
)  # fmt: skip
PARKED = record_layout(
    tables.PARKED_BYTES, ("commit", "i8"), ("frame", "i8"), ("ip", "i8"), ("length", "u4"), ("interface", "u4"), ("flow", "u4"),
    ("cause", "u4"), ("since", "u4"), ("side", "u1"),
)  # fmt: skip
JOURNAL_RECORD, JOURNAL_RECORDS, PARK_CAPACITY = (
    tables.JOURNAL_RECORD_BYTES,
    tables.JOURNAL_RECORDS,
    tables.PARK_CAPACITY,
)
LANES, LANE_SIZE = 64, PACKET.itemsize  # a power of two many
REPLY_LANE, HELD_LANE, SLOW_LANE = 64, 65, 66  # beside the pipelines: made here, put aside before, taken one by one

pod_at = record_accessor("pod_at", POD)
group_at = record_accessor("group_at", GROUP)
pool_at = record_accessor("pool_at", POOL)
range_at = record_accessor("range_at", RANGE)
prefix_at = record_accessor("prefix_at", PREFIX)
bypass_at = record_accessor("bypass_at", BYPASS)
interface_at = record_accessor("interface_at", INTERFACE)
hop_at = record_accessor("hop_at", HOP)
route_at = record_accessor("route_at", ROUTE)
worker_at = record_accessor("worker_at", WORKER)
output_at = record_accessor("output_at", OUTPUT)
ring_at = record_accessor("ring_at", RING)
table_at = record_accessor("table_at", TABLE)
slot_at = record_accessor("slot_at", SLOT)
softwire_at = record_accessor("softwire_at", SOFTWIRE)
subscriber_at = record_accessor("subscriber_at", SUBSCRIBER)
mapping_at = record_accessor("mapping_at", MAPPING)
session_at = record_accessor("session_at", SESSION)
bucket_at = record_accessor("bucket_at", BUCKET)
external_at = record_accessor("external_at", EXTERNAL)
block_at = record_accessor("block_at", BLOCK)
context_at = record_accessor("context_at", CONTEXT)
packet_at = record_accessor("packet_at", PACKET)
parked_at = record_accessor("parked_at", PARKED)

POD_OFFSET = 0
